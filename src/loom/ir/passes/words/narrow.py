"""Carries integers of 8 and 16 bits in 32, for targets whose compilers are not to be trusted with them.

Layer: ir. A value is held as its number in an i32 or u32; what may have left the range is brought back at once by
masks, never by conversions. Memory keeps its types: a load is widened and a stored value cut on the spot. Parameters
are numbers of 32 bits, which is how they must be handed over. Invariant: the interpreter gives the same bits for a
kernel and for its expansion.

NVIDIA's Vulkan driver 580.159 takes the wrapped opposite of an i16 for unwrapped where it is widened, compared or
counted later, and the wrong half of a pushed word for a u16.
"""

from __future__ import annotations

from dataclasses import replace

from loom.core.dtype import DType, i32, u32
from loom.ir.constants import constant_value
from loom.ir.kernel import For, Instr, Kernel, Param, Variable, operations, walk
from loom.ir.ops import Narrow
from loom.ir.passes.rewrite import Rewriter

__all__ = ["expand_narrow"]


def expand_narrow(kernel: Kernel) -> Kernel:
    """Return ``kernel`` (without vectors and halves) with no operation on integers of 8 or 16 bits."""
    values = (s.type for s in operations(kernel.body) if s.dtype is not None)
    counters = (s.index.type for s in walk(kernel.body) if isinstance(s, For))
    if not any(_is_narrow(t) for t in (*values, *counters)):
        return kernel
    return _Narrow(kernel).run()


def _is_narrow(dtype: DType) -> bool:
    return dtype.is_integer and dtype.bits < 32


def _carrier(dtype: DType) -> DType:
    if not _is_narrow(dtype):
        return dtype
    return i32 if dtype.is_signed else u32


class _Narrow(Rewriter):
    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.variables = {v: Variable(v.name, _carrier(v.dtype)) for v in kernel.variables}
        self.params = {p: Param(p.name, _carrier(p.dtype)) if _is_narrow(p.dtype) else p for p in kernel.params}

    def run(self) -> Kernel:
        k = self.kernel
        return replace(
            k,
            body=self.block(k.body),
            params=tuple(self.params[p] for p in k.params),
            variables=tuple(self.variables[v] for v in k.variables),
        )

    def for_(self, s: For) -> None:
        """Rewrite a counted loop; a counter never wraps, so it may be wider."""
        start, stop, step = self.value(s.start), self.value(s.stop), self.value(s.step)
        index = self.values[s.index] = replace(s.index, dtype=_carrier(s.index.type))
        self.out.append(For(index, start, stop, step, s.down, self.block(s.body), s.loc))

    def instr(self, s: Instr) -> Instr:
        if isinstance(s.attr, Variable):
            return self.emit(s.op.name, *(self.value(a) for a in s.args), attr=self.variables[s.attr])
        if s.op.name == "store" and s.memory is not None and _is_narrow(s.memory.dtype):
            index, value = (self.value(a) for a in s.args)
            cut = self.emit("convert", value, dtype=s.memory.dtype)
            return self.emit("store", index, cut, memory=s.memory)
        if s.dtype is not None and _is_narrow(s.type):
            return self.narrow(s, s.type)
        if s.op.name in ("popcount", "clz") or not s.op.is_pure:
            return self.copy(s)
        args = [self.value(a) for a in s.args]
        attr = None if s.op.name in ("convert", "bitcast") else s.attr
        return self.emit(s.op.name, *args, attr=attr, dtype=s.dtype)

    def narrow(self, s: Instr, dtype: DType) -> Instr:
        """Return the number that ``s`` of a narrow type gives."""
        name, wide = s.op.name, _carrier(dtype)
        if name == "const":
            return self.const(constant_value(s.attr, dtype), wide)
        if name == "param":
            return self.emit("param", attr=self.params[s.attr])
        if not s.op.is_pure:  # a load
            return self.emit("convert", self.copy(s), dtype=wide)
        args = [self.value(a) for a in s.args]
        if name in ("convert", "bitcast"):
            return self.conversion(args[0], dtype)
        if s.op.narrow is Narrow.KEEPS:
            return self.emit(name, *args)
        if s.op.narrow is Narrow.WRAPS:
            return self.wrap(self.emit(name, *args), dtype)
        if name in ("shl", "shr"):
            by = self.emit("and", args[1], self.const(dtype.bits - 1, wide))
            shifted = self.emit(name, args[0], by)
            return shifted if name == "shr" else self.wrap(shifted, dtype)
        if name == "mulhi":
            return self.emit("shr", self.emit("mul", *args), self.const(dtype.bits, wide))
        count = self.emit(name, self.bits(args[0], dtype))
        if name == "clz":
            count = self.emit("sub", count, self.const(32 - dtype.bits, u32))
        return self.emit("bitcast", count, dtype=wide)

    def conversion(self, value: Instr, dtype: DType) -> Instr:
        """Return a value of another type as a number of a narrow one; floats saturate."""
        wide = _carrier(dtype)
        if value.type.is_float:
            near = self.emit("convert", value, dtype=wide)
            near = self.emit("min", near, self.const(dtype.maximum, wide))
            return self.emit("max", near, self.const(dtype.minimum, wide))
        if value.type.is_bool:
            return self.emit("convert", value, dtype=wide)
        word = self.emit("convert", value, dtype=u32) if value.type.bits == 64 else value
        return self.wrap(word, dtype)

    def bits(self, value: Instr, dtype: DType) -> Instr:
        """Return the lowest bits of a word as a u32."""
        word = value if value.type == u32 else self.emit("bitcast", value, dtype=u32)
        return self.emit("and", word, self.const((1 << dtype.bits) - 1, u32))

    def wrap(self, value: Instr, dtype: DType) -> Instr:
        """Bring a word back into the range of a narrow type."""
        low = self.bits(value, dtype)
        if not dtype.is_signed:
            return low
        sign = self.const(1 << (dtype.bits - 1), u32)
        return self.emit("bitcast", self.emit("sub", self.emit("xor", low, sign), sign), dtype=i32)
