"""Emits loads and stores: which way each takes, scalar, in a row, in steps, in records, or lane by lane.

Layer: targets. Lanes at one element share it, neighbours are one vector access; what lies anywhere goes through gather
and scatter. Invariant: unless the kernel is trusted, no byte outside an array is touched, whatever the index.
"""

from __future__ import annotations

from typing import Any

from loom.ir.kernel import Instr, Memory, Space
from loom.targets.llvm.access.array_elements import ArrayElements
from loom.targets.llvm.access.array_indexes import ArrayIndexes
from loom.targets.llvm.access.atomics import AtomicAccess
from loom.targets.llvm.access.gathers import Gathers
from loom.targets.llvm.access.lane_rows import LaneRows
from loom.targets.llvm.access.messages import Messages
from loom.targets.llvm.access.private import PrivateArrays
from loom.targets.llvm.access.records import RecordAccess
from loom.targets.llvm.access.short_vectors import ShortVectors
from loom.targets.llvm.values.lanes import Lanes
from loom.targets.llvm.values.state import State

__all__ = ["MemoryAccess"]


class MemoryAccess:
    """Emits memory operations under the state's current mask."""

    def __init__(self, state: State, messages: Messages) -> None:
        self.s = state
        self.b: Any = state.builder
        self.v = state.vectors
        self.indexes = ArrayIndexes(state, messages)
        self.elements = ArrayElements(state)
        self.shorts = ShortVectors(state)
        self.gathers = Gathers(self.indexes, self.elements, self.shorts)
        self.rows = LaneRows(self.gathers)
        self.private = PrivateArrays(self.indexes, self.elements)
        self.records = RecordAccess(self.gathers)
        self.atomics = AtomicAccess(self.rows)

    def note(self, instr: Instr, memory: Memory, index: Lanes) -> None:
        """Keep which way an access takes."""
        if memory.space is Space.PRIVATE:
            self.s.note(self.private_way(instr, memory, index), instr)
        elif index.stride == 0 or self.s.width == 1:
            self.s.note("uniform", instr)
        elif index.stride == 1:
            self.s.note("row", instr)
        elif index.stride is None and self.rows.is_likely(instr):
            self.s.note("mostly row", instr)
        elif index.stride is not None and instr in self.records.group_of:
            self.s.note("record", instr, index.stride)
        elif index.stride is not None:
            self.s.note("steps", instr, index.stride)
        else:
            self.s.note("gather" if instr.op.name == "load" else "scatter", instr)

    def private_way(self, instr: Instr, memory: Memory, index: Lanes) -> str:
        if self.indexes.is_known_inside(instr, memory):
            return "private register"
        return "private row" if index.stride == 0 or self.s.width == 1 else "private gather"

    def in_a_row(self, instr: Instr, index: Lanes) -> bool:
        """True if the lanes' elements are neighbours, or it is worth a look whether they are."""
        return index.stride == 1 or (index.stride is None and self.rows.is_likely(instr))

    # loads

    def load(self, instr: Instr, memory: Memory, index: Lanes, stride: int | None) -> Lanes:
        """Emit ``memory[index]``; the result is held as ``stride`` says."""
        self.note(instr, memory, index)
        if memory.dtype.is_vector:
            return self.load_short(instr, memory, index, stride)
        if memory.space is Space.PRIVATE and self.s.width > 1:
            loaded, stride = self.private.load(instr, memory, index), None
        elif stride == 0:
            loaded = self.load_one(instr, memory, index)
        else:
            loaded = self.load_apart(instr, memory, index)
        return Lanes(self.elements.to_register(loaded, memory), stride)

    def load_apart(self, instr: Instr, memory: Memory, index: Lanes) -> Any:
        """Load scalars of which each lane may have its own."""
        if self.in_a_row(instr, index):
            return self.rows.load(instr, memory, *self.rows.start(instr, index))
        if index.stride is None:
            return self.gathers.load(instr, memory, self.indexes.spread(index, instr))
        loaded = self.records.load(instr, memory, index)
        return loaded if loaded is not None else self.rows.load_steps(instr, memory, index, index.stride)

    def load_short(self, instr: Instr, memory: Memory, index: Lanes, stride: int | None) -> Lanes:
        """Load whole short vectors."""
        if stride == 0 or self.s.width == 1:
            return Lanes(self.load_one(instr, memory, index), stride)
        if index.stride == 0:
            shared = Lanes(self.load_one(instr, memory, index), 0)
            return Lanes(self.shorts.operand(shared, memory.dtype, memory.dtype.lanes, None), None)
        if self.in_a_row(instr, index):
            return Lanes(self.rows.load(instr, memory, *self.rows.start(instr, index)), None)
        return Lanes(self.gathers.load(instr, memory, self.indexes.spread(index, instr)), None)

    def load_one(self, instr: Instr, memory: Memory, index: Lanes) -> Any:
        """Load the element that all lanes share."""
        wide = self.indexes.wide(index, instr).value
        pointer = self.elements.address(memory, wide)
        if self.indexes.checked and instr not in self.indexes.known_inside:
            inside = self.indexes.check(instr, memory, wide)
            if self.s.width == 1:
                return self.elements.load_if(inside, lambda: self.elements.read(memory, pointer))
            pointer = self.b.select(inside, pointer, self.elements.zero_cell())
        return self.elements.read(memory, pointer)

    # stores

    def store(self, instr: Instr, memory: Memory, index: Lanes, value: Lanes) -> None:
        """Emit ``memory[index] = value`` for the lanes running."""
        self.note(instr, memory, index)
        if memory.dtype.is_vector:
            self.store_short(instr, memory, index, value)
        elif memory.space is Space.PRIVATE and self.s.width > 1:
            self.private.store(instr, memory, index, self.spread(value, memory))
        elif index.stride == 0:
            self.store_one(instr, memory, index, self.elements.to_memory(self.shorts.last_of(value, 1), memory))
        elif self.in_a_row(instr, index):
            start = self.rows.start(instr, index)
            self.rows.store(instr, memory, *start, self.spread(value, memory))
        elif index.stride is None:
            wide = self.indexes.spread(index, instr)
            self.gathers.store(instr, memory, wide, self.spread(value, memory))
        else:
            spread = self.spread(value, memory)
            if not self.records.store(instr, memory, index, spread):
                self.rows.store_steps(instr, memory, index, index.stride, spread)

    def spread(self, value: Lanes, memory: Memory) -> Any:
        """Return scalars lane by lane as memory has them."""
        return self.elements.to_memory(self.v.spread(value), memory)

    def store_short(self, instr: Instr, memory: Memory, index: Lanes, value: Lanes) -> None:
        """Store whole short vectors."""
        lanes = memory.dtype.lanes
        if index.stride == 0 or self.s.width == 1:
            self.store_one(instr, memory, index, self.shorts.last_of(value, lanes))
            return
        packed = self.shorts.operand(value, memory.dtype, lanes, None)
        if self.in_a_row(instr, index):
            self.rows.store(instr, memory, *self.rows.start(instr, index), packed)
        else:
            self.gathers.store(instr, memory, self.indexes.spread(index, instr), packed)

    def store_one(self, instr: Instr, memory: Memory, index: Lanes, value: Any) -> None:
        """Store to the element that all lanes share."""
        wide = self.indexes.wide(index, instr).value
        if not self.indexes.checked:
            self.elements.write(memory, value, self.elements.address(memory, wide))
            return
        with self.s.branch(self.indexes.check(instr, memory, wide), "store"):
            self.elements.write(memory, value, self.elements.address(memory, wide))
