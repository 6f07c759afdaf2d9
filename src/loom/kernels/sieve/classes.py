"""The sieve of Eratosthenes for devices of many lanes: a class of numbers and a segment of it per workgroup.

Layer: kernels. Class r (1, 7, 11, 13, 17, 19, 23, 29) holds the numbers 30 k + r, bit k each; a set bit is a number not
struck out. Within a class a prime p strikes every p-th bit, so that a segment needs one first bit per prime, found by
32-bit products alone. Lanes start a word each from precomputed patterns of the primes below 80, then strike larger
primes' multiples with ``atomic_and`` on shared memory, whose order is free. Invariant: a count or list is exact for
every number up to 10^12, whatever the length of a segment; no float is used anywhere.

Source: Eratosthenes in segments per residue class of a wheel of 30 (as in yafu, Buhrow); remainders by Barrett (1986).
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from loom.core.dtype import u32, u64
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import (
    atomic_and,
    barrier,
    global_id,
    group_id,
    idiv,
    irem,
    local_id,
    mulhi,
    popcount,
    private,
    shared,
    static_range,
)
from loom.kernels.group.join import sum_lanes
from loom.kernels.sieve.wheel import RESIDUES

__all__ = [
    "CLASS_WORDS",
    "LANES",
    "LARGEST_PRESIEVED",
    "PATTERN_STARTS",
    "PRESIEVED",
    "TEAMS",
    "collect_columns",
    "count_columns",
    "fill_patterns",
    "sieve_segments",
]

LANES = 256
"""Lanes per workgroup."""

PRESIEVED = ((7, 11, 13), (17, 19), (23, 29), (31, 37), (41, 43), (47, 53), (59, 61), (67, 71), (73, 79))
"""Primes struck out by patterns: the words of a row repeat after the product of its primes, which is at least LANES."""

LARGEST_PRESIEVED = 79

_PERIODS = tuple(math.prod(row) for row in PRESIEVED)
_INVERSES = tuple(tuple(pow(30, -1, p) for p in row) for row in PRESIEVED)

PATTERN_STARTS = tuple(sum(_PERIODS[:k]) for k in range(len(_PERIODS) + 1))
"""Where each pattern starts in the pattern buffer, in words, and where the last one ends."""

TEAMS = (LANES, 8, 1)
"""Lanes that share a prime: all for the smallest, whose multiples are many, one for the largest."""

CLASS_WORDS = 3 + len(PRESIEVED)
"""Words per class: its residue, its end beyond the common one (0 or 1), its first three bits, and for each pattern how
many words of it come before bit 0."""

_ALL = 0xFFFF_FFFF
_LOW_BITS = 12
_LIST_BITS = 32


@cache
def fill_patterns() -> KernelFunction:
    """Return the kernel (patterns) that computes all patterns, a lane per word: those of class 1, from bit 0 on."""

    @kernel(workgroup=64, trusted=True)
    def fill(patterns: Out[u32]):  # type: ignore[valid-type]
        at = global_id()
        for k in static_range(len(PRESIEVED)):
            if at >= PATTERN_STARTS[k] and at < PATTERN_STARTS[k + 1]:
                first = (at - PATTERN_STARTS[k]) * 32
                kept = u32(_ALL)
                for n in static_range(len(PRESIEVED[k])):
                    p = PRESIEVED[k][n]
                    bit = (p - (first + _INVERSES[k][n]) % p) % p  # 30 (first + bit) + 1 is a multiple of p
                    while bit < 32:
                        kept = kept & ~(u32(1) << bit)
                        bit += p
                patterns[at] = kept

    fill.name = "sieve_threads_patterns"
    return fill


@cache
def sieve_segments(words: int, *, keep: bool) -> KernelFunction:
    """Return the kernel that sieves class y in segment ``from_segment + x``, a workgroup each.

    ``words`` (at least LANES) is the length of a segment. Buffers: ``primes``, the base primes above 79 ascending,
    then for each the floor of 2^32 / p, then for each -1/30 modulo p; ``classes``, eight rows of CLASS_WORDS words;
    ``patterns``; ``reach[x]``, how many of the primes have their square below the end of segment x. Bit k of all is
    ``first`` (a multiple of 32) plus k; bits from ``end`` on, or one later as the class says, are cleared. Primes 0 to
    ``small`` are struck by all lanes together, those to ``middle`` by teams of 8. Without ``keep``,
    ``out[8 x + y]`` becomes the number of bits left; with it, row y of ``out``, ``row`` words long, holds them.
    """

    @kernel(workgroup=LANES, trusted=True)
    def segments(  # type: ignore[no-untyped-def]
        primes: In[u32],  # type: ignore[valid-type]
        classes: In[u32],  # type: ignore[valid-type]
        patterns: In[u32],  # type: ignore[valid-type]
        reach: In[u32],  # type: ignore[valid-type]
        out: Out[u32],  # type: ignore[valid-type]
        first: u64,
        end: u64,
        from_segment: u32,
        row: u32,
        room: u32,
        small: u32,
        middle: u32,
    ):
        lane = local_id()
        segment = from_segment + group_id(0)
        entry = group_id(1) * CLASS_WORDS
        begin = first + u64(segment) * (32 * words)
        last = max(end + u64(classes[entry + 1]), begin)
        size = u32(min(last - begin, u64(32 * words)))
        used = (size + 31) >> 5
        bits = shared(u32, words)
        start_words(bits, classes, patterns, entry, begin, size, used, lane)
        barrier()
        residue = classes[entry]
        reached = reach[segment]
        low, high = min(small, reached), min(middle, reached)
        strike(bits, primes, u32(0), low, u32(TEAMS[0]), lane, begin, residue, size, room)
        strike(bits, primes, low, high, u32(TEAMS[1]), lane, begin, residue, size, room)
        strike(bits, primes, high, reached, u32(TEAMS[2]), lane, begin, residue, size, room)
        barrier()
        if keep:
            for word in range(lane, used, LANES):
                out[group_id(1) * row + segment * words + word] = bits[word]
        else:
            total = u32(0)
            for word in range(lane, used, LANES):
                total += popcount(bits[word])
            barrier()
            add_lanes(bits, lane, total)
            if lane == 0:
                out[segment * len(RESIDUES) + group_id(1)] = bits[0]

    segments.name = f"sieve_threads_{'keep' if keep else 'count'}_{words}"
    return segments


def start_words(
    bits: Any, classes: Any, patterns: Any, entry: Any, begin: Any, size: Any, used: Any, lane: Any
) -> None:
    """Start a segment: bits from ``begin`` on without the multiples of primes below 80, ``size`` bits in all."""
    places = private(u32, len(PRESIEVED))
    for k in static_range(len(PRESIEVED)):
        place = (u32(begin >> 5) + classes[entry + 3 + k]) % _PERIODS[k] + lane
        places[k] = min(place, place - _PERIODS[k])  # the remainder: what is below 0 wraps
    for word in range(lane, used, LANES):
        kept = u32(_ALL)
        for k in static_range(len(PRESIEVED)):
            kept = kept & patterns[places[k] + PATTERN_STARTS[k]]
            place = places[k] + LANES
            places[k] = min(place, place - _PERIODS[k])
        if word == 0 and begin == 0:
            kept = (kept & ~u32(7)) | classes[entry + 2]  # the primes below 80 themselves, and not 1
        if size - word * 32 < 32:
            kept = kept & ((u32(1) << (size - word * 32)) - 1)
        bits[word] = kept


def strike(
    bits: Any, primes: Any, from_prime: Any, to_prime: Any, team: Any, lane: Any, begin: Any, residue: Any, size: Any,
    room: Any,
) -> None:  # fmt: skip
    """Clear the multiples of some primes, each prime by a team of lanes, but not the primes themselves."""
    member = irem(lane, team)
    for i in range(from_prime + idiv(lane, team), to_prime, idiv(u32(LANES), team)):
        p = primes[i]
        at = first_multiple(p, primes[room + i], primes[2 * room + i], begin, residue)
        if begin < 1 << 20 and at + u32(begin) == idiv(p, u32(30)):
            at += p
        at += member * p
        while at < size:
            atomic_and(bits, at >> 5, ~(u32(1) << (at & 31)))
            at += p * team


def first_multiple(p: Any, reciprocal: Any, inverse: Any, begin: Any, residue: Any) -> Any:
    """Return the least bit b with 30 (begin + b) + residue a multiple of ``p``, for p below 2^20, begin below 2^44."""
    high = remainder(u32(begin >> _LOW_BITS), p, reciprocal)
    before = remainder(high << _LOW_BITS | (u32(begin) & ((1 << _LOW_BITS) - 1)), p, reciprocal)
    return remainder(residue * inverse + (p - before), p, reciprocal)


def remainder(x: Any, p: Any, reciprocal: Any) -> Any:
    """Return ``x % p``; ``reciprocal`` is floor(2^32 / p), with which the quotient is right or one too small."""
    left = x - mulhi(x, reciprocal) * p
    return min(left, left - p)


def add_lanes(lanes: Any, lane: Any, value: Any) -> None:
    """Leave the sum of every lane's ``value`` in ``lanes[0]`` (shared)."""
    lanes[lane] = value
    barrier()
    for step in static_range(1, LANES.bit_length()):
        if lane < LANES >> step:
            lanes[lane] = lanes[lane] + lanes[lane + (LANES >> step)]
        barrier()


