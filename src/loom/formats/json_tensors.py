"""Tensors in JSON: dtype, shape, and the little-endian bytes, row-major, as base64.

One in a type of storage has its packed codes there, and the tensors ``scale`` and ``zero`` beside them. Layer: formats.
Invariant: every bit that is written is read; what is wrong is noted by the keys that lead to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.dtype import lookup
from loom.core.errors import LoomError, near_matches
from loom.core.narrow import TYPES, NumericKind, StoredArray
from loom.formats.json_text import JsonObject, JsonValue, base64_bytes, base64_text, brief

__all__ = ["FLOATS", "Note", "is_coded", "read_codes", "read_tensor", "write_codes", "write_tensor"]

FLOATS = ("f32", "f64", "f16")
"""The types of weights that are written as they are."""
Note = Callable[[Sequence[str], str, object, object, str], None]
"""Notes a problem: the keys down to it, what is wrong, what was expected, what there is, and a remedy."""
_TYPES = (*FLOATS, "u16", "u32", "u8", "u64")
_PARTS = ("dtype", "shape", "data")
_KEYS = (*_PARTS, "scale", "zero")


def write_tensor(array: Array) -> JsonObject:
    """Return ``{"dtype", "shape", "data"}`` of an array."""
    kinds = {lookup(name).numpy: name for name in _TYPES}
    data = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return {"dtype": kinds[array.dtype], "shape": [*array.shape], "data": base64_text(data)}


def write_codes(held: StoredArray) -> JsonObject:
    """Return the same of packed codes, with ``scale`` and ``zero`` if there are."""
    found: JsonObject = {"dtype": held.dtype.name, "shape": [*held.shape], "data": base64_text(held.data)}
    return found | {n: write_tensor(a) for n, a in (("scale", held.scale), ("zero", held.zero)) if a is not None}


def is_coded(value: JsonValue) -> bool:
    """Tell whether a tensor is in a type of storage: with a scale, or in a type that no array of ``FLOATS`` has."""
    if not isinstance(value, dict):
        return False
    name = value.get("dtype")
    return "scale" in value or (isinstance(name, str) and name in TYPES and name not in FLOATS)


def read_tensor(
    value: JsonValue, types: Sequence[str], note: Note, expected: tuple[int, ...] | None = None
) -> Array | None:
    """Return what ``write_tensor`` wrote: an array of one of ``types``, and of the shape expected, if one is.

    None, and one problem, for anything else.
    """
    if not isinstance(value, dict) or set(value) != set(_PARTS):
        return _wrong(note, (), "an object with dtype, shape and data", value)
    kind, sizes = value["dtype"], value["shape"]
    if not isinstance(kind, str) or kind not in types:
        return _wrong(note, ("dtype",), "one of " + ", ".join(types), kind)
    shape = [n for n in sizes if type(n) is int and n >= 0] if isinstance(sizes, list) else None
    if shape is None or shape != sizes:
        return _wrong(note, ("shape",), "a list of sizes", sizes)
    if expected is not None and shape != list(expected):
        return note(("shape",), "the weight has another shape", list(expected), shape, "")
    data = _read_bytes(value["data"], note)
    if data is None:
        return None
    dtype: np.dtype[Any] = lookup(kind).numpy.newbyteorder("<")
    wanted = dtype.itemsize * prod(shape)
    if len(data) != wanted:
        return note(("data",), "the number of bytes does not match", wanted, len(data), "")
    return np.frombuffer(data, dtype).astype(dtype.newbyteorder("=")).reshape(shape)


def read_codes(value: JsonValue, note: Note, shape: tuple[int, ...]) -> StoredArray | None:
    """Return what ``write_codes`` wrote, of this shape; None, and every problem, for anything else."""
    if not isinstance(value, dict) or not set(_PARTS) <= set(value):
        return _wrong(note, (), "an object with dtype, shape and data", value)
    wrong = [key for key in value if key not in _KEYS]
    for key in wrong:
        note((key,), f"unknown key {brief(key)}", "", "", near_matches(key[:100], _KEYS))
    name = value["dtype"]
    if not isinstance(name, str) or name not in TYPES:
        what = f"unknown type of storage {brief(str(name))}"
        return note(("dtype",), what, "", "", near_matches(str(name)[:100], TYPES))
    if value["shape"] != [*shape]:
        wrong.append("shape")
        note(("shape",), "the weight has another shape", [*shape], brief(value["shape"]), "")
    kind, data = TYPES[name], _read_bytes(value["data"], note)
    zeros = (f"u{max(kind.bits, 8)}",) if kind.kind is NumericKind.UNSIGNED else ()
    beside: dict[str, Array] = {}
    for key, types in (("scale", FLOATS[:2]), ("zero", zeros)):
        if key in value:
            part = read_tensor(value[key], types, _below(note, key))
            beside |= {} if part is None else {key: part}
            wrong += [key] if part is None else []
    if data is None or wrong:
        return None
    try:
        return StoredArray(kind, shape, data, **beside)
    except LoomError as error:
        return note((), error.what, error.expected, error.got, "")


def _read_bytes(value: JsonValue, note: Note) -> bytes | None:
    found = base64_bytes(value)
    return note(("data",), "not base64", "", brief(value), "") if found is None else found


def _below(note: Note, key: str) -> Note:
    def add(steps: Sequence[str], what: str, expected: object, got: object, remedy: str) -> None:
        note((key, *steps), what, expected, got, remedy)

    return add


def _wrong(note: Note, steps: Sequence[str], expected: str, value: JsonValue) -> None:
    note(steps, "unusable value", expected, brief(value), "")
