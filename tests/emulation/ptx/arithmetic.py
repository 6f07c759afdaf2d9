"""What PTX's arithmetic gives for the lanes of a group, as arrays.

Source: PTX ISA 8.0. Invariant: f32 and f64 are rounded once, to nearest; NaN is PTX's own.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from emulation.ptx.memory import EmulationError

__all__ = ["COMPARISONS", "PLAIN", "converted", "dtype_of"]

Array = np.ndarray[Any, Any]
_NAN32, _NAN64 = np.uint32(0x7FFFFFFF), np.uint64(0x7FF8000000000000)


def dtype_of(kind: str) -> np.dtype[Any]:
    """Return numpy's type of one of PTX: ``s32``, ``b16``, ``f64``, ``pred``."""
    if kind == "pred":
        return np.dtype(np.bool_)
    letter = {"b": "u", "u": "u", "s": "i", "f": "f"}[kind[0]]
    return np.dtype(f"{letter}{int(kind[1:]) // 8}")


def canonical(x: Array) -> Array:
    """Return floats whose NaNs are PTX's."""
    if x.dtype == np.float32:
        return np.where(np.isnan(x), _NAN32, x.view(np.uint32)).astype(np.uint32).view(np.float32)
    if x.dtype == np.float64:
        return np.where(np.isnan(x), _NAN64, x.view(np.uint64)).astype(np.uint64).view(np.float64)
    return x


def _unsigned(x: Array) -> Array:
    return x.view(f"u{x.dtype.itemsize}")


def _like(x: Array, kind: Array) -> Array:
    return np.ascontiguousarray(x).view(kind.dtype)


def _wrapping(function: Callable[..., Array]) -> Callable[..., Array]:
    def done(*given: Array) -> Array:
        if given[0].dtype.kind == "f":
            return canonical(function(*given))
        return _like(function(*map(_unsigned, given)), given[0])

    return done


