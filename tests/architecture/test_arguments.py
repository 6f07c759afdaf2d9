"""No public function or method takes an argument that has no effect.

Two nets. The first reads the source: every parameter of everything public is read in the body of its function, other
than to be thrown away. The second calls, with what ``hostile.samples`` knows of usable arguments: an option that is
given an object of no use must refuse it; one that takes it in silence does not look at it.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import loom
from hostile.calls import made_call, usual_arguments
from hostile.samples import shut
from hostile.sites import sites
from loom import LoomError

MODULES = ("tensor", "linalg", "stats", "signal", "data", "random", "flow")


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
def _tree(function: Any) -> ast.FunctionDef | None:
    """Return the definition of a function; None if it has none in Python."""
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
        node = ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError):
        return None
    return node if isinstance(node, ast.FunctionDef) else None


def unused(node: ast.FunctionDef) -> list[str]:
    """Return the parameters that a function's body does not read, or only throws away."""
    a = node.args
    names = [p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg)))]
    read: set[str] = set()
    for each in node.body:
        for inner in ast.walk(each):
            if isinstance(inner, ast.Assign) and isinstance(inner.value, ast.Name):
                if all(isinstance(t, ast.Name) and t.id == "_" for t in inner.targets):
                    inner.value.ctx = ast.Del()  # thrown away
        read |= {n.id for n in ast.walk(each) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    return [name for name in names if name not in read and name not in ("self", "cls")]


def is_word(node: ast.FunctionDef) -> bool:
    """Tell whether a function is a word of the kernel language: a name and a docstring, which the compiler knows."""
    return len(node.body) == 1 and ast.get_docstring(node) is not None


def test_every_parameter_is_read() -> None:
    wrong = []
    for name, found in _public():
        node = _tree(found)
        if node is None or name in WITHOUT_EFFECT or is_word(node):
            continue
        wrong += [f"{name}({parameter}=..)" for parameter in unused(node)]
    assert not wrong, "these parameters have no effect: use them, or take them out: " + ", ".join(wrong)


def test_a_parameter_that_is_thrown_away_is_found() -> None:
    source = "def f(a, b, c, *d, e=1, **g):\n    del a\n    _ = b\n    return lambda: e + len(g)\n"
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef)
    assert unused(node) == ["a", "b", "c", "d"]


class _Useless:
    """Nothing that anybody could want."""


TAKES_ANYTHING = {
    "loom.tensor.checkpoint": "a function of the caller's",
}
"""``function`` or ``function(option=)`` that may be given any object, and why."""


def test_every_option_is_looked_at() -> None:
    wrong = []
    for site in sites():
        usual = usual_arguments(site)
        for name, parameter in site.signature.parameters.items():
            if parameter.default is parameter.empty or name in usual or site.name in TAKES_ANYTHING:
                continue
            try:
                made_call(site, {**usual, name: ("an object of no use", _Useless)})
                shut()
            except LoomError:
                continue
            finally:
                with suppress(LoomError):
                    shut()
            wrong.append(f"{site.name}({name}=..)")
    assert not wrong, (
        "these options take an object of no use in silence: read them with core.given, core.numbers or core.arrays, "
        "refuse them where they have no effect, or take them out: " + ", ".join(wrong)
    )


def test_what_is_called_with_usable_arguments_is_answered() -> None:
    """An option that is refused says nothing where the call is refused without it."""
    refused = []
    for site in sites():
        has_options = any(p.default is not p.empty for p in site.signature.parameters.values())
        if not has_options or site.name in NEEDS_MORE:
            continue
        try:
            made_call(site, usual_arguments(site))
        except LoomError as error:
            if "called on the host" not in str(error):
                refused.append(f"{site.name}: {error}")
        finally:
            with suppress(LoomError):
                shut()
    assert not refused, "give usable arguments in tests/hostile/samples.py: " + ", ".join(refused)


NEEDS_MORE = {
    "loom.tensor.input": "an input has elements when a program is fed",
    "Mailbox.take": "a mailbox with something in it",
    "Mailbox.take_into": "a mailbox with something in it",
}
"""What even usable arguments do not let answer, and what it needs."""
