"""Random numbers: Philox4x32-10 and what is made of its words.

Layer: kernels. One lane computes one block of four words, from which come the elements the block is for: four
that take a word each, or two that take two. The counter is (block, 0, attempt, stream) and the key the seed, as
in docs/numerics.md, section 5, with the middle two words free for training (tensor, step). Invariant: element i depends
on seed, stream and i alone.

Every kernel has the buffers ``seeds`` (key low, key high, stream), ``numbers`` (of its own meaning) and ``out``,
and the parameter n. Sources: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011;
G. Box and M. Muller 1958; D. Lemire, "Fast random integer generation in an interval", 2019.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import DType, bool_, f32, f64, i32, i64, u32, u64
from loom.core.late.dataclass import dataclass
from loom.core.philox import MULTIPLIERS, ROUNDS, WEYL
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import bitcast, global_id, mulhi, sqrt, static_range
from loom.kernels.functions.logarithm import log
from loom.kernels.functions.trigonometric import wave

__all__ = [
    "RANDOM_LANES",
    "Draw",
    "bits",
    "coins",
    "integers",
    "later_bits",
    "normal",
    "normals_of_words",
    "philox",
    "polar",
    "step_bits",
    "uniform",
]

RANDOM_LANES = 256
"""Blocks per workgroup."""

_SIGNIFICANT = {"f16": 11, "bf16": 8, "f32": 24, "f64": 53}
_QUARTER = math.pi / 2


@dataclass(frozen=True, slots=True)
class Draw:
    """A kernel of random numbers and how many elements each block is for, 2 or 4."""

    kernel: KernelFunction
    per_block: int


def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Return the four words of a counter of four words under a key of two, all u32."""
    for _ in static_range(ROUNDS):
        high_0, high_1 = mulhi(c0, MULTIPLIERS[0]), mulhi(c2, MULTIPLIERS[1])
        low_0, low_1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = high_1 ^ c1 ^ k0, low_1, high_0 ^ c3 ^ k1, low_0
        k0, k1 = k0 + WEYL[0], k1 + WEYL[1]
    return c0, c1, c2, c3


def _words(block: Any, seeds: Any) -> Any:
    return philox(block, u32(0), u32(0), seeds[2], seeds[0], seeds[1])


def _wide_words(block: Any, attempt: Any, seeds: Any) -> Any:
    """Return two words of 64 bits, the earlier word of 32 in the lower half."""
    a, b, c, d = philox(block, u32(0), attempt, seeds[2], seeds[0], seeds[1])
    return u64(b) << 32 | u64(a), u64(d) << 32 | u64(c)


def _draw_kernel(name: str, element: DType, number: DType, values: Callable[..., Any], count: int) -> Draw:
    """Make the kernel that stores the ``count`` results of ``values(block, seeds, numbers)`` of every block."""

    @kernel(workgroup=RANDOM_LANES, trusted=True)
    def draw(seeds: In[u32], numbers: In[number], out: Out[element], n: u32):  # type: ignore[valid-type]
        block = global_id()
        first = block * count
        if block <= (n - 1) >> count.bit_length() - 1:
            found = values(block, seeds, numbers)
            if n - first >= count:
                for k in static_range(count):
                    out[first + k] = found[k]
            else:
                for k in static_range(count - 1):
                    if first + k < n:
                        out[first + k] = found[k]

    draw.name = f"random_{name}_{element}"
    return Draw(draw, count)


@cache
def bits(element: DType) -> Draw:
    """Return the kernel of random words, u32 or u64; ``numbers`` is not read."""

    def narrow(block: Any, seeds: Any, numbers: Any) -> Any:  # noqa: ARG001
        return _words(block, seeds)

    def wide(block: Any, seeds: Any, numbers: Any) -> Any:  # noqa: ARG001
        return _wide_words(block, u32(0), seeds)

    return _draw_kernel("bits", element, u32, wide if element == u64 else narrow, 2 if element == u64 else 4)


