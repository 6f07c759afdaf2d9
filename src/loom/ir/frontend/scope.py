"""Decides, before translation, which local names are plain values and which are mutable variables.

Layer: ir. A name assigned once and used only where that assignment dominates is bound to its value; any
other name becomes a variable. Invariant: the decision depends on the syntax alone.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

__all__ = ["mutable_names"]


@dataclass(slots=True)
class _Use:
    assignments: list[tuple[int, ...]] = field(default_factory=list)
    reads: list[tuple[int, ...]] = field(default_factory=list)
    augmented: bool = False


def mutable_names(body: list[ast.stmt], parameters: set[str]) -> set[str]:
    """Return the names in ``body`` that need a variable; assigned ``parameters`` always do."""
    uses: dict[str, _Use] = {}
    _scan(body, (), uses)
    return {name for name, use in uses.items() if use.assignments and _is_mutable(name, use, parameters)}


def _is_mutable(name: str, use: _Use, parameters: set[str]) -> bool:
    if name in parameters or use.augmented or len(use.assignments) > 1:
        return True
    *block, position = use.assignments[0]
    depth = len(block)
    return not all(r[:depth] == tuple(block) and r[depth] > position for r in use.reads)


def _scan(body: list[ast.stmt], path: tuple[int, ...], uses: dict[str, _Use]) -> None:
    """Record where names are assigned and read; a place is the path of statement and block numbers."""
    for position, statement in enumerate(body):
        here = (*path, position)
        if isinstance(statement, ast.If):
            _read(statement.test, here, uses)
            _scan(statement.body, (*here, 0), uses)
            _scan(statement.orelse, (*here, 1), uses)
        elif isinstance(statement, ast.While):
            _read(statement.test, here, uses)
            _scan(statement.body, (*here, 0), uses)
        elif isinstance(statement, ast.For):
            _read(statement.iter, here, uses)
            _targets(statement.target, (*here, 0, -1), uses)
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
    elif isinstance(target, ast.Tuple):
        for element in target.elts:
            _targets(element, here, uses)
    else:
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            uses.setdefault(target.value.id, _Use()).augmented = True  # v.x = ... rebuilds v
        _read(target, here, uses)


def _read(node: ast.AST, here: tuple[int, ...], uses: dict[str, _Use]) -> None:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
            uses.setdefault(inner.id, _Use()).reads.append(here)
        elif isinstance(inner, ast.NamedExpr):
            _targets(inner.target, here, uses)
