"""Replaces operations a target lacks by others it has, each replacement exact in every bit.

Layer: ir. ``expand_halves`` turns f16 and bf16 into the 16-bit integers they are stored as and their
conversions into integer arithmetic; ``expand_rounding`` does floor, ceil, rint and trunc on bit patterns;
``expand_extremes`` does min and max of floats by comparison. Invariant: the interpreter gives the same bits
for a kernel and for its expansion (tested on all of f16 and on stratified f32 and f64).
"""

from __future__ import annotations

from dataclasses import replace

from loom.core.dtype import DType, f32, u16, u32, u64
from loom.ir.kernel import Instr, Kernel, Variable, operations
from loom.ir.passes.rewrite import Rewriter

__all__ = ["expand_extremes", "expand_halves", "expand_rounding"]


def expand_halves(kernel: Kernel) -> Kernel:
    """Return ``kernel`` (without vectors) with f16 and bf16 carried as u16."""
    arrays = (*kernel.buffers, *kernel.shared, *kernel.private)
    values = (s for s in operations(kernel.body) if s.dtype is not None)
    if not any(m.dtype.storage_only for m in arrays) and not any(v.type.storage_only for v in values):
        return kernel
    return _Halves(kernel).run()


def _carrier(dtype: DType) -> DType:
    return u16 if dtype.storage_only else dtype


class _Halves(Rewriter):
    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        arrays = (*kernel.buffers, *kernel.shared, *kernel.private)
        self.memories = {m: replace(m, dtype=_carrier(m.dtype)) for m in arrays}
        self.variables = {v: Variable(v.name, _carrier(v.dtype)) for v in kernel.variables}

    def run(self) -> Kernel:
        k = self.kernel
        return replace(
            k,
            body=self.block(k.body),
            buffers=tuple(self.memories[m] for m in k.buffers),
            shared=tuple(self.memories[m] for m in k.shared),
            private=tuple(self.memories[m] for m in k.private),
            variables=tuple(self.variables[v] for v in k.variables),
        )

    def instr(self, s: Instr) -> Instr:
        args = [self.value(a) for a in s.args]
        if s.op.name == "convert" and (s.type.storage_only or s.args[0].type.storage_only):
            return self.conversion(args[0], s.args[0].type, s.type)
        if s.op.name == "bitcast" and args[0].dtype == _carrier(s.type):
            return args[0]
        memory = self.memories[s.memory] if s.memory is not None else None
        attr = self.variables[s.attr] if isinstance(s.attr, Variable) else s.attr
        dtype = _carrier(s.dtype) if s.dtype is not None else None
        return self.emit(s.op.name, *args, attr=attr, memory=memory, dtype=dtype)

    def conversion(self, value: Instr, source: DType, target: DType) -> Instr:
        if source == target:
            return value
        if source.name == "bf16":
            wide = self.emit("convert", value, dtype=u32)
            return self.emit("bitcast", self.emit("shl", wide, self.const(16, u32)), dtype=f32)
        if source.name == "f16":
            return self.from_f16(value)
        return self.to_bf16(value) if target.name == "bf16" else self.to_f16(value)

    def from_f16(self, half: Instr) -> Instr:
        """Widen exactly: rebias the exponent; subnormals are a whole number times 2^-24."""
        bits = self.emit("convert", half, dtype=u32)
        magnitude = self.emit("and", bits, self.const(0x7FFF, u32))
        sign = self.emit("shl", self.emit("and", bits, self.const(0x8000, u32)), self.const(16, u32))
        shifted = self.emit("shl", magnitude, self.const(13, u32))
        normal = self.emit("add", shifted, self.const(0x38000000, u32))
        special = self.emit("add", shifted, self.const(0x70000000, u32))
        tiny = self.emit("mul", self.emit("convert", magnitude, dtype=f32), self.const(2.0**-24, f32))
        is_special = self.emit("ge", magnitude, self.const(0x7C00, u32))
        is_tiny = self.emit("lt", magnitude, self.const(0x0400, u32))
        wide = self.emit("select", is_special, special, normal)
        wide = self.emit("select", is_tiny, self.emit("bitcast", tiny, dtype=u32), wide)
        return self.emit("bitcast", self.emit("or", wide, sign), dtype=f32)

    def to_f16(self, value: Instr) -> Instr:
        """Round to nearest even; adding 0.5 rounds a subnormal result at 2^-24, its last place."""
        bits = self.emit("bitcast", value, dtype=u32)
        magnitude = self.emit("and", bits, self.const(0x7FFFFFFF, u32))
        sign = self.emit("and", self.emit("shr", bits, self.const(16, u32)), self.const(0x8000, u32))
        odd = self.emit("and", self.emit("shr", magnitude, self.const(13, u32)), self.const(1, u32))
        rebias = self.const((0xFFF - 0x38000000) & 0xFFFFFFFF, u32)
        normal = self.emit("add", self.emit("add", magnitude, rebias), odd)
        normal = self.emit("shr", normal, self.const(13, u32))
        lifted = self.emit("add", self.emit("bitcast", magnitude, dtype=f32), self.const(0.5, f32))
        tiny = self.emit("sub", self.emit("bitcast", lifted, dtype=u32), self.const(0x3F000000, u32))
        is_tiny = self.emit("lt", magnitude, self.const(0x38800000, u32))
        is_large = self.emit("ge", magnitude, self.const(0x477FF000, u32))
        is_nan = self.emit("gt", magnitude, self.const(0x7F800000, u32))
        result = self.emit("select", is_tiny, tiny, normal)
        result = self.emit("select", is_large, self.const(0x7C00, u32), result)
        result = self.emit("select", is_nan, self.const(0x7E00, u32), result)
        return self.emit("convert", self.emit("or", result, sign), dtype=u16)

    def to_bf16(self, value: Instr) -> Instr:
        """Round to nearest even on the upper half of the bits."""
        bits = self.emit("bitcast", value, dtype=u32)
        odd = self.emit("and", self.emit("shr", bits, self.const(16, u32)), self.const(1, u32))
        rounded = self.emit("add", self.emit("add", bits, self.const(0x7FFF, u32)), odd)
        rounded = self.emit("shr", rounded, self.const(16, u32))
        is_nan = self.emit("ne", value, value)
        chosen = self.emit("select", is_nan, self.const(0x7FC0, u32), rounded)
        return self.emit("convert", chosen, dtype=u16)


