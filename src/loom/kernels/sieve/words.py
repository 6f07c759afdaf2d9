"""The sieve of Eratosthenes over 32-bit words, as three kernels that a unit chains segment by segment.

Layer: kernels. A segment is ``words`` words of ``registers``; bit k of word w in segment s stands for the odd
number 64 (s words + w) + 2 k + 1, and the very first bit, whose number 1 is no prime, stands for 2. The limit
N = n_hi 2^24 + n_lo and all addresses are 64-bit integers; no float is used. ``globals`` holds odd primes
ascending from 3. Words ``words`` and ``words + 1`` of ``registers`` hold the primes of the segment and of all
segments so far. Any number of workgroups gives the same bits. Invariant: with every odd prime p, p * p < N,
struck out, the bits set are exactly the primes below N.
"""

from __future__ import annotations

from loom.core.dtype import u32, u64
from loom.ir.frontend.base.annotations import In, InOut
from loom.ir.frontend.decorator import kernel
from loom.ir.frontend.intrinsics import (
    atomic_add,
    atomic_and,
    barrier,
    global_id,
    group_id,
    idiv,
    local_id,
    num_groups,
    popcount,
    shared,
    static_range,
)

__all__ = ["SIEVE_LANES", "sieve_count", "sieve_init", "sieve_mark"]

SIEVE_LANES = 256
"""Lanes per workgroup."""

_HALVES = tuple(SIEVE_LANES >> k for k in range(1, SIEVE_LANES.bit_length()))
_ALL = 0xFFFF_FFFF


@kernel(workgroup=SIEVE_LANES)
def sieve_init(registers: InOut[u32], seg: u32, words: u32, n_lo: u32, n_hi: u32) -> None:
    """Set the bits of segment ``seg`` that stand for numbers below N, and clear the segment's count."""
    n = (u64(n_hi) << 24) + u64(n_lo)
    for word in range(global_id(), words, num_groups() * SIEVE_LANES):
        low = (u64(seg) * u64(words) + u64(word)) * 64 + 1
        bits = u32(0)
        if low < n:
            numbers = (n - low + 1) >> 1
            bits = u32(_ALL)
            if numbers < 32:
                bits = (u32(1) << u32(numbers)) - 1
            if low == 1 and n <= 2:
                bits = u32(0)
        registers[word] = bits
    if global_id() == 0:
        registers[words] = 0


@kernel(workgroup=SIEVE_LANES)
def sieve_mark(
    registers: InOut[u32],
    globals: In[u32],  # noqa: A002 (a unit's binding)
    seg: u32,
    words: u32,
    first: u32,
    last: u32,
) -> None:
    """Clear the bits of the multiples of primes ``first`` up to but not including ``last`` in a segment.

    A workgroup strikes out every ``num_groups()``-th prime; its lanes share the multiples.
    """
    low = u64(seg) * u64(words) * 64 + 1
    size = u64(words) * 32
    for i in range(first + group_id(), last, num_groups()):
        p = u64(globals[i])
        start = p * p
        if start < low:
            start = idiv(low + p - 1, p) * p
            start += p * (1 - (start & 1))  # to an odd multiple
        for at in range(((start - low) >> 1) + u64(local_id()) * p, size, p * SIEVE_LANES):
            atomic_and(registers, u32(at >> 5), ~(u32(1) << u32(at & 31)))


@kernel(workgroup=SIEVE_LANES, order="free")
def sieve_count(registers: InOut[u32], words: u32, count_off: u32) -> None:
    """Add the bits set in ``words`` words to the words ``count_off`` and ``count_off + 1``.

    ``count_off`` is at least ``words``; ``sieve_init`` clears the word right after the segment, so with
    ``count_off == words`` the first is the segment's count and the second the total.

    Order: words below ``words`` are only read, those from ``count_off`` on are only added to.
    """
    total = u32(0)
    for word in range(global_id(), words, num_groups() * SIEVE_LANES):
        total += popcount(registers[word])
    lane = local_id()
    sums = shared(u32, SIEVE_LANES)
    sums[lane] = total
    barrier()
    for half in static_range(len(_HALVES)):
        if lane < _HALVES[half]:
            sums[lane] = sums[lane] + sums[lane + _HALVES[half]]
        barrier()
    if lane == 0:
        atomic_add(registers, count_off, sums[0])
        atomic_add(registers, count_off + 1, sums[0])
