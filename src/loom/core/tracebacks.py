"""Tracebacks of errors: the caller's lines and the kernel's, without what lies between.

Layer: core. A kernel error says where in the kernel it is, but is found deep inside the translator. Invariant: the
error itself, its text and attributes are left as they are.
"""

from __future__ import annotations

import ast
import functools
import linecache
import re
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

from loom.core.errors import KernelError, LoomError
from loom.core.options import full_tracebacks

__all__ = ["brief"]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_OURS = str(Path(__file__).parents[1])
_PLACE = re.compile(r"^kernel '(?P<name>[^']*)' at (?P<file>.+):(?P<line>[0-9]+)$")


def brief(function: _Function) -> _Function:
    """Let the errors of a public function have a traceback of its caller alone, and of the kernel's lines.

    The caller's own frames further down, of a function that was called back, stay; so does what caused the error. With
    ``LOOM_TRACEBACK=full`` nothing is left out.
    """

    @functools.wraps(function)
    def called(*args: Any, **named: Any) -> Any:
        try:
            return function(*args, **named)
        except LoomError as error:
            if full_tracebacks():
                raise
            found = error
        lines = _kernel_lines(found) if isinstance(found, KernelError) else None
        cause = found.__cause__
        if cause is not None:
            cause.__traceback__ = _without_ours(cause.__traceback__)
        raise found.with_traceback(lines or _without_ours(found.__traceback__)) from cause

    return cast(_Function, called)


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of Loom's own files."""
    frames: list[TracebackType] = []
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(_OURS):
            frames.append(traceback)
        traceback = traceback.tb_next
    return _linked(frames)


def _linked(frames: list[TracebackType]) -> TracebackType | None:
    found: TracebackType | None = None
    for each in reversed(frames):
        found = TracebackType(found, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return found


def _kernel_lines(error: KernelError) -> TracebackType | None:
    """Return a traceback of the lines of kernel and functions that the error names, None if it names none."""
    place = _PLACE.match(error.where)
    if place is None:
        return None
    last = error.inside or place["name"]
    places = [*error.callers, (last, place["file"], int(place["line"]))]
    frames = [_line(error, *each) for each in places]
    error.__traceback__ = None
    return _linked([each for each in frames if each is not None])


def _line(error: KernelError, name: str, file: str, line: int) -> TracebackType | None:
    """Return a traceback of one line of a source file."""
    text = linecache.getline(file, line).rstrip("\n")
    module = ast.parse("raise error")
    for node in ast.walk(module):
        if isinstance(node, (ast.stmt, ast.expr)):  # all of the line, so that no part of it is underlined
            node.lineno = node.end_lineno = line
            node.col_offset, node.end_col_offset = len(text) - len(text.lstrip()), max(len(text.encode()), 1)
    code = compile(module, file, "exec").replace(co_name=name)
    error.__traceback__ = None
    try:
        exec(code, {"error": error})
    except KernelError as raised:
        return None if raised.__traceback__ is None else raised.__traceback__.tb_next
    return None
