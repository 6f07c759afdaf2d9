"""GGUF files of GGUF files, with tensors in another of the format's encodings.

Layer: formats. Invariant: keys and values are the source's own bytes, but for the one that says what most tensors are
encoded in; blocks are those of the package gguf, whose bits are ggml's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from math import log2, sqrt
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError, NotFinite
from loom.core.narrow import NumericType
from loom.core.optional import load
from loom.formats.checkpoint import Checkpoint, StoredTensor
from loom.formats.decoding import decode
from loom.formats.encodings import ENCODINGS, Encoding
from loom.formats.gguf import MAGIC, GgufMetadata
from loom.formats.tensor_error import TensorError

__all__ = ["GGUF_TARGETS", "gguf_parts"]

GGUF_TARGETS = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")
"""What tensors of a GGUF are written in."""
_FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "BF16": 32}
"""Values of ``general.file_type`` (``llama.h``)."""
_ALIGNMENT = 32
_AT_A_TIME = 1 << 20


def gguf_parts(
    checkpoint: Checkpoint, dtype: Any, kept: set[str], note: Callable[[TensorError], None], where: str
) -> Iterator[bytes | memoryview]:
    """Return the parts of a file; ArgumentError for a checkpoint that is no GGUF file or an unknown encoding.

    Tensors of one axis, and those whose rows are not whole blocks, stay as they are.
    """
    values = checkpoint.metadata
    if not isinstance(values, GgufMetadata):
        raise ArgumentError(where, "only a GGUF file is written as GGUF", expected="a .gguf as source",
                            got=checkpoint.kind, remedy="Name a .safetensors, or convert it with llama.cpp's "
                            "convert_hf_to_gguf.py")  # fmt: skip
    known = None if dtype is None else _target(dtype, where)
    wanted = {name: known if known and name not in kept and _fits(t, known) else None
              for name, t in checkpoint.tensors.items()}  # fmt: skip
    return _parts(checkpoint, values, known, wanted, note, where)


def _target(dtype: Any, where: str) -> Encoding:
    name = (dtype.name if isinstance(dtype, NumericType) else str(dtype)).upper()
    if name not in GGUF_TARGETS:
        raise ArgumentError(f"{where}, dtype", "no encoding that Loom writes to GGUF", expected=", ".join(GGUF_TARGETS),
                            got=name[:60], remedy="Choose one of them")  # fmt: skip
    return ENCODINGS[name]


def _fits(tensor: StoredTensor, known: Encoding) -> bool:
    is_whole = tensor.encoding[0] == "I" and tensor.encoding[1:].isdecimal()
    return not is_whole and len(tensor.shape) > 1 and tensor.shape[-1] % known.block == 0 and tensor.size > 0


def _parts(
    checkpoint: Checkpoint, values: GgufMetadata, known: Encoding | None, wanted: dict[str, Encoding | None],
    note: Callable[[TensorError], None], where: str,
) -> Iterator[bytes | memoryview]:  # fmt: skip
    keys = values.as_stored(skip="general.alignment", changed=_file_type(values, known))
    head = bytearray(MAGIC + struct.pack("<IQQ", 3, len(checkpoint.tensors), len(keys)) + b"".join(keys))
    place = 0
    for name, tensor in checkpoint.tensors.items():
        now = wanted[name] or ENCODINGS[tensor.encoding]
        text = name.encode()
        head += struct.pack("<Q", len(text)) + text
        head += struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape[::-1])
        head += struct.pack("<IQ", now.ggml, place)
        size = now.size_of(tensor.shape) or 0
        place += size + -size % _ALIGNMENT
    yield bytes(head) + bytes(-len(head) % _ALIGNMENT)
    for name, tensor in checkpoint.tensors.items():
        now = wanted[name]
        if now is None or now.name == tensor.encoding:
            yield tensor.raw()
        else:
            yield from _encode(tensor, now, note, where)
        size = (now or ENCODINGS[tensor.encoding]).size_of(tensor.shape) or 0
        yield bytes(-size % _ALIGNMENT)


def _file_type(values: GgufMetadata, known: Encoding | None) -> dict[str, bytes]:
    key = "general.file_type"
    return {} if known is None or key not in values else {key: struct.pack("<II", 4, _FILE_TYPES[known.name])}


def _encode(
    tensor: StoredTensor, known: Encoding, note: Callable[[TensorError], None], where: str
) -> Iterator[bytes | memoryview]:
    """Return a tensor's blocks, some rows at a time, and note how far they are from its numbers."""
    quants: Any = load("gguf.quants", where)
    kind: Any = load("gguf.constants", where).GGMLQuantizationType(known.ggml)
    rows = tensor.read().reshape(-1, tensor.shape[-1])
    step = max(_AT_A_TIME // rows.shape[1], 1)
    most = square = size = share = 0.0
    nbytes = 0
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        if not np.isfinite(some).all():
            raise NotFinite(f"{where}, {tensor.name!r}", "an element is no finite number", expected="finite numbers",
                            got="others", remedy="Keep it as it is: keep=")  # fmt: skip
        with np.errstate(all="ignore"):
            data = np.ascontiguousarray(quants.quantize(some, kind)).tobytes()
        made = decode(memoryview(data), known.name, some.shape, where).astype(np.float64)
        if not np.isfinite(made).all():
            raise NotFinite(f"{where}, {tensor.name!r}", f"a number is too large for {known}", expected="65504 at most",
                            got=float(np.abs(some).max()), remedy="Keep it as it is: keep=")  # fmt: skip
        away = np.abs(made - some)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = max(share, float(np.where(away == 0, 0.0, away / np.abs(some)).max()))
        most, square = max(most, float(away.max())), square + float(np.square(away).sum())
        size, nbytes = size + float(np.square(some.astype(np.float64)).sum()), nbytes + len(data)
        yield data
    note(_error(tensor, known, most, share, square, size, nbytes))


def _error(
    tensor: StoredTensor, known: Encoding, most: float, share: float, square: float, size: float, nbytes: int
) -> TensorError:
    bits = 24
    lost = 0.0 if not square else (bits - 0.5 * log2(size / square) if size else float(bits))
    return TensorError(tensor.name, known.name, tensor.size, most, share, sqrt(square / tensor.size), bits,
                       min(max(lost, 0.0), float(bits)), 0, nbytes, 1.0)  # fmt: skip
