"""Columns of an Arrow stream, read from the structs of the C interface: of pandas, polars, duckdb, pyarrow and others.

Layer: tables. Nothing but the structs is needed: no pyarrow. Values are copied out, and what was handed over released,
before a call returns. Invariant: a value comes out as it is, or is refused: never cut to a coarser unit, or a nearer
number.

Source: "The Arrow C data interface", "The Arrow PyCapsule interface" and "Arrow columnar format", arrow.apache.org.
"""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from typing import Any, cast

import numpy as np

from loom.core.errors import ArgumentError, DTypeError
from loom.tables.arrow.structs import ArrowArray, ArrowSchema, ArrowStream, place_in

__all__ = ["columns_of_stream"]

_NUMBERS = {
    "c": np.int8, "C": np.uint8, "s": np.int16, "S": np.uint16, "i": np.int32, "I": np.uint32, "l": np.int64,
    "L": np.uint64, "e": np.float16, "f": np.float32, "g": np.float64,
}  # fmt: skip
_OFFSETS = {"u": np.int32, "z": np.int32, "U": np.int64, "Z": np.int64}
_UNITS = {"s": 1, "m": 1_000, "u": 1_000_000, "n": 1_000_000_000}
_MOMENTS = (
    np.datetime64("0001-01-01", "s").astype(np.int64),
    np.datetime64("9999-12-31T23:59:59", "s").astype(np.int64),
)
_DAYS = tuple(int(each) // 86_400 for each in _MOMENTS)
_VIEW = np.dtype([("size", "<i4"), ("start", "V4"), ("buffer", "<i4"), ("offset", "<i4")])
_INLINE = 12
"""A view of so many bytes holds them itself."""

Values = np.ndarray[Any, np.dtype[Any]]


def columns_of_stream(data: Any, where: str) -> dict[str, list[Any]]:
    """Return the columns of an object that gives an Arrow stream, as lists, None where a value is missing.

    DTypeError names a column of a type that no column of a table has, or the row that a coarser unit would change;
    ArgumentError where two columns have one name.
    """
    try:
        capsule = data.__arrow_c_stream__()
        stream = ctypes.cast(place_in(capsule, b"arrow_array_stream"), ctypes.POINTER(ArrowStream))
    except (TypeError, ValueError, ImportError, RuntimeError, NotImplementedError) as error:
        raise _unreadable(data, error, where) from None
    schema = ArrowSchema()
    try:
        _call(stream, stream.contents.get_schema, schema, data, where)
        try:
            return _read(stream, schema, data, where)
        finally:
            if schema.release:
                schema.release(ctypes.pointer(schema))
    finally:
        if stream.contents.release:
            stream.contents.release(stream)


def _unreadable(data: Any, why: object, where: str) -> DTypeError:
    said = (str(why) or type(why).__name__).splitlines()[0][:200]
    return DTypeError(where, f"the Arrow stream cannot be read ({said})", got=type(data).__name__,
                      remedy="Pass a dictionary of columns")  # fmt: skip


def _call(stream: Any, function: Any, out: Any, data: Any, where: str) -> None:
    if function(stream, ctypes.pointer(out)):
        said = stream.contents.get_last_error(stream)
        why = ctypes.string_at(said).decode(errors="replace") if said else "it says no more"
        raise _unreadable(data, why, where)


def _read(stream: Any, schema: ArrowSchema, data: Any, where: str) -> dict[str, list[Any]]:
    if schema.format != b"+s":
        raise _unreadable(data, f"it is one column of format {_format(schema)!r}, without a name", where)
    children = [schema.children[k].contents for k in range(schema.n_children)]
    names = [(child.name or b"").decode() for child in children]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ArgumentError(where, f"two columns are called {twice[0]!r}", expected="different names", got=names,
                            remedy="Rename one of them")  # fmt: skip
    readers = [_reader(child, f"{where}, column {name!r}") for child, name in zip(children, names, strict=True)]
    found: dict[str, list[Any]] = {name: [] for name in names}
    while True:
        batch = ArrowArray()
        _call(stream, stream.contents.get_next, batch, data, where)
        if not batch.release:
            return found
        try:
            if _Elements(batch, 0, batch.length, 0).there is not None:
                raise _unreadable(data, "rows are missing as a whole", where)
            for k, (name, read) in enumerate(zip(names, readers, strict=True)):
                found[name].extend(
                    read(_Elements(batch.children[k].contents, batch.offset, batch.length, len(found[name])))
                )
        finally:
            batch.release(ctypes.pointer(batch))


# what a column's elements are


class _Elements:
    """Elements of an array: ``count`` of them after ``skipped``; ``row``: which row the first is, to name it."""

    def __init__(self, array: ArrowArray, skipped: int, count: int, row: int) -> None:
        self.array, self.count, self.row = array, count, row
        self.begin = array.offset + skipped

    def memory(self, buffer: int, begin: int, nbytes: int) -> bytes:
        """Return a copy of bytes of a buffer; one of no bytes may be none."""
        place = self.array.buffers[buffer] if nbytes else None
        return ctypes.string_at(cast("int", place) + begin, nbytes) if place else b""

    def items(self, buffer: int, dtype: Any, more: int = 0) -> Values:
        """Return the elements of a buffer, and ``more`` after them."""
        size = np.dtype(dtype).itemsize
        return np.frombuffer(self.memory(buffer, self.begin * size, (self.count + more) * size), dtype)

    def bits(self, buffer: int) -> Values:
        """Return the elements of a buffer of bits."""
        first, last = self.begin // 8, (self.begin + self.count + 7) // 8
        packed = np.frombuffer(self.memory(buffer, first, last - first), np.uint8)
        return np.unpackbits(packed, bitorder="little")[self.begin - 8 * first :][: self.count].astype(np.bool_)

    @cached_property
    def there(self) -> Values | None:
        """Which values are there; None: all of them."""
        if self.array.null_count == 0 or not self.array.n_buffers or not self.array.buffers[0]:
            return None
        there = self.bits(0)
        return None if there.all() else there

    def with_none(self, values: list[Any]) -> list[Any]:
        """Return values with None where one is missing."""
        if self.there is not None:
            for k in np.flatnonzero(~self.there).tolist():
                values[k] = None
        return values


_Reader = Callable[[_Elements], list[Any]]


def _format(schema: ArrowSchema) -> str:
    return cast("bytes", schema.format or b"").decode(errors="replace")


def _reader(schema: ArrowSchema, where: str) -> _Reader:
    shape = _format(schema)
    if schema.dictionary:
        return _dictionary(shape, _reader(schema.dictionary.contents, where), where)
    if shape == "+r":
        ends, values = (schema.children[k].contents for k in range(2))
        return _runs(_NUMBERS[_format(ends)], _reader(values, where))
    found = _by_prefix(shape, where)
    if found is not None:
        return found
    zone = f" with a time zone ({shape[4:]})" if shape.startswith("ts") else ""
    raise DTypeError(where, f"an Arrow column of format {shape!r}{zone} fits no column of a table",
                     expected="numbers, bools, texts, bytes, dates, or moments without a zone", got=shape,
                     remedy="Cast it first")  # fmt: skip


def _by_prefix(shape: str, where: str) -> _Reader | None:
    """Return the reader of a column of values; None where no table has such."""
    if shape in _NUMBERS:
        return lambda part: part.with_none(part.items(1, _NUMBERS[shape]).tolist())
    if shape in _OFFSETS:
        return lambda part: _texts(part, shape, where)
    if shape in ("tdD", "tdm"):
        return lambda part: _days(part, shape, where)
    if shape.startswith("ts") and shape[2:3] in _UNITS and shape[3:] == ":":
        return lambda part: _moments(part, shape[2], where)
    if shape.startswith("w:"):
        return lambda part: _byte_rows(part, int(shape[2:]))
    others: dict[str, _Reader] = {
        "n": lambda part: [None] * part.count,
        "b": lambda part: part.with_none(part.bits(1).tolist()),
        "vu": lambda part: _views(part, True, where),
        "vz": lambda part: _views(part, False, where),
    }
    return others.get(shape)


# texts and bytes


def _texts(part: _Elements, shape: str, where: str) -> list[Any]:
    ends: list[int] = part.items(1, _OFFSETS[shape], more=1).tolist() or [0]
    first = ends[0]
    data = part.memory(2, first, ends[-1] - first)
    if shape in "uU" and data.isascii():  # decoded at once: a character is a byte
        text = data.decode()
        return part.with_none([text[a - first : b - first] for a, b in pairwise(ends)])
    return _decode(part.with_none([data[a - first : b - first] for a, b in pairwise(ends)]), shape in "uU", where)


def _views(part: _Elements, is_text: bool, where: str) -> list[Any]:
    size = _VIEW.itemsize
    raw = part.memory(1, part.begin * size, part.count * size)
    places, there, found = np.frombuffer(raw, _VIEW), part.there, list[Any]()
    sizes, buffers, offsets = (places[name].tolist() for name in ("size", "buffer", "offset"))
    for k in range(part.count):
        if there is not None and not there[k]:
            found.append(None)
        elif sizes[k] <= _INLINE:
            found.append(raw[size * k + 4 : size * k + 4 + sizes[k]])
        else:
            found.append(part.memory(2 + buffers[k], offsets[k], sizes[k]))
    return _decode(found, is_text, where)


def _byte_rows(part: _Elements, size: int) -> list[Any]:
    data = part.memory(1, part.begin * size, part.count * size)
    return part.with_none([data[k * size : (k + 1) * size] for k in range(part.count)])


def _decode(parts: list[Any], is_text: bool, where: str) -> list[Any]:
    if not is_text:
        return parts
    try:
        return [None if part is None else part.decode() for part in parts]
    except UnicodeDecodeError as error:
        raise DTypeError(where, f"a text is no UTF-8 ({error.reason})", got=repr(error.object)[:80],
                         remedy="Pass bytes") from None  # fmt: skip


# dates


def _days(part: _Elements, shape: str, where: str) -> list[Any]:
    values = _fill_missing(part, np.int32 if shape == "tdD" else np.int64)
    if shape == "tdm":
        _refuse(values % 86_400_000 != 0, part, values, "is no whole day", where)
        values = values // 86_400_000
    _refuse((values < _DAYS[0]) | (values > _DAYS[1]), part, values, "is of no year from 1 to 9999", where)
    return part.with_none(values.astype("datetime64[D]").tolist())


def _moments(part: _Elements, unit: str, where: str) -> list[Any]:
    values = _fill_missing(part, np.int64)
    seconds = values // _UNITS[unit]
    _refuse((seconds < _MOMENTS[0]) | (seconds > _MOMENTS[1]), part, values, "is of no year from 1 to 9999", where)
    if unit == "n":
        _refuse(values % 1_000 != 0, part, values, "is finer than a microsecond", where)
    micros = values // 1_000 if unit == "n" else values * (1_000_000 // _UNITS[unit])
    return part.with_none(micros.astype("datetime64[us]").tolist())


def _fill_missing(part: _Elements, dtype: Any) -> Values:
    """Return values, 0 where one is missing."""
    values = part.items(1, dtype)
    return values if part.there is None else np.where(part.there, values, 0)


def _refuse(wrong: Values, part: _Elements, values: Values, said: str, where: str) -> None:
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DTypeError(where, f"row {part.row + at} {said}", expected="a date that a column holds",
                         got=int(values[at]), remedy="Cast it first")  # fmt: skip


# columns of columns


def _dictionary(shape: str, values: _Reader, where: str) -> _Reader:
    if shape not in _NUMBERS:
        raise DTypeError(where, "a dictionary without whole numbers for keys", got=shape, remedy="Cast it first")

    def read(part: _Elements) -> list[Any]:
        known = part.array.dictionary.contents
        names = values(_Elements(known, 0, known.length, part.row))
        keys = part.with_none(part.items(1, _NUMBERS[shape]).tolist())
        return [None if key is None else names[key] for key in keys]

    return read


def _runs(ends_of: Any, values: _Reader) -> _Reader:
    def read(part: _Elements) -> list[Any]:
        ends, each = (part.array.children[k].contents for k in range(2))
        listed = values(_Elements(each, 0, each.length, part.row))
        last = _Elements(ends, 0, ends.length, 0).items(1, ends_of)
        runs, found = last.tolist(), list[Any]()
        at = bisect_right(runs, part.begin)
        while len(found) < part.count:  # the end of a run is the first element after it
            end = min(runs[at] - part.begin, part.count)
            found.extend([listed[at]] * (end - len(found)))
            at += 1
        return found

    return read
