"""Replaces short vectors by their components, for targets without them.

Layer: ir. A vector value becomes a tuple of scalars, a vector variable one variable per component, a
memory of vectors a memory of scalars with ``lanes`` times the elements, at 64-bit indexes so that the
scaled index cannot wrap; a target may keep memories of vectors, of which it then loads and stores whole
elements, and values of them (see ``packing``), on which it then computes by component. Invariant: component c of
element i is scalar ``i * lanes + c``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from loom.core.dtype import DType, i64, u64
from loom.core.late.dataclass import dataclass
from loom.ir.kernel import Instr, Kernel, Memory, Variable, operations
from loom.ir.passes.rewrite import Rewriter

__all__ = ["Scalarized", "scalarize"]

_Parts = tuple[Instr, ...]


@dataclass(frozen=True, slots=True)
class Scalarized:
    """The kernel without vectors, and for each rewritten buffer how many scalars one element was."""

    kernel: Kernel
    components: dict[Memory, int]


def scalarize(
    kernel: Kernel,
    keeps: Callable[[Memory], bool] = lambda _: False,
    packs: Callable[[Kernel], Collection[Instr | Variable]] = lambda _: (),
) -> Scalarized:
    """Return ``kernel`` without short vectors (itself if it has none), but for the memories that a target ``keeps``.

    ``packs`` gives the values and variables that stay vectors.
    """
    arrays = (*kernel.buffers, *kernel.shared, *kernel.private)
    vectors = any(s.dtype is not None and s.dtype.is_vector for s in operations(kernel.body))
    if not vectors and not any(m.dtype.is_vector for m in arrays):
        return Scalarized(kernel, {})
    return _Scalarizer(kernel, keeps, packs(kernel)).run()


class _Scalarizer(Rewriter):
    def __init__(self, kernel: Kernel, keeps: Callable[[Memory], bool], packed: Collection[Instr | Variable]) -> None:
        super().__init__(kernel)
        self.packed = packed
        arrays = (*kernel.buffers, *kernel.shared, *kernel.private)
        self.memories = {m: m if keeps(m) else _scalar_memory(m) for m in arrays}
        self.variables = {v: (v,) if v in packed else _parts_of(v) for v in kernel.variables}

    def run(self) -> Scalarized:
        k = self.kernel
        kernel = replace(
            k,
            body=self.block(k.body),
            buffers=tuple(self.memories[m] for m in k.buffers),
            shared=tuple(self.memories[m] for m in k.shared),
            private=tuple(self.memories[m] for m in k.private),
            variables=tuple(part for v in k.variables for part in self.variables[v]),
        )
        components = {self.memories[m]: m.dtype.lanes for m in k.buffers if self.memories[m] is not m}
        return Scalarized(kernel, components)

    def parts(self, old: Instr, lanes: int) -> _Parts:
        """Return the components of a value, a scalar repeated."""
        new: Instr | _Parts = self.values[old]
        return new if isinstance(new, tuple) else (new,) * lanes

    def whole_value(self, old: Instr) -> Instr:
        """Return a value as one: a scalar, or a vector that is kept or made of its components here."""
        new: Instr | _Parts = self.values[old]
        return self.emit("vector", *new, dtype=old.type) if isinstance(new, tuple) else new

    def instr(self, s: Instr) -> Instr | _Parts:
        if s in self.packed or any(a in self.packed for a in s.args):
            return self.of_packed(s)
        if s.op.name == "vector":
            return tuple(self.value(a) for a in s.args)
        if s.op.name == "extract":
            return self.values[s.args[0]][s.attr]
        if s.op.name in ("get", "set"):
            return self.variable(s)
        if s.op.name == "tile_product":
            return self.tile(s)
        if s.memory is not None and s.memory.dtype.is_vector:
            return self.access(s, s.memory)
        lanes = max([s.dtype.lanes if s.dtype else 1, *(a.type.lanes for a in s.args)])
        if lanes == 1:
            return self.copy(s, self.memories[s.memory] if s.memory is not None else None)
        columns = [self.parts(a, lanes) for a in s.args]
        scalar: DType | None = s.dtype.scalar if s.dtype is not None else None
        return tuple(self.emit(s.op.name, *(c[i] for c in columns), attr=s.attr, dtype=scalar) for i in range(lanes))

    def of_packed(self, s: Instr) -> Instr:
        """Copy an operation on vectors that are kept."""
        memory = self.memories[s.memory] if s.memory is not None else None
        args = tuple(self.whole_value(a) for a in s.args)
        new = Instr(s.op, s.dtype, args, s.attr, memory, s.loc)
        self.out.append(new)
        return new

    def variable(self, s: Instr) -> Instr | _Parts:
        parts = self.variables[s.attr]
        if len(parts) == 1:
            return self.copy(s, attr=parts[0])
        if s.op.name == "get":
            return tuple(self.emit("get", attr=p) for p in parts)
        values = self.parts(s.args[0], len(parts))
        return tuple(self.emit("set", v, attr=p) for v, p in zip(values, parts, strict=True))

    def access(self, s: Instr, memory: Memory) -> Instr | _Parts:
        target, lanes = self.memories[memory], memory.dtype.lanes
        if s.op.name == "length":
            return self.emit("length", memory=target)
        first = self.value(s.args[0])
        if target is memory:
            return self.whole(s, memory, first)
        wide = i64 if first.type.is_signed else u64
        base = first if first.dtype == wide else self.emit("convert", first, dtype=wide)
        base = self.emit("mul", base, self.const(lanes, wide))
        indexes = [self.emit("add", base, self.const(c, wide)) for c in range(lanes)]
        if s.op.name == "load":
            return tuple(self.emit("load", i, memory=target) for i in indexes)
        values = self.parts(s.args[1], lanes)
        return tuple(self.emit("store", i, v, memory=target) for i, v in zip(indexes, values, strict=True))

    def tile(self, s: Instr) -> _Parts:
        """Copy a product of tiles, the one operation that stays one of vectors."""
        lanes = s.type.lanes
        at, sums = [self.value(a) for a in s.args[:2]], self.parts(s.args[2], lanes)
        assert s.memory is not None
        whole = self.emit("vector", *sums, dtype=s.type)
        found = self.emit("tile_product", *at, whole, attr=s.attr, memory=self.memories[s.memory])
        return tuple(self.emit("extract", found, attr=c, dtype=s.type.scalar) for c in range(lanes))

    def whole(self, s: Instr, memory: Memory, index: Instr) -> Instr | _Parts:
        """Load or store an element of a memory that is kept."""
        dtype = memory.dtype
        if s.op.name == "load":
            value = self.emit("load", index, memory=memory)
            return tuple(self.emit("extract", value, attr=c, dtype=dtype.scalar) for c in range(dtype.lanes))
        value = self.emit("vector", *self.parts(s.args[1], dtype.lanes), dtype=dtype)
        return self.emit("store", index, value, memory=memory)


def _scalar_memory(memory: Memory) -> Memory:
    if not memory.dtype.is_vector:
        return memory
    size = memory.size * memory.dtype.lanes if memory.size is not None else None
    return replace(memory, dtype=memory.dtype.scalar, size=size)


def _parts_of(variable: Variable) -> tuple[Variable, ...]:
    if not variable.dtype.is_vector:
        return (variable,)
    return tuple(Variable(f"{variable.name}.{'xyzw'[i]}", variable.dtype.scalar) for i in range(variable.dtype.lanes))
