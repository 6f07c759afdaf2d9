"""No public function, method or command takes an argument that its body does not read.

Every parameter of everything public, found by itself, is read in the body of its function, other than to be thrown
away. That what is read has an effect is seen by calls: ``hostile/test_options.py`` and ``hostile/test_settings.py``.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from typing import Any

import loom
from loom.cli.main import app

MODULES = ("tensor", "linalg", "stats", "signal", "data", "random", "flow", "tables", "vectors")


def _public() -> Iterator[tuple[str, Any]]:
    """Yield everything public by its name: functions, and the methods and constructors of classes."""
    owners = [("loom", loom, dir(loom))] + [(f"loom.{m}", getattr(loom, m), getattr(loom, m).__all__) for m in MODULES]
    for prefix, owner, names in owners:
        for name in names:
            found = getattr(owner, name)
            if inspect.isclass(found):
                yield from _methods(f"{prefix}.{name}", found)
            elif callable(found):
                yield f"{prefix}.{name}", found


def _methods(prefix: str, owner: type) -> Iterator[tuple[str, Any]]:
    for name in dir(owner):
        static = inspect.getattr_static(owner, name)
        if (not name.startswith("_") or name == "__init__") and callable(found := getattr(owner, name)):
            if (not isinstance(static, property) and getattr(found, "__module__", "")) or "loom" in repr(found):
                yield f"{prefix}.{name}", found


WITHOUT_EFFECT = {
    "loom.Array.lend": "a port between layers: tensors refuse to be written, an array never does",
    "loom.Guarantee.__init__": "an enum",
}
"""What may take an argument that it does not read, and why."""


@cache
def tree_of(function: Any) -> ast.FunctionDef | None:
    """Return the definition of a function; None if it has none in Python."""
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
        node = ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError):
        return None
    return node if isinstance(node, ast.FunctionDef) else None


def parameters(node: ast.FunctionDef) -> list[str]:
    """Return the names of a function's parameters."""
    a = node.args
    found = (*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg)))
    return [p.arg for p in found if p.arg not in ("self", "cls")]


def read_names(node: ast.FunctionDef) -> set[str]:
    """Return the names that a function's body reads, other than to throw them away."""
    read: set[str] = set()
    for inner in (n for each in node.body for n in ast.walk(each)):
        if isinstance(inner, ast.Assign) and isinstance(inner.value, ast.Name):
            if all(isinstance(t, ast.Name) and t.id == "_" for t in inner.targets):
                inner.value.ctx = ast.Del()
    for inner in (n for each in node.body for n in ast.walk(each)):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
            read.add(inner.id)
    return read


def unused(node: ast.FunctionDef) -> list[str]:
    """Return the parameters that a function's body does not read, or only throws away."""
    read = read_names(node)
    return [name for name in parameters(node) if name not in read]


def is_word(node: ast.FunctionDef) -> bool:
    """Tell whether a function is a word of the kernel language: a name and a docstring, which the compiler knows."""
    return len(node.body) == 1 and ast.get_docstring(node) is not None


def test_every_parameter_is_read() -> None:
    wrong = []
    for name, found in _public():
        node = tree_of(found)
        if node is None or name in WITHOUT_EFFECT or is_word(node):
            continue
        wrong += [f"{name}({parameter}=..)" for parameter in unused(node)]
    assert not wrong, "these parameters have no effect: use them, or take them out: " + ", ".join(wrong)


def test_a_parameter_that_is_thrown_away_is_found() -> None:
    source = "def f(a, b, c, *d, e=1, **g):\n    del a\n    _ = b\n    return lambda: e + len(g)\n"
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef)
    assert unused(node) == ["a", "b", "c", "d"]


def test_every_option_of_a_command_is_read() -> None:
    wrong = []
    for command in app.registered_commands:
        assert command.callback is not None
        node = tree_of(command.callback)
        assert node is not None
        wrong += [f"loom {command.name}, {name}" for name in parameters(node) if name not in read_names(node)]
    assert not wrong, "these options have no effect: " + ", ".join(wrong)
