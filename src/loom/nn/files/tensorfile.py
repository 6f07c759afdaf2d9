"""Safetensors files as arrays, whoever wrote them; and the checks of weights that come from elsewhere.

Layer: nn. Invariant: what is read has the bits that the file has, bf16 those of the same numbers in f32; a number that
the network's type does not have, or that is no number, is an error and never another one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import chain
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.dtype import DType
from loom.core.errors import ArgumentError, DTypeError, FileError, NotFinite
from loom.core.narrow import TYPES, StoredArray
from loom.core.optional import load

__all__ = [
    "DIGEST_KEY", "LARGEST", "NO_DIGEST", "Arrays", "RawTensors", "SealedParts", "as_arrays", "is_safetensors",
    "read_raw", "read_tensors", "require_numbers", "safetensors_library", "write_head", "write_raw",
]  # fmt: skip

Arrays = dict[str, Array]
RawTensors = dict[str, tuple[str, tuple[int, ...], bytes]]
"""Name -> what the format calls the element type, shape, and bytes."""

DIGEST_KEY, NO_DIGEST = "loom.sha256", "0" * 64
"""Metadata: the SHA-256 of a file's bytes, of which the digest's own digits count as zeros."""

_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "|b1",
}  # fmt: skip


def safetensors_library(name: str = "safetensors.numpy") -> Any:
    """Return its module for numpy, or another of it; StateError if it is not installed."""
    return load(name, "safetensors", otherwise="or save a bundle (.json)")


def is_safetensors(data: bytes) -> bool:
    """Tell whether bytes begin as such a file does: a length of eight bytes, then a JSON object."""
    return len(data) > 8 and data[8:9] == b"{" and data[7:8] == b"\0"


def read_tensors(data: bytes, where: str) -> tuple[Arrays, dict[str, str]]:
    """Return a file's arrays by name, and its metadata. ArgumentError for bytes that are no such file.

    BF16, F8_E4M3, F8_E5M2 and F4 come as f32, which has all of their numbers; DTypeError for other types.
    """
    raw, told = read_raw(data, where)
    return as_arrays(raw, where), told


def as_arrays(raw: RawTensors, where: str) -> Arrays:
    """Return arrays of a file's tensors; DTypeError names an element type that is not read."""
    return {name: _array(name, *tensor, where) for name, tensor in raw.items()}


def read_raw(data: bytes, where: str) -> tuple[RawTensors, dict[str, str]]:
    """Return a file's tensors as they are, and its metadata.

    ArgumentError for bytes that are no such file; FileError for those that are not the ones whose digest it has.
    """
    library = safetensors_library("safetensors")
    try:
        found = library.deserialize(data)
        header: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        told: dict[str, str] = header.get("__metadata__") or {}
    except Exception as error:  # the library's own class, which may change
        raise ArgumentError(where, f"not a safetensors file ({error})", remedy="Check which file it is") from None
    _require_whole(data, told, where)
    return {n: (str(t["dtype"]), tuple(t["shape"]), bytes(t["data"])) for n, t in found}, told


def _require_whole(data: bytes, told: Mapping[str, str], where: str) -> None:
    """See that a file that tells its digest has it; those of older versions and of other programs tell none."""
    digest = told.get(DIGEST_KEY)
    found = "none" if digest is None else sha256(data.replace(digest.encode(), NO_DIGEST.encode(), 1)).hexdigest()
    if found != digest and (digest is not None or any(_differ_by_one(key, DIGEST_KEY) for key in told)):
        remedy = f"Get it again; if it was changed on purpose, write it without the metadata {DIGEST_KEY!r}"
        wanted = f"SHA-256 {digest or 'of its bytes'}"
        raise FileError(where, "the file is damaged, or was changed", expected=wanted, got=found, remedy=remedy)


def _differ_by_one(one: str, other: str) -> bool:
    return len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) == 1


class SealedParts(Iterator[bytes | memoryview]):
    """The parts of a file after its head, which has zeros for the digest that ``seal`` tells once all parts are out."""

    def __init__(self, head: bytes, more: Iterable[bytes | memoryview]) -> None:
        self._parts, self._digest = chain([head], more), sha256()
        self._at = head.index(f'"{DIGEST_KEY}":"{NO_DIGEST}"'.encode()) + len(DIGEST_KEY) + 4

    def __next__(self) -> bytes | memoryview:
        part = next(self._parts)
        self._digest.update(part)
        return part

    def seal(self) -> tuple[int, bytes]:
        """Return where the digest stands in the file, and its digits."""
        return self._at, self._digest.hexdigest().encode()

    def whole(self) -> bytes:
        """Return the bytes of the file."""
        data = bytearray().join(self)
        at, digits = self.seal()
        data[at : at + len(digits)] = digits
        return bytes(data)


