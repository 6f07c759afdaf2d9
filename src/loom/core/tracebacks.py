"""Tracebacks of errors: the caller's lines and the kernel's, without what lies between.

Layer: core. A kernel error says where in the kernel it is, but is found deep inside the translator. Invariant: the
error itself, its text and attributes are left as they are.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import linecache
import re
import sys
import warnings
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from types import FunctionType, TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from loom.core.errors import KernelError, LoomError, end_of_process
from loom.core.options import full_tracebacks

__all__ = [
    "brief",
    "brief_class",
    "brief_context",
    "brief_names",
    "inner_of",
    "is_brief",
    "public",
    "replace_inner",
    "warn_caller",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Class = TypeVar("_Class", bound=type)
_HOST = tuple(f"loom.{name}" for name in (
    "patterns", "tensor", "nn", "runtime", "support", "flow", "proof", "vectors", "tables",
))  # fmt: skip
"""Where public functions are run by the host."""
_LEFT_ALONE = frozenset(f"__{name}__" for name in (
    "new", "del", "getattr", "getattribute", "setattr", "delattr", "hash", "reduce",
    "reduce_ex", "getstate", "setstate", "init_subclass", "class_getitem", "set_name", "dir", "sizeof",
    "array_function", "wrapped",
))  # fmt: skip
_OURS = str(Path(__file__).parents[1])
_BETWEEN = frozenset(str(module.__file__) for module in (functools, contextlib))
"""Files of Python's own between Loom's."""
_PLACE = re.compile(r"^kernel '(?P<name>[^']*)' at (?P<file>.+):(?P<line>[0-9]+)$")
_P = ParamSpec("_P")
_T = TypeVar("_T")


def brief(function: _Function) -> _Function:
    """Let the errors of a public function have a traceback of its caller alone, and of the kernel's lines.

    The caller's own frames further down, of a function that was called back, stay; so does what caused the error. With
    ``LOOM_TRACEBACK=full`` nothing is left out.
    """

    errors, shorten, clear, at_end = LoomError, _shorten, _clear, end_of_process

    def call(*args: Any, **named: Any) -> Any:
        try:
            return function(*args, **named)
        except errors as error:
            found = shorten(error)
            if found is None:
                raise
        except ImportError:
            found = at_end("loom")
            if found is None:
                raise
        clear(found)
        try:
            raise found from found.__cause__
        finally:
            del found  # the error's traceback has this frame, which would keep the error and all that it is from

    # with the globals of the function, by which Python tells where it is from
    scope = getattr(function, "__globals__", globals())
    made = FunctionType(call.__code__, scope, call.__name__, None, call.__closure__)
    return cast(_Function, functools.wraps(function)(made))


def brief_names(scope: dict[str, Any], names: Iterable[str]) -> None:
    """Let the functions of a public namespace be ``brief``, there and where they are defined."""
    for name in names:
        found = scope.get(name)
        if isinstance(found, FunctionType):
            scope[name] = public(found)


def public(found: Any) -> Any:
    """Return a name of a public namespace; a function, but for those of the kernel language, as a ``brief`` one."""
    if not isinstance(found, FunctionType) or not found.__module__.startswith(_HOST) or is_brief(found):
        return found
    home = sys.modules[found.__module__]
    known: Any = vars(home).get(found.__name__)
    if is_brief(known) and known.__wrapped__ is found:
        return known
    made = brief(found)
    if known is found:
        setattr(home, found.__name__, made)
    return made


def brief_class(cls: _Class) -> _Class:
    """Let the public methods and properties of a class be ``brief``."""
    for name, member in list(vars(cls).items()):
        if name.startswith("_") and (not name.startswith("__") or name in _LEFT_ALONE):
            continue
        if isinstance(member, FunctionType):
            setattr(cls, name, brief(member))
        elif isinstance(member, (classmethod, staticmethod)):
            inner = cast("Any", member).__func__
            if isinstance(inner, FunctionType):
                setattr(cls, name, cast("Any", type(cast("Any", member)))(brief(inner)))
        elif isinstance(member, property):
            kept = cast("Any", member)
            setter = None if kept.fset is None else brief(kept.fset)
            if kept.fget is not None:
                setattr(cls, name, property(brief(kept.fget), setter, kept.fdel, kept.__doc__))
    return cls


def warn_caller(text: str) -> None:
    """Show a ``UserWarning`` at the line that called Loom."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, UserWarning, stacklevel=level)


def is_brief(function: Any) -> bool:
    """Tell whether the errors of a function are ``brief`` already."""
    return getattr(function, "__code__", None) is _CALLED


def inner_of(function: FunctionType) -> object:
    """Return what a ``brief`` function calls."""
    return (function.__closure__ or ())[_INNER].cell_contents


def replace_inner(function: FunctionType, inner: object) -> None:
    """Let a ``brief`` function call another that does the same."""
    (function.__closure__ or ())[_INNER].cell_contents = inner


def _shorten(found: LoomError) -> LoomError | None:
    """Return an error with a traceback of its callers' lines; None if all is to be shown."""
    if full_tracebacks():
        return None
    lines = _kernel_lines(found) if isinstance(found, KernelError) else None
    cause = found.__cause__
    if cause is not None:
        cause.__traceback__ = _without_ours(cause.__traceback__)
    return found.with_traceback(lines or _without_ours(found.__traceback__))


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of Loom's own files."""
    frames: list[TracebackType] = []
    ours = False
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        ours = file.startswith(_OURS) or (ours and file in _BETWEEN)
        if not ours:
            frames.append(traceback)
        traceback = traceback.tb_next
    return _link(frames)


def _link(frames: list[TracebackType]) -> TracebackType | None:
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
    frames: list[TracebackType | None] = []
    for each in places:  # a comprehension would be a function that has the error, which its frame keeps
        frames.append(_line(error, *each))
    error.__traceback__ = None
    return _link([each for each in frames if each is not None])


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
    names = {"error": error}
    try:
        exec(code, names)
    except KernelError as raised:
        return None if raised.__traceback__ is None else raised.__traceback__.tb_next
    finally:
        names.clear()  # the frame stays, in the error's traceback
    return None


def _clear(error: LoomError) -> None:
    """Let go of what the frames hold in which lines of kernels were made: the error, and by it its callers."""
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame.f_back
        while frame is not None and frame.f_code.co_filename == __file__:
            try:
                frame.clear()
            except RuntimeError:  # it is being run
                break
            frame = frame.f_back
        traceback = traceback.tb_next


_CALLED = cast("Any", brief(_link)).__code__
_INNER: int = _CALLED.co_freevars.index("function")


class _BriefContext:
    """A context whose errors on entering are ``brief``."""

    def __init__(self, inner: AbstractContextManager[Any]) -> None:
        self._inner = inner

    @brief
    def __enter__(self) -> Any:
        return self._inner.__enter__()

    def __exit__(self, *told: Any) -> bool | None:
        return self._inner.__exit__(*told)


def brief_context(function: Callable[_P, Generator[_T, None, None]]) -> Callable[_P, AbstractContextManager[_T]]:
    """Do as ``contextlib.contextmanager``, with errors before the ``yield`` as those of ``brief``."""
    made = contextlib.contextmanager(function)

    @functools.wraps(function)
    def call(*args: _P.args, **named: _P.kwargs) -> AbstractContextManager[_T]:
        return cast("AbstractContextManager[_T]", _BriefContext(made(*args, **named)))

    return call