@cache
def step_bits() -> Draw:
    """Return the kernel of random u32 of a training step, ``numbers`` = (step,), ``seeds`` with the tensor as fourth.

    The counter is (block, tensor, step, stream).
    """

    def values(block: Any, seeds: Any, numbers: Any) -> Any:
        return philox(block, seeds[3], numbers[0], seeds[2], seeds[0], seeds[1])

    return _draw_kernel("step_bits", u32, u32, values, 4)


@cache
def later_bits() -> Draw:
    """Return the kernel of the words of ``step_bits`` from element ``firsts[0] * seeds[4]`` on.

    Four elements may lie in two blocks. The place in words is kept as blocks and a rest: it may be 2^32 and more.
    """

    @kernel(workgroup=RANDOM_LANES, trusted=True)
    def draw(seeds: In[u32], numbers: In[u32], firsts: In[u32], out: Out[u32], n: u32):
        block = global_id()
        if block <= (n - 1) >> 2:
            rest = (firsts[0] & u32(3)) * (seeds[4] & u32(3))
            begin = firsts[0] * (seeds[4] >> u32(2)) + (firsts[0] >> u32(2)) * (seeds[4] & u32(3)) + (rest >> u32(2))
            shift = rest & u32(3)
            a, b, c, d = philox(begin + block, seeds[3], numbers[0], seeds[2], seeds[0], seeds[1])
            e, f, g, _ = philox(begin + block + u32(1), seeds[3], numbers[0], seeds[2], seeds[0], seeds[1])
            words = (a, b, c, d, e, f, g)
            for k in static_range(4):
                if block * 4 + k < n:
                    early = words[k] if shift == u32(0) else words[k + 1]
                    late = words[k + 2] if shift == u32(2) else words[k + 3]
                    out[block * 4 + k] = early if shift < u32(2) else late

    draw.name = "random_later_bits_u32"
    return Draw(draw, 4)


@cache
def uniform(element: DType) -> Draw:
    """Return the kernel of ``low + u (high - low)``, ``numbers`` = (low, high); u has as many bits as fit exactly.

    u is the upper bits of a word (f64: of two) over 2^24 (f64 2^53, f16 2^11, bf16 2^8): 0 to 1 without 1.
    """
    significant = _SIGNIFICANT[element.name]

    def narrow(block: Any, seeds: Any, numbers: Any) -> Any:
        low, high = numbers[0], numbers[1]
        a, b, c, d = _words(block, seeds)
        return spread(a, low, high), spread(b, low, high), spread(c, low, high), spread(d, low, high)

    def spread(word: Any, low: Any, high: Any) -> Any:
        return low + f32(word >> (32 - significant)) * 2.0**-significant * (high - low)

    def wide(block: Any, seeds: Any, numbers: Any) -> Any:
        low, high = numbers[0], numbers[1]
        a, b = _wide_words(block, u32(0), seeds)
        span = high - low
        return low + f64(a >> 11) * 2.0**-53 * span, low + f64(b >> 11) * 2.0**-53 * span

    if element == f64:
        return _draw_kernel("uniform", element, f64, wide, 2)
    return _draw_kernel("uniform", element, f32, narrow, 4)


def polar(a: Any, b: Any) -> Any:
    """Return the radius, quarter turns and rest of the angle that Box and Muller make of two words, for floats as wide.

    An f64 takes 52 bits for the radius, which it holds exactly beside the half.
    """
    width, (real, signed) = a.dtype.bits, (f32, i32) if a.dtype == u32 else (f64, i64)
    whole, ulp = (f32(a), 2.0**-32) if real == f32 else (f64(a >> 12), 2.0**-52)
    radius = sqrt(-2.0 * log((whole + 0.5) * ulp))
    quarters = u32((b + (1 << width - 3)) >> width - 2)  # the nearest quarter turn, and the signed rest
    return radius, quarters, real(bitcast(signed, b << 2)) * (2.0**-width * _QUARTER)


