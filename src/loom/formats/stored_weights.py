"""Weights in a type of storage as safetensors files have them; and those of others, quantised by known names.

A weight is a tensor of its own type where that format has it, else bytes (U8) of packed codes; ``NAME_scale`` and
``NAME_zero_point`` stand beside it (the names that compressed-tensors has), and the metadata ``loom.storage`` tells
types and shapes. Layer: formats. Invariant: what is read has the codes and scales that were written, bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, FileError, LoomError
from loom.core.given import is_mapping
from loom.core.narrow import TYPES, NumericType, StoredArray
from loom.formats.checkpoint import StoredTensor
from loom.formats.json_text import load_json
from loom.formats.safetensors import (
    FilePiece,
    SealedParts,
    array_piece,
    encode_file,
    is_shape,
    read_safetensors,
    require_digest,
)

__all__ = [
    "SCALE", "STORAGE_KEY", "ZERO", "Arrays", "read_stored", "read_tensors", "storage_pieces", "with_scales",
    "write_stored",
]  # fmt: skip

Arrays = dict[str, Array]
STORAGE_KEY = "loom.storage"
"""Metadata: types and shapes of stored tensors."""
SCALE, ZERO = "_scale", "_zero_point"
"""Endings of the names of a tensor's scales and codes of 0."""
_WHOLE_FILE = "The file is damaged, or not whole"


# writing


def write_stored(
    arrays: Mapping[str, Array], stored: Mapping[str, StoredArray], metadata: Mapping[str, str]
) -> SealedParts:
    """Return a safetensors file of arrays, those of ``stored`` as they are stored, with its digest."""
    pieces: list[FilePiece] = []
    told: dict[str, Any] = {}
    for name, array in arrays.items():
        if name in stored:
            more, told[name] = storage_pieces(name, stored[name])
            pieces += more
        else:
            pieces.append(array_piece(name, array))
    return encode_file(pieces, {**metadata, STORAGE_KEY: json.dumps(told)} if stored else metadata)


def storage_pieces(name: str, held: StoredArray) -> tuple[list[FilePiece], dict[str, Any]]:
    """Return the tensors of a file that a stored array is, and what ``STORAGE_KEY`` tells of it."""
    is_whole = held.dtype.safetensors and held.size * held.dtype.bits % 8 == 0
    kind, shape = (held.dtype.safetensors, held.shape) if is_whole else ("U8", (len(held.data),))
    pieces = [FilePiece(name, kind, shape, len(held.data), lambda: (held.data,))]
    beside = ((SCALE, held.scale), (ZERO, held.zero))
    pieces += [array_piece(name + ending, part) for ending, part in beside if part is not None]
    return pieces, {"dtype": held.dtype.name, "shape": [*held.shape]}


# reading


def read_tensors(data: bytes | memoryview, where: str) -> tuple[Arrays, dict[str, str]]:
    """Return a file's arrays by name, and its metadata; they own their memory.

    BF16, F8_E4M3, F8_E5M2 and F4 come as f32, which has all of their numbers; DTypeError for types that numpy and Loom
    lack. ArgumentError for bytes that are no such file; FileError for those that are not the ones whose digest it has.
    """
    tensors, metadata = _read(data, where)
    return {name: tensor.array() for name, tensor in tensors.items()}, metadata


def _read(data: bytes | memoryview, where: str) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    view = memoryview(data)
    try:
        tensors, metadata = read_safetensors(view, where)
    except FileError as error:
        of = error.where.removeprefix(where).removeprefix(", ")  # a tensor's name
        what = f"not a safetensors file ({of}{': ' if of else ''}{error.what})"
        raise ArgumentError(where, what, expected=error.expected, got=error.got, remedy=error.remedy) from None
    require_digest(view, metadata, where)
    return tensors, metadata


def read_stored(data: bytes | memoryview, where: str) -> tuple[Arrays, dict[str, StoredArray], dict[str, str]]:
    """Return a file's arrays, those among them that are stored in a type of storage, and its metadata.

    Of files of others, tensors with a ``NAME_scale`` (one number, or one for each row) beside them are multiplied by
    it, less ``NAME_zero_point`` if there is one. ArgumentError for what does not fit.
    """
    tensors, metadata = _read(data, where)
    stored: dict[str, StoredArray] = {}
    try:
        tensors = with_scales(tensors, metadata, where)
        for name, tensor in tensors.items():
            if (held := tensor.read_stored()) is not None:
                stored[name] = held
    except FileError as error:
        raise ArgumentError(error.where, error.what, expected=error.expected, got=error.got,
                            remedy=error.remedy) from None  # fmt: skip
    arrays = {n: stored[n].decode() if n in stored else tensor.array() for n, tensor in tensors.items()}
    for name in [n for n in arrays if n + SCALE in arrays]:
        arrays[name] = _multiply(name, arrays, where)
    return arrays, stored, metadata


def with_scales(tensors: dict[str, StoredTensor], metadata: Mapping[str, str], where: str) -> dict[str, StoredTensor]:
    """Return the tensors with those that Loom stored in a type of storage as one each: codes, scales and zeros."""
    if STORAGE_KEY not in metadata:
        return tensors
    here = f"{where}, metadata {STORAGE_KEY!r}"
    kinds: dict[str, tuple[NumericType, tuple[int, ...]]] = {}
    for name, facts in load_json(metadata[STORAGE_KEY].encode(), here, "the metadata").items():
        kind = TYPES.get(str(facts.get("dtype"))) if is_mapping(facts) else None
        shape = facts.get("shape") if is_mapping(facts) else None
        if kind is None or name not in tensors or not is_shape(shape):
            raise FileError(here, "does not fit the file", expected="dtype and shape of tensors of the file",
                            got=f"{name[:60]!r}: {facts!r:.60}", remedy=_WHOLE_FILE)  # fmt: skip
        kinds[name] = kind, tuple(shape)
    parts = {name + ending for name in kinds for ending in (SCALE, ZERO)} - {*kinds}
    found: dict[str, StoredTensor] = {}
    for name, tensor in tensors.items():
        if name in kinds:
            beside = [tensors.get(name + ending) for ending in (SCALE, ZERO)]
            found[name] = _as_one(*kinds[name], tensor, beside, where)
        elif name not in parts:
            found[name] = tensor
    return found


def _as_one(
    kind: NumericType, shape: tuple[int, ...], codes: StoredTensor, beside: list[StoredTensor | None], where: str
) -> StoredTensor:
    """Return codes, scales and zeros as one tensor, which is made when it is read."""
    here, wanted = f"{where}, {codes.name!r}", kind.nbytes(prod(shape))
    if wanted != codes.nbytes:
        raise FileError(here, "its bytes are not those of its shape", expected=f"{wanted:,} for {kind} of {[*shape]}",
                        got=f"{codes.nbytes:,}", remedy=_WHOLE_FILE)  # fmt: skip

    def make() -> StoredArray:
        scale, zero = (None if part is None else np.array(part.values()) for part in beside)
        try:
            return StoredArray(kind, shape, bytes(codes.raw()), scale, zero)
        except LoomError as error:
            raise FileError(here, error.what, expected=error.expected, got=error.got, remedy=_WHOLE_FILE) from None

    nbytes = codes.nbytes + sum(t.nbytes for t in beside if t is not None)
    return StoredTensor(codes.name, shape, kind.name.upper(), nbytes, codes.raw(), where, make)


def _multiply(name: str, arrays: Arrays, where: str) -> Array:
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
