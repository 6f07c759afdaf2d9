"""Fixed-point cells in kernels: what is added to one, stored in one, read from one.

Layer: ir. Cells are i64 memory; ``Memory.fixed`` tells the front end that they are more, and the operations emitted
here are all there is of it. Invariant: what a cell does not hold exactly fails an assertion, before it is added.

Order: a run without a fault leaves the sum of all units, exact in any order of lanes. What was there before an addition
is asked for one thing only, whether it is below 2^62; a cell of which some part of the terms sums to that much may fail
or not, as lanes come, and is told where it does: no sum is wrong in silence (``passes.laneorder`` knows the question).
"""

from __future__ import annotations

from loom.core.dtype import f32, f64, i64
from loom.core.fixed import MOST_ADDED, MOST_HELD, Fixed
from loom.ir.builder import Builder
from loom.ir.frontend.base.values import Operand, Typing
from loom.ir.kernel import Instr, Memory

__all__ = ["add_to_cell", "from_cell", "to_cell"]


def to_cell(typing: Typing, memory: Memory, operand: Operand) -> Instr:
    """Return a float as the nearest number of units, after an assertion that there is one."""
    b, kind = typing.builder, _type(memory)
    known = typing.cells.get(operand) if isinstance(operand, Instr) else None
    if known is not None and known[0] == kind.exponent:  # of a cell of the same scale: as it is
        return _assert_units(b, memory, known[1])
    value = typing.as_value(operand, kind.dtype)
    typing.retype_weak(value, kind.dtype)
    if value.dtype not in (f32, f64):
        raise b.error(f"{memory.name} holds {kind}", "f32 or f64", value.dtype, "Convert with f32(...)")
    units = b.emit("mul", value, b.const(2.0**-kind.exponent, value.type))
    fits = b.emit("lt", b.emit("abs", units), b.const(float(MOST_ADDED), value.type))
    b.emit("assert", fits, value, attr=(f"{memory.name} of {kind} does not hold ", ""))
    return b.emit("convert", b.emit("rint", units), dtype=i64)


def _assert_units(b: Builder, memory: Memory, units: Instr) -> Instr:
    low, high = b.emit("gt", units, b.const(-MOST_ADDED, i64)), b.emit("lt", units, b.const(MOST_ADDED, i64))
    b.emit(
        "assert", b.emit("and", low, high), units, attr=(f"{memory.name} of {memory.fixed} does not hold units ", "")
    )
    return units


def from_cell(typing: Typing, memory: Memory, units: Instr) -> Instr:
    """Return the float that a cell stands for, rounded once; added to cells of the same scale, it is not rounded."""
    b, kind = typing.builder, _type(memory)
    value = b.emit("mul", b.emit("convert", units, dtype=kind.dtype), b.const(kind.scale, kind.dtype))
    typing.cells[value] = kind.exponent, units
    return value


def add_to_cell(typing: Typing, memory: Memory, index: Instr, operand: Operand) -> Instr:
    """Add a float to a cell in one step; return what it held before."""
    b, kind = typing.builder, _type(memory)
    units = to_cell(typing, memory, operand)
    old = b.emit("atomic_add", index, units, memory=memory)
    low = b.emit("gt", old, b.const(-MOST_HELD, i64))
    high = b.emit("lt", old, b.const(MOST_HELD, i64))
    b.emit("assert", b.emit("and", low, high), index, attr=(f"{memory.name} of {kind} overflows at ", ""))
    return from_cell(typing, memory, old)


def _type(memory: Memory) -> Fixed:
    assert memory.fixed is not None
    return memory.fixed
