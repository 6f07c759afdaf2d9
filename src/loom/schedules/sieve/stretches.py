"""The prime sieve for a CPU: stretches of numbers, each sieved by a lane of its own, segment after segment.

Layer: schedules. Base primes, patterns, first strides, then dispatches that each sieve some segments of every stretch,
carrying their state on. Invariant: what is counted or listed is exact up to 10^12.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from loom.core.caps import Caps
from loom.core.dtype import u32, u64
from loom.core.late.dataclass import dataclass
from loom.kernels.sieve import wheel as kernels
from loom.schedules.axis import Rows
from loom.schedules.fold import Folding, record_fold
from loom.schedules.recorder import Recorder, StorageLike, store

__all__ = ["MOST_LISTED", "Stretches"]

_STRETCHES = 32
"""Stretches sieved side by side; more than the workers of any device, so that they end together."""
_LEAST_SEGMENT = 64 * 1024
_NUMBERS_PER_DISPATCH = 1_500_000_000
"""About a quarter of a second of work, so that a run can be cancelled."""
_TILE = 1 << 16
"""Bytes per lane when primes are listed."""
_MOST_BYTES = 0xFFFF_FFFF
MOST_LISTED = 30 * (_MOST_BYTES - 1 - _LEAST_SEGMENT * _STRETCHES)
"""Numbers among which primes may be listed, at most."""


@dataclass(frozen=True, slots=True)
class Stretches:
    """The numbers ``lo`` to ``hi``: ``total`` bytes of 30 numbers from byte ``first`` on, in stretches of segments."""

    lo: int
    hi: int
    segment: int

    @classmethod
    def of(cls, lo: int, hi: int, caps: Caps) -> Stretches:
        """Cut the numbers for a device, whose cache segments fit."""
        return cls(lo, hi, max(_LEAST_SEGMENT, caps.cache_nbytes // 4))

    def for_list(self) -> Stretches:
        """Return the same in segments so short that all bytes of all stretches are told with 32 bits."""
        return replace(self, segment=min(self.segment, (_MOST_BYTES - self.total) // _STRETCHES))

    @property
    def first(self) -> int:
        """The first byte."""
        return self.lo // 30

    @property
    def total(self) -> int:
        """Bytes in all."""
        return -(-self.hi // 30) - self.first

    @property
    def per_stretch(self) -> int:
        """Segments of a stretch."""
        return -(-self.total // (self.segment * _STRETCHES))

    @property
    def stretch(self) -> int:
        """Bytes in a stretch."""
        return self.segment * self.per_stretch

    @property
    def stretches(self) -> int:
        """How many stretches there are."""
        return -(-self.total // self.stretch)

    @property
    def groups(self) -> int:
        """Groups that list the numbers left, each those of a tile."""
        return -(-self.total // _TILE)

    def record_count(self, chain: Recorder, out: StorageLike) -> None:
        """Record how many primes above 5 there are, a u64."""
        _, counts = self._record(chain, keep=False)
        record_fold(chain, counts, Rows(1, self.stretches), Folding("sum", u64, u64, u64), out)

    def record_marks(self, chain: Recorder, starts: StorageLike) -> StorageLike:
        """Record which numbers are prime, and in ``starts`` where each group's begin in the list, and its end."""
        bits, _ = self._record(chain, keep=True)
        counts = chain.device.allocate(self.groups * u32.nbytes)
        chain.dispatch(kernels.count_bits(), [bits, counts], [self.total, _TILE], groups=self.groups)
        chain.dispatch(kernels.running_starts(), [counts, starts], [self.groups], groups=1)
        return bits

    def record_list(self, chain: Recorder, bits: StorageLike, starts: StorageLike, out: StorageLike) -> None:
        """Record the list of the numbers marked, ascending, as u64."""
        params = [self.total, _TILE, self.first]
        chain.dispatch(kernels.collect_primes(), [bits, starts, out], params, groups=self.groups)

    def _record(self, chain: Recorder, *, keep: bool) -> tuple[StorageLike, StorageLike]:
        """Record the sieve; return the memory of its bits and of the counts of all stretches."""
        allocate, root = chain.device.allocate, math.isqrt(self.hi - 1)
        room = _room(root)
        masks = store(chain, np.array(kernels.STRIKE_MASKS, np.uint64))
        primes, patterns = allocate((2 + room) * u32.nbytes), allocate(kernels.PATTERN_STARTS[-1])
        strides = allocate(8 * room * self.stretches * u32.nbytes)
        bits = allocate(self.stretches * (self.stretch if keep else self.segment))
        counts = allocate(self.stretches * u64.nbytes)
        chain.dispatch(kernels.base_primes(), [allocate(root // 2 + 1), primes], [root], groups=1)
        chain.dispatch(kernels.fill_patterns(), [patterns], [], groups=-(-kernels.PATTERN_STARTS[-1] // 64))
        starts = [self.first, self.stretch, room]
        chain.dispatch(kernels.start_strides(), [primes, strides], starts, groups=(-(-room // 64), self.stretches))
        self._record_segments(chain, [primes, patterns, masks, strides, bits, counts], room, keep=keep)
        return bits, counts

    def _record_segments(self, chain: Recorder, buffers: list[StorageLike], room: int, *, keep: bool) -> None:
        """Record the dispatches over segments; each goes on where the one before it stopped."""
        last_byte = 30 * (self.first + self.total - 1)
        last_mask = sum(1 << k for k, r in enumerate(kernels.RESIDUES) if last_byte + r < self.hi)
        at_once = max(1, _NUMBERS_PER_DISPATCH // (30 * self.segment * self.stretches))
        begins = np.arange(0, self.per_stretch, at_once, dtype=np.uint32)
        ends = np.minimum(begins + np.uint32(at_once), np.uint32(self.per_stretch))
        with chain.repeat(len(begins)):
            params = [self.first, self.stretch, self.segment, begins, ends, self.first + self.total, last_mask, room]
            chain.dispatch(kernels.sieve_segments(keep=keep), buffers, params, groups=self.stretches)


def _room(root: int) -> int:
    """Return room for the primes up to the root: Rosser and Schoenfeld (1962), pi(x) < 1.25506 x / ln x."""
    return int(1.25506 * root / math.log(root)) + 1 if root > 1 else 1
