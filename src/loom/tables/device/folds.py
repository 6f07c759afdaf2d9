"""Folds of columns on a device, all of one, or by key; whole numbers exactly.

Layer: tables. Sums of whole numbers that may go beyond 64 bits are taken of their halves. Invariant: a sum of whole
numbers is the sum, whatever it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.patterns.data.group import group_by
from loom.patterns.reduce import gpu_max, gpu_min, gpu_sum

__all__ = ["exact_sum", "fold_groups"]

_HALF = 32
_LOW = (1 << _HALF) - 1


def exact_sum(data: Any) -> int:
    """Return the sum of whole numbers or bools of a device, of which there is at least one."""
    if data.dtype.is_bool or _fits(data):
        return int(gpu_sum(data).item())
    return (int(gpu_sum(data >> _HALF).item()) << _HALF) + int(gpu_sum(data & _LOW).item())


def _fits(data: Any) -> bool:
    """Tell whether no sum of some of the numbers leaves 64 bits."""
    largest = max(abs(int(gpu_min(data).item())), abs(int(gpu_max(data).item())))
    return largest * data.size < 1 << 63


def fold_groups(keys: Any, data: Any, op: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the different keys, ascending, and the fold of the elements of each."""
    if op == "count":
        found = group_by(keys).count()
        return found.keys.numpy(), found.values.numpy()
    groups = group_by(keys, data)
    if op in ("min", "max"):
        found = groups.min() if op == "min" else groups.max()
        return found.keys.numpy(), found.values.numpy()
    if data.dtype.is_float:
        found = groups.sum() if op == "sum" else groups.mean()
        return found.keys.numpy(), found.values.numpy()
    found = groups.sum()
    totals = found.values.numpy().tolist()
    if data.size and not data.dtype.is_bool and not _fits(data):
        high, low = (group_by(keys, part).sum().values.numpy().tolist() for part in (data >> _HALF, data & _LOW))
        totals = [(a << _HALF) + b for a, b in zip(high, low, strict=True)]
    if op == "sum":
        return found.keys.numpy(), _whole(totals)
    sizes = groups.count().values.numpy().tolist()
    return found.keys.numpy(), np.array([a / b for a, b in zip(totals, sizes, strict=True)], np.float64)


def _whole(totals: list[int]) -> np.ndarray[Any, Any]:
    fits = all(-(1 << 63) <= t < 1 << 63 for t in totals)
    return np.array(totals, np.int64 if fits else object)
