"""Tracebacks of kernel errors: the caller's line and the kernel's line, without what lies between.

Layer: core. A kernel error says where in the kernel it is, but is found deep inside the translator. Invariant: the
error itself, its text and attributes are left as they are.
"""

from __future__ import annotations

import ast
import functools
import linecache
import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar, cast

from loom.core.errors import KernelError

__all__ = ["brief"]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_PLACE = re.compile(r"^kernel '(?P<name>[^']*)' at (?P<file>.+):(?P<line>[0-9]+)$")


def brief(function: _Function) -> _Function:
    """Let the kernel errors of a public function have a traceback of its caller and the kernel's line alone."""

    @functools.wraps(function)
    def called(*args: Any, **named: Any) -> Any:
        try:
            return function(*args, **named)
        except KernelError as error:
            found = error
        raise found.with_traceback(_kernel_line(found)) from None

    return cast(_Function, called)


def _kernel_line(error: KernelError) -> TracebackType | None:
    """Return a traceback that consists of the line of the kernel which the error names, None if it names none."""
    place = _PLACE.match(error.where)
    if place is None:
        return None
    line, file = int(place["line"]), place["file"]
    text = linecache.getline(file, line).rstrip("\n")
    module = ast.parse("raise error")
    for node in ast.walk(module):
        if isinstance(node, (ast.stmt, ast.expr)):  # all of the line, so that no part of it is underlined
            node.lineno = node.end_lineno = line
            node.col_offset, node.end_col_offset = len(text) - len(text.lstrip()), max(len(text.encode()), 1)
    code = compile(module, file, "exec").replace(co_name=place["name"])
    error.__traceback__ = None
    try:
        exec(code, {"error": error})
    except KernelError as raised:
        return None if raised.__traceback__ is None else raised.__traceback__.tb_next
    return None
