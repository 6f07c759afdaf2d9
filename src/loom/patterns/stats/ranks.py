"""Ranks, and what is made of them: ``rank``, ``spearman``, ``mode``, ``trim_mean``, ``iqr``, ``median_abs_deviation``.

Layer: patterns, over sorts. Invariant: equal elements have one rank but where ``method`` is "ordinal".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.dtype import FLOATS, INTEGERS, bool_
from loom.core.errors import ArgumentError, ShapeError, near_matches
from loom.core.numbers import real
from loom.patterns.given import as_given, host_arithmetic, read_rows
from loom.patterns.sort import gpu_argsort, gpu_sort
from loom.patterns.stats.correlation import correlation
from loom.patterns.stats.moments import mean
from loom.patterns.stats.quantile import quantile
from loom.runtime.port.device import Device
from loom.tensor import Tensor

__all__ = ["iqr", "median_abs_deviation", "mode", "rank", "spearman", "trim_mean"]

_METHODS = ("average", "min", "max", "dense", "ordinal")
_NUMBERS = (*(t for t in FLOATS if t.name != "bf16"), *INTEGERS, bool_)


def rank(data: Any, method: str = "average", *, on: str | Device | None = None) -> Any:
    """Return the rank of every element among those of its row (..., n), from 1, as float64.

    ``method``: what equal elements have: the "average", "min" or "max" of their places, "dense" (places of different
    elements), or each its own, in their order ("ordinal"). NaNs come last, and count as equal.

    >>> rank([10.0, 30.0, 20.0, 20.0]).tolist()
    [1.0, 4.0, 2.5, 2.5]
    """
    where = "stats.rank"
    if not isinstance(method, str) or method not in _METHODS:
        raise ArgumentError(f"{where}, method", f"no method is called {method!r}",
                            remedy=near_matches(str(method), _METHODS))  # fmt: skip
    x = read_rows(where, data, on, allowed=_NUMBERS)
    order = np.asarray(gpu_argsort(x if x.dtype.kind != "f" else x + x.dtype.type(0), on=on))  # -0 equals 0
    found = np.empty(x.shape, np.float64)
    np.put_along_axis(found, order, _in_order(np.take_along_axis(x, order, -1), method), -1)
    return as_given(data, found)


def _in_order(x: Any, method: str) -> Any:
    """Return the ranks of rows that are in order."""
    n = x.shape[-1]
    places = np.broadcast_to(np.arange(1.0, n + 1), x.shape)
    if method == "ordinal":
        return places
    same = (x[..., 1:] == x[..., :-1]) | ((x[..., 1:] != x[..., 1:]) & (x[..., :-1] != x[..., :-1]))
    begins = np.concatenate([np.ones((*x.shape[:-1], 1), bool), ~same], -1)
    if method == "dense":
        return np.cumsum(begins, -1).astype(np.float64)
    ends = np.concatenate([~same, np.ones((*x.shape[:-1], 1), bool)], -1)
    first = np.maximum.accumulate(np.where(begins, places, 0.0), -1)
    last = np.minimum.accumulate(np.where(ends, places, n + 1.0)[..., ::-1], -1)[..., ::-1]
    return first if method == "min" else last if method == "max" else (first + last) / 2


def spearman(x: Any, y: Any, *, on: str | Device | None = None) -> Any:
    """Return the correlation of the ranks of two series of one length (C. Spearman, 1904); NaN where one holds a NaN.

    >>> spearman([1.0, 2.0, 3.0], [1.0, 8.0, 27.0]).item()
    1.0
    """
    sides = [read_rows("stats.spearman", side, on, what=name, allowed=_NUMBERS) for name, side in (("x", x), ("y", y))]
    ranks = [rank(side, on=on) for side in sides]
    if any(r.ndim != 1 for r in ranks) or ranks[0].shape != ranks[1].shape:
        raise ShapeError("stats.spearman", "not two series of one length", expected=ranks[0].shape, got=ranks[1].shape,
                         remedy="Match the lengths")  # fmt: skip
    if any(np.isnan(side).any() for side in sides):
        ranks[0] = np.full_like(ranks[0], np.nan)
    found = np.asarray(correlation(*ranks, on=on))[()]
    return as_given(x if isinstance(x, Tensor) else y, found)


def mode(data: Any, *, on: str | Device | None = None) -> Any:
    """Return the commonest element of every row (..., n), the smallest of several; NaNs count as one, the largest.

    >>> mode([3, 1, 2, 2, 3]).item()
    2
    """
    x = read_rows("stats.mode", data, on, allowed=_NUMBERS)
    rows = np.asarray(gpu_sort(x, on=on)).reshape(-1, x.shape[-1])
    found = np.empty(len(rows), x.dtype)
    for k, row in enumerate(rows):
        begins = np.flatnonzero(
            np.concatenate([[True], (row[1:] != row[:-1]) & ((row[1:] == row[1:]) | (row[:-1] == row[:-1]))])
        )
        counts = np.diff(np.concatenate([begins, [len(row)]]))
        found[k] = row[begins[np.argmax(counts)]]
    return as_given(data, found.reshape(x.shape[:-1])[()])


@host_arithmetic()
def trim_mean(data: Any, share: float, *, on: str | Device | None = None) -> Any:
    """Return the mean of every row (..., n) without a ``share`` of its elements at each end; NaN where one is NaN.

    >>> trim_mean([1.0, 2.0, 3.0, 100.0], 0.25).item()
    2.5
    """
    where = "stats.trim_mean"
    part = real(share, f"{where}, share")
    if not 0 <= part < 0.5:
        raise ArgumentError(f"{where}, share", "out of range", expected="0 to below 0.5", got=share, remedy="Trim less")
    x = read_rows(where, data, on)
    cut = int(part * x.shape[-1])
    inner = np.ascontiguousarray(np.asarray(gpu_sort(x, on=on))[..., cut : x.shape[-1] - cut])
    spoilt = np.isnan(x).any(-1)  # in order they are at an end, which is cut off
    found = np.asarray(mean(inner, -1, on=on))
    return as_given(data, np.where(spoilt, found.dtype.type("nan"), found)[()])


@host_arithmetic()
def iqr(data: Any, *, on: str | Device | None = None) -> Any:
    """Return the distance of the quartiles of every row (..., n).

    >>> iqr([1.0, 2.0, 3.0, 4.0, 5.0]).item()
    2.0
    """
    x = read_rows("stats.iqr", data, on)
    low, high = (np.asarray(quantile(x, q, -1, on=on)) for q in (0.25, 0.75))
    return as_given(data, (high - low)[()])


@host_arithmetic()
def median_abs_deviation(data: Any, *, on: str | Device | None = None) -> Any:
    """Return the median distance from the median of every row (..., n).

    >>> median_abs_deviation([1.0, 1.0, 2.0, 2.0, 9.0]).item()
    1.0
    """
    x = read_rows("stats.median_abs_deviation", data, on)
    middle = np.asarray(quantile(x, 0.5, -1, on=on))[..., None]
    return as_given(data, np.asarray(quantile(np.abs(x - middle), 0.5, -1, on=on))[()])
