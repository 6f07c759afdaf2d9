"""Correctly rounded f32 division and square root for targets whose own are only near: integers put them right.

Layer: ir. ``exact_div`` and ``exact_sqrt`` are functions of the kernel language; ``expand_division`` and
``expand_roots`` put them in the place of every f32 ``div`` and ``sqrt`` of a kernel, whose own operations are
left as the approximation inside. Invariant: the bits are those of IEEE 754 as long as the approximation of a
quotient in [1, 2), or of a root in [1, 2), is at most 16 units in the last place off.

The significands are made whole numbers of 24 bits, so nothing here meets a subnormal, an infinity or a NaN. The
approximation less 32 is a lower bound of the quotient (root) in whole numbers; its remainder, exact modulo 2^32,
tells in six binary steps how far below it is, then how to round. Only 32-bit integers are used.
Source: IEEE 754-2019, sections 5.4.1 and 4.3.1; schoolbook division and root with remainder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import FunctionType
from typing import Any

from loom.core.dtype import DType, f32, i32, u32
from loom.ir.builder import Builder
from loom.ir.frontend.base.values import Operand, Static
from loom.ir.frontend.intrinsics import bitcast, clz, select
from loom.ir.frontend.intrinsics import sqrt as native_sqrt
from loom.ir.frontend.names import FunctionNames
from loom.ir.frontend.source import function_source
from loom.ir.frontend.translation import settle_types
from loom.ir.frontend.translator import Translator
from loom.ir.kernel import Block, Instr, Kernel, walk
from loom.ir.passes.rewrite import Rewriter

__all__ = ["exact_div", "exact_sqrt", "expand_division", "expand_roots"]

_INFINITY, _NAN, _ONE = 0x7F800000, 0x7FC00000, 0x3F800000
_HIDDEN, _FRACTION = 0x800000, 0x7FFFFF
_SIGN, _MAGNITUDE = 0x80000000, 0x7FFFFFFF
_SLACK = 32
"""Taken off the approximation to be below the truth: 16 units of the last place, twice that from 2 up."""


def native_quotient(x: Any, y: Any) -> Any:
    """Return the target's own quotient."""
    return x / y


def native_root(x: Any) -> Any:
    """Return the target's own square root."""
    return native_sqrt(x)


def exact_div(x: Any, y: Any, approximate: Any = native_quotient) -> Any:
    """``x / y`` in f32, correctly rounded, from ``approximate(a, b)`` of a in [1, 4) and b in [1, 2), a >= b."""
    a, b = bitcast(u32, x) & _MAGNITUDE, bitcast(u32, y) & _MAGNITUDE
    (whole_a, exponent_a), (whole_b, exponent_b) = _unpack(a), _unpack(b)
    doubled = u32(whole_a < whole_b)
    exponent = exponent_a - exponent_b + 127 - i32(doubled)
    near = approximate(_scale(whole_a, doubled), _scale(whole_b, u32(0)))
    low = u32(near * 8388608.0) - _SLACK
    quotient, rest = _correct_quotient(low, (whole_a << (doubled + 23)) - low * whole_b, whole_b)
    # two more bits: the half, and whether anything is left; no quotient lies halfway, but a subnormal one may
    exact = quotient << 2 | u32(rest + rest > whole_b) << 1 | u32(rest != 0)
    shift = u32(min(max(1 - exponent, 0), 25) + 2)
    rounded = (exact + ((u32(1) << (shift - 1)) - 1) + (exact >> shift & 1)) >> shift
    sign = (bitcast(u32, x) ^ bitcast(u32, y)) & _SIGN
    finite = select(exponent >= 255, _INFINITY, (u32(max(exponent - 1, 0)) << 23) + rounded)
    numeric = select((b == 0) | (a == _INFINITY), _INFINITY, select((a == 0) | (b == _INFINITY), 0, finite)) | sign
    undefined = (a == b) & ((a == 0) | (a == _INFINITY)) | (a > _INFINITY) | (b > _INFINITY)
    return bitcast(f32, select(undefined, _NAN, numeric))


def exact_sqrt(x: Any, approximate: Any = native_root) -> Any:
    """``sqrt(x)`` in f32, correctly rounded, from ``approximate(a)`` of a in [1, 4)."""
    given = bitcast(u32, x)
    whole, exponent = _unpack(given & _MAGNITUDE)
    doubled = u32(~exponent & 1)
    low = u32(approximate(_scale(whole, doubled)) * 8388608.0) - _SLACK
    root, rest = _correct_root(low, (whole << (doubled + 23)) - low * low)
    # (root + 1/2)^2 = root^2 + root + 1/4: never hit by a whole number
    finite = (((u32(exponent + 125) - doubled) >> 1) << 23) + root + u32(rest > root)
    numeric = select(given == _INFINITY, _INFINITY, select(given & _MAGNITUDE == 0, given, finite))
    return bitcast(f32, select((given > _INFINITY) & (given != _SIGN), _NAN, numeric))


