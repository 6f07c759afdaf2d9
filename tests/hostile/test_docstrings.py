"""Docstrings of rooms that have lists name every parameter, and every Loom error that the function's own body raises.

Which errors calls provoke beside those is seen in ``hostile``: ``hostile/calls.py`` looks each up in these lists.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from hostile.lists import CLASSES, LISTED, PLACES, is_left_out, listed_errors, sections
from hostile.sites import LEFT_OUT
from loom.core import errors


def _functions(door: str) -> Iterator[tuple[str, Any]]:
    """Yield the functions of a door that are written in Python, by their names there, and its classes' methods."""
    module = import_module(PLACES.get(door, door))
    for name in module.__all__:
        found = getattr(module, name)
        function = inspect.unwrap(found) if callable(found) else found
        if inspect.isfunction(function) and function.__module__.startswith("loom."):
            if not is_left_out(function, door):
                yield name, found
    for word in CLASSES.get(door, "").split():
        kind = getattr(module, word.rstrip("+"))
        if word.endswith("+"):
            yield kind.__name__, kind
        members = {n: m for base in reversed(kind.__mro__) if "loom." in base.__module__ for n, m in vars(base).items()}
        for name, member in members.items():
            is_function = inspect.isfunction(inspect.unwrap(getattr(member, "__func__", member)))
            is_open = not name.startswith("_") and f"{kind.__name__}.{name}" not in LEFT_OUT
            if is_function and _is_of(module, name, member):
                continue  # a function of the door, as a method: its lists are looked at above
            if is_function and is_open and not _is_as_below(kind, name):
                yield f"{kind.__name__}.{name}", member


def _is_of(module: Any, name: str, member: Any) -> bool:
    """Tell whether a method is a function of a module."""
    function = inspect.unwrap(getattr(module, name, None) or member)
    return name in module.__all__ and getattr(inspect.unwrap(member), "__code__", 0) is getattr(function, "__code__", 1)


def _is_as_below(kind: type, name: str) -> bool:
    """Tell whether a method does what the list of a base class says of it."""
    docs = [vars(base)[name].__doc__ or "" for base in kind.__mro__ if name in vars(base)]
    return not sections(docs[0]) and any(sections(doc) for doc in docs)


def _parameters(name: str, function: Any) -> list[str]:
    """Return the names of what callers pass."""
    given = list(inspect.signature(getattr(function, "__func__", function)).parameters)
    return given[1:] if "." in name and not isinstance(function, staticmethod) else given


def _raised(function: Any) -> Iterator[str]:
    """Yield the names of Loom's errors that the body of a function raises, by its syntax."""
    written = function.__init__ if inspect.isclass(function) else getattr(function, "__func__", function)
    if not hasattr(written := inspect.unwrap(written), "__code__") or written.__code__.co_filename == "<string>":
        return  # the constructor of a dataclass
    tree = ast.parse(textwrap.dedent(inspect.getsource(written)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = ast.unparse(node.exc.func).rpartition(".")[2]
            if hasattr(errors, name):
                yield name


def _faults(name: str, function: Any) -> Iterator[str]:
    doc = inspect.getdoc(function) or ""
    given = _parameters(name, function)
    told = [row.lstrip("*") for row in sections(doc).get("Args", [])]
    if told != given:
        yield f"{name}: Args: expected {', '.join(given) or 'none'}, got {', '.join(told) or 'none'}"
    for error in sorted(set(_raised(function)) - listed_errors(doc)):
        yield f"{name}: Raises: {error} is missing, which its body raises"
    is_told = "Returns" in sections(doc) or re.match(r"(Return|Tell|Yield)\b", doc) or inspect.isclass(function)
    written = inspect.unwrap(getattr(function, "__func__", function))
    if not is_told and getattr(written, "__annotations__", {}).get("return") != "None":
        yield f"{name}: neither its first sentence nor a list says what it returns"


@pytest.mark.parametrize("door", LISTED)
def test_lists_are_whole(door: str) -> None:
    functions = list(_functions(door))
    assert functions
    faults = [f"{door}.{fault}" for name, function in functions for fault in _faults(name, function)]
    assert not faults, "\n".join(faults)


def test_each_fault_is_seen() -> None:
    def right(a: int, *b: int) -> int:
        """Return a number.

        Args:
            a: A number.
            *b: More, which
                are ignored.

        Raises:
            ShapeError: Never.
        """
        if b:
            raise errors.ShapeError("right", "never")
        return a

    def wrong(a: int, b: int) -> int:
        """Do something.

        Args:
            b: A number.
        """
        raise errors.DTypeError("wrong", "always", got=(a, b))

    assert not list(_faults("right", right))
    assert [fault.split(": ")[1] for fault in _faults("wrong", wrong)] == ["Args", "Raises", _faults_of_returns()]


def _faults_of_returns() -> str:
    return "neither its first sentence nor a list says what it returns"
