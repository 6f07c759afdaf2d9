"""Reads what callers pass: vectors, their ids, what is told of them, queries.

Layer: vectors. Invariant: what comes back is usable, or the error says what is wrong with which row, and nothing has
changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard, cast

import numpy as np

from loom.core.arrays import Array, read_as
from loom.core.dtype import f32, f64
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.given import is_array, is_list, is_mapping, is_scalar, items

__all__ = [
    "Id",
    "Meta",
    "as_id",
    "read_ids",
    "read_matrix",
    "read_meta",
    "read_metas",
    "read_vector",
    "require_lengths",
]

Id = str | int
"""What a vector is called."""
Meta = Mapping[str, Any]
"""What is told of a vector: texts, numbers, bools, None, lists and dicts of these, by names."""

_SHORTEST, _LONGEST = 2.0**-100, 2.0**100
"""Squared lengths between which no product of two vectors leaves f32."""
_PLAIN = frozenset((str, int, float, bool, type(None)))
_MOST_INT = (1 << 63) - 1
_DEEPEST = 32


def read_matrix(data: Any, dims: int, where: str) -> Array:
    """Return vectors as f32, (n, dims), used in place where they are; ShapeError for others."""
    array = _floats(data, where)
    if array.ndim == 1 and array.size == 0:
        array = array.reshape(0, dims)
    if array.ndim != 2 or array.shape[1] != dims:
        raise ShapeError(where, "vectors of another length", expected=f"shape (n, {dims})", got=array.shape,
                         remedy=f"Pass a row of {dims} numbers for each")  # fmt: skip
    return array


def read_vector(data: Any, dims: int, where: str) -> Array:
    """Return one vector as f32, (1, dims)."""
    array = _floats(data, where)
    if array.shape not in ((dims,), (1, dims)):
        raise ShapeError(where, "a vector of another length", expected=f"{dims} numbers", got=f"shape {array.shape}",
                         remedy="Pass the vector of one thing")  # fmt: skip
    return array.reshape(1, dims)


def _floats(data: Any, where: str) -> Array:
    """Return elements as f32; ArgumentError for a vector that is not 0 and would become so."""
    array = read_as(data, f32, where)
    is_wide = is_list(data) or str(getattr(data, "dtype", "")).endswith(("64", "longdouble"))
    if is_wide and array.ndim and array.size and not array.any(axis=-1).all():
        given = read_as(data, f64, where)
        lost = ~array.any(axis=-1) & given.any(axis=-1)
        if lost.any():
            raise ArgumentError(where, "a vector is too short to be compared", got="one that f32 holds as 0 in row "
                                f"{int(np.argmax(lost))}", expected="finite numbers, length 0 or from 2^-50 to 2^50",
                                remedy="Scale it up")  # fmt: skip
    return array


def require_lengths(squares: Array, where: str, what: str = "row", first: int = 0) -> None:
    """See that vectors of these squared lengths can be compared: no NaN, none infinite, none too long or short."""
    is_usable = ((squares >= _SHORTEST) & (squares <= _LONGEST)) | (squares == 0)
    if is_usable.all():
        return
    place = int(np.argmin(is_usable))
    square = float(squares[place])
    if not square <= _LONGEST:
        text = "a vector holds NaN or infinity, or is too long"
        remedy = (
            "Scale it down"
            if np.isfinite(square)
            else "Correct it, or leave it out"
            if np.isnan(square)
            else "Correct it, or scale it down"
        )
    else:
        text, remedy = "a vector is too short to be compared", "Scale it up"
    length = "a length of 2^64 or more" if np.isinf(square) else f"length {np.sqrt(square):g}"  # squares are of f32
    raise ArgumentError(
        where,
        text,
        expected="finite numbers, length 0 or from 2^-50 to 2^50",
        got=f"{length} in {what} {first + place}",
        remedy=remedy,
    )


def _is_id(value: Any) -> TypeGuard[Id]:
    return isinstance(value, str) or (
        isinstance(value, int) and not isinstance(value, bool) and -_MOST_INT <= value <= _MOST_INT
    )


def _exact(value: Id) -> Id:
    """Return an id without what a class of its own adds, as a file gives it back."""
    return str.__str__(value) if isinstance(value, str) else int.__int__(value)


def as_id(name: Any) -> Id | None:
    """Return an id as a store knows it; None for what no vector is called."""
    if is_scalar(name):
        name = name.item()
    return _exact(name) if _is_id(name) else None


def read_ids(ids: Any, count: int | None, where: str) -> list[Id]:
    """Return so many ids (None: any number), texts or ints of 64 bits; numpy's become Python's."""
    found: list[Any]
    if count is not None and isinstance(ids, (set, frozenset)):
        raise ArgumentError(where, "ids in no order", expected="a list of ids, one for each vector",
                            got=repr(cast("Any", ids))[:200], remedy="Pass them in the vectors' order")  # fmt: skip
    if is_array(ids):
        found = ids.tolist() if ids.ndim == 1 and ids.dtype.kind in "iuU" else list(ids.flat)
    elif type(ids) is list:
        found = list(cast("list[Any]", ids))
    elif isinstance(ids, range):
        found = list(ids)
    else:
        found = items(ids, where, "ids")
    if count is not None and len(found) != count:
        raise ShapeError(where, "not an id for each vector", expected=f"{count} ids", got=len(found),
                         remedy="Pass as many ids as vectors, or none to have them numbered")  # fmt: skip
    if not set(map(type, found)) <= {str}:
        found = [each.item() if is_scalar(each) else each for each in found]
        for each in found:
            if not _is_id(each):
                raise DTypeError(where, "not an id", expected="a str, or an int of 64 bits", got=repr(each)[:200],
                                 remedy="Name the vector")  # fmt: skip
        if not set(map(type, found)) <= {str, int}:
            found = [_exact(each) for each in found]
    if found:
        _require_texts(found, where)
    return found


def _require_texts(found: Iterable[Any], where: str) -> None:
    """Texts must be such that a file can hold them: no halves of characters."""
    found = list(found)
    try:
        if "".join(found).isascii():  # nearly always, and at once
            return
    except TypeError:
        pass
    for each in found:
        if isinstance(each, str) and not each.isascii():
            try:
                each.encode()
            except UnicodeEncodeError:
                raise ArgumentError(where, "a text with half a character", expected="a text that UTF-8 holds",
                                    got=ascii(each)[:200], remedy="Correct it") from None  # fmt: skip


def read_metas(metas: Any, count: int, where: str) -> list[Meta | None]:
    """Return what is told of so many vectors: None, one mapping for all, or one (or None) for each."""
    if metas is None:
        return [None] * count
    if is_mapping(metas):
        one = read_meta(metas, where)
        return [one] * count
    found = items(metas, where, "mappings")
    if len(found) != count:
        raise ShapeError(where, "not a mapping for each vector", expected=f"{count} mappings", got=len(found),
                         remedy="Pass as many as vectors, or one for all")  # fmt: skip
    return [read_meta(each, where) for each in found]


def read_meta(meta: Any, where: str) -> Meta | None:
    """Return a copy of what is told of a vector; DTypeError for what a file cannot hold."""
    if meta is None:
        return None
    if not is_mapping(meta):
        raise DTypeError(where, "not a mapping", expected='a dict such as {"batch": 42}', got=repr(meta)[:200],
                         remedy="Pass a dict")  # fmt: skip
    return {_read_name(name, where): _read_value(value, where, 0) for name, value in meta.items()}


def _read_name(name: Any, where: str) -> str:
    if type(name) is not str:
        raise DTypeError(where, "not a name", expected="names that are texts", got=repr(name)[:200],
                         remedy="Write it as a text")  # fmt: skip
    _require_texts((name,), where)
    return name


def _plain(value: str | int | float) -> str | int | float:
    """Return a text or a number without what a class of its own adds."""
    return float.__float__(value) if isinstance(value, float) else _exact(value)


def _read_value(value: Any, where: str, depth: int) -> Any:
    if is_scalar(value):
        value = value.item()
    elif type(value) not in _PLAIN and isinstance(value, (str, int, float)):
        value = _plain(value)
    if type(value) in _PLAIN:
        if type(value) is str:
            _require_texts((value,), where)
            return value
        is_held = abs(value) <= _MOST_INT if type(value) is int else value is None or np.isfinite(value)
        if is_held:
            return value
    elif depth < _DEEPEST and isinstance(value, (list, tuple)):
        several = cast("Sequence[Any]", value)
        return [_read_value(each, where, depth + 1) for each in several]
    elif depth < _DEEPEST and is_mapping(value):
        return {_read_name(n, where): _read_value(each, where, depth + 1) for n, each in value.items()}
    raise DTypeError(where, "a value that a file cannot hold",
                     expected="texts, finite numbers of 64 bits, bools, None, lists and dicts of them",
                     got=_repr(value), remedy="Write it as one of these")  # fmt: skip


def _repr(value: Any) -> str:
    try:
        return repr(value)[:200]
    except RecursionError:
        return f"a {type(value).__name__} that holds others too deep"
