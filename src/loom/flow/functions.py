"""Tier 3, functions of numbers: least, largest, rounding, and the elementary functions with their proved bars.

Layer: flow, over ``draft``. ``ir_f...`` compute in f32, ``ir_u...`` in u32. Elementary functions are those of
``loom.kernels.functions``, written in place. Invariant: bits are those of the function of the same name in a
``@loom.kernel``.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32, u32
from loom.flow.draft import IrBlock, IrValue, open_block
from loom.flow.ir_operations import Record, of_one, of_two, record_as
from loom.ir.frontend.names import FunctionNames
from loom.ir.frontend.source import FunctionSource, function_source
from loom.ir.frontend.translation import settle_types
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


def _elementary(name: str) -> Record:
    """Record the elementary function of that name, of f32."""

    def record(where: str, block: Any, *values: Any) -> IrValue:
        return _in_place(where, block, name, *values)

    return record


def _in_place(where: str, block: IrBlock, name: str, *values: Any) -> IrValue:
    target = open_block(block, where)
    builder, fn = target.program.builder, function(name)
    given = [target.operand(v, f32, where) for v in values]
    source = function_source(fn.definitions[f32])
    here = builder.loc

    def translate(retyped: dict[Any, Any]) -> tuple[Block, Instr]:
        made, translator = Block(), Translator(builder, retyped)
        outside = FunctionSource(where, source.file, source.line, source.arguments, [])
        translator.frames.append(FunctionNames(outside, {}, set(), 0, is_kernel=False))
        with builder.into(made):
            result = translator.typing.as_value(translator.calls.function(fn, list(given)), f32)
        return made, result

    made, result = settle_types(where, translate)
    builder.loc = here
    target.body.statements.extend(made.statements)
    return IrValue(target.program, result)


ir_fmin = of_two("ir_fmin", record_as("min", f32), "The smaller of two f32; NaN wins, and -0 is below +0.")
ir_fmax = of_two("ir_fmax", record_as("max", f32), "The larger of two f32; NaN wins, and +0 is above -0.")
ir_umin = of_two("ir_umin", record_as("min", u32), "The smaller of two u32.")
ir_umax = of_two("ir_umax", record_as("max", u32), "The larger of two u32.")
ir_fabs = of_one("ir_fabs", record_as("abs", f32), "An f32 without its sign.")
ir_fneg = of_one("ir_fneg", record_as("neg", f32), "An f32 of the other sign.")
ir_ffloor = of_one("ir_ffloor", record_as("floor", f32), "The largest whole f32 not above it.")
ir_fceil = of_one("ir_fceil", record_as("ceil", f32), "The smallest whole f32 not below it.")
ir_frint = of_one("ir_frint", record_as("rint", f32), "The nearest whole f32, halves to even.")
ir_ftrunc = of_one("ir_ftrunc", record_as("trunc", f32), "An f32 without its fraction.")
ir_fexp = of_one("ir_fexp", _elementary("exp"), "e to the power of an f32, as ``loom.exp``.")
ir_flog = of_one("ir_flog", _elementary("log"), "Natural logarithm of an f32, as ``loom.log``.")
ir_fsin = of_one("ir_fsin", _elementary("sin"), "Sine of an f32 in radians, as ``loom.sin``.")
ir_fcos = of_one("ir_fcos", _elementary("cos"), "Cosine of an f32 in radians, as ``loom.cos``.")
ir_ftanh = of_one("ir_ftanh", _elementary("tanh"), "Hyperbolic tangent of an f32, as ``loom.tanh``.")
ir_fpow = of_two("ir_fpow", _elementary("pow"), "An f32 to the power of another, as ``loom.pow``.")
