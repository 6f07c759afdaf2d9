"""Emits loads, stores and atomics in SPIR-V.

Layer: targets. An index outside loads 0 and stores nothing, unless the kernel is trusted; memory of no elements
has room for one all the same, so that a load may always read something. Bools are bytes in memory.
Invariant: no address outside an array is ever computed for a checked kernel.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from loom.core.dtype import DType, i32, u8, u32, u64
from loom.ir.kernel import Instr, Kernel, Memory, Space, walk
from loom.targets.base import Bounds
from loom.targets.spirv.instructions import Arithmetic
from loom.targets.spirv.messages import Messages
from loom.targets.spirv.module import Module

__all__ = ["MemoryAccess", "constant_indexes", "loads_whole"]

_STORAGE = {Space.BUFFER: "StorageBuffer", Space.SHARED: "Workgroup", Space.PRIVATE: "Function"}
_ATOMIC = {
    "atomic_add": "AtomicIAdd", "atomic_and": "AtomicAnd", "atomic_or": "AtomicOr", "atomic_xor": "AtomicXor",
    "atomic_exchange": "AtomicExchange",
}  # fmt: skip
_GROUP_SCOPE = 2


def loads_whole(memory: Memory) -> bool:
    """Tell whether elements of an array are short vectors that one instruction loads."""
    dtype = memory.dtype
    return memory.space is not Space.PRIVATE and dtype.lanes in (2, 4) and dtype.bits == 32


def constant_indexes(kernel: Kernel) -> dict[Memory, dict[int, None]]:
    """Return the private arrays of which every index is a constant inside, with these indexes in order.

    Each element is then a variable of its own, which every driver turns into a register.
    """
    found: dict[Memory, dict[int, None]] = {m: {} for m in kernel.private}
    for s in walk(kernel.body):
        if isinstance(s, Instr) and s.memory in found:
            index = s.args[0] if s.args else None
            if index is None or index.op.name != "const" or index.attr >= (s.memory.size or 0):
                del found[s.memory]
            else:
                found[s.memory][index.attr] = None
    return found


class MemoryAccess:
    """``variables``, ``elements`` and ``lengths`` (constants or values) are filled in by the lowering."""

    def __init__(self, module: Module, arithmetic: Arithmetic, messages: Messages, bounds: Bounds) -> None:
        self.m = module
        self.a = arithmetic
        self.messages = messages
        self.bounds = bounds
        self.variables: dict[Memory, int] = {}
        self.elements: dict[Memory, dict[int, int]] = {}
        """The variables of private arrays whose elements are that (see ``constant_indexes``)."""
        self.lengths: dict[Memory, int] = {}
        self.heap: dict[Memory, tuple[int, int]] = {}
        """Of private arrays in the heap: where a lane's first element is, and how far apart its elements are."""

    def element(self, dtype: DType) -> DType:
        """Return the type elements have in memory."""
        return u8 if dtype.is_bool else dtype

    def element_type(self, dtype: DType, space: Space) -> int:
        """Return that type, declaring what narrow types in buffers need."""
        return self.buffer_type(dtype) if space is Space.BUFFER else self.a.type_of(self.element(dtype))

    def buffer_type(self, dtype: DType) -> int:
        """Return the type of elements in a buffer, declaring what narrow ones need."""
        held = self.element(dtype)
        if held.bits < 32:
            self.m.capability(f"StorageBuffer{held.bits}BitAccess")
            if held.bits == 8:
                self.m.extension("SPV_KHR_8bit_storage")
        return self.a.type_of(held)

    def pointer(self, memory: Memory, index: int) -> int:
        """Return the address of an element."""
        if memory in self.heap:
            first, apart = self.heap[memory]
            at = self.a.op("IAdd", u32, first, self.a.op("IMul", u32, index, self.m.word(apart)))
            kind = self.m.pointer("StorageBuffer", self.buffer_type(memory.dtype))
            return self.m.value("AccessChain", kind, self.variables[memory], self.m.word(0), at)
        held = self.element_type(memory.dtype, memory.space)
        kind = self.m.pointer(_STORAGE[memory.space], held)
        steps = [self.m.word(0)] if memory.space is Space.BUFFER else []
        return self.m.value("AccessChain", kind, self.variables[memory], *steps, index)

    # indexes

    def word(self, index: int, dtype: DType) -> int:
        """Return an index as 32 bits."""
        return index if dtype.bits == 32 else self.m.value("UConvert", self.a.type_of(u32), index)

    def inside(self, instr: Instr, memory: Memory, index: int) -> int:
        """Tell whether an index, in its own type, lies inside an array."""
        dtype, a = instr.args[0].type, self.a
        if dtype.bits == 64:
            length = self.m.value("UConvert", a.type_of(u64), self.lengths[memory])
            return a.test("ULessThan", index, length)
        below = a.test("ULessThan", self.word(index, dtype), self.lengths[memory])
        if not dtype.is_signed:
            return below
        positive = a.test("SGreaterThanEqual", self.word(index, dtype), a.constant(0, i32))
        return self.m.value("LogicalAnd", self.m.bool(), below, positive)

    # accesses

    def load(self, instr: Instr, memory: Memory, index: int) -> int:
        """Emit ``memory[index]``."""
        inside = None
        if memory in self.elements:
            return self.load_at(memory, self.elements[memory][instr.args[0].attr])
        at = self.word(index, instr.args[0].type)
        if self.bounds.checks:
            inside = self.inside(instr, memory, index)
            self.report(instr, memory, index, inside)
            at = self.a.select(inside, at, self.m.word(0), u32)
        return self.load_at(memory, self.pointer(memory, at), inside)

    def load_at(self, memory: Memory, pointer: int, inside: int | None = None) -> int:
        """Emit the load from an address, 0 if it is not ``inside``."""
        held = self.element(memory.dtype)
        value = self.m.value("Load", self.a.type_of(held), pointer, *self.visibility(memory))
        if inside is not None:
            value = self.a.select(inside, value, self.a.constant(0, held), held)
        if memory.dtype.is_bool:
            return self.a.test("INotEqual", value, self.a.constant(0, held))
        return value

    def store(self, instr: Instr, memory: Memory, index: int, value: int) -> None:
        """Emit ``memory[index] = value``."""
        if memory.dtype.is_bool:
            value = self.a.select(value, self.a.constant(1, u8), self.a.constant(0, u8), u8)
        if memory in self.elements:
            self.m.emit("Store", self.elements[memory][instr.args[0].attr], value)
            return
        at = self.word(index, instr.args[0].type)
        with self.guard(memory, self.check(instr, memory, index)):
            self.put(memory, self.pointer(memory, at), value)

    def put(self, memory: Memory, pointer: int, value: int) -> None:
        """Emit the store to an address."""
        self.m.emit("Store", pointer, value, *self.visibility(memory))

    def visibility(self, memory: Memory) -> tuple[int, ...]:
        """Return what is said of loads and stores of an array."""
        own = memory.space is Space.PRIVATE and memory not in self.heap
        return () if own else self.m.shared_access

    def atomic(self, instr: Instr, memory: Memory, index: int, values: list[int]) -> int:
        """Emit an atomic; gives the old value. A lane that only looks on takes a look."""
        dtype = memory.dtype
        if dtype.bits == 64:
            self.m.capability("Int64Atomics")
        at, inside, mine = self.word(index, instr.args[0].type), self.check(instr, memory, index), self.real(memory)
        if inside is None and mine is None:
            return self.one_atomic(instr, memory, at, values)
        kind = self.a.type_of(dtype)
        old = self.m.local(kind)
        self.m.emit("Store", old, self.a.constant(0, dtype))
        with self.guard(memory, inside):
            self.m.emit("Store", old, self.one_atomic(instr, memory, at, values))
        if mine is not None:
            looks = self.a.test("LogicalNot", mine)
            with self.m.when(looks if inside is None else self.a.test("LogicalAnd", looks, inside)):
                scope, relaxed = self.scope(memory), self.m.word(0)
                seen = self.m.value("AtomicLoad", kind, self.pointer(memory, at), scope, relaxed)
                self.m.emit("Store", old, seen)
        return self.m.value("Load", kind, old)

    def scope(self, memory: Memory) -> int:
        """Return the scope of atomics on an array."""
        return self.m.word(_GROUP_SCOPE) if memory.space is Space.SHARED else self.m.device_scope

    def one_atomic(self, instr: Instr, memory: Memory, at: int, values: list[int]) -> int:
        """Emit the instruction; relaxed, since only barriers order memory."""
        name, dtype = instr.op.name, memory.dtype
        scope, relaxed = self.scope(memory), self.m.word(0)
        pointer, kind = self.pointer(memory, at), self.a.type_of(dtype)
        if name == "atomic_compare_exchange":
            expected, value = values
            return self.m.value("AtomicCompareExchange", kind, pointer, scope, relaxed, relaxed, value, expected)
        if name in _ATOMIC:
            return self.m.value(_ATOMIC[name], kind, pointer, scope, relaxed, values[0])
        which = ("S" if dtype.is_signed else "U") + ("Min" if name == "atomic_min" else "Max")
        return self.m.value(f"Atomic{which}", kind, pointer, scope, relaxed, values[0])

    def check(self, instr: Instr, memory: Memory, index: int) -> int | None:
        """Return whether an index lies inside, telling the host if it does not; None if nobody needs to know."""
        if not self.bounds.checks:
            return None
        inside = self.inside(instr, memory, index)
        self.report(instr, memory, index, inside)
        return inside

    def real(self, memory: Memory) -> int | None:
        """Return whether a lane may write to an array; None if all may."""
        return None if memory.space is Space.PRIVATE else self.messages.identity.real

    @contextmanager
    def guard(self, memory: Memory, inside: int | None) -> Generator[None, None, None]:
        """What is emitted inside the ``with`` happens for indexes inside, in the kernel's own lanes."""
        mine = self.real(memory)
        conditions = [c for c in (inside, mine) if c is not None]
        if not conditions:
            yield
            return
        both = self.a.test("LogicalAnd", *conditions) if len(conditions) == 2 else conditions[0]
        with self.m.when(both):
            yield

    def report(self, instr: Instr, memory: Memory, index: int, inside: int) -> None:
        """Tell the host about an index outside, if that is wanted."""
        if self.bounds.reports:
            self.messages.out_of_bounds(instr, memory, index, self.lengths[memory], inside)
