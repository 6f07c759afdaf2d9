"""Emits loads and stores of elements here and there, each lane's by itself.

Layer: targets. Scalars go through gather and scatter, short vectors one by one. Invariant: unless the kernel is trusted
no byte outside an array is touched; where lanes meet, the highest wins.
"""

from __future__ import annotations

from typing import Any

from loom.ir.kernel import Instr, Memory
from loom.targets.llvm.access.array_elements import ArrayElements
from loom.targets.llvm.access.array_indexes import ArrayIndexes
from loom.targets.llvm.access.short_vectors import ShortVectors
from loom.targets.llvm.values.types import I32

__all__ = ["Gathers"]


class Gathers:
    """Accesses lane by lane, under the state's current mask."""

    def __init__(self, indexes: ArrayIndexes, elements: ArrayElements, shorts: ShortVectors) -> None:
        self.s = elements.s
        self.b = elements.b
        self.indexes = indexes
        self.elements = elements
        self.shorts = shorts

    def load(self, instr: Instr, memory: Memory, wide: Any) -> Any:
        """Load each lane's element, ``wide`` its index; a lane that may not reads zeros."""
        pointers = self.elements.address(memory, wide)
        if not memory.dtype.is_vector:
            return self.elements.gather_where(memory, pointers, self.indexes.active(instr, memory, wide))
        if self.indexes.checked or self.s.mask is not None:
            nowhere = self.s.vectors.splat(self.elements.zero_cell())
            pointers = self.b.select(self.indexes.active(instr, memory, wide), pointers, nowhere)
        rows = [self.elements.read(memory, self.b.extract_element(pointers, I32(n))) for n in range(self.s.width)]
        while len(rows) > 1:
            joined = range(2 * rows[0].type.count)
            rows = [self.shorts.shuffle(a, joined, b) for a, b in zip(rows[::2], rows[1::2], strict=True)]
        return rows[0]

    def store(self, instr: Instr, memory: Memory, wide: Any, value: Any) -> None:
        """Store each running lane's element, lowest lane first."""
        if not memory.dtype.is_vector:
            mask = self.indexes.active(instr, memory, wide)
            self.elements.scatter_where(memory, value, self.elements.address(memory, wide), mask)
            return
        mask = self.indexes.active(instr, memory, wide) if self.indexes.checked else self.s.mask
        lanes, pointers = memory.dtype.lanes, self.elements.address(memory, wide)
        for n in range(self.s.width):
            row = self.shorts.shuffle(value, range(n * lanes, (n + 1) * lanes))
            if mask is None:
                self.elements.write(memory, row, self.b.extract_element(pointers, I32(n)))
                continue
            with self.s.branch(self.b.extract_element(mask, I32(n)), "store.one"):
                self.elements.write(memory, row, self.b.extract_element(pointers, I32(n)))
