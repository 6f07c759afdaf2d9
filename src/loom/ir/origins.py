"""What values are computed of, through variables too.

Layer: ir. Invariant: a value that can have a part in another, by any path and any turn of a loop, is among its origins;
memory is not followed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from loom.ir.kernel import Block, Instr, Variable, operations

__all__ = ["assignments", "origins"]


def assignments(body: Block) -> dict[Variable, list[Instr]]:
    """Return the values that each variable is set to, in source order."""
    result: dict[Variable, list[Instr]] = {}
    for s in operations(body):
        if s.name == "set":
            result.setdefault(s.attr, []).append(s.args[0])
    return result


def origins(values: Iterable[Instr], assigned: Mapping[Variable, list[Instr]]) -> set[Instr]:
    """Return the values that ``values`` are computed of, themselves among them, given ``assignments``."""
    result: set[Instr] = set()
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if value not in result:
            result.add(value)
            waiting += value.args
            if value.name == "get":
                waiting += assigned.get(value.attr, ())
    return result
