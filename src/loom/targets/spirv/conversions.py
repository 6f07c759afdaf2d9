"""Turns numbers of one type into another in SPIR-V: integers, floats, bools.

Layer: targets. A float out of an integer's range never reaches the instruction. Where a device rounds integers
wrongly, their bits are rounded by integer arithmetic. Invariant: bits equal ``ir.evaluate.convert``.

Source: IEEE 754-2019, 4.3.1 (round to nearest, ties to even) and 5.4.1.
"""

from __future__ import annotations

from loom.core.dtype import DType, f32, f64, i32, u32, u64
from loom.ir.constants import constant_bits
from loom.targets.spirv.instructions import Arithmetic

__all__ = ["convert"]


def convert(a: Arithmetic, x: int, source: DType, target: DType) -> int:
    """Return ``x`` of type ``source`` as ``target``."""
    if source == target:
        return x
    if target.is_bool:
        zero = a.constant(0, source)
        return a.test("FUnordNotEqual" if source.is_float else "INotEqual", x, zero)
    if source.is_bool:
        one = a.opaque_constant(constant_bits(1.0, target), target) if target.is_float else a.constant(1, target)
        return a.select(x, one, a.constant(0, target), target)
    if source.is_integer and target.is_integer:
        return resize(a, x, source, target)
    if source.is_integer:
        return _to_float(a, x, source, target)
    if target.is_integer:
        return _saturate(a, x, source, target)
    return a.m.value("FConvert", a.type_of(target), x)


def resize(a: Arithmetic, x: int, source: DType, target: DType) -> int:
    """Return an integer with the bits of another width, extended by its own sign."""
    if target.bits == source.bits:
        return x
    signed = source.is_signed and target.bits > source.bits
    if source.bits < 32 <= target.bits:
        return resize(a, _mask(a, x, source), i32 if signed else u32, target)
    return a.m.value("SConvert" if signed else "UConvert", a.type_of(target), x)


def _mask(a: Arithmetic, x: int, source: DType) -> int:
    """Return a narrow integer, as it was loaded, in 32 bits: by a mask that only the host knows (see ADR 10)."""
    mask = a.op("BitwiseXor", u32, a.constant((1 << source.bits) - 1, u32), a.opaque_zero())
    word = a.op("BitwiseAnd", u32, a.m.value("UConvert", a.type_of(u32), x), mask)
    if not source.is_signed:
        return word
    sign = a.constant(1 << (source.bits - 1), u32)
    return a.op("ISub", u32, a.op("BitwiseXor", u32, word, sign), sign)


def _to_float(a: Arithmetic, x: int, source: DType, target: DType) -> int:
    """Return an integer rounded to the nearest float, ties to even."""
    exact = a.features.exact_wide_conversions if source.bits == 64 else a.features.exact_conversions
    if exact or (source.bits == 32 and target == f64):
        return a.m.value("ConvertSToF" if source.is_signed else "ConvertUToF", a.type_of(target), x)
    return _round(a, x, source, target)


def _round(a: Arithmetic, x: int, source: DType, target: DType) -> int:
    """Round an integer by its bits: shift it up against the top, cut, add one if more than half is cut off."""
    word = u64 if source.bits == 64 else u32
    bits, precision = word.bits, 24 if target == f32 else 53
    carrier = u32 if target == f32 else u64
    zero, one = a.constant(0, word), a.constant(1, word)
    negative = a.compare_order("LessThan", source, x, zero) if source.is_signed else a.m.truth(False)
    size = a.select(negative, a.op("ISub", word, zero, x), x, word)
    lead = a.leading_zeros(size, word)
    top = a.op("ShiftLeftLogical", word, size, a.op("BitwiseAnd", word, lead, a.constant(bits - 1, word)))
    cut = a.constant(bits - precision, word)
    kept = a.op("ShiftRightLogical", word, top, cut)
    rest = a.op("BitwiseAnd", word, top, a.constant((1 << (bits - precision)) - 1, word))
    half = a.constant(1 << (bits - precision - 1), word)
    odd = a.test("INotEqual", a.op("BitwiseAnd", word, kept, one), zero)
    tie = a.m.value("LogicalAnd", a.m.bool(), a.test("IEqual", rest, half), odd)
    up = a.m.value("LogicalOr", a.m.bool(), a.test("UGreaterThan", rest, half), tie)
    fraction = resize(a, a.op("IAdd", word, kept, a.select(up, one, zero, word)), word, carrier)
    # the leading bit of the fraction adds one to the exponent
    bias = (127 if target == f32 else 1023) + bits - 2
    exponent = a.op("ISub", carrier, a.constant(bias, carrier), resize(a, lead, word, carrier))
    exponent = a.op("ShiftLeftLogical", carrier, exponent, a.constant(precision - 1, carrier))
    found = a.op("IAdd", carrier, exponent, fraction)
    found = a.select(a.test("IEqual", size, zero), a.constant(0, carrier), found, carrier)
    sign = a.select(negative, a.constant(1 << (carrier.bits - 1), carrier), a.constant(0, carrier), carrier)
    return a.cast(a.op("BitwiseOr", carrier, found, sign), target)


def _saturate(a: Arithmetic, x: int, source: DType, target: DType) -> int:
    """Return a float truncated and saturated; NaN gives 0."""
    low, high = float(target.minimum), float(target.maximum + 1)
    too_high = a.test("FOrdGreaterThanEqual", x, a.constant(high, source))
    below = low if target.is_signed else 0.0
    too_low = a.test("FOrdLessThan", x, a.constant(below, source))
    is_nan = a.test("FUnordNotEqual", x, x)
    outside = a.m.value("LogicalOr", a.m.bool(), a.m.value("LogicalOr", a.m.bool(), too_high, too_low), is_nan)
    safe = a.select(outside, a.constant(0.0, source), x, source)
    whole = a.m.value("ConvertFToS" if target.is_signed else "ConvertFToU", a.type_of(target), safe)
    whole = a.select(too_high, a.constant(target.maximum, target), whole, target)
    return a.select(too_low, a.constant(target.minimum, target), whole, target)
