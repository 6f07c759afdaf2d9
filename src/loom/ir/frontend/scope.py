"""Decides, before translation, which local names are plain values and which are mutable variables.

Layer: ir. A name assigned once and used only where that assignment dominates is bound to its value, and
so is the counter of several loops that is used inside them alone; any other name becomes a variable.
Invariant: the decision depends on the syntax alone.
"""

from __future__ import annotations

import ast
from dataclasses import field

from loom.core.late.dataclass import dataclass

__all__ = ["mutable_names"]


_COUNTER = -1
"""The place in its body of what a loop assigns to its counter: before the first statement."""


@dataclass(slots=True)
class _Use:
    assignments: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])
    reads: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])
    augmented: bool = False


_USES: dict[int, tuple[list[ast.stmt], dict[str, _Use]]] = {}
"""By identity, what was found in the bodies of functions, which are inlined many times; no body is changed."""


def mutable_names(body: list[ast.stmt], parameters: set[str]) -> set[str]:
    """Return the names in ``body`` that need a variable; assigned ``parameters`` always do."""
    if id(body) not in _USES:
        found: dict[str, _Use] = {}
        _scan(body, (), found)
        _USES[id(body)] = body, found
    uses = _USES[id(body)][1]
    return {name for name, use in uses.items() if use.assignments and _is_mutable(name, use, parameters)}


def _is_mutable(name: str, use: _Use, parameters: set[str]) -> bool:
    if name in parameters or use.augmented:
        return True
    if len(use.assignments) > 1 and not _are_separate_loops(use.assignments):
        return True
    return not all(any(_dominates(a, r) for a in use.assignments) for r in use.reads)


def _dominates(assignment: tuple[int, ...], read: tuple[int, ...]) -> bool:
    *block, position = assignment
    return read[: len(block)] == tuple(block) and read[len(block)] > position


def _are_separate_loops(assignments: list[tuple[int, ...]]) -> bool:
    """True for counters of loops of which none is inside another."""
    bodies = [a[:-1] for a in assignments]
    nested = any(a is not b and b[: len(a)] == a for a in bodies for b in bodies)
    return all(a[-1] == _COUNTER for a in assignments) and not nested


def _scan(body: list[ast.stmt], path: tuple[int, ...], uses: dict[str, _Use]) -> None:
    """Record where names are assigned and read; a place is the path of statement and block numbers."""
    for position, statement in enumerate(body):
        here = (*path, position)
        if isinstance(statement, ast.If):
            _read(statement.test, here, uses)
            _scan(statement.body, (*here, 0), uses)
            _scan(statement.orelse, (*here, 1), uses)
        elif isinstance(statement, ast.While):
            _read(statement.test, here, uses, maybe=True)
            _scan(statement.body, (*here, 0), uses)
        elif isinstance(statement, ast.For):
            _read(statement.iter, here, uses)
            _targets(statement.target, (*here, 0, _COUNTER), uses)
            _scan(statement.body, (*here, 0), uses)
        else:
            _simple(statement, here, uses)


def _simple(statement: ast.stmt, here: tuple[int, ...], uses: dict[str, _Use]) -> None:
    if isinstance(statement, ast.Assign):
        _read(statement.value, here, uses)
        for target in statement.targets:
            _targets(target, here, uses)
    elif isinstance(statement, ast.AnnAssign):
        if statement.value is not None:
            _read(statement.value, here, uses)
        _targets(statement.target, here, uses)
    elif isinstance(statement, ast.AugAssign):
        _read(statement.value, here, uses)
        _targets(statement.target, here, uses)
        if isinstance(statement.target, ast.Name):
            uses[statement.target.id].augmented = True
    else:
        _read(statement, here, uses)


def _targets(target: ast.expr, here: tuple[int, ...], uses: dict[str, _Use]) -> None:
    if isinstance(target, ast.Name):
        uses.setdefault(target.id, _Use()).assignments.append(here)
    elif isinstance(target, (ast.Tuple, ast.List)):
        for element in target.elts:
            _targets(element, here, uses)
    else:
        root: ast.expr = target
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(target, ast.Attribute) and isinstance(root, ast.Name):
            uses.setdefault(root.id, _Use()).augmented = True  # v.x = ... rebuilds v
        _read(target, here, uses)


def _read(node: ast.AST, here: tuple[int, ...], uses: dict[str, _Use], *, maybe: bool = False) -> None:
    """Record the reads of an expression; ``maybe`` tells that it may run in another block, or not at all."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        uses.setdefault(node.id, _Use()).reads.append(here)
    elif isinstance(node, ast.NamedExpr):
        _targets(node.target, here, uses)
        if maybe:
            uses[node.target.id].augmented = True
    certain = _certain(node)
    for inner in ast.iter_child_nodes(node):
        _read(inner, here, uses, maybe=maybe or (certain is not None and all(inner is not c for c in certain)))


def _certain(node: ast.AST) -> list[ast.expr] | None:
    """Return the children of ``node`` that are evaluated whenever it is, in the same block; None: all of them."""
    if isinstance(node, ast.BoolOp):
        return [node.values[0]]
    if isinstance(node, ast.IfExp):
        return [node.test]
    if isinstance(node, ast.Compare):
        return [node.left, node.comparators[0]]
    return None
