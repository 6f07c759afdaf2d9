"""Weights of second-generation files: one text of base64 for each layer, in one of twenty-one element types.

Layer: nn. Invariant: a stored number means its code times the scale (floats of 16 bits and more: the code alone), and
``decode(kind, *encode(kind, values))`` is the nearest that the type can say.
"""

from __future__ import annotations

import numpy as np

from loom.core.arrays import Array
from loom.nn.spec.older.names import NUMBERED
from loom.nn.spec.problems import Place

__all__ = ["KINDS", "bytes_of", "decode", "encode"]

_PLAIN = {"float64": "<f8", "float32": "<f4", "float16": "<f2"}
_WHOLE = {f"{sign}int{bits}": bits for sign in ("", "u") for bits in (64, 32, 16, 8, 4, 2)} | {"ternary": 2}
_MOST = {64: 2.0**24, 32: 2.0**24, 16: 32767.0, 8: 127.0, 4: 7.0, 2: 1.0}
"""Bits -> the code of the largest weight; of 32 and 64 bits as large as float32 counts exactly."""
_SMALL = {"fp8e4m3": (4, 3, 448.0), "fp8e5m2": (5, 2, 57344.0), "fp4": (2, 1, 6.0)}
"""Type -> bits of exponent and of mantissa, and its largest number."""
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
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    codes = _codes(data, _bits(kind), count)
    if kind == "binary":
        return np.where(codes == 1, scale, -scale)
    if kind in _SMALL:
        return _table(kind)[codes] * scale
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
    each = 8 // bits
    shifts = np.arange(each - 1, -1, -1) * bits
    held = np.frombuffer(data, np.uint8).astype(np.int64)[:, None] >> shifts & ((1 << bits) - 1)
    return held.reshape(-1)[:count]


def encode(kind: str, values: Array) -> tuple[bytes, float]:
    """Return an array's bytes and their scale; an unsigned type keeps sizes alone (its caller tells of signs).

    Scale: the largest size over the type's largest code (of float8 127, as older programs choose it), binary: the mean
    size; 1 where all weights are 0 and for floats of 16 bits and more.
    """
    flat = np.asarray(values, np.float64).reshape(-1)
    if kind in _PLAIN:
        return flat.astype(_PLAIN[kind]).tobytes(), 1.0
    if kind == "bfloat16":
        return _bfloat16(flat.astype(np.float32)).astype("<u2").tobytes(), 1.0
    size = np.abs(flat)
    most = float(size.mean() if kind == "binary" else size.max()) if flat.size else 0.0
    bits = _bits(kind)
    largest = {"binary": 1.0, "fp4": 3.0, "fp8e4m3": _FLOAT8_MOST, "fp8e5m2": _FLOAT8_MOST}.get(kind) or _MOST[bits]
    scale = float(np.float32(most / largest)) or 1.0
    if kind == "binary":
        codes = (flat >= 0).astype(np.int64)
    elif kind in _SMALL:
        codes = _nearest(kind, flat / scale)
    else:
        whole = np.sign(flat) * np.floor(size / scale + 0.5)  # halves away from zero
        codes = np.clip(np.abs(whole) if kind[0] == "u" else whole, -largest, largest).astype(np.int64)
    return _pack(codes, bits), scale


def _pack(codes: Array, bits: int) -> bytes:
    if bits >= 8:
        return codes.astype(f"<i{bits // 8}", casting="unsafe").tobytes()
    each = 8 // bits
    held = np.zeros(-(-codes.size // each) * each, np.int64)
    held[: codes.size] = codes & ((1 << bits) - 1)
    shifts = np.arange(each - 1, -1, -1) * bits
    return (held.reshape(-1, each) << shifts).sum(1).astype(np.uint8).tobytes()


def _bfloat16(values: Array) -> Array:
    """Return the upper halves, rounded to the nearest, ties to even."""
    bits = values.view(np.uint32).astype(np.uint64)
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def _table(kind: str) -> Array:
    """Return what each code of a small float means."""
    exponent_bits, mantissa_bits, most = _SMALL[kind]
    codes = np.arange(1 << (1 + exponent_bits + mantissa_bits))
    sign = np.where(codes >> (exponent_bits + mantissa_bits), -1.0, 1.0)
    exponent = codes >> mantissa_bits & ((1 << exponent_bits) - 1)
    mantissa = (codes & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    bias = (1 << (exponent_bits - 1)) - 1
    size = np.where(exponent == 0, mantissa * 2.0 ** (1 - bias), (1 + mantissa) * 2.0 ** (exponent - bias))
    return np.where(size > most, np.nan, sign * size)


def _nearest(kind: str, values: Array) -> Array:
    """Return the codes of the nearest numbers, ties to the even code, sizes above the largest to that."""
    exponent_bits, mantissa_bits, _ = _SMALL[kind]
    half = 1 << (exponent_bits + mantissa_bits)
    sizes = _table(kind)[:half]
    sizes = sizes[np.isfinite(sizes)]
    upper = np.clip(np.searchsorted(sizes, np.abs(values)), 1, len(sizes) - 1)
    below, above = np.abs(values) - sizes[upper - 1], sizes[upper] - np.abs(values)
    is_lower = (below < above) | ((below == above) & (upper % 2 == 1))
    return np.where(is_lower, upper - 1, upper) + np.where(np.signbit(values), half, 0)
