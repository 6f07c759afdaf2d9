"""Emits loads and stores of private arrays held in vectors: element e of lane l is at ``e * width + l``.

Layer: targets. Where lanes index alike they find a vector; elsewhere each reaches for its own element. Invariant: no
byte outside an array is touched, unless the kernel is trusted.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ll

from loom.ir.kernel import Instr, Memory
from loom.targets.llvm.access.array_elements import ArrayElements
from loom.targets.llvm.access.array_indexes import ArrayIndexes
from loom.targets.llvm.values.lanes import Lanes
from loom.targets.llvm.values.types import I64

__all__ = ["PrivateArrays"]


class PrivateArrays:
    """Private arrays of vectors of more than one lane."""

    def __init__(self, indexes: ArrayIndexes, elements: ArrayElements) -> None:
        self.s = elements.s
        self.b = elements.b
        self.v = elements.v
        self.indexes = indexes
        self.elements = elements

    def load(self, instr: Instr, memory: Memory, index: Lanes) -> Any:
        """Load each lane's element."""
        if index.stride != 0:
            pointers, wide = self.pointers(instr, memory, index)
            return self.elements.gather_where(memory, pointers, self.indexes.active(instr, memory, wide))
        wide, inside = self.cell(instr, memory, index)
        row = self.elements.read(memory, self.row(memory, wide), self.s.width)
        return row if inside is None else self.b.select(inside, row, ll.Constant(row.type, None))

    def store(self, instr: Instr, memory: Memory, index: Lanes, value: Any) -> None:
        """Store the element of each lane that runs."""
        if index.stride != 0:
            pointers, wide = self.pointers(instr, memory, index)
            self.elements.scatter_where(memory, value, pointers, self.indexes.active(instr, memory, wide))
            return
        wide, inside = self.cell(instr, memory, index)
        pointer = self.row(memory, wide)
        mask = self.s.mask
        if inside is not None:
            all_lanes = self.v.splat(inside)
            mask = all_lanes if mask is None else self.b.and_(mask, all_lanes)
        if mask is not None:
            value = self.b.select(mask, value, self.elements.read(memory, pointer, self.s.width))
        self.elements.write(memory, value, pointer)

    def pointers(self, instr: Instr, memory: Memory, index: Lanes) -> tuple[Any, Any]:
        """Return the addresses of each lane's element and the 64-bit index."""
        wide = self.indexes.spread(index, instr)
        width = self.v.splat(I64(self.s.width))
        cell = self.b.add(self.b.mul(wide, width), self.v.iota(I64))
        return self.elements.address(memory, cell), wide

    def cell(self, instr: Instr, memory: Memory, index: Lanes) -> tuple[Any, Any]:
        """Return a number of an element that all lanes share, 0 for one outside, and whether it is inside if in doubt.

        What is known to be inside LLVM keeps in registers, where all indexes of an array are.
        """
        wide = self.indexes.wide(index, instr).value
        if not self.indexes.checked or self.indexes.is_known_inside(instr, memory):
            return wide, None
        inside = self.indexes.check(instr, memory, wide)
        return self.b.select(inside, wide, I64(0)), inside

    def row(self, memory: Memory, wide: Any) -> Any:
        """Return the address of all lanes' elements of a number."""
        return self.elements.address(memory, self.b.mul(wide, I64(self.s.width)))
