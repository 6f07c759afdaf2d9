"""Columns as an Arrow stream, by the Arrow PyCapsule interface: pandas, polars, duckdb and pyarrow take it.

Layer: tables. The structs of the C data interface are filled here, without pyarrow. Each holds what it points to by a
key in ``_KEPT`` until it is released. Invariant: a struct is released once, by whoever holds it last.

Source: "The Arrow C data interface" and "The Arrow PyCapsule interface", arrow.apache.org.
"""

from __future__ import annotations

import ctypes
import datetime
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, ClassVar

import numpy as np

from loom.tables.arrow.structs import (
    ArrowArray,
    ArrowSchema,
    ArrowStream,
    GetError,
    GetNext,
    GetSchema,
    ReleaseArray,
    ReleaseSchema,
    ReleaseStream,
)
from loom.tables.columns.types import ColumnType

__all__ = ["Arrow"]

_NULLABLE = 2
_KEPT: dict[int, Any] = {}
_KEYS = count(1)


_FORMATS = {
    "int": b"l", "float": b"g", "str": b"U", "bool": b"b", "bytes": b"Z", "date": b"tdD", "datetime": b"tsu:",
}  # fmt: skip
"""int64, float64, large texts and bytes, bits, days, microseconds."""


class Arrow:
    """Columns that other libraries take: ``pyarrow.table(x)``, ``polars.DataFrame(x)``, DuckDB's SQL.

    It holds the values as they were when it was made, and may be taken any number of times.
    """

    _name: ClassVar[bytes] = b"arrow_array_stream"

    def __init__(self, columns: Mapping[str, tuple[ColumnType, Sequence[Any]]], length: int) -> None:
        self._types = {name: kind for name, (kind, _) in columns.items()}
        self._length = length
        self._buffers = [_buffers_of(kind, values) for kind, values in columns.values()]

    def __repr__(self) -> str:
        return f"<loom.tables Arrow stream of {self._length} rows: {', '.join(self._types)}>"

    def __len__(self) -> int:
        return self._length

    def __arrow_c_schema__(self) -> Any:
        """Return a capsule of the schema, as the PyCapsule interface names it."""
        schema = ArrowSchema()
        _fill_schema(schema, self._types)
        return _capsule(schema, b"arrow_schema", _drop_schema)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return a capsule of a stream of one batch; a schema that is requested need not be given, and is not."""
        _ = requested_schema is None
        stream = ArrowStream(_GET_SCHEMA, _GET_NEXT, _GET_ERROR, _RELEASE_STREAM, _keep([self, False]))
        return _capsule(stream, self._name, _drop_stream)


def _keep(what: Any) -> int:
    key = next(_KEYS)
    _KEPT[key] = what
    return key


# schemas


def _fill_schema(out: ArrowSchema, types: Mapping[str, ColumnType]) -> None:
    children = [ArrowSchema() for _ in types]
    for child, (name, kind) in zip(children, types.items(), strict=True):
        _set_schema(child, _FORMATS[kind.name], name.encode(), [])
    _set_schema(out, b"+s", b"", children)


def _set_schema(out: ArrowSchema, shape: bytes, name: bytes, children: list[ArrowSchema]) -> None:
    pointers = (ctypes.POINTER(ArrowSchema) * max(1, len(children)))(*map(ctypes.pointer, children))
    out.format, out.name, out.metadata, out.flags = shape, name, None, 0 if children else _NULLABLE
    out.n_children, out.children, out.dictionary = len(children), pointers, None
    out.release, out.private_data = _RELEASE_SCHEMA, _keep((shape, name, children, pointers))


@ReleaseSchema
def _RELEASE_SCHEMA(pointer: Any) -> None:  # noqa: N802
    _release(pointer.contents, ReleaseSchema())


def _release(struct: Any, nothing: Any) -> None:
    """Release the children of a schema or an array, which mark themselves, then what it points to."""
    for k in range(struct.n_children):
        child = struct.children[k]
        if child.contents.release:
            child.contents.release(child)
    struct.release = nothing
    _KEPT.pop(struct.private_data, None)


# arrays


def _buffers_of(kind: ColumnType, values: Sequence[Any]) -> tuple[int, list[Any]]:
    """Return how many values are missing, and the buffers of a column: which are there, then its own."""
    there = np.array([v is not None for v in values], np.bool_)
    missing = len(values) - int(there.sum())
    valid = np.packbits(there, bitorder="little") if missing else None
    if kind.name in ("str", "bytes"):
        return missing, [valid, *_texts(values)]
    if kind.name == "bool":
        return missing, [valid, np.packbits(np.array([bool(v) for v in values], np.bool_), bitorder="little")]
    if kind.name == "date":
        first = datetime.date(1970, 1, 1).toordinal()
        days = [0 if v is None else datetime.date.fromisoformat(v).toordinal() - first for v in values]
        return missing, [valid, np.array(days, np.int32)]
    if kind.name == "datetime":
        stamps = np.array(["1970-01-01" if v is None else v for v in values], "datetime64[us]")
        return missing, [valid, stamps.astype(np.int64)]
    filled = values if not missing else [0 if v is None else v for v in values]
    return missing, [valid, np.array(filled, np.int64 if kind.name == "int" else np.float64)]


def _texts(values: Sequence[Any]) -> list[Any]:
    parts = [b"" if v is None else v if isinstance(v, bytes) else v.encode() for v in values]
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    return [offsets, np.frombuffer(b"".join(parts) or b"\0", np.uint8)]


def _fill_array(out: ArrowArray, length: int, columns: list[tuple[int, list[Any]]]) -> None:
    children = [ArrowArray() for _ in columns]
    for child, (missing, buffers) in zip(children, columns, strict=True):
        _set_array(child, length, missing, buffers, [])
    _set_array(out, length, 0, [None], children)


def _set_array(out: ArrowArray, length: int, missing: int, buffers: list[Any], children: list[ArrowArray]) -> None:
    places = (ctypes.c_void_p * len(buffers))(*(None if b is None else b.ctypes.data for b in buffers))
    pointers = (ctypes.POINTER(ArrowArray) * max(1, len(children)))(*map(ctypes.pointer, children))
    out.length, out.null_count, out.offset = length, missing, 0
    out.n_buffers, out.n_children = len(buffers), len(children)
    out.buffers, out.children, out.dictionary = places, pointers, None
    out.release, out.private_data = _RELEASE_ARRAY, _keep((buffers, places, children, pointers))


@ReleaseArray
def _RELEASE_ARRAY(pointer: Any) -> None:  # noqa: N802
    _release(pointer.contents, ReleaseArray())


# streams


@GetSchema
def _GET_SCHEMA(stream: Any, out: Any) -> int:  # noqa: N802
    owner, _ = _KEPT[stream.contents.private_data]
    _fill_schema(out.contents, owner._types)
    return 0


@GetNext
def _GET_NEXT(stream: Any, out: Any) -> int:  # noqa: N802
    state = _KEPT[stream.contents.private_data]
    owner, is_over = state
    if is_over:
        out.contents.release = ReleaseArray()
    else:
        _fill_array(out.contents, owner._length, owner._buffers)
        state[1] = True
    return 0


@GetError
def _GET_ERROR(stream: Any) -> int | None:  # noqa: N802
    return None if stream else 0


@ReleaseStream
def _RELEASE_STREAM(pointer: Any) -> None:  # noqa: N802
    stream = pointer.contents
    stream.release = ReleaseStream()
    _KEPT.pop(stream.private_data, None)


# capsules

_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_new_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _Destructor)(
    ("PyCapsule_New", ctypes.pythonapi)
)
_place_in = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_STRUCTS: dict[int, Any] = {}
"""What capsules point to, by its address."""


def _capsule(struct: Any, name: bytes, destructor: Any) -> Any:
    _STRUCTS[ctypes.addressof(struct)] = struct
    return _new_capsule(ctypes.addressof(struct), name, destructor)


def _drop(capsule: int, name: bytes) -> None:
    """Release what a capsule points to, unless whoever took it has; called while the capsule goes."""
    struct = _STRUCTS.pop(_place_in(capsule, name), None)
    if struct is not None and struct.release:
        struct.release(ctypes.pointer(struct))


@_Destructor
def _drop_schema(capsule: int) -> None:
    _drop(capsule, b"arrow_schema")


@_Destructor
def _drop_stream(capsule: int) -> None:
    _drop(capsule, b"arrow_array_stream")
