"""Philox4x32-10 on the host: four random words for each counter of four words under a key of two.

Layer: core (numpy alone). ``kernels.maps.random.philox`` is the same within a kernel. Invariant: a word depends on
counter and key alone.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["MULTIPLIERS", "ROUNDS", "WEYL", "Words", "philox"]

ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85
_LOW = 0xFFFF_FFFF
_HALF = np.uint64(32)

Words = np.ndarray[Any, np.dtype[np.uint64]]
"""Words of 32 bits, each in 64."""


def philox(block: Words, c1: int, c2: int, c3: int, seed: int) -> tuple[Words, Words, Words, Words]:
    """Return the four words of the counters (block, c1, c2, c3) under a seed of 64 bits.

    >>> [int(word[0]) for word in philox(np.zeros(1, np.uint64), 0, 0, 0, 0)] == [
    ...     0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8
    ... ]
    True
    """
    a, b, c, d = block, *(np.full_like(block, word) for word in (c1, c2, c3))
    low, first, second = np.uint64(_LOW), *map(np.uint64, MULTIPLIERS)
    key, other = seed & _LOW, seed >> 32
    for _ in range(ROUNDS):
        p, q = a * first, c * second
        a, b = (q >> _HALF) ^ b ^ np.uint64(key), q & low
        c, d = (p >> _HALF) ^ d ^ np.uint64(other), p & low
        key, other = (key + WEYL[0]) & _LOW, (other + WEYL[1]) & _LOW
    return a, b, c, d
