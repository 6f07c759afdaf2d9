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

from hostile.lists import LISTED, listed_errors, sections
from loom.core import errors


def _functions(door: str) -> Iterator[tuple[str, Any]]:
    """Yield the functions of a door that are written in Python, by their names there."""
    module = import_module(door)
    for name in module.__all__:
        found = getattr(module, name)
        function = inspect.unwrap(found) if callable(found) else found
        if inspect.isfunction(function) and function.__module__.startswith("loom."):
            yield name, function


def _raised(function: Any) -> Iterator[str]:
    """Yield the names of Loom's errors that the body of a function raises, by its syntax."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = ast.unparse(node.exc.func).rpartition(".")[2]
            if hasattr(errors, name):
                yield name


def _faults(name: str, function: Any) -> Iterator[str]:
    doc = inspect.getdoc(function) or ""
    given = list(inspect.signature(function).parameters)
    told = [row.lstrip("*") for row in sections(doc).get("Args", [])]
    if told != given:
        yield f"{name}: Args: expected {', '.join(given) or 'none'}, got {', '.join(told) or 'none'}"
    for error in sorted(set(_raised(function)) - listed_errors(doc)):
        yield f"{name}: Raises: {error} is missing, which its body raises"
    if "Returns" not in sections(doc) and not re.match(r"(Return|Tell|Yield)\b", doc):
        yield f"{name}: neither its first sentence nor a list says what it returns"


@pytest.mark.parametrize("door", LISTED)
def test_lists_are_whole(door: str) -> None:
    functions = list(_functions(door))
    assert functions
    faults = [fault for name, function in functions for fault in _faults(f"{door}.{name}", function)]
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

    def wrong(a: int, b: int) -> None:
        """Do something.

        Args:
            b: A number.
        """
        raise errors.DTypeError("wrong", "always", got=(a, b))

    assert not list(_faults("right", right))
    assert [fault.split(": ")[1] for fault in _faults("wrong", wrong)] == ["Args", "Raises", _faults_of_returns()]


def _faults_of_returns() -> str:
    return "neither its first sentence nor a list says what it returns"
