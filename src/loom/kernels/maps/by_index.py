"""Random numbers by index, for kernels: element i of what ``loom.random`` gives for a seed and a stream.

Layer: kernels. One lane computes one block of Philox4x32-10 and takes its word of it; a kernel that wants several takes
all four from ``random_words``. The counter is (block, 0, 0, stream) and the key the seed, as in
``kernels.maps.random``, whose definitions these use; bits 32 and above of a block are in the counter's second word.
Invariant: a number depends on seed, stream and index alone.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32, f64, u32, u64
from loom.ir.frontend.intrinsics import select
from loom.ir.frontend.lanefunctions import lane_function
from loom.kernels.functions.trigonometric import wave
from loom.kernels.maps.random import philox, polar

__all__ = [
    "random_bits", "random_f32", "random_f64", "random_normal", "random_normal_f64", "random_u32", "random_u64",
    "random_words",
]  # fmt: skip


def _block(s0: Any, s1: Any, block: Any, high: Any, stream: Any) -> Any:
    return philox(block, high, u32(0), stream, s0, s1)


def _of_four(s0: Any, s1: Any, i0: Any, i1: Any, stream: Any) -> Any:
    """Return word i of those of all blocks."""
    a, b, c, d = _block(s0, s1, i0 >> 2 | i1 << 30, i1 >> 2, stream)
    at = i0 & 3
    return select(at < 2, select(at == 0, a, b), select(at == 2, c, d))


def _of_two(s0: Any, s1: Any, i0: Any, i1: Any, stream: Any) -> Any:
    """Return word i of 64 bits of those of all blocks, the earlier word of 32 in the lower half."""
    a, b, c, d = _block(s0, s1, i0 >> 1 | i1 << 31, i1 >> 1, stream)
    second = i0 & 1 == 1
    return u64(select(second, d, b)) << 32 | u64(select(second, c, a))


def _f32(s0: Any, s1: Any, i0: Any, i1: Any, stream: Any) -> Any:
    return f32(_of_four(s0, s1, i0, i1, stream) >> 8) * 2.0**-24


def _f64(s0: Any, s1: Any, i0: Any, i1: Any, stream: Any) -> Any:
    return f64(_of_two(s0, s1, i0, i1, stream) >> 11) * 2.0**-53


def _normal(s0: Any, s1: Any, i0: Any, i1: Any, stream: Any) -> Any:
    a, b, c, d = _block(s0, s1, i0 >> 2 | i1 << 30, i1 >> 2, stream)
    second = i0 & 2 == 2
    radius, quarters, rest = polar(select(second, c, a), select(second, d, b))
    return 0.0 + radius * wave(quarters + (1 - (i0 & 1)), rest, 0.0)


def _normal_f64(s0: Any, s1: Any, i0: Any, i1: Any, stream: Any) -> Any:
    a, b, c, d = _block(s0, s1, i0 >> 1 | i1 << 31, i1 >> 1, stream)
    radius, quarters, rest = polar(u64(b) << 32 | u64(a), u64(d) << 32 | u64(c))
    return 0.0 + radius * wave(quarters + (1 - (i0 & 1)), rest, 0.0)


@lane_function(_of_four, words=("seed", "index"), host="Call loom.random.bits(shape, seed=..)")
def random_u32(seed: int, index: Any, stream: Any = 0) -> Any:
    """Return a random u32: element ``index`` of ``loom.random.bits(n, seed=seed, stream=stream)``.

    ``seed`` and ``index`` are integers of up to 64 bits, ``stream`` of up to 32. From index 2^34 on the upper bits of a
    block's number stand where networks have the number of a tensor (docs/numerics.md, section 5).
    """


@lane_function(_of_four, words=("seed", "index"), host="Call loom.random.bits(shape, seed=.., stream=..)")
def random_bits(seed: int, index: Any, stream: Any) -> Any:
    """Return a random u32 of a stream, as ``random_u32`` does."""


@lane_function(_of_two, words=("seed", "index"), host='Call loom.random.bits(shape, seed=.., dtype="u64")')
def random_u64(seed: int, index: Any, stream: Any = 0) -> Any:
    """Return a random u64: element ``index`` of ``loom.random.bits(n, seed=seed, stream=stream, dtype="u64")``."""


@lane_function(_f32, words=("seed", "index"), host="Call loom.random.uniform(shape, seed=..)")
def random_f32(seed: int, index: Any, stream: Any = 0) -> Any:
    """Return an f32 from 0 to below 1: element ``index`` of ``loom.random.uniform(n, seed=seed, stream=stream)``."""


@lane_function(_f64, words=("seed", "index"), host='Call loom.random.uniform(shape, seed=.., dtype="f64")')
def random_f64(seed: int, index: Any, stream: Any = 0) -> Any:
    """Return an f64 from 0 to below 1: element ``index`` of ``loom.random.uniform(.., dtype="f64")``."""


@lane_function(_normal, words=("seed", "index"), host="Call loom.random.normal(shape, seed=..)")
def random_normal(seed: int, index: Any, stream: Any = 0) -> Any:
    """Return a normally distributed f32: element ``index`` of ``loom.random.normal(n, seed=seed, stream=stream)``."""


@lane_function(_normal_f64, words=("seed", "index"), host='Call loom.random.normal(shape, seed=.., dtype="f64")')
def random_normal_f64(seed: int, index: Any, stream: Any = 0) -> Any:
    """Return a normally distributed f64: element ``index`` of ``loom.random.normal(.., dtype="f64")``."""


@lane_function(_block, words=("seed", "block"), host="Call loom.random.bits(shape, seed=..)")
def random_words(seed: int, block: Any, stream: Any = 0) -> Any:
    """Return four random u32 for the work of one: elements 4 ``block`` to 4 ``block`` + 3 of ``random_u32``."""
