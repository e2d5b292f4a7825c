"""What is known of a share while it is still being counted, however often one looks."""

from __future__ import annotations

import math

ROUNDS = 40


def bounds(hits: int, of: int, alpha: float) -> tuple[float, float]:
    """The lowest and highest share that `hits` of `of` independent events do not speak against.

    The chance that the true share is ever outside, at any of endlessly many looks, is at most
    `alpha`: a confidence sequence (Robbins, Annals of Mathematical Statistics 41 (1970)) from the
    mixture of likelihoods over Jeffreys' prior, Beta(1/2, 1/2), and Ville's inequality.

    >>> bounds(0, 0, 0.05)
    (0.0, 1.0)
    >>> [round(one, 3) for one in bounds(0, 400, 0.05)]
    [0.0, 0.016]
    >>> [round(one, 3) for one in bounds(5, 5, 0.05)]
    [0.415, 1.0]
    """
    if of == 0:
        return 0.0, 1.0
    mixture = _log_beta(hits + 0.5, of - hits + 0.5) - _log_beta(0.5, 0.5)
    limit = mixture + math.log(alpha)
    found = hits / of
    low = _crossing(hits, of, limit, inside=found, outside=0.0) if hits else 0.0
    high = _crossing(hits, of, limit, inside=found, outside=1.0) if hits < of else 1.0
    return low, high


def _crossing(hits: int, of: int, limit: float, *, inside: float, outside: float) -> float:
    """Where the log-likelihood falls below the limit, by halving; it is concave in the share."""
    for _ in range(ROUNDS):
        middle = (inside + outside) / 2
        if _log_likelihood(hits, of, middle) >= limit:
            inside = middle
        else:
            outside = middle
    return outside


def _log_likelihood(hits: int, of: int, share: float) -> float:
    right = hits * math.log(share) if hits else 0.0
    wrong = (of - hits) * math.log1p(-share) if hits < of else 0.0
    return right + wrong


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