_ROUNDINGS = ("floor", "ceil", "rint", "trunc")


def expand_rounding(kernel: Kernel) -> Kernel:
    """Return ``kernel`` (without vectors) with floor, ceil, rint and trunc done on bit patterns."""
    if not any(s.op.name in _ROUNDINGS for s in operations(kernel.body)):
        return kernel
    rewriter = _Rounding(kernel)
    return replace(kernel, body=rewriter.block(kernel.body))


class _Rounding(Rewriter):
    def instr(self, s: Instr) -> Instr:
        if s.op.name not in _ROUNDINGS:
            return self.copy(s)
        x = self.value(s.args[0])
        whole = self.truncate(x)
        if s.op.name == "trunc":
            return whole
        one = self.const(1.0, x.type)
        if s.op.name == "floor":
            return self.emit("select", self.emit("lt", x, whole), self.emit("sub", whole, one), whole)
        if s.op.name == "ceil":
            return self.emit("select", self.emit("gt", x, whole), self.emit("add", whole, one), whole)
        return self.nearest_even(x, whole)

    def truncate(self, x: Instr) -> Instr:
        """Clear the fraction bits below the exponent; below 1 only the sign is left."""
        carrier, fraction_bits, bias = (u32, 23, 127) if x.type == f32 else (u64, 52, 1023)
        bits = self.emit("bitcast", x, dtype=carrier)
        exponent_mask = self.const(2 * bias + 1, carrier)
        field = self.emit("and", self.emit("shr", bits, self.const(fraction_bits, carrier)), exponent_mask)
        power = self.emit("sub", field, self.const(bias, carrier))
        fraction = self.emit("shr", self.const((1 << fraction_bits) - 1, carrier), power)
        kept = self.emit("and", bits, self.emit("not", fraction))
        sign = self.emit("and", bits, self.const(1 << (x.type.bits - 1), carrier))
        is_small = self.emit("lt", field, self.const(bias, carrier))
        is_whole = self.emit("ge", field, self.const(bias + fraction_bits, carrier))
        result = self.emit("select", is_small, sign, self.emit("select", is_whole, bits, kept))
        return self.emit("bitcast", result, dtype=x.type)

    def nearest_even(self, x: Instr, whole: Instr) -> Instr:
        """Step away from zero if the rest is above a half, or a half and the whole part is odd."""
        dtype = x.type
        zero, half, one, two = (self.const(v, dtype) for v in (0.0, 0.5, 1.0, 2.0))
        rest = self.emit("abs", self.emit("sub", x, whole))
        halved = self.emit("div", whole, two)
        is_odd = self.emit("ne", self.truncate(halved), halved)
        steps = self.emit("or", self.emit("gt", rest, half), self.emit("and", self.emit("eq", rest, half), is_odd))
        away = self.emit("select", self.emit("lt", x, zero), self.emit("sub", whole, one), self.emit("add", whole, one))
        return self.emit("select", steps, away, whole)


def expand_extremes(kernel: Kernel) -> Kernel:
    """Return ``kernel`` (without vectors) with min and max of floats done by comparison."""
    extremes = (s for s in operations(kernel.body) if s.op.name in ("min", "max"))
    if not any(s.type.is_float for s in extremes):
        return kernel
    return replace(kernel, body=_Extremes(kernel).block(kernel.body))


class _Extremes(Rewriter):
    def instr(self, s: Instr) -> Instr:
        if s.op.name not in ("min", "max") or not s.type.is_float:
            return self.copy(s)
        a, b = (self.value(x) for x in s.args)
        carrier = u32 if s.type == f32 else u64
        bits = [self.emit("bitcast", x, dtype=carrier) for x in (a, b)]
        # equal numbers have equal bits but for zeros, where or gives -0 and and gives +0
        tie = self.emit("bitcast", self.emit("or" if s.op.name == "min" else "and", *bits), dtype=s.type)
        better = "lt" if s.op.name == "min" else "gt"
        picked = self.emit("select", self.emit(better, b, a), b, tie)
        picked = self.emit("select", self.emit(better, a, b), a, picked)
        picked = self.emit("select", self.emit("ne", b, b), b, picked)
        return self.emit("select", self.emit("ne", a, a), a, picked)
