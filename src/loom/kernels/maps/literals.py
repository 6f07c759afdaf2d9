"""Kernels that compute with literals: every operation of floats with numbers that a compiler knows, on both sides.

Layer: kernels. Compilers fold, simplify and choose better than IEEE 754 allows where they know an operand: what is
loaded from a buffer shows nothing of it. Invariant: results lie one after the other, ``len(x)`` of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from loom.core.dtype import DType, f32, u32, u64
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import bitcast, global_id, private, select, static_range
from loom.kernels.group.join import add, larger, multiply, smaller
from loom.kernels.types import compute_type

__all__ = [
    "CHOICES",
    "LITERAL_OPERATIONS",
    "ZEROS",
    "divide",
    "first_if_below",
    "literal_choices",
    "literal_operation",
    "literals_of",
    "subtract",
    "zero_arithmetic",
]

CHOICES, ZEROS = 48, 10
"""How many results ``literal_choices`` and ``zero_arithmetic`` have for each element."""
_LANES = 64


def subtract(a: Any, b: Any) -> Any:
    """Return ``a - b``."""
    return a - b


def divide(a: Any, b: Any) -> Any:
    """Return ``a / b``."""
    return a / b


def _product_plus(a: Any, b: Any) -> Any:
    return a * b + a


def first_if_below(a: Any, b: Any) -> Any:
    """Return ``a`` if it is below ``b``, else ``b``."""
    return select(a < b, a, b)


def _first_unless_equal(a: Any, b: Any) -> Any:
    return select(a == b, b, a)


LITERAL_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "add": add, "sub": subtract, "mul": multiply, "div": divide, "mul and add": _product_plus, "min": smaller,
    "max": larger, "lt": first_if_below, "eq": _first_unless_equal,
}  # fmt: skip
"""What is done with a value and a literal, by name."""


def literals_of(dtype: DType) -> tuple[float, ...]:
    """Return the numbers that tell most: zeros, ones, infinities, NaN, the least, the least normal and the largest."""
    fraction, least, most = {16: (10, -14, 15), 32: (23, -126, 127), 64: (52, -1022, 1023)}[dtype.bits]
    largest = (2.0 - 2.0**-fraction) * 2.0**most
    tiny = 2.0 ** (least - fraction)
    return (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, math.inf, -math.inf, math.nan, tiny, -(2.0**least), largest)


def _literals(dtype: DType) -> tuple[float, ...]:
    return literals_of(f32 if dtype.name == "bf16" else dtype)


@cache
def literal_operation(name: str, dtype: DType) -> KernelFunction:
    """Return the kernel (x, out): for each literal L, operation(x, L) and then operation(L, x), in ``dtype``."""
    operation, literals, number = LITERAL_OPERATIONS[name], _literals(dtype), compute_type(dtype)

    @kernel(workgroup=_LANES, trusted=True)
    def operate(x: In[dtype], out: Out[dtype]):  # type: ignore[valid-type]
        i, count = global_id(), u32(len(x))
        if i < count:
            for n in static_range(len(literals)):
                out[2 * n * count + i] = operation(x[i], number(literals[n]))
                out[(2 * n + 1) * count + i] = operation(number(literals[n]), x[i])

    operate.name = f"literals_{name.replace(' ', '_')}_{dtype}"
    return operate


@cache
def literal_choices(dtype: DType) -> KernelFunction:
    """Return the kernel (x, out): for each pair of literals (A, B) of the first four, x < 0 ? A : B, three times.

    As a choice, as a branch, and as a choice of their bits as integers.
    """
    literals, number = _literals(dtype)[:4], compute_type(dtype)
    word: DType = u64 if number.bits == 64 else u32
    bits = np.array(literals, number.numpy).view(word.numpy).tolist()
    count = len(literals)

    @kernel(workgroup=_LANES, trusted=True)
    def choose(x: In[dtype], out: Out[dtype]):  # type: ignore[valid-type]
        i, size = global_id(), u32(len(x))
        if i < size:
            below = x[i] < number(0.0)
            for n in static_range(count * count):
                out[3 * n * size + i] = select(below, number(literals[n // count]), number(literals[n % count]))
                chosen = number(literals[n % count])
                if below:
                    chosen = number(literals[n // count])
                out[(3 * n + 1) * size + i] = chosen
                whole = select(below, word(bits[n // count]), word(bits[n % count]))
                out[(3 * n + 2) * size + i] = bitcast(number, whole)

    choose.name = f"literals_select_{dtype}"
    return choose


@cache
def zero_arithmetic(dtype: DType) -> KernelFunction:
    """Return the kernel (x, out): sums and products with zeros that nobody wrote, but that a compiler works out.

    Zeros from integers, from memory that starts as zero, from the turns of a loop.
    """
    number = compute_type(dtype)
    word: DType = u64 if number.bits == 64 else u32

    @kernel(workgroup=_LANES)
    def calculate(x: In[dtype], out: Out[dtype]):  # type: ignore[valid-type]
        i, size = global_id(), u32(len(x))
        held = private(number, 3)
        held[i % 2] = number(2.0)
        if i < size:
            v = x[i]
            cleared = bitcast(number, word(i) & word(0))
            out[i] = v * cleared
            out[size + i] = v + cleared
            out[2 * size + i] = cleared - v
            out[3 * size + i] = v * number(u32(0))
            out[4 * size + i] = v / number(i - i)
            out[5 * size + i] = number(i < 0) * v
            out[6 * size + i] = v * held[2]
            out[7 * size + i] = held[2] + v
            total, scaled = number(0.0), number(1.0)
            for n in range(3):
                total = total + v
                scaled = scaled * (v * number(n))
            out[8 * size + i] = total
            out[9 * size + i] = scaled

    calculate.name = f"literals_zeros_{dtype}"
    return calculate
