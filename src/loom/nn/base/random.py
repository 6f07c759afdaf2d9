"""Random numbers of networks: for initial weights on the host, and what noise makes of ``tensor.ops.random``'s words.

Layer: nn. The counter is (block, tensor, step, stream), the key the network's seed; element i of a tensor takes word
i % 4 of block i // 4. Uniforms are the upper 24 bits of a word over 2^24. Invariant: a number depends on seed, stream,
tensor, step and its place alone; those of initial weights are f32 whatever the network's type.
"""

from __future__ import annotations

import enum
import math
from typing import Any

import numpy as np

from loom import tensor
from loom.core.dtype import f32, i32
from loom.core.numbers import lower
from loom.core.philox import philox
from loom.tensor import Tensor

__all__ = ["RandomStream", "gumbels", "keep_mask", "normal_pair", "normals", "uniforms"]

_AT_ONCE = 1 << 14
"""Blocks computed at once: what the caches hold."""
_PAIRS_AT_ONCE = 1 << 17
"""Pairs of normal numbers made at once, so that drawing takes little memory besides the numbers."""

Floats = np.ndarray[Any, np.dtype[np.float32]]


class RandomStream(enum.IntEnum):
    """What random numbers are for; each is a sequence of its own."""

    WEIGHTS = 0x4C570001
    DROPOUT = 0x4C570002
    GUMBEL = 0x4C570003
    SAMPLE = 0x4C570030
    ROUNDING = 0x4C570007
    ARCHITECTURE = 0x4C570020


def _upper_bits(count: int, seed: int, number: int) -> Floats:
    """Return the upper 24 bits of words for initial weights, as floats: the four of each block in a row."""
    found = np.empty((-(-count // 4), 4), np.float32)
    for start in range(0, len(found), _AT_ONCE):
        part = found[start : start + _AT_ONCE]
        blocks = np.arange(start, start + len(part), dtype=np.uint64)
        for k, word in enumerate(philox(blocks, number, 0, RandomStream.WEIGHTS, seed)):
            part[:, k] = word >> np.uint64(8)
    return found


def uniforms(shape: tuple[int, ...], seed: int, number: int) -> Floats:
    """Return numbers of [0, 1) for initial weights number ``number``.

    >>> uniforms((2,), 7, 0).dtype.name
    'float32'
    """
    found = _upper_bits(math.prod(shape), seed, number)
    found *= np.float32(2.0**-24)
    return found.reshape(-1)[: math.prod(shape)].reshape(shape)


def normals(shape: tuple[int, ...], seed: int, number: int) -> Floats:
    """Return standard normal numbers for initial weights number ``number``.

    In pairs by Box and Muller (1958): words a, b give sqrt(-2 log((a / 2^8 + 1/2) 2^-24)) times cosine and sine of
    ``b / 2^8`` 2^-24 turns, by Loom's own functions.
    """
    count = math.prod(shape)
    found = _upper_bits(count, seed, number)
    for start in range(0, len(found), _PAIRS_AT_ONCE // 2):
        part = found[start : start + _PAIRS_AT_ONCE // 2]
        part[...] = _normal_pairs(part.reshape(-1, 2)).reshape(part.shape)
    return found.reshape(-1)[:count].reshape(shape)


def _normal_pairs(drawn: Floats) -> Floats:
    first, second = (tensor.array(np.ascontiguousarray(drawn[:, k]), f32, on="cpu") for k in (0, 1))
    return tensor.stack(normal_pair(first, second), 1).numpy()


def normal_pair(first: Tensor, second: Tensor) -> list[Tensor]:
    """Return two normal numbers for the upper 24 bits of two words each, as floats (Box and Muller 1958)."""
    radius = (((first + 0.5) * 2.0**-24).log() * -2.0).sqrt()
    angle = second * (2.0 * math.pi * 2.0**-24)
    return [radius * angle.map("cos"), radius * angle.map("sin")]


def keep_mask(drawn: Tensor, rate: float) -> Tensor:
    """Return bools, false with chance ``rate``: true where a word is at least ``rate`` 2^32, rounded."""
    threshold = lower(round(rate * 2.0**32), 0xFFFF_FFFF)
    return drawn >= threshold


def gumbels(drawn: Tensor) -> Tensor:
    """Return Gumbel noise -log(-log u) in f32, u = (word / 2^8 + 1/2) 2^-24."""
    u = ((drawn.map("shr", 8).astype(i32)).astype(f32) + 0.5) * 2.0**-24
    return -((-(u.log())).log())
