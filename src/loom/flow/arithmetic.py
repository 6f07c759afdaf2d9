"""Tier 3, the pure operations: arithmetic, bits, conversions, comparison.

Layer: flow, over ``draft``. ``ir_f...`` compute in f32, ``ir_i...`` and ``ir_u...`` in u32, those ending in
64 in u64; a word takes the type of the operation. Invariant: each function appends one operation of
``ir.ops`` (and a bitcast for each word read as f32); errors are those of ``loom.flow.ir``. Most are rows: a name, how
the operation is recorded, what it means.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import DType, bool_, f32, u32, u64
from loom.flow.draft import IrBlock, IrValue, open_block
from loom.flow.ir_operations import Record, of_one, of_two, operation, record_as

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
]


def _bitwise(name: str) -> Record:
    """Of u32, or the type of the first if that is u64 or bool."""

    def record(where: str, block: IrBlock, *values: Any) -> IrValue:
        first = open_block(block, where).own(values[0], where)
        return operation(where, block, name, bool_ if first.instr.dtype == bool_ else first.integer, *values)

    return record


def _shift(name: str) -> Record:
    def record(where: str, block: IrBlock, a: Any, b: Any) -> IrValue:
        return operation(where, block, name, open_block(block, where).own(a, where).integer, a, b)

    return record


def _conversion(source: DType | None, result: DType) -> Record:
    """Convert from ``source``; None takes any 32 bits and keeps them."""

    def record(where: str, block: IrBlock, a: Any) -> IrValue:
        target = open_block(block, where)
        if source is None:
            return target.value("bitcast", target.bits(a, where), dtype=result)
        return target.value("convert", target.operand(a, source, where), dtype=result)

    return record


def _comparison(where: str, block: IrBlock, a: Any, b: Any) -> IrValue:
    target = open_block(block, where)
    known = [v.instr.type for v in (target.own(a, where), target.own(b, where)) if not v.is_word]
    if not known:
        raise target.program.builder.error(
            f"{where} cannot tell the type of two words",
            "one operand of known type",
            "two words",
            "Say it with ir_as_f32 or ir_as_u32",
        )
    return operation(where, block, where.removeprefix("ir_"), known[0], a, b)


# floats, u32, u64
ir_fadd = of_two("ir_fadd", record_as("add", f32), "a + b as f32, rounded once.")
ir_fsub = of_two("ir_fsub", record_as("sub", f32), "a - b as f32, rounded once.")
ir_fmul = of_two("ir_fmul", record_as("mul", f32), "a * b as f32, rounded once.")
ir_fdiv = of_two("ir_fdiv", record_as("div", f32), "a / b as f32, correctly rounded.")
ir_fsqrt = of_one("ir_fsqrt", record_as("sqrt", f32), "Square root as f32, correctly rounded.")
ir_iadd = of_two("ir_iadd", record_as("add", u32), "a + b as u32, wrapping.")
ir_isub = of_two("ir_isub", record_as("sub", u32), "a - b as u32, wrapping.")
ir_imul = of_two("ir_imul", record_as("mul", u32), "a * b as u32, wrapping.")
ir_udiv = of_two("ir_udiv", record_as("idiv", u32), "Quotient of u32; x / 0 is 0.")
ir_umod = of_two("ir_umod", record_as("irem", u32), "Remainder of u32; x % 0 is x.")
ir_iadd64 = of_two("ir_iadd64", record_as("add", u64), "a + b as u64, wrapping.")
ir_isub64 = of_two("ir_isub64", record_as("sub", u64), "a - b as u64, wrapping.")
ir_imul64 = of_two("ir_imul64", record_as("mul", u64), "a * b as u64, wrapping.")
ir_udiv64 = of_two("ir_udiv64", record_as("idiv", u64), "Quotient of u64; x / 0 is 0.")
ir_umod64 = of_two("ir_umod64", record_as("irem", u64), "Remainder of u64; x % 0 is x.")

# bits: u32, or the type of ``a`` if that is u64 (or bool, where it makes sense)
ir_and = of_two("ir_and", _bitwise("and"), "Bitwise and; also of two conditions.")
ir_or = of_two("ir_or", _bitwise("or"), "Bitwise or; also of two conditions.")
ir_xor = of_two("ir_xor", _bitwise("xor"), "Bitwise exclusive or; also of two conditions.")
ir_not = of_one("ir_not", _bitwise("not"), "Bitwise complement; also of a condition.")
ir_shl = of_two("ir_shl", _shift("shl"), "a << b, the count modulo the width; both of one type.")
ir_shr = of_two("ir_shr", _shift("shr"), "a >> b, zeros coming in, the count modulo the width; both of one type.")

# types
ir_u32_to_u64 = of_one("ir_u32_to_u64", _conversion(u32, u64), "Widen a u32 to u64.")
ir_u64_to_u32 = of_one("ir_u64_to_u32", _conversion(u64, u32), "The low 32 bits of a u64.")
ir_u32_to_f32 = of_one("ir_u32_to_f32", _conversion(u32, f32), "The f32 nearest to a u32.")
ir_f32_to_u32 = of_one(
    "ir_f32_to_u32",
    _conversion(f32, u32),
    "The whole part of an f32 as u32; too large or below 0 gives the nearest there is, NaN gives 0.",
)
ir_as_f32 = of_one("ir_as_f32", _conversion(None, f32), "The 32 bits of a word, u32 or f32, read as f32.")
ir_as_u32 = of_one("ir_as_u32", _conversion(None, u32), "The 32 bits of a word, u32 or f32, read as u32.")

# comparison and choice
ir_lt = of_two("ir_lt", _comparison, "a < b; a word is compared in the type of the other operand.")
ir_le = of_two("ir_le", _comparison, "a <= b, typed as ``ir_lt``.")
ir_gt = of_two("ir_gt", _comparison, "a > b, typed as ``ir_lt``.")
ir_ge = of_two("ir_ge", _comparison, "a >= b, typed as ``ir_lt``.")
ir_eq = of_two("ir_eq", _comparison, "a == b, typed as ``ir_lt``.")
ir_ne = of_two("ir_ne", _comparison, "a != b, typed as ``ir_lt``.")


def ir_select(block: IrBlock, condition: IrValue, a: IrValue, b: IrValue) -> IrValue:
    """``a`` where the condition holds, else ``b``; of two words the result is a word.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        condition: Value that is a condition.
        a: Value where it holds.
        b: Value elsewhere.

    Returns:
        Value of the kernel.

    Raises:
        DTypeError: Not a value of this kernel; not a block.
        KernelTypeError: A value of another type.
    """
    where = "ir_select"
    target = open_block(block, where)
    both = target.own(a, where), target.own(b, where)
    typed = [v.instr.type for v in both if not v.is_word]
    dtype = typed[0] if typed else u32
    test = target.operand(condition, bool_, where)
    chosen = target.emit("select", test, *(target.operand(v, dtype, where) for v in both))
    return IrValue(target.program, chosen, is_word=not typed)


def ir_bitcount(block: IrBlock, val: IrValue) -> IrValue:
    """Number of one bits of a u32.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        val: Value of u32.

    Returns:
        Value of the kernel.

    Raises:
        DTypeError: Not a value of this kernel; not a block.
        KernelTypeError: A value of another type.
    """
    return operation("ir_bitcount", block, "popcount", u32, val)
