"""Arrays of numbers as older bundles spell them: lists in JSON, or base64 of one of fourteen element types.

Layer: nn. Invariant: every decoder is exact: it returns the float32 nearest to what the stored number stands for.
"""

from __future__ import annotations

import numpy as np

from loom.core.arrays import Array
from loom.core.narrow import TYPES
from loom.core.narrow.floats import decode_floats, encode_floats
from loom.core.narrow.packing import pack, unpack
from loom.formats.json_text import JsonValue
from loom.nn.spec.base.problems import Place

__all__ = ["SCALES", "STORED_TYPES", "from_list", "from_stored", "to_stored"]

SCALES = {"int8": 127.0, "int16": 32767.0, "int32": float(1 << 31) - 1.0, "int64": 127.0}
"""What a stored integer is divided by."""
_FLOAT8, _BF16 = TYPES["f8_e4m3"], TYPES["bf16"]
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


def to_stored(kind: str, values: Array) -> tuple[bytes, float, bool]:
    """Return numbers (f64) as elements of ``kind``, the largest change of any, and whether one was cut to a limit.

    Each becomes the nearest that the type can say, ties to even: ``from_stored`` gives that back.
    """
    if kind in _FLOATS:
        with np.errstate(over="ignore"):
            held = values.astype(_FLOATS[kind])
            made = held.astype(np.float64)
        limit = float(np.finfo(held.dtype).max)
        held = np.where(np.isfinite(made), held, np.copysign(limit, values)).astype(_FLOATS[kind])
        data = held.tobytes()
    elif kind == "bfloat16":
        data = encode_floats(values, _BF16).astype("<u2").tobytes()
    else:
        data = _codes(kind, values)
    again = _decode(kind, data, values.size).astype(np.float64)
    most = float(np.abs(again - values).max()) if values.size else 0.0
    return data, most, bool((np.abs(values) > _limit(kind)).any())


def _limit(kind: str) -> float:
    """Return the largest size that a type says."""
    return {"float16": 65504.0, "float8": 448.0}.get(kind) or (np.inf if kind in (*_FLOATS, "bfloat16") else 1.0)


def _codes(kind: str, values: Array) -> bytes:
    if kind == "float8":
        return encode_floats(values, _FLOAT8).tobytes()
    inside = np.clip(values, -1.0, 1.0)
    if kind == "float4":
        return pack(np.rint((inside + 1.0) * 7.5).astype(np.uint8), 4, high_first=True).tobytes()
    if kind[0] == "u":
        most = 2.0 ** (8 * _width(kind)) - 1.0
        return _whole((inside + 1.0) * (most / 2.0), 0, (1 << (8 * _width(kind))) - 1, kind)
    most = 1 << (8 * _width(kind) - 1)
    return _whole(inside * SCALES[kind], -most, most - 1, kind)


def _whole(values: Array, low: int, high: int, kind: str) -> bytes:
    """Return the nearest integers, cut to the type's range exactly (a double holds 64 bits of none)."""
    nearest = [min(max(int(v), low), high) for v in np.rint(values).tolist()]
    return np.array(nearest, f"<{'u' if kind[0] == 'u' else 'i'}{_width(kind)}").tobytes()


def _decode(kind: str, data: bytes, count: int) -> Array:
    if kind in _FLOATS:
        return np.frombuffer(data, _FLOATS[kind]).astype(np.float32)
    if kind == "bfloat16":
        return decode_floats(np.frombuffer(data, "<u2").astype(np.uint16), _BF16).astype(np.float32)
    if kind == "float8":
        return decode_floats(np.frombuffer(data, np.uint8), _FLOAT8).astype(np.float32)
    if kind == "float4":
        nibbles = unpack(np.frombuffer(data, np.uint8), 4, count, high_first=True)
        return (nibbles / 7.5 - 1.0).astype(np.float32)
    whole = np.frombuffer(data, f"<{'u' if kind[0] == 'u' else 'i'}{_width(kind)}").astype(np.float64)
    if kind[0] == "u":
        return (whole / ((2.0 ** (8 * _width(kind)) - 1.0) / 2.0) - 1.0).astype(np.float32)
    return (whole / SCALES[kind]).astype(np.float32)


def _width(kind: str) -> int:
    if kind == "float8":
        return 1
    return int("".join(c for c in kind if c.isdigit())) // 8
