"""The numbers of stored tensors, whatever they are encoded in.

Layer: formats. Invariant: what f32 has is exact, GGUF's blocks have the bits of ggml's reference, and a whole number
that f32 lacks is an error, never its neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import DTypeError
from loom.core.narrow import TYPES, StoredArray
from loom.core.optional import load
from loom.formats.blocks import decode_blocks, has_decoder
from loom.formats.encodings import ENCODINGS

__all__ = ["as_f32", "decode", "decode_as_it_is", "decode_to_array"]

_NUMPY = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "C64": "<c8", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "|b1",
}  # fmt: skip
_NARROW = {t.safetensors: t for t in TYPES.values() if t.safetensors and t.is_float and t.safetensors not in _NUMPY}
"""Floats that numpy lacks, decoded by tables of the core."""
_WEIGHTS = [name for name in ("BF16", *_NUMPY, *_NARROW, "F8_E8M0") if name != "C64"]
_EXACT = 1 << 24
"""Every whole number up to it is one of f32."""


def decode(data: memoryview, encoding: str, shape: Sequence[int], where: str) -> Array:
    """Return a tensor's numbers as f32 of its shape: of F32 the stored bytes themselves, not to be written to.

    F64 is rounded to nearest. DTypeError for complex numbers, for encodings without a known decoder, for a whole
    number that f32 has not and a finite F64 beyond its range; StateError where the package gguf is needed and missing.
    """
    return as_f32(decode_as_it_is(data, encoding, shape, where), where)


def as_f32(found: Array, where: str) -> Array:
    """Return numbers as f32, F64 rounded to nearest; DTypeError for what f32 does not have."""
    if found.dtype == np.float32:
        return found
    if found.dtype.kind == "c":
        raise DTypeError(where, "complex numbers are no weights", expected="real numbers", got=found.dtype,
                         remedy="Store their parts as F32")  # fmt: skip
    with np.errstate(over="ignore", invalid="ignore"):
        made = found.astype(np.float32)
    if found.dtype.kind in "iu" and found.dtype.itemsize > 2:
        wrong = (found > _EXACT) | (found < -_EXACT) if found.dtype.kind == "i" else found > _EXACT
    elif found.dtype == np.float64:
        wrong = np.isinf(made) & np.isfinite(found)
    else:
        return made
    if wrong.any():
        raise DTypeError(where, "a number that f32 does not have", expected="at most 2**24 in size, or an F64 in range",
                         got=found[wrong].flat[0], remedy="Read it in its own type: tensor.values()")  # fmt: skip
    return made


def decode_as_it_is(data: memoryview, encoding: str, shape: Sequence[int], where: str) -> Array:
    """Return a tensor's numbers in the type that holds them: integers, bool and F64 as they are, floats as f32."""
    shape = tuple(shape)
    if encoding in _NUMPY:
        dtype = np.dtype(_NUMPY[encoding])
        found = np.frombuffer(data, dtype).reshape(shape)
        if dtype.kind == "f" and dtype.itemsize == 2:
            with np.errstate(invalid="ignore"):  # signalling NaNs
                return found.astype(np.float32)
        if encoding == "BOOL":
            return np.frombuffer(data, np.uint8).reshape(shape) != 0
        return np.require(found, dtype.newbyteorder("="), ("A",))
    if encoding == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << np.uint32(16)).view(np.float32).reshape(shape)
    if encoding in _NARROW:
        return StoredArray(_NARROW[encoding], shape, bytes(data)).decode().astype(np.float32)
    if encoding == "F8_E8M0":
        return _powers(np.frombuffer(data, np.uint8)).reshape(shape)
    if has_decoder(encoding):
        return decode_blocks(data, encoding).reshape(shape)
    return _by_gguf(data, encoding, shape, where)


def decode_to_array(data: memoryview, encoding: str, shape: Sequence[int], where: str) -> Array:
    """Return the same in memory of its own, F16 as f16; DTypeError for C64 and what is neither numpy's nor Loom's."""
    if encoding == "F16":
        return np.frombuffer(data, "<f2").astype(np.float16).reshape(tuple(shape))
    if encoding not in _WEIGHTS:
        raise DTypeError(where, "an element type that Loom does not read", expected=", ".join(_WEIGHTS), got=encoding,
                         remedy="Store it as F32 or BF16")  # fmt: skip
    return np.array(decode_as_it_is(data, encoding, shape, where))


def _powers(codes: Array) -> Array:
    """Return 2**(code - 127), of 255 NaN: the scales of the Open Compute Project's microscaling formats."""
    with np.errstate(over="ignore"):
        found = np.ldexp(np.float32(1), codes.astype(np.int32) - 127)
    return np.where(codes == 255, np.float32(np.nan), found).astype(np.float32)


def _by_gguf(data: memoryview, encoding: str, shape: tuple[int, ...], where: str) -> Array:
    """Return what the package gguf makes of encodings that Loom has no decoder for."""
    remedy = "Convert the model to Q8_0, Q4_K, F16 or another of the usual encodings"
    known = ENCODINGS[encoding]
    if known.ggml < 0 or encoding in ("Q8_1", "Q8_K"):  # ggml's own intermediate results, never weights
        raise DTypeError(where, "an encoding that Loom does not read", got=encoding, remedy=remedy)
    quants: Any = load("gguf.quants", f"{where}, {encoding}")
    kinds: Any = load("gguf.constants", f"{where}, {encoding}").GGMLQuantizationType
    rows = np.frombuffer(data, np.uint8).reshape(-1, known.nbytes)
    try:
        with np.errstate(all="ignore"):
            found = quants.dequantize(rows, kinds(known.ggml))
    except (NotImplementedError, ValueError):
        raise DTypeError(where, "an encoding that neither Loom nor gguf reads", got=encoding, remedy=remedy) from None
    return np.asarray(found, np.float32).reshape(shape)
