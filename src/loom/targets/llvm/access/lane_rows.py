"""Emits loads and stores of neighbouring lanes: of a row of elements as one vector, of steps one by one.

Layer: targets. Neighbouring lanes at neighbouring elements are one vector access when all of it lies inside the array;
the edges go lane by lane. Where lanes only mostly are neighbours, that is looked at first. Invariant: unless the kernel
is trusted, no byte outside an array is touched, whatever the index.
"""

from __future__ import annotations

from typing import Any

from loom.ir.kernel import Instr, Memory
from loom.targets.llvm.access.gathers import Gathers
from loom.targets.llvm.values.lanes import Lanes
from loom.targets.llvm.values.types import I32, I64, Undefined, memory_type

__all__ = ["LaneRows"]


class LaneRows:
    """Accesses side by side, under the state's current mask; ``gathers`` does what is not."""

    def __init__(self, gathers: Gathers) -> None:
        self.s = gathers.s
        self.b = gathers.b
        self.v = gathers.s.vectors
        self.indexes = gathers.indexes
        self.elements = gathers.elements
        self.gathers = gathers
        self.known: dict[Instr, Lanes] = {}  # accesses found side by side and inside already: their first index
        self.seen: dict[Instr, tuple[Any, Any]] = {}  # loads: if of neighbours (None: surely), where

    # which lanes are neighbours

    def is_likely(self, instr: Instr) -> bool:
        """True if it is worth a look at run time whether the lanes' elements are neighbours."""
        return self.s.shapes.likely.get(instr.args[0]) == 1

    def first_of(self, index: Lanes) -> Lanes:
        """Return what an index held lane by lane would be, if its lanes counted up from the first."""
        return Lanes(self.b.extract_element(index.value, I32(0)), 1)

    def start(self, instr: Instr, index: Lanes) -> tuple[Lanes, Lanes | None]:
        """Return the index of a row, and the index lane by lane where that must be looked at first."""
        if index.stride is not None:
            return index, None
        known = self.known.get(instr)
        return self.first_of(index) if known is None else known, index

    def same_as_row(self, first: Lanes, index: Lanes) -> Any:
        """Tell lane by lane whether it counts up from the first, or does not run."""
        same = self.b.icmp_unsigned("==", index.value, self.v.spread(first))
        return same if self.s.mask is None else self.b.or_(same, self.b.not_(self.s.mask))

    def is_row(self, instr: Instr, memory: Memory, index: Lanes, per_lane: Lanes | None) -> Any:
        """True if the lanes' elements are neighbours from ``index`` on and may be accessed as one vector."""
        row = self.indexes.in_a_row(instr, self.indexes.wide(index, instr).value, memory)
        return row if per_lane is None else self.b.and_(self.v.all(self.same_as_row(index, per_lane)), row)

    def is_surely_row(self, instr: Instr, per_lane: Lanes | None) -> bool:
        """True if no code is needed to tell, of an index that may or may not have to be looked at."""
        return instr in self.known or (per_lane is None and self.indexes.surely_in_a_row(instr))

    # rows

    def load(self, instr: Instr, memory: Memory, index: Lanes, per_lane: Lanes | None) -> Any:
        """Load neighbours from ``start`` on."""
        wide, mask = self.indexes.wide(index, instr).value, self.mask_of(memory)
        self.seen[instr] = (None, wide)
        if self.is_surely_row(instr, per_lane):
            return self.read(memory, wide, mask)
        row = self.is_row(instr, memory, index, per_lane)
        self.seen[instr] = (row, wide)
        return self.s.merge(
            self.s.ways(
                ("load.fast", "load.edge", "load.end"),
                row,
                lambda: self.read(memory, wide, mask),
                lambda: self.gathers.load(instr, memory, self.indexes.spread(per_lane or index, instr)),
            )
        )

    def store(self, instr: Instr, memory: Memory, index: Lanes, per_lane: Lanes | None, value: Any) -> None:
        """Store to neighbours from ``start`` on."""
        wide = self.indexes.wide(index, instr).value
        if self.is_surely_row(instr, per_lane):
            self.write(memory, value, wide)
            return
        self.s.ways(
            ("store.fast", "store.edge", "store.end"),
            self.is_row(instr, memory, index, per_lane),
            lambda: self.write(memory, value, wide),
            lambda: self.gathers.store(instr, memory, self.indexes.spread(per_lane or index, instr), value),
        )

    def mask_of(self, memory: Memory) -> Any:
        """Return the mask with each lane as often as an element has components; None if all run."""
        lanes = memory.dtype.lanes
        if self.s.mask is None or lanes == 1:
            return self.s.mask
        return self.gathers.shorts.shuffle(self.s.mask, [n // lanes for n in range(lanes * self.s.width)])

    def read(self, memory: Memory, wide: Any, mask: Any) -> Any:
        """Load neighbours that are known to be inside, in a trusted kernel those of the lanes that run."""
        pointer = self.elements.address(memory, wide)
        if self.indexes.checked or mask is None:
            return self.elements.read(memory, pointer, self.s.width)
        return self.elements.load_where(memory, self.elements.kind(memory, self.s.width), pointer, mask)

    def write(self, memory: Memory, value: Any, wide: Any) -> None:
        """Store the lanes that run to neighbours that are known to be inside."""
        pointer, mask = self.elements.address(memory, wide), self.mask_of(memory)
        if mask is None:
            self.elements.write(memory, value, pointer)
        else:
            self.elements.store_where(memory, value, pointer, mask)

    # steps

    def load_steps(self, instr: Instr, memory: Memory, index: Lanes, stride: int) -> Any:
        """Load elements a known distance apart one by one, if all are inside: cheaper than a gather of addresses."""
        wide = self.indexes.wide(index, instr).value

        def whole() -> Any:
            pointer, vector = self.elements.address(memory, wide), Undefined(self.elements.kind(memory, self.s.width))
            for lane in range(self.s.width):
                element = self.elements.read(memory, self.step(memory, pointer, lane * stride))
                vector = self.b.insert_element(vector, element, I32(lane))
            return vector

        steps = self.indexes.in_steps(instr, wide, memory, stride)
        return self.s.merge(
            self.s.ways(
                ("load.strided", "load.edge", "load.end"),
                steps,
                whole,
                lambda: self.gathers.load(instr, memory, self.indexes.spread(index, instr)),
            )
        )

    def store_steps(self, instr: Instr, memory: Memory, index: Lanes, stride: int, value: Any) -> None:
        """Store elements a known distance apart one by one, if all lanes run and are inside."""
        wide = self.indexes.wide(index, instr).value

        def whole() -> None:
            pointer = self.elements.address(memory, wide)
            for lane in range(self.s.width):
                cell = self.step(memory, pointer, lane * stride)
                self.elements.write(memory, self.b.extract_element(value, I32(lane)), cell)

        steps = self.indexes.in_steps(instr, wide, memory, stride)
        self.s.ways(
            ("store.strided", "store.edge", "store.end"),
            steps,
            whole,
            lambda: self.gathers.store(instr, memory, self.indexes.spread(index, instr), value),
        )

    def step(self, memory: Memory, pointer: Any, elements: int) -> Any:
        """Return the address so many elements behind another."""
        return self.b.gep(pointer, [I64(elements)], source_etype=memory_type(memory.dtype))
