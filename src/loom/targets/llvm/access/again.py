"""Reads what one lane has from memory once more, where a vector of it would have to be cut up.

Layer: targets. Work that goes lane by lane, such as adding to a table, wants scalars; where they came from neighbouring
elements of a buffer that nobody writes, reading them is cheaper than taking a register apart. Invariant: only what is
read once by all lanes is read again, and from nothing that a kernel may write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.ir.kernel import Access, Instr, Space
from loom.targets.llvm.access.lane_rows import LaneRows
from loom.targets.llvm.values.types import I1, I64, memory_type

__all__ = ["ReadAgain"]


class ReadAgain:
    """Operands of one lane at a time; ``rows`` knows which loads were of neighbours."""

    def __init__(self, rows: LaneRows) -> None:
        self.s = rows.s
        self.b = rows.b
        self.v = rows.v
        self.rows = rows
        self.elements = rows.elements

    def condition(self, instr: Instr, mask: Any) -> Any:
        """Return when (an i1) the operands of an atomic can be read again, or None if never, or if it does not help."""
        if self.s.width == 1 or instr in self.s.used:
            return None
        loads = [load for load in map(self.source, instr.args) if load is not None]
        if not loads:
            return None
        result: Any = I1(1) if mask is None else self.v.all(mask)
        for load in loads:
            row = self.rows.seen[load][0]
            result = result if row is None else self.b.and_(result, row)
        return result

    def source(self, value: Instr) -> Instr | None:
        """Return the load that a value is, widened or not, if its lanes were neighbours in memory that stays so."""
        while value.op.name == "convert" and value.type.is_integer and not value.type.is_vector:
            source = value.args[0]
            if not source.type.is_integer or source.type.bits > value.type.bits:
                return None
            value = source
        memory = value.memory
        if value.op.name != "load" or memory is None or value not in self.rows.seen or value not in self.s.values:
            return None
        stays = memory.space is Space.BUFFER and memory.access is Access.READ
        return value if stays and memory.dtype.is_integer and not memory.dtype.is_vector else None

    def reader(self, value: Instr, otherwise: Callable[[int], Any]) -> Callable[[int], Any]:
        """Return the function that emits a lane's value: read again if it can be, else ``otherwise``."""
        load = self.source(value)
        if load is None:
            return otherwise
        memory = load.memory
        assert memory is not None
        first, kind = self.elements.address(memory, self.rows.seen[load][1]), memory_type(memory.dtype)
        pointer = self.s.hide(first)

        def read(lane: int) -> Any:
            cell = self.b.gep(pointer, [I64(lane)], source_etype=kind)
            return self.convert(self.elements.read(memory, cell), value)

        return read

    def convert(self, element: Any, value: Instr) -> Any:
        """Apply the conversions between a load and a value."""
        steps: list[Instr] = []
        while value.op.name == "convert":
            steps.append(value)
            value = value.args[0]
        for step in reversed(steps):
            if step.type.bits > step.args[0].type.bits:
                extend = self.b.sext if step.args[0].type.is_signed else self.b.zext
                element = extend(element, memory_type(step.type))
        return element