@cache
def normal(element: DType) -> Draw:
    """Return the kernel of ``mean + std z``, ``numbers`` = (mean, std); z in pairs by Box and Muller.

    With words a, b: radius sqrt(-2 log((a + 1/2) 2^-32)), angle b 2^-32 turns; z = radius times cosine, sine. f64
    takes 52 bits for the radius and 64 for the angle.
    """

    def pair(a: Any, b: Any, mean: Any, std: Any) -> Any:
        radius, quarters, rest = polar(a, b)
        return mean + std * (radius * wave(quarters + 1, rest, 0.0)), mean + std * (radius * wave(quarters, rest, 0.0))

    def narrow(block: Any, seeds: Any, numbers: Any) -> Any:
        a, b, c, d = _words(block, seeds)
        x, y = pair(a, b, numbers[0], numbers[1])
        z, w = pair(c, d, numbers[0], numbers[1])
        return x, y, z, w

    def wide(block: Any, seeds: Any, numbers: Any) -> Any:
        a, b = _wide_words(block, u32(0), seeds)
        return pair(a, b, numbers[0], numbers[1])

    if element == f64:
        return _draw_kernel("normal", element, f64, wide, 2)
    return _draw_kernel("normal", element, f32, narrow, 4)


@cache
def integers(element: DType) -> Draw:
    """Return the kernel of integers without bias, ``numbers`` = (low, count, least), all u64 modulo 2^64.

    With x of 64 bits the element is low + the upper half of x count, accepted if the lower half is at least
    ``least`` = 2^64 mod count (Lemire); if not, attempt 1, 2, ... of the same block gives another x. A count of
    0 stands for 2^64.
    """

    def draw_below(block: Any, k: Any, x: Any, seeds: Any, numbers: Any) -> Any:
        count, least = numbers[1], numbers[2]
        attempt = u32(0)
        while x * count < least:
            attempt += 1
            x = _wide_words(block, attempt, seeds)[k]
        return element(numbers[0] + (x if count == 0 else mulhi(x, count)))

    def values(block: Any, seeds: Any, numbers: Any) -> Any:
        a, b = _wide_words(block, u32(0), seeds)
        return draw_below(block, 0, a, seeds, numbers), draw_below(block, 1, b, seeds, numbers)

    return _draw_kernel("integers", element, u64, values, 2)


@cache
def coins(*, kept: bool) -> Draw:
    """Return the kernel of bools, ``numbers`` = (threshold,), 0 to 2^32: true where a word is below it, or is not.

    Dropout keeps the words that are not below (``kept``).
    """

    def is_true(word: Any, threshold: Any) -> Any:
        return u64(word) >= threshold if kept else u64(word) < threshold

    def values(block: Any, seeds: Any, numbers: Any) -> Any:
        threshold = numbers[0]
        a, b, c, d = _words(block, seeds)
        return is_true(a, threshold), is_true(b, threshold), is_true(c, threshold), is_true(d, threshold)

    return _draw_kernel("kept" if kept else "coins", bool_, u64, values, 4)


@cache
def normals_of_words(element: DType) -> KernelFunction:
    """Return the kernel (words, out, n) that makes pairs of standard normal numbers, as ``normal``, of u32 words.

    f32 takes a word for each number, f64 two; n is even.
    """

    @kernel(workgroup=RANDOM_LANES, trusted=True)
    def narrow(words: In[u32], out: Out[f32], n: u32):
        at = global_id() * 2
        if at < n:
            radius, quarters, rest = polar(words[at], words[at + 1])
            out[at] = radius * wave(quarters + 1, rest, 0.0)
            out[at + 1] = radius * wave(quarters, rest, 0.0)

    @kernel(workgroup=RANDOM_LANES, trusted=True)
    def wide(words: In[u32], out: Out[f64], n: u32):
        at = global_id() * 2
        if at < n:
            first = u64(words[2 * at + 1]) << 32 | u64(words[2 * at])
            second = u64(words[2 * at + 3]) << 32 | u64(words[2 * at + 2])
            radius, quarters, rest = polar(first, second)
            out[at] = radius * wave(quarters + 1, rest, 0.0)
            out[at + 1] = radius * wave(quarters, rest, 0.0)

    found = wide if element == f64 else narrow
    found.name = f"normals_of_words_{element}"
    return found
