"""Draws a token by its weight, among the largest: top-k, top-p and min-p without a sort.

Layer: kernels. Tokens are in the order of their weights, the lower index first of equal ones; each limit keeps a
beginning of that order, so that a weight and a number of tokens that have just this weight say what is kept. The weight
is found by halving its bits: whole numbers are counted and added, exactly. The draw is Philox's 64 bits times the mass
of what is kept, over 2^64; the token is the one in which the running sum of masses, by index, passes it. Invariant: the
token depends on weights, settings, seed, stream and position alone.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import f32, u32, u64
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import bitcast, group_id, local_id, mulhi, select, static_range
from loom.kernels.group.collective import group_min, group_scan, group_sum
from loom.kernels.maps.random import philox
from loom.kernels.sampling.weights import (
    EDGES,
    FLAGS,
    GREEDY,
    LANES,
    MIN_P,
    NUCLEUS,
    POSITION,
    SEED,
    SETTINGS,
    STATS,
    STREAM,
    TILE,
    TOP_K,
    TOP_P,
    mass,
)

__all__ = ["HAS_INFINITY", "HAS_NAN", "HAS_NOTHING", "choose", "pick_candidates"]

HAS_NAN, HAS_INFINITY, HAS_NOTHING = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
"""In place of a token: a logit is NaN, the largest is infinite, or all are minus infinity."""
_ONE = 0x3F800000
_ALL = 3
"""No edge: all tokens are looked at."""
_STEPS = 30
_MANY = 0xFFFFFFFF


def _nucleus_mass(total: Any, fraction: Any) -> Any:
    """Return the mass that a nucleus holds at least."""
    return max(mulhi(total, u64(fraction) << u64(32)), u64(1))


def _edge(many: Any, masses: Any, total: Any, k: Any, flags: Any, fraction: Any, least: Any, n: Any) -> Any:
    """Return which edge has all tokens above it that the limits may keep."""
    limited, nucleus = k > 0 and k < n, flags & NUCLEUS != 0
    need = _nucleus_mass(total, fraction)
    found = u32(_ALL)
    for e in (2, 1, 0):  # the highest that will do
        fits = select(limited, many[e] >= u64(k), select(nucleus, masses[e] >= need, bitcast(u32, least) >= EDGES[e]))
        found = select(fits, u32(e), found)
    return found


def _sum_tiles(stats: Any, row: Any, tiles: Any, lane: Any, s: Any) -> Any:
    """Return a fact of a row: the sum over its tiles."""
    own = u64(0)
    for t in range(lane, tiles, LANES):
        own += stats[(row * tiles + t) * STATS + s]
    return group_sum(own)


def _facts(stats: Any, row: Any, tiles: Any, lane: Any) -> Any:
    many = (
        _sum_tiles(stats, row, tiles, lane, 0),
        _sum_tiles(stats, row, tiles, lane, 1),
        _sum_tiles(stats, row, tiles, lane, 2),
    )
    masses = (
        _sum_tiles(stats, row, tiles, lane, 3),
        _sum_tiles(stats, row, tiles, lane, 4),
        _sum_tiles(stats, row, tiles, lane, 5),
    )
    return many, masses, _sum_tiles(stats, row, tiles, lane, 6)


@cache
def pick_candidates() -> KernelFunction:
    """Return the kernel (weights, numbers, words, stats, picked, n): weights above the edge, and their tokens.

    A group takes a tile. ``picked`` has for each row n weights and n tokens, both in the order of tokens.
    """

    @kernel(workgroup=LANES, trusted=True)
    def pick(weights: In[u32], numbers: In[f32], words: In[u32], stats: In[u64], picked: Out[u32], n: u32):
        lane, tiles = local_id(), (n + (TILE - 1)) // TILE
        row, tile = group_id() // tiles, group_id() % tiles
        many, masses, total = _facts(stats, row, tiles, lane)
        at = row * SETTINGS
        edge = _edge(
            many, masses, total, words[at + TOP_K], words[at + FLAGS], words[at + TOP_P], numbers[at + MIN_P], n
        )
        floor = u32(0)
        for e in static_range(len(EDGES)):
            floor = select(edge == e, u32(EDGES[e]), floor)
        before = u64(0)
        for t in range(lane, tile, LANES):
            before += select(edge < _ALL, stats[(row * tiles + t) * STATS + min(edge, _ALL - 1)], u64(TILE))
        start = u32(group_sum(before))
        first = tile * TILE + lane * (TILE // LANES)
        last = select(words[at + FLAGS] & GREEDY != 0, first, min(first + TILE // LANES, n))
        own = u32(0)
        for i in range(first, last):
            own += u32(weights[row * n + i] >= floor)
        to = row * n * 2 + start + group_scan(own, inclusive=False)
        for i in range(first, last):
            e = weights[row * n + i]
            if e >= floor:
                picked[to] = e
                picked[to + n] = i
                to += 1

    pick.name = "sampling_pick"
    return pick


def _count_from(source: Any, base: Any, count: Any, lane: Any, least: Any) -> Any:
    """Return how many weights are at least ``least``."""
    own = u32(0)
    for i in range(lane, count, LANES):
        own += u32(source[base + i] >= least)
    return group_sum(own)


def _mass_from(source: Any, base: Any, count: Any, lane: Any, least: Any) -> Any:
    """Return the mass of the weights that are at least ``least``."""
    own = u64(0)
    for i in range(lane, count, LANES):
        e = source[base + i]
        own += select(e >= least, mass(e), u64(0))
    return group_sum(own)


def _top_k(source: Any, base: Any, count: Any, lane: Any, k: Any, limited: Any, whole: Any) -> Any:
    """Return the weight of the k-th token, how many of that weight are kept, and their mass (without k ``whole``)."""
    low, high = u32(0), u32(_ONE + 1)
    looked = select(limited, count, u32(0))
    for _ in range(_STEPS):
        middle = low + (high - low) // 2
        enough = _count_from(source, base, looked, lane, middle) >= k
        low, high = select(enough, middle, low), select(enough, high, middle)
    low = select(limited, low, u32(0))
    above = _count_from(source, base, looked, lane, low + 1)
    rank = select(limited, k - above, u32(_MANY))
    kept = _mass_from(source, base, looked, lane, low + 1) + u64(rank) * mass(low)
    return low, rank, select(limited, kept, whole)


def _top_p(source: Any, base: Any, count: Any, lane: Any, least: Any, rank: Any, need: Any, nucleus: Any) -> Any:
    """Return the weight of the last token of the nucleus, and how many of that weight are kept."""
    low, high = least, u32(_ONE + 1)
    looked = select(nucleus, count, u32(0))
    for _ in range(_STEPS):
        middle = low + (high - low) // 2
        enough = _mass_from(source, base, looked, lane, middle) >= need and middle > least
        low, high = select(enough, middle, low), select(enough, high, middle)
    above = _mass_from(source, base, looked, lane, low + 1)
    each = max(mass(low), u64(1))
    kept = u32(min((need - min(above, need) + (each - 1)) // each, u64(_MANY)))
    both = select(low == least, min(kept, rank), kept)
    return select(nucleus, low, least), select(nucleus, both, rank)


@cache
def choose() -> KernelFunction:
    """Return the kernel (logits, largest, picked, numbers, words, stats, out, n): a row's token, or why none."""

    @kernel(workgroup=LANES, trusted=True)
    def choose_token(
        logits: In[f32], largest: In[f32], picked: In[u32], numbers: In[f32], words: In[u32], stats: In[u64],
        out: Out[u32], n: u32,
    ):  # fmt: skip
        lane, row, tiles = local_id(), group_id(), (n + (TILE - 1)) // TILE
        at, m = row * SETTINGS, largest[row]
        k, flags, fraction, least = words[at + TOP_K], words[at + FLAGS], words[at + TOP_P], numbers[at + MIN_P]
        greedy = flags & GREEDY != 0
        # the lowest index of the largest logit
        first = u32(_MANY)
        for i in range(lane, select(greedy, n, u32(0)), LANES):
            first = min(first, select(logits[row * n + i] == m, i, u32(_MANY)))
        best = group_min(first)
        # what is looked at
        many, masses, total = _facts(stats, row, tiles, lane)
        edge = _edge(many, masses, total, k, flags, fraction, least, n)
        few = u32(select(edge == 0, many[0], select(edge == 1, many[1], many[2])))
        count = select(greedy, u32(0), select(edge < _ALL, few, n))
        token = _draw_token(picked, words, row, n, lane, count, (k, flags, fraction), bitcast(u32, least), total)
        failed = m != m or m == float("inf") or m == float("-inf")  # noqa: PLR0124 - a NaN
        why = select(m != m, u32(HAS_NAN), select(m > 0.0, u32(HAS_INFINITY), u32(HAS_NOTHING)))  # noqa: PLR0124
        found = select(failed, why, select(greedy, best, group_min(token)))
        if lane == 0:
            out[row] = found

    choose_token.name = "sampling_choose"
    return choose_token


