"""``gpu_prime_count`` and ``gpu_primes``: exact, integers throughout.

Layer: patterns. One chain: base primes, patterns, first strides, then dispatches that each sieve some
segments of every stretch, carrying their state on; where lanes are threads of hardware, the schedule of
``sieve_threads``. Invariant: the answer is exact up to 10^12.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from loom.core.dtype import u32, u64
from loom.core.errors import ArgumentError, DTypeError
from loom.kernels.fold.tiles import sum_tiles
from loom.kernels.sieve import wheel as sieve
from loom.patterns import sieve_threads
from loom.runtime.chain import Chain
from loom.runtime.device import Device
from loom.runtime.registry import device
from loom.runtime.storage import Storage

__all__ = ["gpu_prime_count", "gpu_primes"]

_LIMIT = 10**12
_STRETCHES = 32
"""Stretches sieved side by side; more than the workers of any device, so that they end together."""
_NUMBERS_PER_DISPATCH = 1_500_000_000
"""About a quarter of a second of work, so that a run can be cancelled."""
_LEAST_SEGMENT = 64 * 1024
_TILE = 1 << 16
"""Bytes per lane when primes are listed."""


def gpu_prime_count(n: int, *, on: str | Device | None = None) -> int:
    """Return how many primes are below ``n`` (0 to 10^12; a whole float is taken as an int).

    >>> gpu_prime_count(100)
    25
    """
    n = _whole(n, "gpu_prime_count", "n")
    if n <= 7:
        return sum(p < n for p in (2, 3, 5))
    where = device(on)
    if where.caps.threads:
        return 3 + sieve_threads.count_above_5(n, where)
    chain = Chain(where, name="gpu_prime_count")
    job = _Job.of(0, n, chain.device, keep=False)
    memory = _record_sieve(chain, job, keep=False)
    out = chain.device.allocate(u64.nbytes)
    chain.dispatch(sum_tiles(u64, u64, u64), [memory["counts"], out], [job.stretches], groups=1)
    chain.build().run()
    return 3 + int(out.read(0, u64.nbytes).view(np.uint64)[0])


def gpu_primes(lo: int, hi: int, *, on: str | Device | None = None) -> np.ndarray[Any, Any]:
    """Return the primes from ``lo`` up to but not including ``hi`` (at most 10^12), ascending, as uint64.

    Needs about (hi - lo) / 30 bytes besides the result.

    >>> gpu_primes(10, 30).tolist()
    [11, 13, 17, 19, 23, 29]
    """
    lo, hi = _whole(lo, "gpu_primes", "lo"), _whole(hi, "gpu_primes", "hi")
    first = np.array([p for p in (2, 3, 5) if lo <= p < hi], np.uint64)
    if hi <= max(lo, 7):
        return first
    where = device(on)
    job = _Job.of(lo, hi, where, keep=True)
    if where.caps.threads:
        return np.concatenate([first, sieve_threads.list_above_5(lo, hi, where)])
    chain = Chain(where, name="gpu_primes")
    memory = _record_sieve(chain, job, keep=True)
    tiles = -(-job.total // _TILE)
    counts, starts = (chain.device.allocate((tiles + 1) * u32.nbytes) for _ in range(2))
    chain.dispatch(sieve.count_bits(), [memory["bits"], counts], [job.total, _TILE], groups=tiles)
    chain.dispatch(sieve.running_starts(), [counts, starts], [tiles], groups=1)
    chain.build().run()
    found = np.empty(int(starts.read(tiles * u32.nbytes, u32.nbytes).view(np.uint32)[0]), np.uint64)
    listed = _collect(chain, memory["bits"], starts, found, job, tiles)
    inside = slice(*np.searchsorted(listed, np.array([lo, hi], np.uint64)))
    return np.concatenate([first, listed[inside]]) if first.size else listed[inside]


def _collect(
    chain: Chain, bits: Storage, starts: Storage, found: np.ndarray[Any, Any], job: _Job, tiles: int
) -> np.ndarray[Any, Any]:
    if found.size:
        params = [job.total, _TILE, job.first]
        chain.dispatch(sieve.collect_primes(), [bits, starts, found], params, groups=tiles)
        chain.build().run()
    return found


def _whole(value: Any, where: str, name: str) -> int:
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise DTypeError(
            f"{where}, {name}", "not a whole number", expected="an int", got=repr(value), remedy="Round it first"
        )
    if not 0 <= int(value) <= _LIMIT:
        raise ArgumentError(
            f"{where}, {name}", "out of range", expected=f"0 to {_LIMIT}", got=value, remedy="Stay within it"
        )
    return int(value)


@dataclass(frozen=True, slots=True)
class _Job:
    """How a range is cut: ``total`` bytes of 30 numbers from byte ``first`` on, in stretches of segments."""

    first: int
    total: int
    root: int
    segment: int
    per_stretch: int
    stretches: int
    last_mask: int

    @classmethod
    def of(cls, lo: int, hi: int, where: Device, *, keep: bool) -> _Job:
        """Cut the numbers lo to hi for a device."""
        first, total = lo // 30, -(-hi // 30) - lo // 30
        segment = max(_LEAST_SEGMENT, where.caps.cache_nbytes // 4)
        segments = -(-total // segment)
        per_stretch = -(-segments // _STRETCHES)
        if keep and (total > 0xFFFF_FFFF - segment * _STRETCHES):
            raise ArgumentError(
                "gpu_primes", "the range is too long", expected=f"at most {30 * (0xFFFF_FFFF - segment * _STRETCHES)}",
                got=hi - lo, remedy="List it in parts",
            )  # fmt: skip
        last_byte = 30 * (first + total - 1)
        mask = sum(1 << k for k, r in enumerate(sieve.RESIDUES) if last_byte + r < hi)
        return cls(first, total, math.isqrt(hi - 1), segment, per_stretch, -(-segments // per_stretch), mask)

    @property
    def stretch(self) -> int:
        """Bytes in a stretch."""
        return self.segment * self.per_stretch

    @property
    def room(self) -> int:
        """Room for the primes up to the root: Rosser and Schoenfeld (1962), pi(x) < 1.25506 x / ln x."""
        return int(1.25506 * self.root / math.log(self.root)) + 1 if self.root > 1 else 1


def _record_sieve(chain: Chain, job: _Job, *, keep: bool) -> dict[str, Storage]:
    """Record the whole sieve; return the memory that holds its results."""
    allocate = chain.device.allocate
    masks = allocate(len(sieve.STRIKE_MASKS) * u64.nbytes)
    masks.write(0, np.array(sieve.STRIKE_MASKS, np.uint64).view(np.uint8))
    primes, patterns = allocate((2 + job.room) * u32.nbytes), allocate(sieve.PATTERN_STARTS[-1])
    strides = allocate(8 * job.room * job.stretches * u32.nbytes)
    bits = allocate(job.stretches * (job.stretch if keep else job.segment))
    counts = allocate(job.stretches * u64.nbytes)
    chain.dispatch(sieve.base_primes(), [allocate(job.root // 2 + 1), primes], [job.root], groups=1)
    chain.dispatch(sieve.fill_patterns(), [patterns], [], groups=-(-sieve.PATTERN_STARTS[-1] // 64))
    starts = [job.first, job.stretch, job.room]
    chain.dispatch(sieve.start_strides(), [primes, strides], starts, groups=(-(-job.room // 64), job.stretches))
    _record_segments(chain, job, [primes, patterns, masks, strides, bits, counts], keep)
    return {"bits": bits, "counts": counts}


def _record_segments(chain: Chain, job: _Job, buffers: list[Storage], keep: bool) -> None:
    """Record the dispatches over segments; each goes on where the one before it stopped."""
    at_once = max(1, _NUMBERS_PER_DISPATCH // (30 * job.segment * job.stretches))
    begins = np.arange(0, job.per_stretch, at_once, dtype=np.uint32)
    ends = np.minimum(begins + np.uint32(at_once), np.uint32(job.per_stretch))
    with chain.repeat(len(begins)):
        params = [
            job.first, job.stretch, job.segment, begins, ends, job.first + job.total, job.last_mask, job.room,
        ]  # fmt: skip
        chain.dispatch(sieve.sieve_segments(keep=keep), buffers, params, groups=job.stretches)
