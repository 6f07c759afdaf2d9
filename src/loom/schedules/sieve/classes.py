"""The prime sieve for lanes that are threads: a workgroup per class and segment, as ``kernels.sieve.classes`` does it.

Layer: schedules. The host finds the base primes (78,498 at most) and how many of them each segment needs; the device
does the rest. Invariant: what is counted or listed is exact up to 10^12, whatever the length of a segment.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from loom.core.caps import Caps
from loom.core.dtype import u32, u64
from loom.core.late.dataclass import dataclass
from loom.kernels.sieve import classes as kernels
from loom.kernels.sieve.wheel import RESIDUES, running_starts
from loom.schedules.axis import Rows
from loom.schedules.fold import Folding, record_fold
from loom.schedules.recorder import Recorder, StorageLike, store

__all__ = ["Classes", "pattern_shifts", "prime_table", "segment_words", "striking_primes"]

_MOST_WORDS = 8192
"""Words of a segment: 32 KiB, what nearly every device has for a workgroup."""
_SEGMENTS_PER_DISPATCH = 1024
"""Eight thousand million numbers: some milliseconds of a large device's time, so that a run can be cancelled."""
_TEAM_LIMITS = (256, 4096)
"""Primes below these are struck by all lanes of a group, and by 8 lanes: each lane strikes some times per prime."""


def segment_words(caps: Caps) -> int:
    """Return the words of a segment: a power of two."""
    words = min(_MOST_WORDS, caps.shared_nbytes // u32.nbytes)
    return 1 << words.bit_length() - 1


@dataclass(frozen=True, slots=True)
class Classes:
    """The numbers ``lo`` to ``hi``, cut into segments of ``words`` words for each class."""

    lo: int
    hi: int
    words: int

    @property
    def first(self) -> int:
        """The first bit of every class: a multiple of 32."""
        return self.lo // 30 // 32 * 32

    @property
    def end(self) -> int:
        """The bit after the last, or one less (see ``classes``)."""
        return self.hi // 30

    @property
    def segments(self) -> int:
        """Segments of a class."""
        return -(-(self.end + 1 - self.first) // (32 * self.words))

    @property
    def row(self) -> int:
        """Words of a class, whole segments."""
        return self.segments * self.words

    def classes(self) -> np.ndarray[Any, Any]:
        """Return the eight rows of CLASS_WORDS words that the kernel reads."""
        over = self.hi % 30
        rows = [[r, int(r < over), _first_bits(r), *pattern_shifts(r)] for r in RESIDUES]
        return np.array(rows, np.uint32).reshape(-1)

    def reach(self, primes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return for each segment how many of the primes have their square below its end."""
        ends = 30 * (self.first + 32 * self.words * np.arange(1, self.segments + 1, dtype=np.uint64))
        squares = primes.astype(np.uint64) ** np.uint64(2)
        return np.searchsorted(squares, np.minimum(ends, np.uint64(self.hi))).astype(np.uint32)

    @property
    def groups(self) -> int:
        """Groups that list the numbers left, each those of some columns."""
        return -(-self.row // kernels.LANES)

    def record_count(self, chain: Recorder, out: StorageLike) -> None:
        """Record how many primes above 5 there are, a u64."""
        counts, size = self._record(chain, keep=False), self.segments * len(RESIDUES)
        record_fold(chain, counts, Rows(1, size), Folding("sum", u32, u64, u64), out)

    def record_marks(self, chain: Recorder, starts: StorageLike) -> StorageLike:
        """Record which numbers are prime, and in ``starts`` where each group's begin in the list, and its end."""
        bits, counts = self._record(chain, keep=True), chain.device.allocate(self.groups * u32.nbytes)
        chain.dispatch(kernels.count_columns(), [bits, counts], [self.row], groups=self.groups)
        chain.dispatch(running_starts(), [counts, starts], [self.groups], groups=1)
        return bits

    def record_list(self, chain: Recorder, bits: StorageLike, starts: StorageLike, out: StorageLike) -> None:
        """Record the list of the numbers marked, ascending, as u64."""
        chain.dispatch(kernels.collect_columns(), [bits, starts, out], [self.row, self.first], groups=self.groups)

    def _record(self, chain: Recorder, *, keep: bool) -> StorageLike:
        """Record the sieve; return the memory of its results: the counts of every segment and class, or all bits."""
        primes = striking_primes(math.isqrt(self.hi - 1))
        patterns = chain.device.allocate(kernels.PATTERN_STARTS[-1] * u32.nbytes, zeroed=False)
        chain.dispatch(kernels.fill_patterns(), [patterns], [], groups=-(-kernels.PATTERN_STARTS[-1] // 64))
        given = [store(chain, a) for a in (prime_table(primes), self.classes(), self.reach(primes))]
        words = len(RESIDUES) * (self.row if keep else self.segments)
        out = chain.device.allocate(words * u32.nbytes, zeroed=keep)  # the last segment's rest is not written
        small, middle = np.searchsorted(primes, _TEAM_LIMITS).tolist()
        begins = np.arange(0, self.segments, _SEGMENTS_PER_DISPATCH, dtype=np.uint32)
        groups = np.ones((len(begins), 3), np.uint32)
        groups[:, 0] = np.minimum(self.segments - begins, _SEGMENTS_PER_DISPATCH)
        groups[:, 1] = len(RESIDUES)
        with chain.repeat(len(begins)):
            params = [self.first, self.end, begins, self.row, len(primes), small, middle]
            buffers = [*given[:2], patterns, given[2], out]
            chain.dispatch(kernels.sieve_segments(self.words, keep=keep), buffers, params, groups=groups)
        return out


def pattern_shifts(residue: int) -> list[int]:
    """Return how many words of each pattern, which are those of class 1, come before bit 0 of a class.

    Number 30 k + r is a multiple of p just where 30 (k + c) + 1 is, with 30 c = r - 1 modulo p.
    """
    periods = [math.prod(row) for row in kernels.PRESIEVED]
    return [(residue - 1) * pow(30 * 32, -1, period) % period for period in periods]


def _first_bits(residue: int) -> int:
    """Return the bits of a class's primes among the numbers below 90."""
    numbers = [30 * bit + residue for bit in range(3)]
    return sum(1 << bit for bit, n in enumerate(numbers) if n > 1 and all(n % p for p in (7, 11) if p < n))


@cache
def striking_primes(limit: int) -> np.ndarray[Any, Any]:
    """Return the primes above 79 up to ``limit``, ascending, as uint32 (Eratosthenes over odd numbers)."""
    odd = np.ones(limit // 2 + 1, bool)  # place k stands for 2 k + 1
    for p in range(3, math.isqrt(limit) + 1, 2):
        if odd[p // 2]:
            odd[p * p // 2 :: p] = False
    found = (2 * np.flatnonzero(odd) + 1).astype(np.uint32)
    found = found[(found > kernels.LARGEST_PRESIEVED) & (found <= limit)]
    found.flags.writeable = False
    return found


def prime_table(primes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the primes, then floor(2^32 / p) for each, then -1/30 modulo p for each."""
    wide = primes.astype(np.uint64)
    turns = np.zeros(30, np.uint64)  # by p % 30: t with t p - 1 a multiple of 30
    for r in RESIDUES:
        turns[r] = pow(r, -1, 30)
    inverses = (turns[wide % np.uint64(30)] * wide - np.uint64(1)) // np.uint64(30)  # 30 times it is -1 modulo p
    return np.concatenate([primes, (np.uint64(1 << 32) // wide).astype(np.uint32), inverses.astype(np.uint32)])
