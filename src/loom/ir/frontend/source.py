"""Finds the syntax tree of a function, with true line numbers, once per code object.

Layer: ir. Invariant: the tree handed out is never changed by its users.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Any

from loom.core.errors import SyntaxNotSupported

__all__ = ["FunctionSource", "function_source", "names_of"]


@dataclass(frozen=True, slots=True)
class FunctionSource:
    """A function's parameters and body as written in ``file``."""

    name: str
    file: str
    line: int
    arguments: ast.arguments
    body: list[ast.stmt]


_CACHE: dict[CodeType, FunctionSource] = {}


def function_source(fn: Callable[..., Any]) -> FunctionSource:
    """Return the source of a ``def`` or ``lambda``; SyntaxNotSupported if there is none to read."""
    code = fn.__code__
    found = _CACHE.get(code)
    if found is None:
        found = _CACHE[code] = _read(fn, code)
    return found


def _read(fn: Callable[..., Any], code: CodeType) -> FunctionSource:
    try:
        lines, first = inspect.getsourcelines(fn)
    except (OSError, TypeError):
        raise SyntaxNotSupported(
            f"kernel {fn.__name__!r}", "its source cannot be read", expected="a function in a file or notebook cell",
            remedy="Write the kernel in a .py file, or build it with loom.ir.builder.Builder",
        ) from None  # fmt: skip
    text = textwrap.dedent("".join(lines))
    node = _lambda_node(text, code) if code.co_name == "<lambda>" else ast.parse(text).body[0]
    assert isinstance(node, (ast.FunctionDef, ast.Lambda)), f"{fn.__name__} is no function"
    ast.increment_lineno(node, first - 1)
    if isinstance(node, ast.Lambda):
        body: list[ast.stmt] = [ast.copy_location(ast.Return(node.body), node.body)]
    else:
        body = node.body
    return FunctionSource(fn.__name__, code.co_filename, code.co_firstlineno, node.args, body)


def _lambda_node(text: str, code: CodeType) -> ast.Lambda:
    """Find the lambda of ``code`` among those on its lines: by its parameters, then by its code."""
    parameters = code.co_varnames[: code.co_argcount]
    lambdas = [n for n in ast.walk(_parse_around(text)) if isinstance(n, ast.Lambda)]
    alike = [n for n in lambdas if tuple(a.arg for a in n.args.args) == parameters]
    exact = [n for n in alike if _code_of(n) == (code.co_code, code.co_consts, code.co_names)]
    found = exact if len(alike) > 1 else alike
    if len(found) != 1:
        raise SyntaxNotSupported(
            "lambda", "its source cannot be told from its neighbours", expected="one lambda on a line",
            got=f"{len(alike)} alike", remedy="Put each lambda on a line of its own, or use def",
        )  # fmt: skip
    return found[0]


def _code_of(node: ast.Lambda) -> tuple[object, ...]:
    outer = compile(ast.Expression(node), "<lambda>", "eval")
    inner = next(c for c in outer.co_consts if isinstance(c, CodeType))
    return inner.co_code, inner.co_consts, inner.co_names


def _parse_around(text: str) -> ast.AST:
    """Parse the lines of a lambda, which may be a piece of a longer statement."""
    attempts = [text, text.strip().rstrip(","), text[text.index("lambda") :].strip()]
    for attempt in attempts:
        try:
            return ast.parse(attempt)
        except SyntaxError:
            continue
    piece = attempts[-1]
    for end in range(len(piece), 0, -1):  # cut what follows the lambda, such as a closing bracket
        try:
            return ast.parse(piece[:end])
        except SyntaxError:
            continue
    raise SyntaxNotSupported("lambda", "its source is not found", remedy="Use a def")


def names_of(fn: Callable[..., Any]) -> dict[str, Any]:
    """Return the names a function sees from outside: builtins, globals, closure, the nearest winning."""
    import builtins

    names = dict(vars(builtins))
    names.update(fn.__globals__)
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # a cell filled later, such as the function's own name
            continue
    return names
