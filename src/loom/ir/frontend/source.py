"""Finds the syntax tree of a function, with true line numbers, once per code object.

Layer: ir. The whole file is parsed, so that a function is found wherever it stands: nested, in the middle
of a call, beside another lambda. What is found is compiled and compared with the code that was loaded: a file edited
since gives an error, never another program. Invariant: the tree handed out is never changed by its users.
"""

from __future__ import annotations
import __future__

import ast
import copy
import inspect
import linecache
import sys
from collections.abc import Callable
from functools import lru_cache
from types import CodeType
from typing import Any, cast

from loom.core.errors import SyntaxNotSupported
from loom.core.late.dataclass import dataclass

__all__ = ["FunctionSource", "function_source", "keep_source", "names_of"]

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
_LINES: dict[str, list[str]] = {}
"""The text of files as they were when the last kernel in them was decorated."""
_FUTURE = sum({getattr(__future__, name).compiler_flag for name in __future__.all_feature_names})


def keep_source(fn: Callable[..., Any]) -> list[str] | None:
    """Take the text that ``fn`` was just loaded from, so that a later edit of the file is no hindrance."""
    if fn.__module__ is None or fn.__module__.startswith("loom."):
        return None  # nobody edits the library while it runs, and importing it stays cheap
    file = fn.__code__.co_filename
    linecache.checkcache(file)
    lines = linecache.getlines(file, fn.__globals__)
    if lines:
        _LINES[file] = lines
    elif file == "<string>":
        lines = _command()
    return lines or None


def _command() -> list[str]:
    """Return the text of ``python -c``, nothing if Python was started otherwise."""
    given = getattr(sys, "orig_argv", [])
    at = given.index("-c") + 1 if "-c" in given else 0
    return given[at].splitlines(keepends=True) if 0 < at < len(given) else []


def function_source(fn: Callable[..., Any], kept: list[str] | None = None) -> FunctionSource:
    """Return the source of a ``def`` or ``lambda``, ``kept`` or as its file has it.

    SyntaxNotSupported if there is none to read, or if it is not what was loaded.
    """
    code = fn.__code__
    found = _CACHE.get(id(code))
    if found is None:
        found = _CACHE[id(code)] = code, _read(fn, code, kept)
    return found[1]


def _read(fn: Callable[..., Any], code: CodeType, kept: list[str] | None) -> FunctionSource:
    for lines in (kept, _LINES.get(code.co_filename)):
        if lines is not None:
            try:
                return _found("".join(lines), fn, code)
            except (SyntaxNotSupported, SyntaxError):
                continue  # the file is another by now
    try:
        text = "".join(inspect.findsource(fn)[0])
        _parse(text)
    except (OSError, TypeError, SyntaxError, IndexError):
        raise SyntaxNotSupported(
            f"kernel {fn.__name__!r}", "its source cannot be read", expected="a function in a file or notebook cell",
            remedy="Write the kernel in a .py file, or in a cell of a notebook or IPython",
        ) from None  # fmt: skip
    return _found(text, fn, code)


def _found(text: str, fn: Callable[..., Any], code: CodeType) -> FunctionSource:
    tree = _parse(text)
    if code.co_name == "<lambda>":
        node = _lambda_node(tree, text, code)
        body: list[ast.stmt] = [ast.copy_location(ast.Return(node.body), node.body)]
        return FunctionSource(fn.__name__, code.co_filename, code.co_firstlineno, node.args, body)
    definition = _definition(tree, code)
    if not any(_same(c, code) for c in _codes_of_text(text, *_way(code))):
        raise _change_error(code)
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
    raise _change_error(code)


def _change_error(code: CodeType) -> SyntaxNotSupported:
    what = "its source is not what was loaded: the file has changed since, or an import hook rewrote it"
    return _unreadable(code, what, "the file as imported", "Import it again, in a new process or with importlib.reload")


def _unreadable(code: CodeType, what: str, expected: str, remedy: str) -> SyntaxNotSupported:
    where = f"kernel {code.co_name.strip('<>')!r} at {code.co_filename}:{code.co_firstlineno}"
    return SyntaxNotSupported(where, what, expected=expected, remedy=remedy)


# lambdas


def _lambda_node(tree: ast.Module, text: str, code: CodeType) -> ast.Lambda:
    """Find the lambda of ``code`` among those on its line: by its parameters, and by what it compiles to."""
    lambdas = [n for n in ast.walk(tree) if isinstance(n, ast.Lambda) and n.lineno == code.co_firstlineno]
    alike = [n for n in lambdas if _parameters(n.args) == _names_given(code)]
    if len(alike) > 1:
        alike = [n for n in alike if _compiles_to(tree, n, text, code)]
    elif not any(_same(c, code) for c in _codes_of_text(text, *_way(code))):
        alike = []
    if not alike:
        raise _change_error(code)
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


def _compiles_to(tree: ast.Module, node: ast.Lambda, text: str, code: CodeType) -> bool:
    """Compile the file with ``node`` marked by its line, and compare the node's code."""
    lines = node.lineno, node.end_lineno
    node.lineno = node.end_lineno = _FAR_LINE
    try:
        codes = _compile(tree, text, *_way(code))
    finally:
        node.lineno, node.end_lineno = lines
    return any(c.co_firstlineno == _FAR_LINE and _same(c, code) for c in codes)


# comparing with what was loaded


def _way(code: CodeType) -> tuple[int, bool]:
    """Return the way ``code`` was compiled: under which imports from ``__future__``, with assertions of pytest."""
    return code.co_flags & _FUTURE, any(name.startswith("@py") for name in (*code.co_names, *code.co_varnames))


@lru_cache(maxsize=64)
def _codes_of_text(text: str, flags: int, by_pytest: bool) -> list[CodeType]:
    return _compile(_parse(text), text, flags, by_pytest)


def _compile(tree: ast.Module, text: str, flags: int, by_pytest: bool) -> list[CodeType]:
    """Compile a whole module, as what an attribute's call becomes depends on its imports; return all code in it."""
    tree = _rewritten(tree, text) if by_pytest else tree
    codes = [compile(tree, "<source>", "exec", flags=flags, dont_inherit=True)]
    for code in codes:
        codes += [c for c in code.co_consts if isinstance(c, CodeType)]
    return codes[1:]


def _rewritten(tree: ast.Module, text: str) -> ast.Module:
    """Return ``tree`` with its assertions as pytest rewrites those of test modules."""
    from _pytest.assertion.rewrite import rewrite_asserts

    copied = copy.deepcopy(tree)
    rewrite_asserts(copied, text.encode())
    return copied


def _same(a: CodeType, b: CodeType) -> bool:
    """Tell whether two functions do the same to the same names."""
    fields = ("co_name", "co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_argcount",
              "co_posonlyargcount", "co_kwonlyargcount")  # fmt: skip
    if any(getattr(a, f) != getattr(b, f) for f in fields) or len(a.co_consts) != len(b.co_consts):
        return False
    return all(_same_constant(x, y) for x, y in zip(a.co_consts, b.co_consts, strict=True))


def _same_constant(a: Any, b: Any) -> bool:
    if isinstance(a, CodeType) and isinstance(b, CodeType):
        return _same(a, b)
    return _spelt(a) == _spelt(b)


def _spelt(constant: Any) -> Any:
    """Return what tells a constant of code from others; the order of a set says nothing."""
    if isinstance(constant, frozenset):
        return {(type(x), repr(x)) for x in cast("frozenset[object]", constant)}
    return type(constant), repr(constant)


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
