"""Reads what is no number and no array: truths, texts, paths, several things, objects that can do something.

Layer: core. Invariant: whatever is passed, what comes back is usable, or the error is one of the house.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeGuard, cast

import numpy as np

from loom.core.errors import ArgumentError, DTypeError, near_matches

__all__ = [
    "able",
    "flag",
    "is_array",
    "is_int",
    "is_list",
    "is_mapping",
    "is_scalar",
    "is_tuple",
    "items",
    "one_of",
    "path",
    "text",
]

_MOST_ITEMS = 1 << 24
"""More are no settings, but a mistake."""


def flag(value: Any, where: str) -> bool:
    """Return a truth, Python's or numpy's, as a bool; ArgumentError for anything else.

    >>> flag(np.True_, "f, keepdims")
    True
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ArgumentError(where, "not usable", expected="True or False", got=repr(value), remedy="Correct it")
    return bool(cast("Any", value))


def is_array(value: Any) -> TypeGuard[np.ndarray[Any, Any]]:
    """Tell whether something is a numpy array."""
    return isinstance(value, np.ndarray)


def is_scalar(value: Any) -> TypeGuard[np.generic[Any]]:
    """Tell whether something is a number of numpy's."""
    return isinstance(value, np.generic)


def is_int(value: Any) -> TypeGuard[int]:
    """Tell whether a value is an int, of Python or numpy; a bool is none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    """Tell whether something is a list or a tuple."""
    return isinstance(value, (list, tuple))


def is_tuple(value: Any) -> TypeGuard[tuple[Any, ...]]:
    """Tell whether something is a tuple."""
    return isinstance(value, tuple)


def is_mapping(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    """Tell whether a value is a mapping, whatever of."""
    return isinstance(value, Mapping)


def text(value: Any, where: str) -> str:
    """Return a str; DTypeError for anything else."""
    if not isinstance(value, str):
        raise DTypeError(where, "not a text", expected="a str", got=repr(value), remedy="Pass a text")
    return value


def one_of(value: Any, where: str, known: Iterable[str]) -> str:
    """Return one of the texts known; ArgumentError names the nearest for another."""
    names = list(known)
    if not isinstance(value, str) or value not in names:
        raise ArgumentError(where, f"{value!r} is not known", expected=" or ".join(map(repr, names)),
                            remedy=near_matches(str(value), names))  # fmt: skip
    return value


def path(value: Any, where: str) -> Path:
    """Return the path of a file or folder; DTypeError for what names none."""
    found = None
    try:
        name = cast("str | bytes", os.fspath(value))
        os.fsencode(name)
        found = Path(os.fsdecode(name)) if name else None
    except (TypeError, ValueError, NotImplementedError):
        pass
    if found is None or "\0" in str(found):
        raise DTypeError(where, "not a path", expected="a str or a pathlib.Path", got=repr(value)[:200],
                         remedy="Name a file or a folder")  # fmt: skip
    return found


def _is_several(value: Any) -> TypeGuard[Iterable[Any]]:
    """Tell whether something holds values, and is no text, mapping or class."""
    return not isinstance(value, (str, bytes, bytearray, Mapping, type)) and isinstance(value, Iterable)


def items(value: Any, where: str, what: str = "values") -> list[Any]:
    """Return what a list, a tuple or another iterable holds; ArgumentError for a text, a mapping and one thing.

    What a generator raises is raised.
    """
    if _is_several(value):
        try:
            found: list[Any] = list(islice(value, _MOST_ITEMS + 1))
            if len(found) <= _MOST_ITEMS:
                return found
        except Exception:  # an array of no dimension, an object of others that has no elements
            if isinstance(value, Iterator):  # whose own error it is
                raise
    raise ArgumentError(where, "not several", expected=f"a list of {what}", got=repr(value)[:200],
                        remedy="Write [x] for one")  # fmt: skip


def able(value: Any, where: str, method: str, expected: str) -> Any:
    """Return an object that has a method; DTypeError for one that has not."""
    if isinstance(value, type) or not callable(getattr(value, method, None)):
        raise DTypeError(where, f"it has no {method}()", expected=expected, got=repr(value)[:200],
                         remedy=f"Pass an object with {method}()")  # fmt: skip
    return value
