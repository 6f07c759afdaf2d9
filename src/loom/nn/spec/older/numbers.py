"""Arrays of numbers as older bundles spell them: lists in JSON, or base64 of one of fourteen element types.

Layer: nn. Invariant: every decoder is exact: it returns the float32 nearest to what the stored number stands for.
"""

from __future__ import annotations

import numpy as np

from loom.core.arrays import Array
from loom.nn.spec.problems import Place
from loom.nn.spec.values import JsonValue

__all__ = ["SCALES", "STORED_TYPES", "from_list", "from_stored"]

SCALES = {"int8": 127.0, "int16": 32767.0, "int32": float(1 << 31) - 1.0, "int64": 127.0}
"""What a stored integer is divided by."""
_FLOATS = {"float64": "<f8", "float32": "<f4", "float16": "<f2"}
STORED_TYPES = (*_FLOATS, "bfloat16", "float8", "float4", *SCALES, "uint8", "uint16", "uint32", "uint64")
"""Element types that ``from_stored`` reads."""


def from_list(value: JsonValue, place: Place) -> Array | None:
    """Return a list of JSON numbers as float32; None, and a problem, if it is none or a number does not fit."""
    if not isinstance(value, (list, tuple)) or not all(type(v) in (int, float) for v in value):
        place.wrong("a list of numbers", value)
        return None
    with np.errstate(over="ignore"):
        try:
            made = np.array(value, dtype=np.float64).astype(np.float32)
        except OverflowError:
            made = np.array([np.inf], dtype=np.float32)
    if not np.isfinite(made).all():
        place.fault("a number is too large for float32", expected="at most 3.4028235e+38 in size")
        return None
    return made


def from_stored(kind: str, data: bytes, count: int, place: Place) -> Array | None:
    """Return ``count`` elements of type ``kind`` (one of ``STORED_TYPES``, little-endian) as float32.

    Integers stand for fractions: ``q / scale``, unsigned ones for ``2 q / maximum - 1``; float8 is E4M3 of bias 7;
    float4 is ``q / 7.5 - 1`` with the first element in the high nibble (the older implementation's own types).
    None, and a problem, if the number of bytes is not what ``count`` elements have, or a number is not finite.
    """
    size = (count + 1) // 2 if kind == "float4" else count * _width(kind)
    if len(data) != size:
        place.fault(
            "the number of bytes does not match", expected=f"{size} for {count} elements of {kind}", got=len(data)
        )
        return None
    with np.errstate(over="ignore"):
        made = _decode(kind, data, count)
    if not np.isfinite(made).all():
        place.fault(
            "a number is not finite in float32", expected="at most 3.4028235e+38 in size",
            got=f"{np.count_nonzero(~np.isfinite(made))} of {count} that are not",
        )  # fmt: skip
        return None
    return made


def _decode(kind: str, data: bytes, count: int) -> Array:
    if kind in _FLOATS:
        return np.frombuffer(data, _FLOATS[kind]).astype(np.float32)
    if kind == "bfloat16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    if kind == "float8":
        return _FLOAT8[np.frombuffer(data, np.uint8)]
    if kind == "float4":
        pairs = np.frombuffer(data, np.uint8)
        nibbles = np.stack([pairs >> 4, pairs & 15], axis=1).reshape(-1)[:count]
        return (nibbles / 7.5 - 1.0).astype(np.float32)
    whole = np.frombuffer(data, f"<{'u' if kind[0] == 'u' else 'i'}{_width(kind)}").astype(np.float64)
    if kind[0] == "u":
        return (whole / ((2.0 ** (8 * _width(kind)) - 1.0) / 2.0) - 1.0).astype(np.float32)
    return (whole / SCALES[kind]).astype(np.float32)


def _width(kind: str) -> int:
    if kind == "float8":
        return 1
    return int("".join(c for c in kind if c.isdigit())) // 8


def _float8(code: int) -> float:
    exponent, mantissa = code >> 3 & 15, code & 7
    size = mantissa / 8 * 2.0**-6 if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - 7)
    if code & 127 == 127:
        size = float("nan")
    return -size if code & 128 else size


_FLOAT8 = np.array([_float8(c) for c in range(256)], dtype=np.float32)
