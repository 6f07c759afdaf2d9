"""Emits loads and stores of whole short vectors: neighbours at once and then taken apart, others one element each.

Layer: targets. A short vector is held as it lies in memory, lane after lane: component c of lane l is at
``l * lanes + c``; one that all lanes share is held once. Neighbouring elements are one wide access; elsewhere a lane
reaches its element by one small vector. Invariant: unless the kernel is trusted no byte outside an array is touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import llvmlite.ir as ll

from loom.core.dtype import DType
from loom.ir.kernel import Instr, Memory
from loom.targets.llvm.lanes import Lanes
from loom.targets.llvm.types import I32, POINTER, Repeated, Undefined, memory_type

__all__ = ["ShortVectors", "element_type"]


def element_type(dtype: DType) -> Any:
    """Return the type of an element in memory; a short vector is an array, without gaps."""
    return memory_type(dtype) if dtype.lanes == 1 else ll.ArrayType(memory_type(dtype.scalar), dtype.lanes)


class ShortVectors:
    """Whole short vectors, for the ``MemoryAccess`` of a function (which imports this)."""

    def __init__(self, access: Any) -> None:
        self.m = access
        self.s = access.s
        self.b = access.b
        self.v = access.v

    # values

    def component(self, value: Lanes, dtype: DType, which: int) -> Lanes:
        """Return one component of a vector."""
        if value.stride == 0 or self.s.width == 1:
            return Lanes(self.b.extract_element(value.value, I32(which)), value.stride)
        return Lanes(self.shuffled(value.value, range(which, dtype.lanes * self.s.width, dtype.lanes)), None)

    def made(self, parts: list[Lanes], stride: int | None) -> Lanes:
        """Return the vector of some components."""
        if stride == 0 or self.s.width == 1:
            whole: Any = Undefined(ll.VectorType(parts[0].value.type, len(parts)))
            for c, part in enumerate(parts):
                whole = self.b.insert_element(whole, part.value, I32(c))
            return Lanes(whole, stride)
        return Lanes(self.together([self.v.spread(part) for part in parts]), None)

    def operand(self, value: Lanes, dtype: DType, lanes: int, stride: int | None) -> Any:
        """Return a vector, or a scalar for each of ``lanes`` components, as an operation held so takes it."""
        shared = value.stride == 0 or self.s.width == 1
        if stride == 0 or self.s.width == 1:
            return value.value if dtype.is_vector else self.repeat(value.value, lanes)
        if dtype.is_vector:
            every = [c for _ in range(self.s.width) for c in range(lanes)]
            return self.shuffled(value.value, every) if shared else value.value
        if value.stride == 0:
            return self.repeat(value.value, lanes * self.s.width)
        return self.shuffled(self.v.spread(value), [n // lanes for n in range(lanes * self.s.width)])

    def repeat(self, scalar: Any, count: int) -> Any:
        if isinstance(scalar, ll.Constant):
            return Repeated(scalar, count)
        first = self.b.insert_element(Undefined(ll.VectorType(scalar.type, count)), scalar, I32(0))
        return self.shuffled(first, [0] * count)

    # loads

    def load(self, instr: Instr, memory: Memory, index: Lanes, stride: int | None) -> Lanes:
        """Emit ``memory[index]``."""
        if stride == 0 or self.s.width == 1:
            return Lanes(self.load_one(instr, memory, index), stride)
        if index.stride == 0:
            shared = Lanes(self.load_one(instr, memory, index), 0)
            return Lanes(self.operand(shared, memory.dtype, memory.dtype.lanes, None), None)
        if index.stride == 1:
            return Lanes(self.load_row(instr, memory, index, None), None)
        if index.stride is None and self.m.is_likely_row(instr):
            return Lanes(self.load_row(instr, memory, self.m.first(instr, index), index), None)
        return Lanes(self.load_each(instr, memory, index), None)

    def load_one(self, instr: Instr, memory: Memory, index: Lanes) -> Any:
        """Load the element all lanes share."""
        wide = self.m.wide(index, instr).value
        pointer = self.address(memory, wide)
        if self.m.checked:
            inside = self.m.inside(wide, memory)
            self.m.report_scalar(instr, memory, wide, inside)
            if self.s.width == 1:
                return self.m.load_if(inside, lambda: self.read(memory, pointer, 1))
            pointer = self.b.select(inside, pointer, self.m.zero_cell())
        return self.read(memory, pointer, 1)

    def address(self, memory: Memory, wide: Any) -> Any:
        """Return the address of an element (a vector of addresses for a vector of indexes)."""
        pointer = self.b.gep(self.s.arrays[memory].base, [wide], source_etype=element_type(memory.dtype))
        if isinstance(wide.type, ll.VectorType):
            pointer.type = ll.VectorType(POINTER, self.s.width)
        return pointer

    def packed(self, memory: Memory, count: int) -> Any:
        """Return the type of ``count`` neighbours."""
        return ll.VectorType(memory_type(memory.dtype.scalar), count * memory.dtype.lanes)

    def read(self, memory: Memory, pointer: Any, count: int) -> Any:
        loaded = self.b.load(pointer, align=self.m.align(memory), typ=self.packed(memory, count))
        return self.m.tagged(loaded, memory)

    def shuffled(self, vector: Any, lanes: Iterable[int], other: Any = None) -> Any:
        chosen = [I32(lane) for lane in lanes]
        other = other if other is not None else Undefined(vector.type)
        return self.b.shuffle_vector(vector, other, ll.Constant(ll.VectorType(I32, len(chosen)), chosen))

    def together(self, parts: list[Any]) -> Any:
        """Put vectors of components together as neighbours lie in memory."""
        width, lanes = self.s.width, len(parts)
        pairs = [*parts, *[Undefined(parts[0].type)] * (-lanes % 2)]
        halves = [self.shuffled(a, range(2 * width), b) for a, b in zip(pairs[::2], pairs[1::2], strict=True)]
        order = [c * width + lane for lane in range(width) for c in range(lanes)]
        return self.shuffled(halves[0], order, halves[1] if len(halves) > 1 else None)

    # neighbours

    def load_row(self, instr: Instr, memory: Memory, index: Lanes, really: Lanes | None) -> Any:
        """Load from ``index`` on, if the lanes (``really``: as must be looked at first) are neighbours."""
        kind, wide = self.packed(memory, self.s.width), self.m.wide(index, instr).value
        mask = self.repeated(memory)
        if self.m.is_surely_row(instr, really):
            return self.m.read_row(memory, kind, self.address(memory, wide), mask)
        fast, slow, after = (self.s.block(n) for n in ("load.fast", "load.edge", "load.end"))
        self.b.cbranch(self.m.is_row(instr, memory, index, really), fast, slow)
        self.b.position_at_end(fast)
        pointer = self.address(memory, wide)
        whole = self.m.read_row(memory, kind, pointer, mask)
        self.b.branch(after)
        self.b.position_at_end(slow)
        edge = self.load_each(instr, memory, really or index)
        slow = self.b.block
        self.b.branch(after)
        self.b.position_at_end(after)
        result = self.b.phi(whole.type)
        result.add_incoming(whole, fast)
        result.add_incoming(edge, slow)
        return result

    def repeated(self, memory: Memory) -> Any:
        """Return the mask with each lane as often as an element has components; None if all run."""
        lanes = memory.dtype.lanes
        if self.s.mask is None:
            return None
        return self.shuffled(self.s.mask, [n // lanes for n in range(lanes * self.s.width)])

    # elements here and there

    def load_each(self, instr: Instr, memory: Memory, index: Lanes) -> Any:
        """Load each lane's element by itself; a lane that may not reads zeros."""
        wide = self.m.spread_index(index, instr)
        pointers = self.address(memory, wide)
        if self.m.checked or self.s.mask is not None:
            nowhere = self.v.splat(self.m.zero_cell())
            pointers = self.b.select(self.m.active(instr, memory, wide), pointers, nowhere)
        rows = [self.read(memory, self.b.extract_element(pointers, I32(n)), 1) for n in range(self.s.width)]
        while len(rows) > 1:
            joined = range(2 * rows[0].type.count)
            rows = [self.shuffled(a, joined, b) for a, b in zip(rows[::2], rows[1::2], strict=True)]
        return rows[0]

    # stores

    def store(self, instr: Instr, memory: Memory, index: Lanes, value: Lanes) -> None:
        """Emit ``memory[index] = value`` for the lanes running."""
        lanes = memory.dtype.lanes
        if index.stride == 0 or self.s.width == 1:
            self.store_one(instr, memory, index, self.one_of(value, lanes))
            return
        packed = self.operand(value, memory.dtype, lanes, None)
        if index.stride == 1:
            self.store_row(instr, memory, index, packed, None)
        elif index.stride is None and self.m.is_likely_row(instr):
            self.store_row(instr, memory, self.m.first(instr, index), packed, index)
        else:
            self.store_each(instr, memory, index, packed)

    def one_of(self, value: Lanes, lanes: int) -> Any:
        """Return the value of the highest running lane (where all store to one element, it wins)."""
        if value.stride == 0 or self.s.width == 1:
            return value.value
        if self.s.mask is None:
            return self.shuffled(value.value, range((self.s.width - 1) * lanes, self.s.width * lanes))
        first = self.b.mul(self.v.last(self.s.mask), I32(lanes))
        whole: Any = Undefined(ll.VectorType(value.value.type.element, lanes))
        for c in range(lanes):
            part = self.b.extract_element(value.value, self.b.add(first, I32(c)))
            whole = self.b.insert_element(whole, part, I32(c))
        return whole

    def store_one(self, instr: Instr, memory: Memory, index: Lanes, whole: Any) -> None:
        wide = self.m.wide(index, instr).value
        if not self.m.checked:
            self.write(memory, whole, self.address(memory, wide))
            return
        inside = self.m.inside(wide, memory)
        self.m.report_scalar(instr, memory, wide, inside)
        with self.s.branch(inside, "store"):
            self.write(memory, whole, self.address(memory, wide))

    def write(self, memory: Memory, packed: Any, pointer: Any) -> None:
        self.m.tagged(self.b.store(packed, pointer, align=self.m.align(memory)), memory)

    def store_row(self, instr: Instr, memory: Memory, index: Lanes, packed: Any, really: Lanes | None) -> None:
        """Store from ``index`` on, if the lanes (``really``: as must be looked at first) are neighbours."""
        wide = self.m.wide(index, instr).value
        if self.m.is_surely_row(instr, really):
            self.m.write_row(memory, packed, self.address(memory, wide), self.repeated(memory))
            return
        fast, slow, after = (self.s.block(n) for n in ("store.fast", "store.edge", "store.end"))
        self.b.cbranch(self.m.is_row(instr, memory, index, really), fast, slow)
        self.b.position_at_end(fast)
        pointer = self.address(memory, wide)
        self.m.write_row(memory, packed, pointer, self.repeated(memory))
        self.b.branch(after)
        self.b.position_at_end(slow)
        self.store_each(instr, memory, really or index, packed)
        self.b.branch(after)
        self.b.position_at_end(after)

    def store_each(self, instr: Instr, memory: Memory, index: Lanes, packed: Any) -> None:
        """Store each running lane's element, lowest lane first."""
        wide = self.m.spread_index(index, instr)
        mask = self.m.active(instr, memory, wide) if self.m.checked else self.s.mask
        lanes, pointers = memory.dtype.lanes, self.address(memory, wide)
        for n in range(self.s.width):
            row = self.shuffled(packed, range(n * lanes, (n + 1) * lanes))
            if mask is None:
                self.write(memory, row, self.b.extract_element(pointers, I32(n)))
                continue
            with self.s.branch(self.b.extract_element(mask, I32(n)), "store.one"):
                self.write(memory, row, self.b.extract_element(pointers, I32(n)))
