"""Ranges of integers, and what operations make of them: exact bounds, before the type wraps them.

Layer: ir. Invariant: a rule gives all numbers that an operation can give for operands within the ranges, or None for
"anything".
"""

from __future__ import annotations

from collections.abc import Callable

from loom.core.dtype import DType

__all__ = ["ARITHMETIC", "Range", "everything", "join", "meet", "trim", "widen", "without"]

Range = tuple[int, int]
"""The least and the largest number."""


def everything(dtype: DType) -> Range:
    """Return all numbers of a type; (0, 1) for bools, nothing to go by for others."""
    return (dtype.minimum, dtype.maximum) if dtype.is_integer and not dtype.is_vector else (0, 1)


def trim(found: Range | None, dtype: DType) -> Range:
    """Return a range if its type holds it without wrapping, else all of the type."""
    all_of_it = everything(dtype)
    inside = found is not None and all_of_it[0] <= found[0] <= found[1] <= all_of_it[1]
    return found if found is not None and inside else all_of_it


def join(*ranges: Range) -> Range:
    """Return the range of what is in any."""
    return min(r[0] for r in ranges), max(r[1] for r in ranges)


def meet(a: Range, b: Range) -> Range:
    """Return what is in both; where nothing is, no lane gets there, and any number will do."""
    low, high = max(a[0], b[0]), min(a[1], b[1])
    return (low, high) if low <= high else a


def widen(before: Range, now: Range, dtype: DType, likely: list[int]) -> Range:
    """Return a range with ends that moved at the next ``likely`` number, else as far away as the type lets them."""
    least, most = everything(dtype)
    low = now[0] if now[0] == before[0] else -1 if likely and now[0] >= -1 and least < 0 else least
    high = now[1] if now[1] == before[1] else next((n for n in likely if now[1] <= n <= most), most)
    return low, high


def without(range_: Range, other: Range) -> Range:
    """Return a range but for a number at its end that it surely is not."""
    low, high = range_
    if other[0] != other[1]:
        return range_
    return low + (low == other[0]), high - (high == other[0])


def _add(a: Range, b: Range) -> Range:
    return a[0] + b[0], a[1] + b[1]


def _sub(a: Range, b: Range) -> Range:
    return a[0] - b[1], a[1] - b[0]


def _neg(a: Range) -> Range:
    return -a[1], -a[0]


def _min(a: Range, b: Range) -> Range:
    return min(a[0], b[0]), min(a[1], b[1])


def _max(a: Range, b: Range) -> Range:
    return max(a[0], b[0]), max(a[1], b[1])


def _same(a: Range) -> Range:
    return a


def _bits(_a: Range) -> Range:
    """What counts bits gives at most as many as the widest type has."""
    return 0, _WORD


def _mul(a: Range, b: Range) -> Range:
    products = [x * y for x in a for y in b]
    return min(products), max(products)


def _idiv(a: Range, b: Range) -> Range | None:
    """Toward zero; by zero it is zero."""
    if a[0] < 0 or b[0] < 0:
        return None
    return (a[0] // b[1] if b[0] else 0), a[1] // max(b[0], 1)


def _irem(a: Range, b: Range) -> Range | None:
    """By zero it is the number itself."""
    if a[0] < 0 or b[0] < 0:
        return None
    if b[0] > a[1]:
        return a
    return 0, min(a[1], b[1] - 1) if b[0] else a[1]


def _abs(a: Range) -> Range:
    return (0 if a[0] <= 0 <= a[1] else min(abs(a[0]), abs(a[1]))), max(abs(a[0]), abs(a[1]))


def _and(a: Range, b: Range) -> Range | None:
    most = [r[1] for r in (a, b) if r[0] >= 0]
    return (0, min(most)) if most else None


def _or(a: Range, b: Range) -> Range | None:
    """Also of xor: no bit above the highest of either."""
    return (0, (1 << max(a[1], b[1]).bit_length()) - 1) if a[0] >= 0 and b[0] >= 0 else None


def _shl(a: Range, b: Range) -> Range | None:
    return (a[0] << b[0], a[1] << b[0]) if b[0] == b[1] and 0 <= b[0] < _LEAST_BITS else None


def _shr(a: Range, b: Range) -> Range | None:
    return (a[0] >> b[0], a[1] >> b[0]) if b[0] == b[1] and 0 <= b[0] < _LEAST_BITS else None


_LEAST_BITS = 8
"""Shifts by fewer are in the width of every type."""
_WORD = 64

ARITHMETIC: dict[str, Callable[..., Range | None]] = {
    "add": _add, "sub": _sub, "mul": _mul, "idiv": _idiv, "irem": _irem, "neg": _neg, "abs": _abs, "min": _min,
    "max": _max, "and": _and, "or": _or, "xor": _or, "shl": _shl, "shr": _shr, "popcount": _bits, "clz": _bits,
    "convert": _same, "bitcast": _same,
}  # fmt: skip
"""By operation; of types that wrap or are converted to, see ``trim``."""
