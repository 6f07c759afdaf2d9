"""Lengths that a module takes: the ranges that PyTorch told, and whether its graph also holds for a length of 1.

Layer: pytorch. ``torch.export`` takes a free length to be 2 or more. Invariant: a length outside its range is refused;
1 is inside only if the graph of that length alone, traced apart, has the same operators and arguments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from loom.core.errors import ShapeError
from loom.nn.graphs import ArrayInfo
from loom.pytorch.graph import AtenGraph, AtenNode, Ref
from loom.pytorch.registry import find

__all__ = ["Ranges", "are_alike", "check_ranges", "unchecked"]

Ranges = Mapping[str, tuple[int, int | None]]
"""Least and most of each free length, by its name; None: no most."""
_SIZE = r"L(?:\[[^\]]*\])+\.size\(\)\[\d+\]"
_CHECKED = re.compile(rf"\(?(?:{_SIZE} (?:[<>]=?) \d+|\d+ (?:[<>]=?) {_SIZE}|{_SIZE} != [01]|{_SIZE} == {_SIZE})\)?")


def unchecked(guards: Sequence[str]) -> list[str]:
    """Return the conditions on lengths that ranges do not tell."""
    return [g for g in guards if "size()" in g and not _CHECKED.fullmatch(g.strip())]


def check_ranges(given: Mapping[str, Any], inputs: Sequence[ArrayInfo], ranges: Ranges, where: str) -> None:
    """Refuse, with a ShapeError, lengths outside of their ranges."""
    for info in inputs:
        if info.shape is None or info.name not in given:
            continue
        for axis, (length, n) in enumerate(zip(info.shape, given[info.name].shape, strict=True)):
            least, most = ranges.get(length, (0, None)) if isinstance(length, str) else (0, None)
            if n < least or (most is not None and n > most):
                told = f"{least} or more" if most is None else f"{least} to {most}"
                raise ShapeError(where, f"axis {axis} of {info.name!r}: the module does otherwise for this length, or "
                                 "was imported for others", expected=told, got=n,
                                 remedy=f"Import it with an example of length {n} there and dynamic=False")  # fmt: skip


def _is_number(node: AtenNode) -> bool:
    return ("." not in node.op and node.op != "getitem") or node.op.startswith("aten.sym_")


def _is_whole(node: AtenNode) -> bool:
    """Tell whether a node is a slice of everything, which PyTorch leaves out where lengths are fixed."""
    a = node.arguments
    return node.op == "aten.slice.Tensor" and not a["start"] and a["end"] in (None, (1 << 63) - 1) and a["step"] == 1


def are_alike(free: AtenGraph, one: AtenGraph) -> bool:
    """Tell whether two graphs have the same operators of the same arguments, but for lengths."""
    left, right = ([n for n in g.nodes if not _is_number(n) and not _is_whole(n)] for g in (free, one))
    wholes = [{n.name: n.arguments["self"] for n in g.nodes if _is_whole(n)} for g in (free, one)]
    if len(left) != len(right) or len(free.outputs) != len(one.outputs) or set(free.updates) != set(one.updates):
        return False
    lengths = {n.name for n in free.nodes if _is_number(n)}
    names = dict(zip(free.inputs, one.inputs, strict=True))
    held = {weight: value for value, weight in one.weights.items()}
    names |= {value: held.get(weight, "") for value, weight in free.weights.items()}

    def same(a: Any, b: Any) -> bool:
        while isinstance(a, Ref) and a.name in wholes[0]:
            a = wholes[0][a.name]
        while isinstance(b, Ref) and b.name in wholes[1]:
            b = wholes[1][b.name]
        if isinstance(a, Ref) and a.name in lengths:
            return isinstance(b, (int, Ref))
        if isinstance(a, Ref):
            return isinstance(b, Ref) and names.get(a.name) == b.name
        if isinstance(a, (list, tuple)):
            several, others = cast("Sequence[Any]", a), cast("Sequence[Any]", b)
            return isinstance(b, (list, tuple)) and len(several) == len(others) and all(map(same, several, others))
        return type(a) is type(b) and repr(a) == repr(b)

    for a, b in zip(left, right, strict=True):
        ranks = [[None if m is None else (m[0], len(m[1])) for m in n.made] for n in (a, b)]
        if a.op != b.op or ranks[0] != ranks[1] or a.arguments.keys() != b.arguments.keys():
            return False
        if a.op.startswith("aten.squeeze.default") or (find(a.op) is None and a.op != "getitem"):
            return False
        if not all(same(a.arguments[k], b.arguments[k]) for k in a.arguments):
            return False
        names[a.name] = b.name
    return all(map(same, free.outputs, one.outputs)) and all(
        same(Ref(v), Ref(one.updates[s])) for s, v in free.updates.items()
    )
