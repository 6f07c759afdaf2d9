"""Random numbers of networks: Philox4x32-10, for initial weights on the host and for noise within the record.

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
from loom.core.dtype import f32, i32, u32
from loom.tensor import Tensor

__all__ = ["Stream", "keep_mask", "normals", "uniforms", "words"]

_ROUNDS = 10
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85
_LOW = 0xFFFF_FFFF
_HALF = np.uint64(32)
_AT_ONCE = 1 << 14
"""Blocks computed at once: what the caches hold."""
_PAIRS_AT_ONCE = 1 << 17
"""Pairs of normal numbers made at once, so that drawing takes little memory besides the numbers."""

Wide = np.ndarray[Any, np.dtype[np.uint64]]
Floats = np.ndarray[Any, np.dtype[np.float32]]


class Stream(enum.IntEnum):
    """What random numbers are for; each is a sequence of its own."""

    WEIGHTS = 0x4C570001
    DROPOUT = 0x4C570002
    GUMBEL = 0x4C570003


def _host_blocks(start: int, count: int, seed: int, number: int) -> tuple[Wide, Wide, Wide, Wide]:
    """Return the four words of ``count`` blocks, 32 bits each."""
    c0 = np.arange(start, start + count, dtype=np.uint64)
    c1, c2, c3 = (np.full(count, value, np.uint64) for value in (number, 0, int(Stream.WEIGHTS)))
    k0, k1 = seed & _LOW, seed >> 32
    for _ in range(_ROUNDS):
        p0, p1 = c0 * np.uint64(_MULTIPLIERS[0]), c2 * np.uint64(_MULTIPLIERS[1])
        c0, c1 = (p1 >> _HALF) ^ c1 ^ np.uint64(k0), p1 & np.uint64(_LOW)
        c2, c3 = (p0 >> _HALF) ^ c3 ^ np.uint64(k1), p0 & np.uint64(_LOW)
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return c0, c1, c2, c3


def uniforms(shape: tuple[int, ...], seed: int, number: int) -> Floats:
    """Return numbers of [0, 1) for initial weights number ``number``.

    >>> uniforms((2,), 7, 0).dtype.name
    'float32'
    """
    found = np.empty((-(-math.prod(shape) // 4), 4), np.float32)
    for start in range(0, len(found), _AT_ONCE):
        part = found[start : start + _AT_ONCE]
        for k, word in enumerate(_host_blocks(start, len(part), seed, number)):
            part[:, k] = word >> np.uint64(8)
    found *= np.float32(2.0**-24)
    return found.reshape(-1)[: math.prod(shape)].reshape(shape)


def normals(shape: tuple[int, ...], seed: int, number: int) -> Floats:
    """Return standard normal numbers for initial weights number ``number``.

    In pairs by Box and Muller (1958): words a, b give sqrt(-2 log((a / 2^8 + 1/2) 2^-24)) times cosine and sine of
    ``b / 2^8`` 2^-24 turns, by Loom's own functions.
    """
    count = math.prod(shape)
    found = np.empty((-(-count // 4), 4), np.float32)
    for start in range(0, len(found), _PAIRS_AT_ONCE // 2):
        part = found[start : start + _PAIRS_AT_ONCE // 2]
        for k, word in enumerate(_host_blocks(start, len(part), seed, number)):
            part[:, k] = word >> np.uint64(8)
        part[...] = _normal_pairs(part.reshape(-1, 2)).reshape(part.shape)
    return found.reshape(-1)[:count].reshape(shape)


def _normal_pairs(drawn: Floats) -> Floats:
    first, second = (tensor.array(np.ascontiguousarray(drawn[:, k]), f32, on="cpu") for k in (0, 1))
    radius = (((first + 0.5) * 2.0**-24).log() * -2.0).sqrt()
    angle = second * (2.0 * math.pi * 2.0**-24)
    return tensor.stack([radius * angle.map("cos"), radius * angle.map("sin")], 1).numpy()


def words(shape: tuple[int, ...], seed: int, number: int, step: Tensor, stream: Stream) -> Tensor:
    """Return random u32 of ``shape`` as part of the record: of tensor ``number`` in training step ``step`` (a u32)."""
    count = math.prod(shape)
    blocks = -(-count // 4)
    c0 = tensor.arange(blocks, u32)
    c1, c3 = tensor.full((blocks,), number, u32), tensor.full((blocks,), int(stream), u32)
    c2 = tensor.broadcast_to(tensor.reshape(step.astype(u32), ()), (blocks,))
    k0, k1 = seed & _LOW, seed >> 32
    for _ in range(_ROUNDS):
        high_0, high_1 = c0.map("mulhi", _MULTIPLIERS[0]), c2.map("mulhi", _MULTIPLIERS[1])
        low_0, low_1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = high_1 ^ c1 ^ k0, low_1, high_0 ^ c3 ^ k1, low_0
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    drawn = tensor.reshape(tensor.stack([c0, c1, c2, c3], 1), (4 * blocks,))
    return tensor.reshape(drawn[:count], shape)


def keep_mask(drawn: Tensor, rate: float) -> Tensor:
    """Return bools, false with chance ``rate``: true where a word is at least ``rate`` 2^32, rounded."""
    threshold = min(round(rate * 2.0**32), _LOW)
    return drawn >= threshold


def gumbels(drawn: Tensor) -> Tensor:
    """Return Gumbel noise -log(-log u) in f32, u = (word / 2^8 + 1/2) 2^-24."""
    u = ((drawn.map("shr", 8).astype(i32)).astype(f32) + 0.5) * 2.0**-24
    return -((-(u.log())).log())