def _draw_token(
    picked: Any, words: Any, row: Any, n: Any, lane: Any, count: Any, limits: Any, least: Any, total: Any,
) -> Any:  # fmt: skip
    """Return the token, to the lane that found it, and _MANY to the others."""
    base = row * n * 2
    k, flags, fraction = limits
    low, rank, total = _top_k(picked, base, count, lane, k, k > 0 and k < n, total)
    low, rank = _top_p(picked, base, count, lane, low, rank, _nucleus_mass(total, fraction), flags & NUCLEUS != 0)
    rank = select(least > low, u32(_MANY), rank)
    low = max(low, least)
    size = (count + (LANES - 1)) // LANES
    begin = min(lane * size, count)
    end = min(begin + size, count)
    equal = u32(0)
    for i in range(begin, end):
        equal += u32(picked[base + i] == low)
    place = group_scan(equal, inclusive=False)
    at, own = place, u64(0)
    for i in range(begin, end):
        e = picked[base + i]
        own += select(e > low or (e == low and at < rank), mass(e), u64(0))
        at += u32(e == low)
    whole = group_sum(own)
    s = row * SETTINGS
    a, b, _, _ = philox(u32(0), u32(0), words[s + POSITION], words[s + STREAM], words[s + SEED], words[s + SEED + 1])
    aim = mulhi(u64(b) << u64(32) | u64(a), whole)
    before = group_scan(own, inclusive=False)
    found = u32(_MANY)
    if aim >= before and aim < before + own:
        at = place
        for i in range(begin, end):
            e = picked[base + i]
            before += select(e > low or (e == low and at < rank), mass(e), u64(0))
            at += u32(e == low)
            if found == _MANY and before > aim:
                found = picked[base + n + i]
    return found
