"""Conversions to f16 and bf16 that round once, whatever the type converted from, and functions of these.

Layer: kernels. The IR converts 16-bit floats from f32 alone. What f32 may round is rounded to odd first: truncated, the
last bit set if anything was lost; rounding that to 16 bits is as if from the exact number. A function's result of f32
that lies on the midpoint of two numbers of 16 bits, or just across it, may be rounded to the wrong one. Which inputs
these are is known, as all were tried (``tools/fit/halves.py``); there the result is first moved by a few units in the
last place towards the true value. Invariant: the result is the nearest number of the type, halves to even.

Source: S. Boldo and G. Melquiond, "When double rounding is odd" (2005).
"""

from __future__ import annotations

from loom.core.dtype import DType, f32, f64, u32, u64
from loom.ir.builder import Builder
from loom.ir.kernel import Instr

__all__ = ["MIRRORED", "emit_convert", "emit_moved", "steps_of"]

_SIGNIFICANT = 24
_EVEN = ("cos", "cosh", "j0")
_ODD = ("asin", "asinh", "atan", "atanh", "cbrt", "erf", "j1", "sin", "sinh", "tan", "tanh")
MIRRORED = frozenset((*_EVEN, *_ODD))
"""Functions that are even or odd, bit for bit: their rows are of sizes of inputs."""


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


def steps_of(name: str, dtype: DType) -> list[tuple[float, float, int]]:
    """Return the rows of a function: first and last input, and the units that results between them are moved by."""
    from loom.kernels.functions.coefficients import halves

    numbers: tuple[float, ...] = getattr(halves, f"{name}_{dtype}".upper(), ())
    return [(numbers[k], numbers[k + 1], int(numbers[k + 2])) for k in range(0, len(numbers), 3)]


def emit_moved(b: Builder, name: str, x: Instr, result: Instr, dtype: DType) -> Instr:
    """Emit what makes the f32 ``result`` of function ``name`` of ``x`` round correctly to ``dtype``, of which x is."""
    rows = steps_of(name, dtype)
    if not rows:
        return result
    size = b.emit("abs", x) if name in MIRRORED else x
    step = b.const(0, u32)
    for first, last, units in rows:
        inside = b.emit("ge" if first != last else "eq", size, b.const(first, x.type))
        if first != last:
            inside = b.emit("and", inside, b.emit("le", size, b.const(last, x.type)))
        step = b.emit("select", inside, b.const(units % 2**32, u32), step)
    moved = b.emit("add", b.emit("bitcast", result, dtype=u32), step)
    return b.emit("bitcast", moved, dtype=result.type)
