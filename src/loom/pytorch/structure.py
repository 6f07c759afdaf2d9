"""What a module is called with and what it returns: nested tuples, lists and dicts around tensors.

Layer: pytorch. Invariant: what was no tensor when the module was imported is the same in every call, or the call is
refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from loom.core.errors import ArgumentError
from loom.importers.ports import name_arguments

__all__ = ["Leaf", "bind", "fill", "from_json", "to_json"]


class Leaf(dict[str, Any]):
    """A place of a structure: ``{"input": name}``, ``{"output": name}`` or ``{"fixed": value}``.

    It has a type of its own, for a module's own dicts may have these keys.
    """


def _is_leaf(tree: Any) -> bool:
    return isinstance(tree, Leaf)


def fill(tree: Any, values: Mapping[str, Any]) -> Any:
    """Return a structure with values in the places of outputs."""
    if _is_leaf(tree):
        return tree["fixed"] if "fixed" in tree else values[tree["output"]]
    if isinstance(tree, dict):
        return {k: fill(v, values) for k, v in cast("dict[str, Any]", tree).items()}
    return type(tree)(fill(v, values) for v in tree)


def bind(
    call: Any, names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any], where: str,
    needed: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Return the arrays of a call by the inputs' names; ``names``: of the parameters of forward, in order.

    ``needed``: arguments that are no tensors and may not be left out.
    """
    given, told = call
    names = [*names, *(f"args_{k}" for k in range(len(names), len(given)))]  # those of *args have no names
    known = dict(zip(names, given, strict=False)) | dict(told)
    passed = name_arguments(names, args, kwargs, where)
    found: dict[str, Any] = {}
    for name, value in passed.items():
        if name not in known:
            raise ArgumentError(where, f"there was no {name!r} when the module was imported", expected=", ".join(known),
                                got=name, remedy="Import it with an example that has it")  # fmt: skip
        _match(known[name], value, name, found, where)
    for name, tree in known.items():
        if name not in passed and (name in needed or any("input" in leaf for leaf in _leaves(tree))):
            value = f"={tree['fixed']!r}" if _is_leaf(tree) and "fixed" in tree else ""
            raise ArgumentError(where, f"{name!r} is missing", expected=", ".join(known),
                                got=", ".join(passed) or "none", remedy=f"Pass {name}{value}")  # fmt: skip
    return found


def _leaves(tree: Any) -> list[dict[str, Any]]:
    if _is_leaf(tree):
        return [tree]
    parts: Any = cast("dict[str, Any]", tree).values() if isinstance(tree, dict) else tree
    return [leaf for part in parts for leaf in _leaves(part)]


def _match(tree: Any, value: Any, place: str, found: dict[str, Any], where: str) -> None:
    if _is_leaf(tree):
        if "input" in tree:
            found[tree["input"]] = value
        elif not _is_same(value, tree["fixed"]):
            raise ArgumentError(where, f"{place} was another when the module was imported", expected=tree["fixed"],
                                got=value, remedy="Import it with an example that has this value")  # fmt: skip
        return
    named: dict[str, Any] | None = cast("dict[str, Any]", tree) if isinstance(tree, dict) else None
    is_alike = isinstance(value, (list, tuple)) if named is None else isinstance(value, Mapping)
    given: Any = value
    if not is_alike or len(given) != len(cast("Any", tree)):
        raise ArgumentError(where, f"{place} has another structure", expected=f"{len(cast('Any', tree))} parts",
                            got=type(value).__name__, remedy="Pass it as in the example")  # fmt: skip
    keys: Any = range(len(cast("Any", tree))) if named is None else named
    for key in keys:
        if named is not None and key not in given:
            raise ArgumentError(where, f"{place} lacks {key!r}", expected=", ".join(named),
                                got=", ".join(map(str, given)), remedy="Pass it as in the example")  # fmt: skip
        _match(tree[key], given[key], f"{place}[{key!r}]", found, where)


def _is_same(value: Any, fixed: Any) -> bool:
    """Tell whether a value that is no tensor is the one of the example; NaN is, and a float64 may be of numpy."""
    value = float(value) if isinstance(value, np.float64) else value
    return type(value) is type(fixed) and (value == fixed or repr(value) == repr(fixed) == "nan")


def to_json(tree: Any) -> Any:
    """Return a structure as JSON has it."""
    if _is_leaf(tree):
        return {"leaf": dict(tree)}
    if isinstance(tree, dict):
        held = cast("dict[Any, Any]", tree)
        if all(isinstance(k, str) for k in held):
            return {"dict": {k: to_json(v) for k, v in held.items()}}
        return {"pairs": [[k, to_json(v)] for k, v in held.items()]}
    return {"tuple" if isinstance(tree, tuple) else "list": [to_json(v) for v in cast("Sequence[Any]", tree)]}


def from_json(document: Any) -> Any:
    """Return the structure of ``to_json``."""
    ((kind, held),) = document.items()
    if kind == "leaf":
        return Leaf(held)
    if kind == "dict":
        return {k: from_json(v) for k, v in held.items()}
    if kind == "pairs":
        return {k: from_json(v) for k, v in held}
    made = [from_json(v) for v in held]
    return tuple(made) if kind == "tuple" else made