def _divided(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return canonical(a / b)
    safe = np.where(b == 0, 1, b).astype(b.dtype)
    if a.dtype.kind == "u":
        return np.where(b == 0, np.iinfo(a.dtype).max, a // safe).astype(a.dtype)
    wide = a.astype(object) if a.dtype.itemsize == 8 else a.astype(np.int64)
    under = safe.astype(wide.dtype)
    found = np.abs(wide) // np.abs(under) * np.where((wide < 0) != (under < 0), -1, 1)
    bits = 8 * a.dtype.itemsize
    return _like((found & ((1 << bits) - 1)).astype(f"u{bits // 8}"), a)


def _left(a: Array, b: Array) -> Array:
    if a.dtype.kind == "u":
        return np.where(b == 0, a, a % np.where(b == 0, 1, b).astype(b.dtype)).astype(a.dtype)
    bits = 8 * a.dtype.itemsize
    quotient = _divided(a, b)
    return _like((_unsigned(a) - _unsigned(quotient) * _unsigned(b)).astype(f"u{bits // 8}"), a)


def _upper(a: Array, b: Array) -> Array:
    bits = 8 * a.dtype.itemsize
    if bits == 64:
        found = [int(x) * int(y) >> 64 & (1 << 64) - 1 for x, y in np.broadcast(a, b)]
        return _like(np.array(found, np.uint64), a)
    wide = np.int64 if a.dtype.kind == "i" else np.uint64
    return (a.astype(wide) * b.astype(wide) >> wide(bits)).astype(a.dtype)


def _extreme(least: bool, keeps_nan: bool) -> Callable[..., Array]:
    def done(a: Array, b: Array) -> Array:
        if a.dtype.kind != "f":
            return np.minimum(a, b) if least else np.maximum(a, b)
        a, b = np.broadcast_arrays(a, b)
        first = np.signbit(a) if least else ~np.signbit(a)
        found = np.where(a == b, np.where(first, a, b), np.where((a < b) == least, a, b))
        nan = np.isnan(a) | np.isnan(b)
        other = np.where(np.isnan(a), b, a)
        return canonical(np.where(nan, np.nan if keeps_nan else other, found).astype(a.dtype))

    return done


def _fused(a: Array, b: Array, c: Array) -> Array:
    a, b, c = np.broadcast_arrays(a, b, c)
    if a.dtype == np.float32:
        product, added = a.astype(np.float64) * b, c.astype(np.float64)
        total = product + added
        low = total - product
        error = (product - (total - low)) + (added - low)
        odd = (total.view(np.uint64) & np.uint64(1)) == 0
        moved = np.isfinite(total) & (error != 0) & odd
        total = np.where(moved, np.nextafter(total, np.where(error > 0, np.inf, -np.inf)), total)
        return canonical(total.astype(np.float32))
    found = a * b + c
    flat = [
        float(Fraction(x) * Fraction(y) + Fraction(z)) if np.isfinite((x, y, z)).all() and x * y else f
        for x, y, z, f in zip(a.tolist(), b.tolist(), c.tolist(), found.tolist(), strict=True)
    ]
    return canonical(np.array(flat, np.float64))


def _shifted(left: bool) -> Callable[..., Array]:
    def done(a: Array, by: Array) -> Array:
        bits = 8 * a.dtype.itemsize
        amount = np.minimum(by.astype(np.uint64), bits)
        least = np.minimum(amount, bits - 1).astype(a.dtype)
        found = a << least if left else a >> least
        beyond = np.where(a < 0, -1, 0) if a.dtype.kind == "i" else np.zeros((), a.dtype)
        return np.where(amount >= bits, beyond.astype(a.dtype), found)

    return done


def _leading(a: Array) -> Array:
    found = np.zeros(a.shape, np.uint32)
    for bit in range(8 * a.dtype.itemsize):
        found = np.where(a >> a.dtype.type(bit) != 0, bit + 1, found)
    return (8 * a.dtype.itemsize - found).astype(np.uint32)


def _ones(a: Array) -> Array:
    return np.bitwise_count(a).astype(np.uint32)


def _inverted(a: Array) -> Array:
    return ~a


def _negated(a: Array) -> Array:
    if a.dtype.kind == "f":
        return -a
    return _like(np.zeros_like(_unsigned(a)) - _unsigned(a), a)


def _extracted(a: Array, at: Array, count: Array) -> Array:
    """Return some bits; of signed ones the highest, or the number's own where they end beyond it, is the sign."""
    bits = 8 * a.dtype.itemsize
    at, count = at & 0xFF, count & 0xFF
    found = [
        _bits(int(x), int(first), int(n), bits, signed=a.dtype.kind == "i")
        for x, first, n in np.nditer([_unsigned(a), at, count])
    ]
    return np.array(found, f"u{bits // 8}").view(a.dtype)


def _bits(x: int, first: int, count: int, bits: int, *, signed: bool) -> int:
    sign = signed and count > 0 and x >> min(first + count - 1, bits - 1) & 1
    ones = (1 << bits) - 1
    taken = x >> first & (1 << count) - 1
    known = max(0, min(count, bits - first))
    return (taken | (ones >> known << known if sign else 0)) & ones


def _permuted(a: Array, b: Array, choice: Array) -> Array:
    """Return bytes of both operands by four selectors, whose highest bit asks for the byte's sign in its place."""
    a, b, choice = np.broadcast_arrays(a, b, choice)
    whole = b.astype(np.uint64) << np.uint64(32) | a
    found = np.zeros(a.shape, np.uint32)
    for n in range(4):
        selector = choice >> np.uint32(4 * n) & np.uint32(15)
        byte = (whole >> (selector & np.uint32(7)).astype(np.uint64) * np.uint64(8)).astype(np.uint32) & np.uint32(255)
        sign = np.where(byte > 127, np.uint32(255), np.uint32(0))
        found |= np.where(selector > 7, sign, byte) << np.uint32(8 * n)
    return found


PLAIN: dict[str, Callable[..., Array]] = {
    "add": _wrapping(lambda a, b: a + b), "sub": _wrapping(lambda a, b: a - b), "mul": _wrapping(lambda a, b: a * b),
    "mul.hi": _upper, "mad": _wrapping(lambda a, b, c: a * b + c), "div": _divided, "rem": _left, "fma": _fused,
    "min": _extreme(True, False), "max": _extreme(False, False), "min.NaN": _extreme(True, True),
    "max.NaN": _extreme(False, True), "and": lambda a, b: a & b, "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b, "not": _inverted, "neg": _negated, "abs": np.abs,
    "sqrt": lambda a: canonical(np.sqrt(a)), "rcp": lambda a: canonical(a.dtype.type(1) / a),
    "shl": _shifted(True), "shr": _shifted(False), "clz": _leading, "popc": _ones,
    "bfe": _extracted, "prmt": _permuted, "mov": lambda a: a,
}  # fmt: skip
"""Instructions whose operands and result are of one type (but for counts)."""


def _any_nan(a: Array, b: Array) -> Array:
    return np.isnan(a) | np.isnan(b)


COMPARISONS: dict[str, Callable[[Array, Array], Array]] = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: (a != b) & ~_any_nan(a, b), "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
    "equ": lambda a, b: (a == b) | _any_nan(a, b), "neu": lambda a, b: a != b,
    "ltu": lambda a, b: ~(a >= b), "leu": lambda a, b: ~(a > b), "gtu": lambda a, b: ~(a <= b),
    "geu": lambda a, b: ~(a < b), "nan": _any_nan, "num": lambda a, b: ~_any_nan(a, b),
    "lo": lambda a, b: a < b, "ls": lambda a, b: a <= b, "hi": lambda a, b: a > b, "hs": lambda a, b: a >= b,
}  # fmt: skip


_WHOLE = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def converted(op: tuple[str, ...], x: Array, to: str) -> Array:
    """Return ``cvt`` of values to a type."""
    dtype = dtype_of(to)
    if x.dtype.kind == "f":
        rounding = next((_WHOLE[part] for part in op if part in _WHOLE), None)
        if rounding is not None:
            x = rounding(x)
        if dtype.kind == "f":
            return canonical(x.astype(dtype))
        if rounding is None:
            raise EmulationError(f"{'.'.join(op)} does not say how it rounds", 218)
        limits = np.iinfo(dtype)
        wide = x.astype(np.float64)
        inside = (wide > float(limits.min) - 1) & (wide < float(limits.max) + (1 if dtype.itemsize < 8 else 0))
        found = np.where(inside, wide, 0).astype(dtype)
        over, under = wide >= float(limits.max), wide <= float(limits.min)
        found = np.where(over & ~inside, limits.max, np.where(under & ~inside, limits.min, found))
        return np.where(np.isnan(wide), 0, found).astype(dtype)
    return x.astype(dtype)
