"""Tells whether a Python function, translated again, would give the same kernel.

Layer: ir. A function's meaning is its code and the values it names from outside, which may change between
two calls. Invariant: functions of equal meaning translate to the same operations; what cannot be compared
for certain (an object with attributes, a large array) gives a function no meaning.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, cast

import numpy as np

from loom.core.dtype import DType
from loom.core.given import is_scalar
from loom.ir.frontend.elementary import Elementary
from loom.ir.frontend.host.plain import Impure, attribute
from loom.ir.frontend.intrinsics import INTRINSICS
from loom.ir.frontend.lanefunctions import LaneFunction

__all__ = ["function_meaning"]


_MOST_COMPARED = 1 << 16
"""Bytes of an array that are compared with each call."""


class _UnknownError(Exception):
    """A value that may change without notice."""


def function_meaning(fn: Callable[..., Any]) -> Hashable | None:
    """Return a key for what ``fn`` computes, None if there is none.

    >>> def plus(n):
    ...     return lambda x: x + n
    >>> function_meaning(plus(1)) == function_meaning(plus(1))
    True
    >>> function_meaning(plus(1)) == function_meaning(plus(2))
    False
    """
    try:
        return _of_function(fn, ())
    except _UnknownError:
        return None


def _of_function(fn: Any, around: tuple[CodeType, ...]) -> Hashable:
    code: CodeType = fn.__code__
    if any(code is c for c in around):  # recursion, which translation refuses
        return id(code)
    inside = (*around, code)
    # by identity, and kept alive here: functions that differ in an annotation are equal as code objects
    return (id(code), code, *(_of_value(v, code.co_names, inside) for v in _outer_values(fn, code)))


def _outer_values(fn: Any, code: CodeType) -> Iterator[Any]:
    for cell in fn.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # filled later, such as the function's own name
            raise _UnknownError from None
    yield from (fn.__globals__[name] for name in code.co_names if name in fn.__globals__)
    yield from fn.__defaults__ or ()
    yield from (fn.__kwdefaults__ or {}).values()


def _of_value(value: Any, names: tuple[str, ...], around: tuple[CodeType, ...]) -> Hashable:
    """Return a key for a value of which attributes called ``names`` may be read."""
    if isinstance(value, FunctionType):
        return value if value in INTRINSICS else _of_function(value, around)
    if value is None or isinstance(value, (DType, BuiltinFunctionType, Elementary, LaneFunction, enum.Enum)):
        return value
    if isinstance(value, (ModuleType, type)):
        attributes = _attributes(value, names)
        return value, *(_of_value(a, names, around) for a in attributes if a is not value)
    if type(value) in (bool, int, str, float):
        return type(cast("object", value)), repr(value)
    if is_scalar(value):
        return value.dtype, value.tobytes()
    if type(value) in (tuple, list):
        items = cast("tuple[Any, ...] | list[Any]", value)
        return type(items).__name__, tuple(_of_value(v, names, around) for v in items)
    if type(value) is np.ndarray and value.dtype.kind in "biuf" and value.nbytes <= _MOST_COMPARED:
        return value.dtype, value.shape, value.tobytes()
    raise _UnknownError


def _attributes(value: object, names: tuple[str, ...]) -> Iterator[object]:
    """Return the attributes of a module or class that have one of some names, as translation finds them."""
    for name in names:
        try:
            yield attribute(value, name)
        except (AttributeError, Impure):
            continue
