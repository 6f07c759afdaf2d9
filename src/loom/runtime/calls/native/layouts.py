"""Where CPython and numpy have what the native door reads: looked at in known objects before it opens.

Layer: runtime. numpy's array and the slots of classes are read in place. Invariant: a layout of which the known objects
do not all say the same is no layout: the door stays shut, or leaves those objects alone.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from functools import cache
from typing import Any

import numpy as np

__all__ = ["SCALARS", "is_known", "places_of"]

_HEAD = 2
"""Words of an object before its own fields: the count of its references, and its type."""
_WORD = 8
_ARRAY_WORDS = 9
SCALARS: dict[type[Any], int] = {
    float: 3,
    np.float64: 3,
    int: 4,
    bool: 5,
    np.float32: 6,
    np.int8: 7,
    np.int16: 8,
    np.int32: 9,
    np.int64: 10,
    np.uint8: 11,
    np.uint16: 12,
    np.uint32: 13,
}
"""Types of numbers that the door reads, as it counts them."""


def _words(held: object, count: int) -> list[int]:
    return list((ctypes.c_uint64 * count).from_address(id(held)))


@cache
def is_known() -> bool:
    """Tell whether this interpreter and this numpy have their objects where the door looks for them."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    if ctypes.sizeof(ctypes.c_void_p) != _WORD or sys.byteorder != "little":
        return False
    return all(map(_is_typed, (1.5, 7, (), [], True, np.float32, 1 << 70))) and _arrays_are_known() and _numbers_are()


def _is_typed(held: object) -> bool:
    return _words(held, _HEAD)[1] == id(type(held))


def _arrays_are_known() -> bool:
    if np.ndarray.__basicsize__ < _ARRAY_WORDS * _WORD:
        return False
    plain, base = np.arange(24, dtype=np.float32), np.arange(48, dtype=np.float64).reshape(4, 12)
    locked = plain.reshape(2, 3, 4).copy()
    locked.flags.writeable = False
    return all(map(_is_array, (plain, base, base[1:, ::2], locked, np.array(5, np.int8), base.T, plain[3:9])))


def _is_array(array: np.ndarray[Any, Any]) -> bool:
    _, kind, data, axes, lengths, strides, base, dtype, flags = _words(array, _ARRAY_WORDS)
    told = array.__array_interface__["data"][0], id(array.dtype), id(np.ndarray), array.ndim, int(array.flags.num)
    if (data, dtype, kind, axes & 0xFFFF_FFFF, flags & 0xFFFF_FFFF) != told:
        return False
    if base != (0 if array.base is None else id(array.base)):
        return False
    if not array.ndim:
        return True
    count = ctypes.c_int64 * array.ndim
    return tuple(count.from_address(lengths)) == array.shape and tuple(count.from_address(strides)) == array.strides


def _numbers_are() -> bool:
    """Tell whether numpy's numbers are right behind the head."""
    for kind, number in SCALARS.items():
        if number < 6:
            continue
        for value in (0, 1, 77):
            held = kind(value)
            found = ctypes.string_at(id(held) + _HEAD * _WORD, held.nbytes)
            if not _is_typed(held) or found != held.tobytes():
                return False
    return True


@cache
def places_of(kind: type[object], *names: str) -> tuple[int, ...] | None:
    """Return how many bytes from its start an object of a class has slots; None if that cannot be told for certain."""
    held = object.__new__(kind)
    marks = [object() for _ in names]
    for name, mark in zip(names, marks, strict=True):
        setattr(held, name, mark)
    words = _words(held, kind.__basicsize__ // _WORD)
    if any(words.count(id(mark)) != 1 for mark in marks):
        return None
    for name in names:
        setattr(held, name, None)
    found = tuple(_WORD * words.index(id(mark)) for mark in marks)
    now = _words(held, kind.__basicsize__ // _WORD)
    return found if all(now[place // _WORD] == id(None) for place in found) else None
