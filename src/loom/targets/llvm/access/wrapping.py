"""Tells which kernels index memory by numbers that wrap in fewer bits than they have.

Layer: targets. LLVM 22's loop vectoriser takes ``x[(a + i) & 63]`` for neighbouring elements and drops the check
that the sum does not wrap in six bits: it loads past the wrap (see ADR 8). Invariant: a kernel that may hold such an
index is compiled without that pass; lanes are vectors all the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from loom.ir.constants import constant_value
from loom.ir.kernel import Instr, Kernel, Variable, assignments, operations

__all__ = ["wraps_index"]

_ACCESSES = ("load", "store")
_STILL = ("load", "param", "length", "num_groups")
"""What LLVM knows nothing of, or what is the same in every turn of a loop."""


def wraps_index(kernel: Kernel) -> bool:
    """Tell whether an index may be a mask, a remainder or a narrower integer of something a loop counts."""
    sources = assignments(kernel.body)
    accesses = (s for s in operations(kernel.body) if s.op.name in _ACCESSES or s.op.name.startswith("atomic_"))
    reached = _integers_behind([s.args[0] for s in accesses], sources)
    return any(_is_narrowing(v) and _counts(v.args[0], sources) for v in reached)


def _integers_behind(values: list[Instr], sources: dict[Variable, list[Instr]]) -> Iterator[Instr]:
    """Yield every integer that ``values`` are computed from, as far as loads."""
    seen: set[Instr] = set()
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        yield value
        if value.op.is_pure:
            waiting += [a for a in value.args if a.type.is_integer]
        elif value.op.name == "get":
            waiting += sources.get(value.attr, [])


def _counts(value: Instr, sources: dict[Variable, list[Instr]]) -> bool:
    """Tell whether a value may change from one turn of a loop to the next in a way LLVM can see."""
    found = _integers_behind([value], sources)
    return any(not v.op.is_pure and v.op.name not in _STILL for v in found)


def _is_narrowing(value: Instr) -> bool:
    name, dtype = value.op.name, value.dtype
    if dtype is None or not dtype.is_integer:
        return False
    if name == "convert":
        return value.args[0].type.is_integer and dtype.bits < min(32, value.args[0].type.bits)
    if name not in ("and", "irem"):
        return False
    constants = [constant_value(a.attr, a.type) for a in value.args if a.op.name == "const"]
    if not constants:  # of two unknown numbers LLVM sees no mask, unless one of them is a constant after all
        return any(a.op.name not in _STILL for a in value.args[1:])
    number = int(constants[-1]) + (name == "and")
    return number > 0 and number & (number - 1) == 0
