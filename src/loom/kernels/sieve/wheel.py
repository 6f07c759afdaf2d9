"""The sieve of Eratosthenes on a wheel of 30, in segments that fit the cache, integers throughout.

Layer: kernels. Byte b stands for the eight numbers 30 b + {1, 7, 11, 13, 17, 19, 23, 29}; a set bit is a
number not struck out. A workgroup is one lane that sieves consecutive segments of its own stretch,
carrying for each prime and residue the next byte to strike from one segment to the next. Multiples of
the primes below 74 come from precomputed patterns. Invariant: a count or list is exact for every n up
to 10^12; no float is used anywhere.

Source: the wheel and the pre-sieve follow primesieve (Kim Walisch, github.com/kimwalisch/primesieve) in
idea; the eight independent strides per prime replace its wheel state machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from loom.core.dtype import u8, u32, u64
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, group_id, idiv, popcount, static_range

__all__ = [
    "BLOCK_NBYTES",
    "PATTERNS",
    "PATTERN_STARTS",
    "PRESIEVED",
    "RESIDUES",
    "STRIKE_MASKS",
    "base_primes",
    "collect_primes",
    "count_bits",
    "fill_patterns",
    "running_starts",
    "sieve_segments",
    "start_strides",
]

RESIDUES = (1, 7, 11, 13, 17, 19, 23, 29)
"""Numbers below 30 that 2, 3 and 5 do not divide; bit k of a byte stands for residue k."""

PRESIEVED = ((7, 11, 13, 17), (19, 23, 29), (31, 37), (41, 43), (47, 53), (59, 61), (67, 71, 73))
"""Primes struck out by patterns: the pattern of a row repeats after the product of its primes in bytes."""

BLOCK_NBYTES = 24 * 1024
"""Bytes sieved at a time by the small primes, so that they stay in the first-level cache."""

SMALL_LIMIT = 1024
"""Primes below this are small: they strike block by block."""


def _product(row: Sequence[int]) -> int:
    result = 1
    for p in row:
        result *= p
    return result


PATTERNS: tuple[int, ...] = tuple(_product(row) for row in PRESIEVED)
"""Length of each pattern in bytes."""

PATTERN_STARTS: tuple[int, ...] = tuple(
    sum(length + BLOCK_NBYTES for length in PATTERNS[:k]) for k in range(len(PATTERNS) + 1)
)
"""Where each pattern starts in the pattern buffer: it is repeated for a block beyond its length."""

_LARGEST_PRESIEVED = max(p for row in PRESIEVED for p in row)


def _strike_mask(prime_residue: int, cofactor_residue: int) -> int:
    """All bits but the one of prime * cofactor."""
    return 0xFF ^ 1 << RESIDUES.index(prime_residue * cofactor_residue % 30)


STRIKE_MASKS: tuple[int, ...] = tuple(
    sum(_strike_mask(p, q) << 8 * k for k, q in enumerate(RESIDUES)) for p in RESIDUES
)
"""For each residue of a prime, the eight masks of its cofactors packed in 64 bits."""


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))


_FIRST_BYTES: tuple[int, ...] = tuple(
    sum(1 << k for k, r in enumerate(RESIDUES) if _is_prime(30 * b + r)) for b in range(3)
)
"""The bytes of the numbers below 90: patterns strike out the pre-sieved primes themselves."""


@cache
def base_primes() -> KernelFunction:
    """Return the kernel (composite, primes, limit) that lists the primes above 73 up to ``limit``.

    One lane. ``composite`` has a byte per odd number up to limit, zero at first; ``primes[0]`` becomes
    their number, ``primes[1]`` how many are small, then each as prime * 8 + index of its residue.
    """

    @kernel(workgroup=1, trusted=True)
    def list_primes(composite: InOut[u8], primes: InOut[u32], limit: u32):  # type: ignore[valid-type]
        count = u32(0)
        small = u32(0)
        for half in range(1, (limit + 1) // 2):
            p = 2 * half + 1
            if composite[half] == 0:
                if p <= limit // p:
                    for at in range((p * p) // 2, (limit + 1) // 2, p):
                        composite[at] = 1
                if p > _LARGEST_PRESIEVED:
                    residue = p % 30
                    index = u32(0)
                    for k in static_range(1, 8):
                        if residue >= RESIDUES[k]:
                            index += 1
                    primes[2 + count] = p * 8 + index
                    count += 1
                    if p < SMALL_LIMIT:
                        small += 1
        primes[0] = count
        primes[1] = small

    return list_primes


@cache
def fill_patterns() -> KernelFunction:
    """Return the kernel (patterns) that computes all patterns, a lane per byte."""

    @kernel(workgroup=64, trusted=True)
    def fill(patterns: Out[u8]):  # type: ignore[valid-type]
        at = global_id()
        if at < PATTERN_STARTS[-1]:
            for k in static_range(len(PATTERNS)):
                if at >= PATTERN_STARTS[k] and at < PATTERN_STARTS[k + 1]:
                    byte = at - PATTERN_STARTS[k]
                    kept = u32(0xFF)
                    for p in PRESIEVED[k]:
                        for bit in static_range(8):
                            if (byte % p * 30 + RESIDUES[bit]) % p == 0:
                                kept = kept & (0xFF ^ (1 << bit))
                    patterns[at] = u8(kept)

    return fill


@cache
def start_strides() -> KernelFunction:
    """Return the kernel (primes, strides, first, stretch, room) that finds where striking starts.

    A lane per prime (x) and group (y). ``strides[(g * room + i) * 8 + r]`` becomes the first byte, counted
    from the start of group g's stretch, that prime i strikes with a cofactor of residue r: at least the
    prime's square. Stretches are ``stretch`` bytes from byte ``first`` on; 2^32 - 1 means never.
    """

    @kernel(workgroup=64, trusted=True)
    def start(  # type: ignore[no-untyped-def]
        primes: In[u32],
        strides: Out[u32],
        first: u64,
        stretch: u32,
        room: u32,  # type: ignore[valid-type]
    ):
        i = global_id(0)
        group = group_id(1)
        if i < primes[0]:
            p = u64(primes[2 + i] >> 3)
            begin = first + u64(group) * u64(stretch)
            least = max(p * p, begin * 30)
            for r in static_range(8):
                base = p * RESIDUES[r]
                turns = u64(0)
                if least > base:
                    turns = idiv(least - base + (30 * p - 1), 30 * p)
                byte = idiv(base, u64(30)) + turns * p - begin
                if byte > u64(stretch):
                    byte = u64(0xFFFF_FFFF)
                strides[(group * room + i) * 8 + r] = u32(byte)

    return start


@cache
def sieve_segments(*, keep: bool) -> KernelFunction:
    """Return the kernel that sieves segments, one lane per group.

    Buffers: primes, patterns, masks (the 64-bit ``STRIKE_MASKS``), strides, bits, counts. Group g owns the
    bytes from ``first + g * stretch`` on; this dispatch does its segments ``from_segment`` to
    ``to_segment``, ``segment`` bytes each. Without ``keep``, ``bits`` holds one segment per group and
    ``counts[g]`` grows by the numbers left below 30 * ``end`` bytes, the last byte of which counts with
    ``last_mask``; with it, ``bits`` keeps every byte of every group.
    """

    @kernel(workgroup=1, trusted=True)
    def segments(  # type: ignore[no-untyped-def]
        primes: In[u32],  # type: ignore[valid-type]
        patterns: In[u8],  # type: ignore[valid-type]
        masks: In[u64],  # type: ignore[valid-type]
        strides: InOut[u32],  # type: ignore[valid-type]
        bits: InOut[u8],  # type: ignore[valid-type]
        counts: InOut[u64],  # type: ignore[valid-type]
        first: u64,
        stretch: u32,
        segment: u32,
        from_segment: u32,
        to_segment: u32,
        end: u64,
        last_mask: u32,
        room: u32,
    ):
        group = group_id()
        start = first + u64(group) * u64(stretch)
        count = primes[0]
        small = primes[1]
        found = u64(0)
        for number in range(from_segment, to_segment):
            low = number * segment  # bytes from the start of the stretch
            if low < stretch and start + u64(low) < end:
                high = u32(min(start + u64(min(low + segment, stretch)), end) - start)
                origin = group * stretch if keep else group * segment - low
                sieve_segment(
                    primes, patterns, masks, strides, bits, start, low, high, origin, count, small, group * room
                )
                if not keep:
                    found += count_segment(bits, start, low, high, origin, end, last_mask)
        if not keep:
            counts[group] = counts[group] + found

    segments.name = "sieve_keep" if keep else "sieve_count"
    return segments


def sieve_segment(
    primes: Any, patterns: Any, masks: Any, strides: Any, bits: Any, start: Any, low: Any, high: Any, origin: Any,
    count: Any, small: Any, row: Any,
) -> None:  # fmt: skip
    """Sieve bytes ``low`` to ``high`` of a stretch; byte b is ``bits[origin + b]``."""
    for block in range(low, high, BLOCK_NBYTES):
        block_end = min(block + BLOCK_NBYTES, high)
        apply_patterns(patterns, bits, start + u64(block), origin + block, block_end - block)
        strike(primes, masks, strides, bits, 0, small, block_end, origin, row)
    last = count
    while last > small and reaches(primes, last, start, high) == 0:
        last -= 1
    strike(primes, masks, strides, bits, small, last, high, origin, row)


def reaches(primes: Any, last: Any, start: Any, high: Any) -> Any:
    """1 if the square of prime ``last - 1`` lies before the byte ``high`` of the stretch."""
    p = u64(primes[1 + last] >> 3)
    if p * p < (start + u64(high)) * 30:
        return u32(1)
    return u32(0)


def apply_patterns(patterns: Any, bits: Any, byte: Any, target: Any, size: Any) -> None:
    """Start ``size`` bytes at ``bits[target]``: the number 30 * ``byte`` and on, without multiples below 74."""
    a = u64(PATTERN_STARTS[0]) + byte % PATTERNS[0]
    b = u64(PATTERN_STARTS[1]) + byte % PATTERNS[1]
    c = u64(PATTERN_STARTS[2]) + byte % PATTERNS[2]
    d = u64(PATTERN_STARTS[3]) + byte % PATTERNS[3]
    e = u64(PATTERN_STARTS[4]) + byte % PATTERNS[4]
    f = u64(PATTERN_STARTS[5]) + byte % PATTERNS[5]
    g = u64(PATTERN_STARTS[6]) + byte % PATTERNS[6]
    into = u64(target)
    for i in range(u64(size)):
        one = patterns[a + i] & patterns[b + i] & patterns[c + i] & patterns[d + i]
        bits[into + i] = one & patterns[e + i] & patterns[f + i] & patterns[g + i]
    for k in static_range(3):
        if byte <= k and byte + u64(size) > k:
            bits[into + (k - byte)] = _FIRST_BYTES[k]


def strike(
    primes: Any, masks: Any, strides: Any, bits: Any, begin: Any, last: Any, end: Any, origin: Any, row: Any
) -> None:
    """Clear the multiples of primes ``begin`` to ``last`` before byte ``end``; remember where to go on."""
    for i in range(u32(begin), last):
        entry = primes[2 + i]
        p = entry >> 3
        packed = masks[entry & 7]
        place = (row + i) * 8
        for r in static_range(8):
            mask = u8((packed >> (8 * r)) & 0xFF)
            at = strides[place + r]
            while at < end:
                bits[origin + at] = bits[origin + at] & mask
                at += p
            strides[place + r] = at


def count_segment(bits: Any, start: Any, low: Any, high: Any, origin: Any, end: Any, last_mask: Any) -> Any:
    """Count the set bits of bytes ``low`` to ``high``, trimming the last byte of all."""
    if start + u64(high) == end:
        bits[origin + high - 1] = bits[origin + high - 1] & u8(last_mask)
    total = u64(0)
    for i in range(u64(origin + low), u64(origin + high)):
        total += u64(popcount(bits[i]))
    return total


@cache
def count_bits() -> KernelFunction:
    """Return the kernel (bits, counts, size, tile): ``counts[g]`` is the number of set bits in tile g."""

    @kernel(workgroup=1, trusted=True)
    def count(bits: In[u8], counts: Out[u32], size: u32, tile: u32):  # type: ignore[valid-type]
        first = group_id() * tile
        last = min(size - first, tile) + first
        total = u32(0)
        for i in range(u64(first), u64(last)):
            total += u32(popcount(bits[i]))
        counts[group_id()] = total

    return count


@cache
def running_starts() -> KernelFunction:
    """Return the kernel (counts, starts, tiles): ``starts[g]`` sums the counts before g, g up to ``tiles``."""

    @kernel(workgroup=1, trusted=True)
    def running(counts: In[u32], starts: Out[u32], tiles: u32):  # type: ignore[valid-type]
        total = u32(0)
        for g in range(tiles):
            starts[g] = total
            total += counts[g]
        starts[tiles] = total

    return running


@cache
def collect_primes() -> KernelFunction:
    """Return the kernel (bits, starts, out, size, tile, first) that writes each tile's numbers in order.

    ``starts[g]`` is where tile g's numbers begin in ``out``; byte b of ``bits`` is byte ``first + b`` of all.
    """

    @kernel(workgroup=1, trusted=True)
    def collect(  # type: ignore[no-untyped-def]
        bits: In[u8],
        starts: In[u32],
        out: Out[u64],
        size: u32,
        tile: u32,
        first: u64,  # type: ignore[valid-type]
    ):
        begin = group_id() * tile
        at = starts[group_id()]
        for byte in range(begin, min(size - begin, tile) + begin):
            left = u32(bits[byte])
            if left != 0:
                number = (first + u64(byte)) * 30
                for k in static_range(8):
                    if (left >> k) & 1 == 1:
                        out[at] = number + RESIDUES[k]
                        at += 1

    return collect