def write_raw(tensors: RawTensors, metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a file of these tensors, with its digest among the metadata."""
    told = {**metadata, DIGEST_KEY: NO_DIGEST}
    head, order = write_head({n: (kind, shape, len(data)) for n, (kind, shape, data) in tensors.items()}, told)
    return SealedParts(head, (tensors[n][2] for n in order)).whole()


def write_head(
    facts: Mapping[str, tuple[str, tuple[int, ...], int]], metadata: Mapping[str, str]
) -> tuple[bytes, list[str]]:
    """Return a file's first bytes, and the order in which tensors follow.

    ``facts``: of each element type, shape and number of bytes. From the widest elements to the narrowest, then by name,
    as that library does: all are aligned.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    order = sorted(facts, key=lambda n: (-_BITS.get(facts[n][0], 8), n))
    place = 0
    for name in order:
        kind, shape, nbytes = facts[name]
        header[name] = {"dtype": kind, "shape": [*shape], "data_offsets": [place, place + nbytes]}
        place += nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, order


_NARROW = {t.safetensors: t for t in TYPES.values() if t.safetensors and t.is_float}
"""What the format calls our floats."""
_BITS = {t.safetensors: t.bits for t in TYPES.values() if t.safetensors} | {"C64": 64}


def _array(name: str, kind: str, shape: tuple[int, ...], data: bytes, where: str) -> Array:
    if kind in _NARROW and kind not in _TYPES:
        return StoredArray(_NARROW[kind], shape, data).decode().astype(np.float32)
    if kind not in _TYPES:
        raise DTypeError(f"{where}, {name!r}", "an element type that Loom does not read",
                         expected=", ".join({**_TYPES, **_NARROW}), got=kind,
                         remedy="Store it as F32 or BF16")  # fmt: skip
    dtype = np.dtype(_TYPES[kind])
    return np.frombuffer(data, dtype).astype(dtype.newbyteorder("=")).reshape(shape)


def require_numbers(weights: Mapping[str, Any], dtype: DType, where: str) -> None:
    """See that weights from elsewhere are numbers of a network of ``dtype``.

    DTypeError for arrays of integers, which stand for other numbers by a scale that nobody told; NotFinite for NaN and
    infinities; ArgumentError for numbers that are too large for the type.
    """
    for name, given in weights.items():
        _require_floats(name, given, where)
        array = np.asarray(given)
        if array.dtype.kind not in "fiub":
            continue  # who writes it says what is wrong
        is_finite = np.isfinite(array)
        if not is_finite.all():
            place = tuple(int(i) for i in np.argwhere(~is_finite)[0])
            raise NotFinite(f"{where}, {name!r}", f"a weight is {array[place]}", expected="finite numbers",
                            got=f"{np.count_nonzero(~is_finite)} others, the first at {place}",
                            remedy="The training it comes from diverged, or the file is damaged")  # fmt: skip
        largest = float(np.abs(array.astype(np.float64)).max(initial=0.0))
        if largest > LARGEST[dtype.name]:
            raise ArgumentError(f"{where}, {name!r}", f"a weight is too large for {dtype}",
                                expected=f"at most {LARGEST[dtype.name]:g} in size", got=f"{largest:g}",
                                remedy='Use a network of a wider type: {"dtype": "f64"}')  # fmt: skip


LARGEST = {
    "f64": float(np.finfo(np.float64).max),
    "f32": float(np.finfo(np.float32).max),
    "f16": float(np.finfo(np.float16).max),
    "bf16": float.fromhex("0x1.fep127"),
}
"""The largest number of a network's type."""


def _require_floats(name: str, given: Any, where: str) -> None:
    kind = getattr(getattr(given, "dtype", None), "kind", "f")  # lists of whole numbers are what they say
    if kind in "iub":
        raise DTypeError(f"{where}, {name!r}", "weights of integers have no scale", expected="floating point",
                         got=given.dtype, remedy="Multiply them by their scale first")  # fmt: skip