@cache
def count_columns() -> KernelFunction:
    """Return the kernel (bits, counts, row): ``counts[g]`` is the number of bits set in columns 256 g to 256 g + 255.

    ``bits`` has eight rows of ``row`` words, one per class; a column is a word of each.
    """

    @kernel(workgroup=LANES, trusted=True)
    def count(bits: In[u32], counts: Out[u32], row: u32):  # type: ignore[valid-type]
        column = global_id()
        total = u32(0)
        if column < row:
            for y in static_range(len(RESIDUES)):
                total += popcount(bits[y * row + column])
        lanes = shared(u32, LANES)
        add_lanes(lanes, local_id(), total)
        if local_id() == 0:
            counts[group_id()] = lanes[0]

    count.name = "sieve_threads_count_columns"
    return count


@cache
def collect_columns() -> KernelFunction:
    """Return the kernel (bits, starts, out, row, first) that writes the numbers of the bits set, ascending.

    ``starts[g]`` is where those of columns 256 g to 256 g + 255 begin in ``out``; bit k is number 30 (first + k) + r.
    """

    @kernel(workgroup=LANES, trusted=True)
    def collect(bits: In[u32], starts: In[u32], out: Out[u64], row: u32, first: u64):  # type: ignore[valid-type]
        column = global_id()
        left = private(u32, len(RESIDUES))
        total = u32(0)
        for y in static_range(len(RESIDUES)):
            word = u32(0)
            if column < row:
                word = bits[y * row + column]
            left[y] = word
            total += popcount(word)
        at = starts[group_id()] + sum_lanes(LANES, shared(u32, 2 * LANES), total) - total
        number = (first + u64(column) * _LIST_BITS) * 30
        for bit in range(_LIST_BITS):
            for y in static_range(len(RESIDUES)):
                if (left[y] >> bit) & 1 == 1:
                    out[at] = number + RESIDUES[y]
                    at += 1
            number += 30

    collect.name = "sieve_threads_collect"
    return collect
