"""Finds the syntax tree of a function, with true line numbers, once per code object.

Layer: ir. The whole file is parsed, so that a function is found wherever it stands: nested, in the middle
of a call, beside another lambda. Invariant: the tree handed out is never changed by its users.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Any

from loom.core.errors import SyntaxNotSupported

__all__ = ["FunctionSource", "function_source", "names_of"]

_FAR_LINE = 1 << 24
"""A line no file has: marks the lambda looked for."""


@dataclass(frozen=True, slots=True)
class FunctionSource:
    """A function's parameters and body as written in ``file``."""

    name: str
    file: str
    line: int
    arguments: ast.arguments
    body: list[ast.stmt]


_CACHE: dict[int, tuple[CodeType, FunctionSource]] = {}
"""By identity: functions that differ in a local annotation alone are equal as code objects."""


def function_source(fn: Callable[..., Any]) -> FunctionSource:
    """Return the source of a ``def`` or ``lambda``; SyntaxNotSupported if there is none to read."""
    code = fn.__code__
    found = _CACHE.get(id(code))
    if found is None:
        found = _CACHE[id(code)] = code, _read(fn, code)
    return found[1]


def _read(fn: Callable[..., Any], code: CodeType) -> FunctionSource:
    try:
        lines, _ = inspect.findsource(fn)
        tree = _parse("".join(lines))
    except (OSError, TypeError, SyntaxError, IndexError):
        raise SyntaxNotSupported(
            f"kernel {fn.__name__!r}", "its source cannot be read", expected="a function in a file or notebook cell",
            remedy="Write the kernel in a .py file, or build it with loom.ir.builder.Builder",
        ) from None  # fmt: skip
    if code.co_name == "<lambda>":
        node = _lambda_node(tree, code)
        body: list[ast.stmt] = [ast.copy_location(ast.Return(node.body), node.body)]
        return FunctionSource(fn.__name__, code.co_filename, code.co_firstlineno, node.args, body)
    definition = _definition(tree, code)
    return FunctionSource(fn.__name__, code.co_filename, code.co_firstlineno, definition.args, definition.body)


@lru_cache(maxsize=64)
def _parse(text: str) -> ast.Module:
    return ast.parse(text)


def _definition(tree: ast.Module, code: CodeType) -> ast.FunctionDef:
    """Find the ``def`` that starts, decorators included, on the line of ``code``."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if first == code.co_firstlineno and isinstance(node, ast.FunctionDef):
                return node
            if first == code.co_firstlineno:
                raise _unreadable(code, "async functions are not part of the kernel language", "def", "Use def")
    raise _unreadable(code, "its source has changed since it was loaded", "the file as imported", "Import it again")


def _unreadable(code: CodeType, what: str, expected: str, remedy: str) -> SyntaxNotSupported:
    where = f"kernel {code.co_name.strip('<>')!r} at {code.co_filename}:{code.co_firstlineno}"
    return SyntaxNotSupported(where, what, expected=expected, remedy=remedy)


# lambdas


def _lambda_node(tree: ast.Module, code: CodeType) -> ast.Lambda:
    """Find the lambda of ``code`` among those on its line: by its parameters, then by what it compiles to."""
    lambdas = [n for n in ast.walk(tree) if isinstance(n, ast.Lambda) and n.lineno == code.co_firstlineno]
    alike = [n for n in lambdas if _parameters(n.args) == _names_given(code)]
    if len(alike) > 1:
        alike = [n for n in alike if _same(_compiled(tree, n), code)]
    if not alike:
        raise _unreadable(code, "its source has changed since it was loaded", "the file as imported", "Import it again")
    if len({ast.dump(n.body) for n in alike}) > 1:
        raise _unreadable(
            code,
            "its source cannot be told from its neighbours'",
            "one lambda on a line",
            "Give each a line of its own",
        )
    return alike[0]


def _parameters(arguments: ast.arguments) -> tuple[str, ...]:
    starred = [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
    return tuple(a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *starred))


def _names_given(code: CodeType) -> tuple[str, ...]:
    starred = bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + starred]


def _compiled(tree: ast.Module, node: ast.Lambda) -> CodeType:
    """Compile the file with ``node`` marked by its line, and return the node's code."""
    lines = node.lineno, node.end_lineno
    node.lineno = node.end_lineno = _FAR_LINE
    try:
        codes = [compile(tree, "<lambda>", "exec", dont_inherit=True)]
    finally:
        node.lineno, node.end_lineno = lines
    for code in codes:
        if code.co_firstlineno == _FAR_LINE:
            return code
        codes += [c for c in code.co_consts if isinstance(c, CodeType)]
    raise AssertionError("a lambda compiles to no code")


def _same(a: CodeType, b: CodeType) -> bool:
    """Tell whether two lambdas do the same to the same outer names."""
    return (a.co_code, a.co_names, a.co_freevars, a.co_cellvars) == (
        b.co_code, b.co_names, b.co_freevars, b.co_cellvars,
    ) and _constants(a) == _constants(b)  # fmt: skip


def _constants(code: CodeType) -> tuple[object, ...]:
    return tuple((type(c), c.co_code if isinstance(c, CodeType) else repr(c)) for c in code.co_consts)


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
