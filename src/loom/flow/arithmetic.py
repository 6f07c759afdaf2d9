"""Tier 3, the pure operations: arithmetic, bits, conversions, comparison.

Layer: flow, over ``draft``. ``ir_f...`` compute in f32, ``ir_i...`` and ``ir_u...`` in u32, those ending in
64 in u64; a word takes the type of the operation. Invariant: each function appends one operation of
``ir.ops`` (and a bitcast for each word read as f32); errors are those of ``loom.flow.ir``.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import DType, bool_, f32, u32, u64
from loom.flow.draft import IrBlock, IrValue, open_block

__all__ = [
    "ir_and",
    "ir_as_f32",
    "ir_as_u32",
    "ir_bitcount",
    "ir_eq",
    "ir_f32_to_u32",
    "ir_fadd",
    "ir_fdiv",
    "ir_fmul",
    "ir_fsqrt",
    "ir_fsub",
    "ir_ge",
    "ir_gt",
    "ir_iadd",
    "ir_iadd64",
    "ir_imul",
    "ir_imul64",
    "ir_isub",
    "ir_isub64",
    "ir_le",
    "ir_lt",
    "ir_ne",
    "ir_not",
    "ir_or",
    "ir_select",
    "ir_shl",
    "ir_shr",
    "ir_u32_to_f32",
    "ir_u32_to_u64",
    "ir_u64_to_u32",
    "ir_udiv",
    "ir_udiv64",
    "ir_umod",
    "ir_umod64",
    "ir_xor",
    "operation",
]

# floats, u32, u64


def ir_fadd(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """a + b as f32, rounded once."""
    return operation("ir_fadd", block, "add", f32, a, b)


def ir_fsub(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """a - b as f32, rounded once."""
    return operation("ir_fsub", block, "sub", f32, a, b)


def ir_fmul(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """a * b as f32, rounded once."""
    return operation("ir_fmul", block, "mul", f32, a, b)


def ir_fdiv(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """a / b as f32, correctly rounded."""
    return operation("ir_fdiv", block, "div", f32, a, b)


def ir_fsqrt(block: IrBlock, a: IrValue) -> IrValue:
    """Square root as f32, correctly rounded."""
    return operation("ir_fsqrt", block, "sqrt", f32, a)


def ir_iadd(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """a + b as u32, wrapping."""
    return operation("ir_iadd", block, "add", u32, a, b)


def ir_isub(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """a - b as u32, wrapping."""
    return operation("ir_isub", block, "sub", u32, a, b)


def ir_imul(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """a * b as u32, wrapping."""
    return operation("ir_imul", block, "mul", u32, a, b)


def ir_udiv(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """Quotient of u32; x / 0 is 0."""
    return operation("ir_udiv", block, "idiv", u32, a, b)


def ir_umod(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """Remainder of u32; x % 0 is x."""
    return operation("ir_umod", block, "irem", u32, a, b)


def ir_iadd64(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """a + b as u64, wrapping."""
    return operation("ir_iadd64", block, "add", u64, a, b)


def ir_isub64(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """a - b as u64, wrapping."""
    return operation("ir_isub64", block, "sub", u64, a, b)


def ir_imul64(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """a * b as u64, wrapping."""
    return operation("ir_imul64", block, "mul", u64, a, b)


def ir_udiv64(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """Quotient of u64; x / 0 is 0."""
    return operation("ir_udiv64", block, "idiv", u64, a, b)


def ir_umod64(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """Remainder of u64; x % 0 is x."""
    return operation("ir_umod64", block, "irem", u64, a, b)


def operation(where: str, block: IrBlock, name: str, dtype: DType, *values: Any) -> IrValue:
    """Append operation ``name`` of values taken as ``dtype``, for the function called ``where``."""
    target = open_block(block, where)
    return target.value(name, *(target.operand(v, dtype, where) for v in values))


# bits: u32, or the type of ``a`` if that is u64 (or bool, where it makes sense)


def ir_and(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """Bitwise and; also of two conditions."""
    return _bitwise("ir_and", block, "and", a, b)


def ir_or(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """Bitwise or; also of two conditions."""
    return _bitwise("ir_or", block, "or", a, b)


def ir_xor(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """Bitwise exclusive or; also of two conditions."""
    return _bitwise("ir_xor", block, "xor", a, b)


def ir_not(block: IrBlock, a: IrValue) -> IrValue:
    """Bitwise complement; also of a condition."""
    return _bitwise("ir_not", block, "not", a)


def ir_shl(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """a << b, the count modulo the width; both of one type."""
    return operation("ir_shl", block, "shl", _value("ir_shl", block, a).integer, a, b)


def ir_shr(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """a >> b, zeros coming in, the count modulo the width; both of one type."""
    return operation("ir_shr", block, "shr", _value("ir_shr", block, a).integer, a, b)


def ir_bitcount(block: IrBlock, val: IrValue) -> IrValue:
    """Number of one bits of a u32."""
    return operation("ir_bitcount", block, "popcount", u32, val)


def _value(where: str, block: IrBlock, given: Any) -> IrValue:
    return open_block(block, where).own(given, where)


def _bitwise(where: str, block: IrBlock, name: str, *values: IrValue) -> IrValue:
    first = _value(where, block, values[0])
    return operation(where, block, name, bool_ if first.instr.dtype == bool_ else first.integer, *values)


# types


def ir_u32_to_u64(block: IrBlock, a: IrValue) -> IrValue:
    """Widen a u32 to u64."""
    return _conversion("ir_u32_to_u64", block, a, u32, u64)


def ir_u64_to_u32(block: IrBlock, a: IrValue) -> IrValue:
    """The low 32 bits of a u64."""
    return _conversion("ir_u64_to_u32", block, a, u64, u32)


def ir_u32_to_f32(block: IrBlock, a: IrValue) -> IrValue:
    """The f32 nearest to a u32."""
    return _conversion("ir_u32_to_f32", block, a, u32, f32)


def ir_f32_to_u32(block: IrBlock, a: IrValue) -> IrValue:
    """The whole part of an f32 as u32; too large or below 0 gives the nearest there is, NaN gives 0."""
    return _conversion("ir_f32_to_u32", block, a, f32, u32)


def ir_as_f32(block: IrBlock, a: IrValue) -> IrValue:
    """The 32 bits of a word, u32 or f32, read as f32."""
    return _conversion("ir_as_f32", block, a, None, f32)


def ir_as_u32(block: IrBlock, a: IrValue) -> IrValue:
    """The 32 bits of a word, u32 or f32, read as u32."""
    return _conversion("ir_as_u32", block, a, None, u32)


def _conversion(where: str, block: IrBlock, a: Any, source: DType | None, result: DType) -> IrValue:
    """Convert from ``source``; None takes any 32 bits and keeps them."""
    target = open_block(block, where)
    if source is None:
        return target.value("bitcast", target.bits(a, where), dtype=result)
    return target.value("convert", target.operand(a, source, where), dtype=result)


# comparison and choice


def ir_lt(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """a < b; a word is compared in the type of the other operand."""
    return _comparison("ir_lt", block, a, b)


def ir_le(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """a <= b, typed as ``ir_lt``."""
    return _comparison("ir_le", block, a, b)


def ir_gt(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """a > b, typed as ``ir_lt``."""
    return _comparison("ir_gt", block, a, b)


def ir_ge(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """a >= b, typed as ``ir_lt``."""
    return _comparison("ir_ge", block, a, b)


def ir_eq(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """a == b, typed as ``ir_lt``."""
    return _comparison("ir_eq", block, a, b)


def ir_ne(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
    """a != b, typed as ``ir_lt``."""
    return _comparison("ir_ne", block, a, b)


def _comparison(where: str, block: IrBlock, a: Any, b: Any) -> IrValue:
    target = open_block(block, where)
    typed = [v.instr.type for v in (target.own(a, where), target.own(b, where)) if not v.is_word]
    if not typed:
        raise target.program.builder.error(
            f"{where} cannot tell the type of two words",
            "one operand of known type",
            "two words",
            "Say it with ir_as_f32 or ir_as_u32",
        )
    return operation(where, block, where.removeprefix("ir_"), typed[0], a, b)


def ir_select(block: IrBlock, condition: IrValue, a: IrValue, b: IrValue) -> IrValue:
    """``a`` where the condition holds, else ``b``; of two words the result is a word."""
    where = "ir_select"
    target = open_block(block, where)
    both = target.own(a, where), target.own(b, where)
    typed = [v.instr.type for v in both if not v.is_word]
    dtype = typed[0] if typed else u32
    test = target.operand(condition, bool_, where)
    chosen = target.emit("select", test, *(target.operand(v, dtype, where) for v in both))
    return IrValue(target.program, chosen, is_word=not typed)
