"""Two models on the same rows: is one better, or is it chance?"""

from __future__ import annotations

import math
from dataclasses import dataclass

MANY = 1_000


@dataclass(frozen=True)
class Pair:
    """What candidate and champion did on the rows they share.

    differences: the candidate's metric less the champion's, once for each resample of the rows.
    only_candidate_right, only_champion_right: rows; known where the metric is a share of right
    rows, and None elsewhere.
    """

    differences: tuple[float, ...] = ()
    only_candidate_right: int | None = None
    only_champion_right: int | None = None


def chance_of_gain(pair: Pair, *, higher_is_better: bool, margin: float = 0.0) -> tuple[float, str]:
    """How likely chance alone shows a candidate this much better than the champion less the margin.

    One-sided, from 0 to 1, and the test's name: McNemar's for shares of right rows without a
    margin, the paired bootstrap elsewhere. NaN when nothing is known.
    """
    right, wrong = pair.only_candidate_right, pair.only_champion_right
    if right is not None and wrong is not None and not margin:
        return mcnemar(right, wrong), "McNemar's test"
    sign = 1.0 if higher_is_better else -1.0
    gains = [sign * one + margin for one in pair.differences if not math.isnan(one)]
    if not gains:
        return math.nan, "no test"
    unlucky = sum(1.0 if gain < 0 else 0.5 if gain == 0 else 0.0 for gain in gains)
    return unlucky / len(gains), "paired bootstrap"


def mcnemar(more: int, less: int) -> float:
    """The chance that of more + less coin tosses at least `more` are heads; a tie counts half.

    McNemar's test, exact and one-sided, with the mid-p correction (Fagerland, Lydersen and Laake,
    BMC Medical Research Methodology 13 (2013)); by the normal distribution for very many rows.

    >>> mcnemar(2, 0)
    0.125
    >>> mcnemar(5, 5)
    0.5
    """
    total = more + less
    if total > MANY:
        return 0.5 * math.erfc((more - less) / math.sqrt(2.0 * total))
    above = sum(math.comb(total, heads) for heads in range(more + 1, total + 1))
    chance: float = (2 * above + math.comb(total, more)) / (2 << total)
    return chance
