"""Layer 1: probes of single operations, each with the bits it must give and the hazard it uncovers.

Layer: proof. A probe is an expression over values loaded from buffers, so that no compiler can fold it. It is
computed straight, in a loop, in components of a short vector where its operations allow, and as a reduction of
all lanes of a workgroup. Invariant: the bits expected are literals worked out from IEEE 754, not by Loom.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from loom.core.dtype import DType, f32, f64, i32, u32
from loom.core.late.dataclass import dataclass
from loom.ir.frontend.intrinsics import bitcast, clz, mulhi, rint, sqrt
from loom.kernels.group.join import add, larger, multiply, smaller
from loom.kernels.maps.literals import divide, first_if_below, subtract

__all__ = ["PROBES", "ScalarProbe"]


@dataclass(frozen=True)
class ScalarProbe:
    """``expression`` of operands given as bits of ``dtype`` must be ``expected``, bits of ``result``."""

    name: str
    hazard: str
    expression: Callable[..., Any]
    operands: tuple[int, ...]
    expected: int
    dtype: DType = f32
    result: DType = f32
    vectors: bool = True
    """Whether the operations used exist for short vectors."""


def _product_plus(a: Any, b: Any, c: Any) -> Any:
    return a * b + c


def _minus_product(a: Any, b: Any, c: Any) -> Any:
    return c - a * b


def _two_products(a: Any, b: Any, c: Any, d: Any) -> Any:
    return a * b + c * d


def _sum_of_three(a: Any, b: Any, c: Any) -> Any:
    return (a + b) + c


def _root(a: Any) -> Any:
    return sqrt(a)


def _same(a: Any) -> Any:
    return a


def _nearest(a: Any) -> Any:
    return rint(a)


def _to_float(a: Any) -> Any:
    return f32(a)


def _to_int(a: Any) -> Any:
    return i32(a)


def _to_unsigned(a: Any) -> Any:
    return u32(a)


def _halve(a: Any) -> Any:
    return f32(a)


def _high(a: Any, b: Any) -> Any:
    return mulhi(a, b)


def _left(a: Any, b: Any) -> Any:
    return a << b


def _right(a: Any, b: Any) -> Any:
    return a >> b


def _leading(a: Any) -> Any:
    return clz(a)


def _quotient(a: Any, b: Any) -> Any:
    return a // b


def _bits(a: Any) -> Any:
    return bitcast(u32, a)


_ONE, _NAN, _INF = 0x3F800000, 0x7FC00000, 0x7F800000
_UP12, _DOWN = 0x3F800800, 0xBF801000  # 1 + 2^-12, -(1 + 2^-11)
_TINY24 = 0x33800000  # 2^-24
_wide = partial(ScalarProbe, dtype=f64, result=f64)
_words = partial(ScalarProbe, dtype=u32, result=u32, vectors=False)
_signed = partial(ScalarProbe, dtype=i32, result=i32, vectors=False)

PROBES: tuple[ScalarProbe, ...] = (
    ScalarProbe("a*b + c", "contraction", _product_plus, (_UP12, _UP12, _DOWN), 0),
    ScalarProbe("c - a*b", "contraction", _minus_product, (_UP12, _UP12, 0x3F801000), 0),
    ScalarProbe("a*b + c*d", "contraction", _two_products, (_UP12, _UP12, _DOWN, _ONE), 0),
    _wide(
        "a*b + c in f64", "contraction", _product_plus,
        (0x3FF0000002000000, 0x3FF0000002000000, 0xBFF0000004000000), 0,
    ),
    ScalarProbe("(a + b) + c", "reassociation", _sum_of_three, (_ONE, _TINY24, _TINY24), _ONE),
    ScalarProbe("(a + b) - a", "reassociation", _sum_of_three, (0x4B800000, _ONE, 0xCB800000), 0),
    ScalarProbe("(a + b) + c, large", "reassociation", _sum_of_three, (0x7F000000, 0x7F000000, 0xFF000000), _INF),
    # quotients beside the midpoint of two floats, and of 25 bits
    ScalarProbe("1 / 3", "division", divide, (_ONE, 0x40400000), 0x3EAAAAAB),
    ScalarProbe("a / b, just above a midpoint", "division", divide, (0x3F800001, 0x3F800002), 0x3F7FFFFE),
    ScalarProbe("a / b, just below one", "division", divide, (0x3F7FFFFF, _ONE), 0x3F7FFFFF),
    ScalarProbe("5 / 7", "division", divide, (0x40A00000, 0x40E00000), 0x3F36DB6E),
    ScalarProbe("a / b, subnormal", "division", divide, (0x00800001, 0x40000000), 0x00400000),
    ScalarProbe("a / b, half the least", "division", divide, (0x00000001, 0x40000000), 0),
    ScalarProbe("a / b, overflow", "division", divide, (0x7F7FFFFF, 0x3F000000), _INF),
    ScalarProbe("1 / 0", "division", divide, (_ONE, 0x80000000), 0xFF800000),
    ScalarProbe("sqrt(2)", "root", _root, (0x40000000,), 0x3FB504F3),
    ScalarProbe("sqrt(1 - ulp)", "root", _root, (0x3F7FFFFF,), 0x3F7FFFFF),
    ScalarProbe("sqrt of a subnormal", "root", _root, (0x00000001,), 0x1A3504F3),
    ScalarProbe("sqrt(-0)", "root", _root, (0x80000000,), 0x80000000),
    ScalarProbe("sqrt(-1)", "root", _root, (0xBF800000,), _NAN),
    ScalarProbe("2^-126 * 0.5", "flush", multiply, (0x00800000, 0x3F000000), 0x00400000),
    ScalarProbe("2^-149 + 2^-149", "flush", add, (1, 1), 2),
    ScalarProbe("2^-130 * 2^10", "flush", multiply, (0x00080000, 0x44800000), 0x03800000),
    ScalarProbe("2^-126 - 2^-149", "flush", subtract, (0x00800000, 1), 0x007FFFFF),
    ScalarProbe("a subnormal, loaded and stored", "flush", _same, (0x00000001,), 0x00000001),
    ScalarProbe("a subnormal, chosen", "flush", first_if_below, (0x00000001, 0x00000002), 0x00000001, vectors=False),
    ScalarProbe("a subnormal, converted", "flush", _halve, (0x36A0000000000000,), 0x00000001, f64, f32, vectors=False),
    ScalarProbe("flushed before rounding", "flush timing", multiply, (0x21800001, 0x1E7FFFFE), 0x00800000),
    ScalarProbe("1 + 2^-24", "rounding", add, (_ONE, _TINY24), _ONE),
    ScalarProbe("1 + 3*2^-24", "rounding", add, (_ONE, 0x34400000), 0x3F800002),
    ScalarProbe("1 - 2^-25", "rounding", subtract, (_ONE, 0x33000000), _ONE),
    ScalarProbe("16777219 to float", "rounding", _to_float, (0x01000003,), 0x4B800002, u32, f32, vectors=False),
    ScalarProbe("0xffffffff to float", "rounding", _to_float, (0xFFFFFFFF,), 0x4F800000, u32, f32, vectors=False),
    ScalarProbe("rint(2.5)", "rounding", _nearest, (0x40200000,), 0x40000000, vectors=False),
    ScalarProbe("rint(-0.5)", "rounding", _nearest, (0xBF000000,), 0x80000000, vectors=False),
    ScalarProbe("f64 to f32, a tie", "rounding", _halve, (0x3FF0000010000000,), _ONE, f64, f32, vectors=False),
    ScalarProbe("-0 + 0", "signed zero", add, (0x80000000, 0), 0),
    ScalarProbe("-0 * 1", "signed zero", multiply, (0x80000000, _ONE), 0x80000000),
    ScalarProbe("max(-0, 0)", "signed zero", larger, (0x80000000, 0), 0, vectors=False),
    ScalarProbe("min(0, -0)", "signed zero", smaller, (0, 0x80000000), 0x80000000, vectors=False),
    ScalarProbe("inf - inf", "NaN", subtract, (_INF, _INF), _NAN),
    ScalarProbe("0 * inf", "NaN", multiply, (0, _INF), _NAN),
    ScalarProbe("max(NaN, 1)", "NaN", larger, (_NAN, _ONE), _NAN, vectors=False),
    ScalarProbe("min(1, NaN)", "NaN", smaller, (_ONE, _NAN), _NAN, vectors=False),
    ScalarProbe("NaN < 1 chooses", "NaN", first_if_below, (_NAN, _ONE), _ONE, vectors=False),
    _words("wrap", "integers", multiply, (0x10001, 0x10001), 0x20001),
    _words("high half", "integers", _high, (0xFFFFFFFF, 0xFFFFFFFF), 0xFFFFFFFE),
    _signed("high half, signed", "integers", _high, (0x80000000, 0x7FFFFFFF), 0xC0000000),
    _words("shift by 33", "integers", _left, (3, 33), 6),
    _signed("arithmetic shift", "integers", _right, (0x80000000, 31), 0xFFFFFFFF),
    _words("clz(0)", "integers", _leading, (0,), 32),
    _words("x // 0", "integers", _quotient, (7, 0), 0),
    _signed("-7 // 2", "integers", _quotient, (0xFFFFFFF9, 2), 0xFFFFFFFC),
    ScalarProbe("1e20 to int", "integers", _to_int, (0x60AD78EC,), 0x7FFFFFFF, f32, i32, vectors=False),
    ScalarProbe("-1e20 to int", "integers", _to_int, (0xE0AD78EC,), 0x80000000, f32, i32, vectors=False),
    ScalarProbe("NaN to int", "integers", _to_int, (_NAN,), 0, f32, i32, vectors=False),
    ScalarProbe("-1 to unsigned", "integers", _to_unsigned, (0xBF800000,), 0, f32, u32, vectors=False),
    ScalarProbe("bits of -0", "integers", _bits, (0x80000000,), 0x80000000, f32, u32, vectors=False),
)  # fmt: skip
"""Every probe; the names are unique."""
