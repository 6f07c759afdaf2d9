"""Weights of second-generation files: one text of base64 for each layer, in one of twenty-one element types.

Layer: nn. Invariant: a stored number means its code times the scale (floats of 16 bits and more: the code alone), and
``decode(kind, *encode(kind, values))`` is the nearest that the type can say.
"""

from __future__ import annotations

import numpy as np

from loom.core.arrays import Array
from loom.core.narrow import TYPES
from loom.core.narrow.floats import decode_floats, encode_floats
from loom.core.narrow.packing import pack, unpack
from loom.nn.spec.base.problems import Place
from loom.nn.spec.older.names import NUMBERED

__all__ = ["KINDS", "bytes_of", "decode", "encode"]

_PLAIN = {"float64": "<f8", "float32": "<f4", "float16": "<f2"}
_WHOLE = {f"{sign}int{bits}": bits for sign in ("", "u") for bits in (64, 32, 16, 8, 4, 2)} | {"ternary": 2}
_MOST = {64: 2.0**24, 32: 2.0**24, 16: 32767.0, 8: 127.0, 4: 7.0, 2: 1.0}
"""Bits -> the code of the largest weight; of 32 and 64 bits as large as float32 counts exactly."""
_FLOATS = {"fp8e4m3": TYPES["f8_e4m3"], "fp8e5m2": TYPES["f8_e5m2"], "fp4": TYPES["f4_e2m1"], "bfloat16": TYPES["bf16"]}
_SMALL = ("fp8e4m3", "fp8e5m2", "fp4")
_FLOAT8_MOST = 127.0
KINDS = (*(name for name in NUMBERED),)
"""Element types, by their numbers there, under names without underscores."""


def bytes_of(kind: str, count: int) -> int:
    """Return how many bytes ``count`` elements take."""
    return (count * _bits(kind) + 7) // 8


def _bits(kind: str) -> int:
    if kind in _WHOLE:
        return _WHOLE[kind]
    return {"binary": 1, "fp4": 4, "fp8e4m3": 8, "fp8e5m2": 8, "bfloat16": 16}.get(kind) or int(kind[-2:])


def decode(kind: str, data: bytes, count: int, scale: float, place: Place) -> Array | None:
    """Return ``count`` elements as float32; None, and a problem, for other bytes or a number that is not finite."""
    if len(data) != bytes_of(kind, count):
        place.fault("the number of bytes does not match", expected=f"{bytes_of(kind, count)} for {count} of {kind}",
                    got=len(data))  # fmt: skip
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        made = _values(kind, data, count, scale).astype(np.float32)
    if not np.isfinite(made).all():
        place.fault("a number is not finite in float32", expected="at most 3.4028235e+38 in size",
                    got=f"{np.count_nonzero(~np.isfinite(made))} of {count} that are not")  # fmt: skip
        return None
    return made


def _values(kind: str, data: bytes, count: int, scale: float) -> Array:
    if kind in _PLAIN:
        return np.frombuffer(data, _PLAIN[kind]).astype(np.float64)
    if kind == "bfloat16":
        return decode_floats(np.frombuffer(data, "<u2").astype(np.uint16), _FLOATS[kind])
    codes = _codes(data, _bits(kind), count)
    if kind == "binary":
        return np.where(codes == 1, scale, -scale)
    if kind in _SMALL:
        return decode_floats(codes.astype(np.uint8), _FLOATS[kind]) * scale
    if kind[0] == "u":
        return codes.astype(np.float64) * scale
    bits = _bits(kind)
    signed = codes.astype(np.int64) if bits == 64 else codes.astype(np.int64) - ((codes >> (bits - 1) & 1) << bits)
    return signed.astype(np.float64) * scale


def _codes(data: bytes, bits: int, count: int) -> Array:
    """Return the codes: of whole bytes little-endian, smaller ones from the highest bits of a byte down."""
    if bits >= 8:
        held = np.frombuffer(data, f"<u{bits // 8}")
        return held if bits == 64 else held.astype(np.int64)
    return unpack(np.frombuffer(data, np.uint8), bits, count, high_first=True).astype(np.int64)


def encode(kind: str, values: Array) -> tuple[bytes, float]:
    """Return an array's bytes and their scale; an unsigned type keeps sizes alone (its caller tells of signs).

    Scale: the largest size over the type's largest code (of float8 127, as older programs choose it), binary: the mean
    size; 1 where all weights are 0 and for floats of 16 bits and more.
    """
    flat = np.asarray(values, np.float64).reshape(-1)
    if kind in _PLAIN:
        return flat.astype(_PLAIN[kind]).tobytes(), 1.0
    if kind == "bfloat16":
        return encode_floats(flat, _FLOATS[kind]).astype("<u2").tobytes(), 1.0
    size = np.abs(flat)
    most = float(size.mean() if kind == "binary" else size.max()) if flat.size else 0.0
    bits = _bits(kind)
    largest = {"binary": 1.0, "fp4": 3.0, "fp8e4m3": _FLOAT8_MOST, "fp8e5m2": _FLOAT8_MOST}.get(kind) or _MOST[bits]
    scale = float(np.float32(most / largest)) or 1.0
    if kind == "binary":
        codes = (flat >= 0).astype(np.int64)
    elif kind in _SMALL:
        codes = encode_floats(flat / scale, _FLOATS[kind])
    else:
        whole = np.sign(flat) * np.floor(size / scale + 0.5)  # halves away from zero
        codes = np.clip(np.abs(whole) if kind[0] == "u" else whole, -largest, largest).astype(np.int64)
    return _pack(codes, bits), scale


def _pack(codes: Array, bits: int) -> bytes:
    if bits >= 8:
        return codes.astype(f"<i{bits // 8}", casting="unsafe").tobytes()
    return pack(codes.astype(np.uint8, casting="unsafe"), bits, high_first=True).tobytes()
