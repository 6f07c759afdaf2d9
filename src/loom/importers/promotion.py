"""In which dtype operands meet, by PyTorch's rule.

Layer: importers. Source: PyTorch's documentation, "Tensor attributes", type promotion. Invariant: tensors with axes
decide before those without, and both before numbers, unless what comes later is of a higher kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any

from loom import tensor as lt
from loom.core.dtype import DType, lookup
from loom.tensor.arrays.tensor import Tensor

__all__ = ["cast", "match_types", "meet", "number", "wide"]

_DEFAULT = lookup("f32")


def _kind(dtype: DType) -> int:
    return 3 if dtype.is_complex else 2 if dtype.is_float else 0 if dtype.is_bool else 1


def _join(a: DType, b: DType) -> DType:
    """Return the least dtype that takes two of one rank."""
    if a == b:
        return a
    high, low = (a, b) if _kind(a) >= _kind(b) else (b, a)
    if _kind(high) != _kind(low):
        return lookup("c128") if high.name == "c64" and low.name == "f64" else high
    if high.is_float:
        return _DEFAULT if {a.name, b.name} == {"f16", "bf16"} else max(a, b, key=lambda t: t.bits)
    if high.is_complex or a.is_signed == b.is_signed:
        return max(a, b, key=lambda t: t.bits)
    signed, other = (a, b) if a.is_signed else (b, a)
    return lookup(f"i{min(64, max(signed.bits, 2 * other.bits))}")


def _over(high: DType | None, low: DType | None) -> DType | None:
    """Return what a decisive dtype makes of a less decisive one."""
    if high is None or low is None:
        return low if high is None else high
    return _join(high, low) if _kind(low) > _kind(high) and not (high.is_float and low.is_float) else high


def meet(values: Iterable[Any]) -> DType:
    """Return the dtype in which tensors and Python numbers meet."""
    ranks: list[list[DType]] = [[], [], []]
    for value in values:
        if isinstance(value, Tensor):
            ranks[0 if value.ndim else 1].append(value.dtype)
        else:
            name = "bool" if isinstance(value, bool) else "i64" if isinstance(value, int) else "f32"
            ranks[2].append(lookup(name))
    joined = [reduce(_join, rank) if rank else None for rank in ranks]
    found = _over(joined[0], _over(joined[1], joined[2]))
    return _DEFAULT if found is None else found


def cast(x: Tensor, dtype: DType) -> Tensor:
    """Return a tensor in a dtype; a bool is whether a number is not 0."""
    if x.dtype == dtype:
        return x
    return lt.not_equal(x, 0) if dtype.is_bool else lt.cast(x, dtype)


def match_types(values: Sequence[Any], dtype: DType) -> list[Any]:
    """Return tensors in a dtype, and numbers as it has them."""
    found: list[Any] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(cast(value, dtype))
        else:
            found.append(number(value, dtype))
    return found


def number(value: Any, dtype: DType) -> Any:
    """Return a Python number as tensors of a dtype take it; complex ones take the real numbers."""
    if dtype.is_bool:
        return bool(value)
    return float(value) if dtype.is_float or dtype.is_complex else int(value)


def wide(x: Tensor) -> Tensor:
    """Return f16 and bf16 as f32, in which they are computed and rounded once."""
    return lt.cast(x, "f32") if x.dtype.storage_only else x
