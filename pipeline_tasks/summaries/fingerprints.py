"""Texts counted by number: a fingerprint of each is looked up in a table of the known ones."""

from __future__ import annotations

from itertools import count as count_up
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SEED = 20
AT_ONCE = 1 << 15
LEAST_BITS = 8


def count(known: NDArray[np.str_], texts: NDArray[Any]) -> NDArray[np.int64]:
    """How often each of (k,) different known texts is among (n,) texts.

    By fingerprints of 64 bits, which two texts share once in 10^19 pairs.
    """
    import numpy as np

    wanted = fingerprints(known)
    # As many slots as pairs of known texts: about every second factor is without a clash.
    bits = max(LEAST_BITS, (len(known) ** 2).bit_length())
    factor, slots = _without_clash(wanted, bits)
    table = np.zeros(1 << bits, dtype=np.int16)
    table[slots] = np.arange(1, len(known) + 1)
    expected = np.append(wanted[:1], wanted)
    found = np.zeros(len(known) + 1, dtype=np.int64)
    for start in range(0, len(texts), AT_ONCE):
        prints = fingerprints(texts[start : start + AT_ONCE])
        at = table[_slots(prints, factor, bits)]
        found += np.bincount(at[expected[at] == prints], minlength=len(found))
    return found[1:]


def fingerprints(texts: NDArray[np.str_]) -> NDArray[np.uint64]:
    """(n,): each character times an odd number of its place; "" is 0, however wide the array."""
    import numpy as np

    width = texts.dtype.itemsize // 4
    found = np.zeros(len(texts), dtype=np.uint64)
    if not width or not len(texts):
        return found
    characters = np.ascontiguousarray(texts).view(np.uint32).reshape(len(texts), width)
    odd = np.random.default_rng(SEED).integers(0, 2**63, size=width, dtype=np.uint64) * 2 + 1
    for place in range(width):
        found += characters[:, place] * odd[place]
    return found


def _without_clash(wanted: NDArray[np.uint64], bits: int) -> tuple[int, NDArray[np.uint64]]:
    """A factor with which no two of the known texts have the same slot, and their slots."""
    import numpy as np

    for factor in count_up(1, 2):
        slots = _slots(wanted, factor, bits)
        if len(np.unique(slots)) == len(slots):
            return factor, slots
    raise AssertionError("there is always another odd number")


def _slots(prints: NDArray[np.uint64], factor: int, bits: int) -> NDArray[np.uint64]:
    import numpy as np

    return prints * np.uint64(factor) >> np.uint64(64 - bits)
