"""Weights in a type of storage as safetensors files have them; and those of others, quantised by known names.

A weight is a tensor of its own type where that format has it, else bytes (U8) of packed codes; ``NAME_scale`` and
``NAME_zero_point`` stand beside it (the names that compressed-tensors has), and the metadata ``loom.storage`` tells
types and shapes. Layer: nn. Invariant: what is read has the codes and scales that were written, bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, LoomError
from loom.core.narrow import TYPES, StoredArray
from loom.nn.files.tensorfile import Arrays, RawTensors, as_arrays, read_raw, write_raw

__all__ = ["SCALE", "STORAGE_KEY", "ZERO", "read_stored", "write_stored"]

STORAGE_KEY = "loom.storage"
"""Metadata: types and shapes of stored tensors."""
SCALE, ZERO = "_scale", "_zero_point"
"""What the names of a tensor's scales and codes of 0 end in."""
_PLAIN = {"f": "F", "i": "I", "u": "U"}
_TRUTHS = "BOOL"


def write_stored(arrays: Mapping[str, Array], stored: Mapping[str, StoredArray], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file of arrays, those of ``stored`` as they are stored."""
    raw: RawTensors = {}
    told: dict[str, Any] = {}
    for name, array in arrays.items():
        held = stored.get(name)
        if held is None:
            raw[name] = _raw(array)
            continue
        told[name] = {"dtype": held.dtype.name, "shape": [*held.shape]}
        is_whole = held.size * held.dtype.bits % 8 == 0
        if held.dtype.safetensors and is_whole:
            raw[name] = held.dtype.safetensors, held.shape, held.data
        else:
            raw[name] = "U8", (len(held.data),), held.data
        for ending, part in ((SCALE, held.scale), (ZERO, held.zero)):
            if part is not None:
                raw[name + ending] = _raw(part)
    return write_raw(raw, {**metadata, STORAGE_KEY: json.dumps(told)} if stored else metadata)


def _raw(array: Array) -> tuple[str, tuple[int, ...], bytes]:
    kind = _TRUTHS if array.dtype.kind == "b" else f"{_PLAIN[array.dtype.kind]}{8 * array.dtype.itemsize}"
    return kind, array.shape, np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def read_stored(data: bytes, where: str) -> tuple[Arrays, dict[str, StoredArray], dict[str, str]]:
    """Return a file's arrays, those among them that are stored in a type of storage, and its metadata.

    Of files of others, tensors with a ``NAME_scale`` (one number, or one for each row) beside them are multiplied by
    it, less ``NAME_zero_point`` if there is one. ArgumentError for what does not fit.
    """
    raw, metadata = read_raw(data, where)
    stored = _ours(raw, metadata, where)
    arrays = as_arrays({n: t for n, t in raw.items() if n not in stored}, where)
    for name, held in stored.items():
        arrays[name] = held.decode()
        arrays.pop(name + SCALE, None)
        arrays.pop(name + ZERO, None)
    for name in [n for n in arrays if n + SCALE in arrays]:
        arrays[name] = _multiplied(name, arrays, where)
    return arrays, stored, metadata


def _ours(raw: RawTensors, metadata: Mapping[str, str], where: str) -> dict[str, StoredArray]:
    if STORAGE_KEY not in metadata:
        return {}
    try:
        told = json.loads(metadata[STORAGE_KEY])
        named = {n: (TYPES[t["dtype"]], tuple(map(int, t["shape"])), raw[n][2]) for n, t in told.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        wanted = "type and shape of each stored tensor"
        what, got = f"the metadata {STORAGE_KEY!r} does not fit the file", repr(metadata[STORAGE_KEY])[:60]
        raise ArgumentError(where, what, expected=wanted, got=got, remedy="Check which file it is") from None
    found: dict[str, StoredArray] = {}
    for name, (kind, shape, data) in named.items():
        parts = as_arrays({e: raw[name + e] for e in (SCALE, ZERO) if name + e in raw}, where)
        try:
            found[name] = StoredArray(kind, shape, data, parts.get(SCALE), parts.get(ZERO))
        except LoomError as error:
            raise ArgumentError(f"{where}, {name!r}", error.what, expected=error.expected, got=error.got,
                                remedy="The file is damaged, or not whole") from None  # fmt: skip
    return found


def _multiplied(name: str, arrays: Arrays, where: str) -> Array:
    """Return the numbers of another's quantised tensor; its scale and code of 0 are taken out of ``arrays``."""
    codes, scale = arrays[name], arrays.pop(name + SCALE).astype(np.float64)
    zero = arrays.pop(name + ZERO, None)
    here = f"{where}, {name + SCALE!r}"
    if not np.isfinite(scale).all():
        raise ArgumentError(here, "a scale is not finite", expected="finite numbers", got=repr(scale.tolist())[:60],
                            remedy="The file is damaged")  # fmt: skip
    start = 0.0 if zero is None else _beside(codes, zero.astype(np.float64), here)
    return (codes.astype(np.float64) - start) * _beside(codes, scale, here)


def _beside(codes: Array, part: Array, where: str) -> Array:
    """Return one number for all elements or for each row, so that it can be multiplied with them."""
    if part.size == 1:
        return part.reshape(())
    if (
        codes.ndim
        and part.size == codes.shape[0]
        and (part.ndim == 1 or part.shape == (part.size,) + (1,) * (part.ndim - 1))
    ):
        return part.reshape(-1, *(1,) * (codes.ndim - 1))
    if part.ndim == codes.ndim and all(n in (1, whole) for n, whole in zip(part.shape, codes.shape, strict=True)):
        return part
    wanted = f"(), (1,) or ({(codes.shape or (1,))[0]},)"
    raise ArgumentError(where, "not one number, or one for each row", expected=wanted, got=part.shape,
                        remedy="Multiply the tensor by its scales before")  # fmt: skip
