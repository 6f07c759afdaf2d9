"""The prime sieve's schedule for devices whose lanes are threads of hardware: a workgroup per class and segment.

Layer: patterns. The host finds the base primes (78,498 at most) and how many of them each segment needs; the device
does the rest in one chain. Invariant: what is counted or listed is exact up to 10^12, whatever the length of a segment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from loom.core.dtype import u32, u64
from loom.core.numerics import REDUCE_TILE
from loom.kernels.fold.tiles import sum_tiles
from loom.kernels.sieve import classes as kernels
from loom.kernels.sieve.wheel import RESIDUES
from loom.runtime.chain import Chain
from loom.runtime.chain.program import Program
from loom.runtime.device import Device
from loom.runtime.storage import Storage

__all__ = ["Cut", "base_primes", "build_count", "count_above_5", "list_above_5", "prime_table", "segment_words"]

_MOST_WORDS = 8192
"""Words of a segment: 32 KiB, what nearly every device has for a workgroup."""
_SEGMENTS_PER_DISPATCH = 1024
"""Eight thousand million numbers: some milliseconds of a large device's time, so that a run can be cancelled."""
_NUMBERS_PER_LIST = 1 << 28
"""Numbers listed at a time: their primes take at most 117 MB."""
_TEAM_LIMITS = (256, 4096)
"""Primes below these are struck by all lanes of a group, and by 8 lanes: each lane strikes some times per prime."""


def segment_words(device: Device) -> int:
    """Return the words of a segment on a device: a power of two."""
    words = min(_MOST_WORDS, device.caps.shared_nbytes // u32.nbytes)
    return 1 << words.bit_length() - 1


def count_above_5(n: int, device: Device) -> int:
    """Return how many primes above 5 are below ``n`` (at most 10^12)."""
    program, out = build_count(n, segment_words(device), device)
    program.run()
    return int(out.read(0, u64.nbytes).view(np.uint64)[0])


def build_count(n: int, words: int, device: Device) -> tuple[Program, Storage]:
    """Return the program that counts the primes above 5 below ``n``, and the memory of its result, a u64."""
    chain = Chain(device, name="gpu_prime_count")
    cut = Cut(0, n, words)
    counts = _record_sieve(chain, cut, keep=False)
    out = _record_sum(chain, counts, cut.segments * len(RESIDUES))
    return chain.build(), out


def list_above_5(lo: int, hi: int, device: Device, words: int | None = None) -> np.ndarray[Any, Any]:
    """Return the primes above 5 from ``lo`` up to but not including ``hi``, ascending, as uint64.

    ``words`` per segment: by default as many as suit the device.
    """
    words = segment_words(device) if words is None else words
    starts = range(lo, hi, _NUMBERS_PER_LIST)
    parts = [_list(Cut(at, min(at + _NUMBERS_PER_LIST, hi), words), device) for at in starts]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _list(cut: Cut, device: Device) -> np.ndarray[Any, Any]:
    chain = Chain(device, name="gpu_primes")
    bits = _record_sieve(chain, cut, keep=True)
    groups = -(-cut.row // kernels.LANES)
    counts, starts = (device.allocate(groups * u32.nbytes) for _ in range(2))
    chain.dispatch(kernels.count_columns(), [bits, counts], [cut.row], groups=groups)
    chain.build().run()
    ends = np.cumsum(counts.read(0, groups * u32.nbytes).view(np.uint32), dtype=np.uint32)
    starts.write(u32.nbytes, ends[:-1].view(np.uint8))
    out = device.allocate(int(ends[-1]) * u64.nbytes, zeroed=False)
    chain.dispatch(kernels.collect_columns(), [bits, starts, out], [cut.row, cut.first], groups=groups)
    chain.build().run()
    found = out.read(0, int(ends[-1]) * u64.nbytes).view(np.uint64)
    return found[slice(*np.searchsorted(found, np.array([cut.lo, cut.hi], np.uint64)))]


@dataclass(frozen=True, slots=True)
class Cut:
    """How the numbers ``lo`` to ``hi`` are cut into segments of ``words`` words for each class."""

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
def base_primes(limit: int) -> np.ndarray[Any, Any]:
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


def _record_sieve(chain: Chain, cut: Cut, *, keep: bool) -> Storage:
    """Record the sieve; return the memory of its results: the counts of every segment and class, or all bits."""
    primes = base_primes(math.isqrt(cut.hi - 1))
    patterns = chain.device.allocate(kernels.PATTERN_STARTS[-1] * u32.nbytes, zeroed=False)
    chain.dispatch(kernels.fill_patterns(), [patterns], [], groups=-(-kernels.PATTERN_STARTS[-1] // 64))
    table, classes, reach = (_upload(chain.device, a) for a in (prime_table(primes), cut.classes(), cut.reach(primes)))
    words = len(RESIDUES) * (cut.row if keep else cut.segments)
    out = chain.device.allocate(words * u32.nbytes, zeroed=keep)  # the last segment's rest is not written
    small, middle = np.searchsorted(primes, _TEAM_LIMITS).tolist()
    begins = np.arange(0, cut.segments, _SEGMENTS_PER_DISPATCH, dtype=np.uint32)
    groups = np.ones((len(begins), 3), np.uint32)
    groups[:, 0] = np.minimum(cut.segments - begins, _SEGMENTS_PER_DISPATCH)
    groups[:, 1] = len(RESIDUES)
    with chain.repeat(len(begins)):
        params = [cut.first, cut.end, begins, cut.row, len(primes), small, middle]
        buffers = [table, classes, patterns, reach, out]
        chain.dispatch(kernels.sieve_segments(cut.words, keep=keep), buffers, params, groups=groups)
    return out


def _record_sum(chain: Chain, counts: Storage, size: int) -> Storage:
    """Record the sum of ``size`` u32; return the memory of one u64."""
    kernel = sum_tiles(u32, u64, u64)
    while True:
        tiles = -(-size // REDUCE_TILE)
        out = chain.device.allocate(tiles * u64.nbytes, zeroed=False)
        chain.dispatch(kernel, [counts, out], [size], groups=tiles)
        if tiles == 1:
            return out
        kernel, counts, size = sum_tiles(u64, u64, u64), out, tiles


def _upload(device: Device, array: np.ndarray[Any, Any]) -> Storage:
    storage = device.allocate(array.nbytes, zeroed=False)
    storage.write(0, array.view(np.uint8))
    return storage
