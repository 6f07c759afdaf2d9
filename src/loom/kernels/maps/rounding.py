"""Conversions to f16 and bf16 that round once, whatever the type converted from.

Layer: kernels. The IR converts 16-bit floats from f32 alone. What f32 may round is rounded to odd first: truncated, the
last bit set if anything was lost; rounding that to 16 bits is as if from the exact number. Invariant: the result is the
nearest number of the type, halves to even.

Source: S. Boldo and G. Melquiond, "When double rounding is odd" (2005).
"""

from __future__ import annotations

from loom.core.dtype import DType, f32, f64, u32, u64
from loom.ir.builder import Builder
from loom.ir.kernel import Instr

__all__ = ["emit_convert"]

_SIGNIFICANT = 24


def emit_convert(b: Builder, value: Instr, dtype: DType) -> Instr:
    """Emit the conversion of a number to ``dtype``, rounded once."""
    source = value.type
    if dtype.storage_only and source != f32:
        if source == f64:
            value = _odd_float(b, value)
        elif source.is_integer and source.bits > 16:
            value = _odd_integer(b, value)
        else:
            value = b.emit("convert", value, dtype=f32)
    return value if value.type == dtype else b.emit("convert", value, dtype=dtype)


def _odd_float(b: Builder, value: Instr) -> Instr:
    near = b.emit("convert", value, dtype=f32)
    back = b.emit("convert", near, dtype=f64)
    bits = b.emit("bitcast", near, dtype=u32)
    beyond = b.emit("convert", b.emit("gt", b.emit("abs", back), b.emit("abs", value)), dtype=u32)
    odd = b.emit("or", b.emit("sub", bits, beyond), b.const(1, u32))
    found = b.emit("select", b.emit("ne", back, value), odd, bits)
    return b.emit("bitcast", found, dtype=f32)


def _odd_integer(b: Builder, value: Instr) -> Instr:
    source = value.type
    wide = u64 if source.bits == 64 else u32
    size, negative = value, None
    if source.is_signed:
        size = b.emit("convert", value, dtype=wide)
        negative = b.emit("lt", value, b.const(0, source))
        size = b.emit("select", negative, b.emit("sub", b.const(0, wide), size), size)
    most = b.const(wide.bits - _SIGNIFICANT, wide)
    zeros = b.emit("convert", b.emit("clz", size), dtype=wide)
    shift = b.emit("sub", most, b.emit("min", zeros, most))
    kept = b.emit("shr", size, shift)
    lost = b.emit("ne", b.emit("shl", kept, shift), size)
    kept = b.emit("or", kept, b.emit("convert", lost, dtype=wide))
    found = b.emit("convert", b.emit("shl", kept, shift), dtype=f32)  # exact
    return found if negative is None else b.emit("select", negative, b.emit("neg", found), found)
