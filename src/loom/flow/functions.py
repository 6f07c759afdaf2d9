"""Tier 3, functions of numbers: least, largest, rounding, and the elementary functions with their proved bars.

Layer: flow, over ``draft``. ``ir_f...`` compute in f32, ``ir_u...`` in u32. Elementary functions are those of
``loom.kernels.functions``, written in place. Invariant: bits are those of the function of the same name in a
``@loom.kernel``.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32, u32
from loom.flow.arithmetic import operation
from loom.flow.draft import IrBlock, IrValue, open_block
from loom.ir.frontend.decorator import translated
from loom.ir.frontend.names import Frame
from loom.ir.frontend.source import FunctionSource, function_source
from loom.ir.frontend.translator import Translator
from loom.ir.kernel import Block, Instr
from loom.kernels.functions import function

__all__ = [
    "ir_fabs",
    "ir_fceil",
    "ir_fcos",
    "ir_fexp",
    "ir_ffloor",
    "ir_flog",
    "ir_fmax",
    "ir_fmin",
    "ir_fneg",
    "ir_fpow",
    "ir_frint",
    "ir_fsin",
    "ir_ftanh",
    "ir_ftrunc",
    "ir_umax",
    "ir_umin",
]


def ir_fmin(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """The smaller of two f32; NaN wins, and -0 is below +0."""
    return operation("ir_fmin", block, "min", f32, a, b)


def ir_fmax(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """The larger of two f32; NaN wins, and +0 is above -0."""
    return operation("ir_fmax", block, "max", f32, a, b)


def ir_umin(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """The smaller of two u32."""
    return operation("ir_umin", block, "min", u32, a, b)


def ir_umax(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """The larger of two u32."""
    return operation("ir_umax", block, "max", u32, a, b)


def ir_fabs(block: IrBlock, a: IrValue) -> IrValue:
    """An f32 without its sign."""
    return operation("ir_fabs", block, "abs", f32, a)


def ir_fneg(block: IrBlock, a: IrValue) -> IrValue:
    """An f32 of the other sign."""
    return operation("ir_fneg", block, "neg", f32, a)


def ir_ffloor(block: IrBlock, a: IrValue) -> IrValue:
    """The largest whole f32 not above it."""
    return operation("ir_ffloor", block, "floor", f32, a)


def ir_fceil(block: IrBlock, a: IrValue) -> IrValue:
    """The smallest whole f32 not below it."""
    return operation("ir_fceil", block, "ceil", f32, a)


def ir_frint(block: IrBlock, a: IrValue) -> IrValue:
    """The nearest whole f32, halves to even."""
    return operation("ir_frint", block, "rint", f32, a)


def ir_ftrunc(block: IrBlock, a: IrValue) -> IrValue:
    """An f32 without its fraction."""
    return operation("ir_ftrunc", block, "trunc", f32, a)


def ir_fexp(block: IrBlock, a: IrValue) -> IrValue:
    """e to the power of an f32, as ``loom.exp``."""
    return _elementary("ir_fexp", block, "exp", a)


def ir_flog(block: IrBlock, a: IrValue) -> IrValue:
    """Natural logarithm of an f32, as ``loom.log``."""
    return _elementary("ir_flog", block, "log", a)


def ir_fsin(block: IrBlock, a: IrValue) -> IrValue:
    """Sine of an f32 in radians, as ``loom.sin``."""
    return _elementary("ir_fsin", block, "sin", a)


def ir_fcos(block: IrBlock, a: IrValue) -> IrValue:
    """Cosine of an f32 in radians, as ``loom.cos``."""
    return _elementary("ir_fcos", block, "cos", a)


def ir_ftanh(block: IrBlock, a: IrValue) -> IrValue:
    """Hyperbolic tangent of an f32, as ``loom.tanh``."""
    return _elementary("ir_ftanh", block, "tanh", a)


def ir_fpow(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """An f32 to the power of another, as ``loom.pow``."""
    return _elementary("ir_fpow", block, "pow", a, b)


def _elementary(where: str, block: IrBlock, name: str, *values: Any) -> IrValue:
    target = open_block(block, where)
    builder, fn = target.program.builder, function(name)
    given = [target.operand(v, f32, where) for v in values]
    source = function_source(fn.definitions[f32])
    here = builder.loc

    def translate(retyped: dict[Any, Any]) -> tuple[Block, Instr]:
        made, translator = Block(), Translator(builder, retyped)
        outside = FunctionSource(where, source.file, source.line, source.arguments, [])
        translator.frames.append(Frame(outside, {}, set(), 0, is_kernel=False))
        with builder.into(made):
            result = translator.typing.typed(translator.calls.function(fn, list(given)), f32)
        return made, result

    made, result = translated(where, translate)
    builder.loc = here
    target.body.statements.extend(made.statements)
    return IrValue(target.program, result)
