"""Elements in memory: their addresses and types, and the instructions that read and write one, neighbours or any.

Layer: targets. An element is a scalar or a short vector, which lies without gaps. Invariant: a bool is a byte, 0 or 1;
LLVM is told of an alignment that every element has, and that buffers of one dispatch do not overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import Any

import llvmlite.ir as ll

from loom.core.dtype import DType
from loom.ir.kernel import Access, Memory, Space
from loom.targets.llvm.machine import PLACED_NBYTES
from loom.targets.llvm.values.arithmetic import suffix
from loom.targets.llvm.values.state import State
from loom.targets.llvm.values.types import I8, I32, I64, POINTER, memory_type

__all__ = ["ArrayElements", "element_type"]


def element_type(dtype: DType) -> Any:
    """Return the type of an element in memory; a short vector is an array, without gaps."""
    return memory_type(dtype) if dtype.lanes == 1 else ll.ArrayType(memory_type(dtype.scalar), dtype.lanes)


class ArrayElements:
    """Elements of one function's memories; none of them is compared with a length here."""

    def __init__(self, state: State) -> None:
        self.s = state
        self.b: Any = state.builder
        self.v = state.vectors

    def address(self, memory: Memory, wide: Any) -> Any:
        """Return the address of an element (a vector of addresses for a vector of indexes)."""
        base = self.s.arrays[memory].base
        if memory.space is Space.SHARED and self.s.machine.threads and not memory.dtype.is_vector:
            # counted in 32 bits, as such memory is: constant distances become part of an access
            distance = self.b.mul(self.b.trunc(wide, I32), I32(memory.dtype.nbytes))
            return self.b.gep(base, [self.b.zext(distance, I64)], source_etype=I8)
        pointer = self.b.gep(base, [wide], source_etype=element_type(memory.dtype))
        if isinstance(wide.type, ll.VectorType):  # llvmlite does not know that a vector index gives a vector
            pointer.type = ll.VectorType(POINTER, self.s.width)
        return pointer

    def kind(self, memory: Memory, count: int) -> Any:
        """Return the type that ``count`` neighbours are read and written as."""
        element, scalars = memory_type(memory.dtype.scalar), count * memory.dtype.lanes
        return element if scalars == 1 else ll.VectorType(element, scalars)

    def align(self, memory: Memory) -> int:
        """Return what the address of an element is surely a multiple of."""
        if self.s.machine.placed and memory.space is Space.BUFFER:
            return gcd(memory.dtype.nbytes, PLACED_NBYTES)
        return memory.dtype.bits // 8

    def to_register(self, value: Any, memory: Memory) -> Any:
        """A bool byte becomes i1."""
        if not memory.dtype.is_bool:
            return value
        return self.b.icmp_unsigned("!=", value, self.s.arithmetic.constant(0, value))

    def to_memory(self, value: Any, memory: Memory) -> Any:
        """An i1 becomes a bool byte."""
        if not memory.dtype.is_bool:
            return value
        kind: Any = ll.VectorType(I8, self.s.width) if isinstance(value.type, ll.VectorType) else I8
        return self.b.zext(value, kind)

    def zero_cell(self) -> Any:
        """Return the address of as many zero bytes as the largest element has."""
        found: Any = self.s.module.globals.get("loom.zero")
        if found is None:
            found = ll.GlobalVariable(self.s.module, ll.ArrayType(I64, 4), "loom.zero")
            found.initializer = ll.Constant(found.value_type, None)
            found.global_constant = True
            found.linkage = "internal"
            found.type = POINTER
        return found

    # what is known to be inside

    def read(self, memory: Memory, pointer: Any, count: int = 1) -> Any:
        """Load ``count`` neighbours."""
        loaded = self.b.load(pointer, align=self.align(memory), typ=self.kind(memory, count))
        return self.tag(loaded, memory)

    def write(self, memory: Memory, value: Any, pointer: Any) -> None:
        """Store an element, or neighbours."""
        self.tag(self.b.store(value, pointer, align=self.align(memory)), memory)

    def tag(self, access: Any, memory: Memory) -> Any:
        """Tell LLVM that buffers of one dispatch do not overlap (``chain.record`` sees to it)."""
        if memory.space is Space.BUFFER:
            if self.s.machine.threads and memory.access is Access.READ:
                access.set_metadata("invariant.load", self.s.module.add_metadata([]))  # GPUs keep those in other caches
            own, others = self.scopes(memory)
            access.set_metadata("alias.scope", own)
            access.set_metadata("noalias", others)
        return access

    def scopes(self, memory: Memory) -> tuple[Any, Any]:
        """Return the alias scope of a buffer and those of all others."""
        module = self.s.module
        domain = module.add_metadata(["loom.buffers"])
        buffers = self.s.kernel.buffers
        named = [module.add_metadata([f"buffer {position}", domain]) for position in range(len(buffers))]
        at = buffers.index(memory)
        return module.add_metadata([named[at]]), module.add_metadata(named[:at] + named[at + 1 :])

    # what may not be

    def load_if(self, inside: Any, load: Callable[[], Any]) -> Any:
        """Load an element, 0 if it is outside: a jump is foreseen or predicated, a choice of addresses waited for."""
        before = self.b.block
        with self.s.branch(inside, "load", likely=True):
            loaded = load()
            there = self.b.block
        return self.s.merge([(ll.Constant(loaded.type, None), before), (loaded, there)])

    def load_where(self, memory: Memory, kind: Any, pointer: Any, mask: Any) -> Any:
        """Load neighbouring elements for the lanes of ``mask`` only, 0 for the others."""
        name, operands = f"llvm.masked.load.{suffix(kind)}.p0", [pointer, I32(self.align(memory)), mask]
        return self._where(name, kind, [*operands, ll.Constant(kind, None)])

    def store_where(self, memory: Memory, value: Any, pointer: Any, mask: Any) -> None:
        """Store neighbouring elements for the lanes of ``mask`` only."""
        name = f"llvm.masked.store.{suffix(value.type)}.p0"
        self._where(name, ll.VoidType(), [value, pointer, I32(self.align(memory)), mask])

    def gather_where(self, memory: Memory, pointers: Any, mask: Any) -> Any:
        """Load an element for each lane of ``mask``, 0 for the others."""
        kind = self.v.of(memory_type(memory.dtype))
        name, zero = f"llvm.masked.gather.{suffix(kind)}.v{self.s.width}p0", ll.Constant(kind, None)
        return self._where(name, kind, [pointers, I32(self.align(memory)), mask, zero])

    def scatter_where(self, memory: Memory, value: Any, pointers: Any, mask: Any) -> None:
        """Store an element for each lane of ``mask``."""
        name = f"llvm.masked.scatter.{suffix(value.type)}.v{self.s.width}p0"
        self._where(name, ll.VoidType(), [value, pointers, I32(self.align(memory)), mask])

    def _where(self, name: str, result: Any, operands: list[Any]) -> Any:
        return self.b.call(self.s.arithmetic.declare(name, result, [x.type for x in operands]), operands)