def _unpack(magnitude: Any) -> Any:
    """Return the significand of 24 bits (any for 0, infinity, NaN) and the exponent's field, below 1 if subnormal."""
    field, fraction = magnitude >> 23, magnitude & _FRACTION
    shift = clz(fraction) - 8
    whole = select(field == 0, fraction << shift, fraction | _HIDDEN)
    return whole, select(field == 0, 1 - i32(shift), i32(field))


def _scale(whole: Any, doubled: Any) -> Any:
    """Return a significand as a float in [1, 2), or doubled in [2, 4)."""
    return bitcast(f32, (whole & _FRACTION) | (_ONE + (doubled << 23)))


def _correct_quotient(low: Any, rest: Any, divisor: Any) -> Any:
    """Return quotient and remainder below ``divisor``, given a quotient less than 64 too low and its remainder."""
    low_5, rest_5 = _subtract_multiple(low, rest, divisor, 5)
    low_4, rest_4 = _subtract_multiple(low_5, rest_5, divisor, 4)
    low_3, rest_3 = _subtract_multiple(low_4, rest_4, divisor, 3)
    low_2, rest_2 = _subtract_multiple(low_3, rest_3, divisor, 2)
    low_1, rest_1 = _subtract_multiple(low_2, rest_2, divisor, 1)
    return _subtract_multiple(low_1, rest_1, divisor, 0)


def _subtract_multiple(low: Any, rest: Any, divisor: Any, bit: Any) -> Any:
    part = divisor << bit
    return select(rest >= part, low + (1 << bit), low), select(rest >= part, rest - part, rest)


def _correct_root(low: Any, rest: Any) -> Any:
    """Return root and remainder, given a root less than 64 too low and its remainder."""
    low_5, rest_5 = _add_root_bit(low, rest, 5)
    low_4, rest_4 = _add_root_bit(low_5, rest_5, 4)
    low_3, rest_3 = _add_root_bit(low_4, rest_4, 3)
    low_2, rest_2 = _add_root_bit(low_3, rest_3, 2)
    low_1, rest_1 = _add_root_bit(low_2, rest_2, 1)
    return _add_root_bit(low_1, rest_1, 0)


def _add_root_bit(low: Any, rest: Any, bit: Any) -> Any:
    part = (low << (bit + 1)) + (1 << 2 * bit)  # (low + 2^bit)^2 - low^2
    return select(rest >= part, low + (1 << bit), low), select(rest >= part, rest - part, rest)


def expand_division(kernel: Kernel, approximate: Callable[..., Any] = native_quotient) -> Kernel:
    """Return ``kernel`` (without vectors) with every f32 ``div`` correctly rounded around an approximation.

    ``approximate`` is a kernel function of two f32; by default the target's own ``div``. Run it after
    ``expand_rounding``, which divides as well.
    """
    return _expand(kernel, "div", exact_div, approximate)


def expand_roots(kernel: Kernel, approximate: Callable[..., Any] = native_root) -> Kernel:
    """Return ``kernel`` (without vectors) with every f32 ``sqrt`` correctly rounded around an approximation.

    ``approximate`` is a kernel function of one f32; by default the target's own ``sqrt``.
    """
    return _expand(kernel, "sqrt", exact_sqrt, approximate)


def _expand(kernel: Kernel, name: str, exact: FunctionType, approximate: Callable[..., Any]) -> Kernel:
    if not any(_is_inexact(s, name) for s in walk(kernel.body)):
        return kernel
    return replace(kernel, body=_Exact(kernel, name, exact, approximate).block(kernel.body))


def _is_inexact(statement: object, name: str) -> bool:
    return isinstance(statement, Instr) and statement.op.name == name and statement.type == f32


class _Exact(Rewriter):
    def __init__(self, kernel: Kernel, name: str, exact: FunctionType, approximate: Callable[..., Any]) -> None:
        super().__init__(kernel)
        self.name = name
        self.exact = exact
        self.approximate = approximate

    def instr(self, s: Instr) -> Any:
        if not _is_inexact(s, self.name):
            return self.copy(s)
        block, result = settle_types(self.kernel.where(s.loc), lambda retyped: self.sequence(s, retyped))
        self.out += block.statements
        return result

    def sequence(self, s: Instr, retyped: dict[Any, DType]) -> tuple[Block, Any]:
        """Return the statements that compute ``s``, which declare nothing, and their result."""
        builder = Builder(self.kernel.name, self.kernel.workgroup, s.loc)
        translator = Translator(builder, retyped)
        frame = FunctionNames(function_source(self.exact), {}, set(), 0, is_kernel=False)
        translator.frames.append(frame)
        operands: list[Operand] = [*(self.value(a) for a in s.args), Static(self.approximate)]
        with builder.into(Block()) as block:
            result = translator.calls.function(self.exact, operands)
        assert not builder.finish().variables, "an approximation assigns each of its names once"
        return block, result
