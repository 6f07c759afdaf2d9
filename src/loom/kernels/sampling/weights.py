"""Logits become weights: what was said before is counted against them, and chances become whole numbers.

Layer: kernels. The weight of a logit v is e = exp((v - m) / t), m the largest; its mass is the whole number
floor(e 2^40). Sums of masses are exact, so that no order of adding is part of what a token depends on. Weights are
counted above a few edges on the way, from which ``draw`` knows how many tokens it has to look at. Invariant: a weight
depends on its logit, the largest of the row and the row's settings alone.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import f32, u32, u64
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, bitcast, group_id, local_id, select, shared, static_range
from loom.kernels.functions.exponential import exp
from loom.kernels.group.collective import group_sum

__all__ = [
    "ADJUSTED", "BIAS", "EDGES", "FLAGS", "FREQUENCY", "GREEDY", "LANES", "MIN_P", "NUCLEUS", "POSITION", "PRESENCE",
    "REPETITION", "SEED", "SEEN", "SETTINGS", "STATS", "STREAM", "TEMPERATURE", "TILE", "TOP_K", "TOP_P", "adjust",
    "mass", "weigh",
]  # fmt: skip

LANES = 64
TILE = 4096
"""Logits that a group weighs."""
EDGES = (0x3C800000, 0x39800000, 0x35800000)
"""Weights 2^-6, 2^-12 and 2^-20, as bits."""
STATS = 8
"""Facts of a tile: how many weights reach each edge, their masses, the mass of all; one is free."""

SETTINGS = 8
"""Numbers of a row, of floats and of words."""
TEMPERATURE, MIN_P, REPETITION, FREQUENCY, PRESENCE = range(5)
TOP_K, TOP_P, SEED, POSITION, STREAM, ADJUSTED, FLAGS = 0, 1, 2, 4, 5, 6, 7
"""Words of a row; the seed takes two. ``TOP_P`` is a fraction over 2^32."""
GREEDY, NUCLEUS = 1, 2
"""Flags of a row: the largest logit is taken; ``TOP_P`` counts."""
SEEN = 1 << 31
"""Of a token's count: whether it stands anywhere before; the rest is how often within the text."""
BIAS = 40
"""Masses are weights times 2 to this power."""


def mass(weight: Any) -> Any:
    """Return floor(weight 2^40) of a weight's bits, weights from 0 to 1, as u64; exact."""
    significand = u64((weight & 0x7FFFFF) | 0x800000)
    shift = weight >> 23  # the exponent and 127
    left = select(shift > 110, shift - 110, u32(0))
    right = select(shift < 110, min(110 - shift, u32(63)), u32(0))
    return (significand << u64(left)) >> u64(right)


@cache
def adjust(*, masked: bool) -> KernelFunction:
    """Return the kernel (logits, mask, tokens, counts, biases, numbers, words, out, n, most).

    A group takes a tile of a row: ``out`` are its logits, minus infinity where a bit of ``mask`` is 0 (but NaN), with
    penalties and biases for the ``words[ADJUSTED]`` first tokens of the row, of ``most``, which differ.
    """

    def mask_logit(v: Any, mask: Any, at: Any, i: Any) -> Any:
        if masked:
            is_allowed = (mask[at + (i >> 5)] >> (i & 31)) & 1 != 0
            return select(is_allowed or v != v, v, f32(float("-inf")))  # noqa: PLR0124 - a NaN
        return v

    @kernel(workgroup=LANES, trusted=True)
    def adjust_logits(
        logits: In[f32], mask: In[u32], tokens: In[u32], counts: In[u32], biases: In[f32], numbers: In[f32],
        words: In[u32], out: Out[f32], n: u32, most: u32,
    ):  # fmt: skip
        lane, tiles = local_id(), (n + (TILE - 1)) // TILE
        row, first = group_id() // tiles, group_id() % tiles * TILE
        place = shared(u32, TILE)
        for i in range(lane, TILE, LANES):
            place[i] = 0
        barrier()
        for k in range(lane, words[row * SETTINGS + ADJUSTED], LANES):
            token = tokens[row * most + k]
            if token >= first and token < first + TILE:
                place[token - first] = k + 1
        barrier()
        repetition = numbers[row * SETTINGS + REPETITION]
        frequency, presence = numbers[row * SETTINGS + FREQUENCY], numbers[row * SETTINGS + PRESENCE]
        for i in range(first + lane, min(first + TILE, n), LANES):
            v = mask_logit(logits[row * n + i], mask, row * ((n + 31) // 32), i)
            k = place[i - first]
            if k > 0:
                count = counts[row * most + (k - 1)]
                said = count & (SEEN - 1)
                if count >= SEEN:
                    v = select(v < 0.0, v * repetition, v / repetition)
                v = v - f32(said) * frequency
                v = v - select(said > 0, presence, f32(0))
                v = v + biases[row * most + (k - 1)]
            out[row * n + i] = v

    adjust_logits.name = f"sampling_adjust_{'masked' if masked else 'all'}"
    return adjust_logits


@cache
def weigh() -> KernelFunction:
    """Return the kernel (logits, largest, numbers, words, weights, stats, n): bits of weights, and a tile's ``STATS``.

    Of greedy rows nothing is written.
    """

    @kernel(workgroup=LANES, trusted=True)
    def weigh_tokens(
        logits: In[f32], largest: In[f32], numbers: In[f32], words: In[u32], weights: Out[u32], stats: Out[u64], n: u32
    ):
        lane, tiles = local_id(), (n + (TILE - 1)) // TILE
        row, first = group_id() // tiles, group_id() % tiles * TILE
        m, t = largest[row], numbers[row * SETTINGS + TEMPERATURE]
        last = select(words[row * SETTINGS + FLAGS] & GREEDY != 0, first, min(first + TILE, n))
        many_0, many_1, many_2 = u64(0), u64(0), u64(0)
        mass_0, mass_1, mass_2, total = u64(0), u64(0), u64(0), u64(0)
        for i in range(first + lane, last, LANES):
            e = bitcast(u32, exp((logits[row * n + i] - m) / t))
            weights[row * n + i] = e
            q = mass(e)
            total += q
            many_0 += u64(e >= EDGES[0])
            many_1 += u64(e >= EDGES[1])
            many_2 += u64(e >= EDGES[2])
            mass_0 += select(e >= EDGES[0], q, u64(0))
            mass_1 += select(e >= EDGES[1], q, u64(0))
            mass_2 += select(e >= EDGES[2], q, u64(0))
        found = (many_0, many_1, many_2, mass_0, mass_1, mass_2, total)
        for s in static_range(7):
            together = group_sum(found[s])
            if lane == 0:
                stats[group_id() * STATS + s] = together

    weigh_tokens.name = "sampling_weigh"
    return weigh_tokens
