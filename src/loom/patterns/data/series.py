"""Series in time: ``shift``, ``fill_forward``, ``interpolate``, ``bars``, ``cut``, ``is_in``, ``value_counts``.

Layer: patterns. Invariant: every element of a result is made of elements named by the arguments, in one order.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np

from loom.core.conversions import widen
from loom.core.errors import ArgumentError, ShapeError
from loom.core.given import flag
from loom.core.numbers import real, whole
from loom.patterns.data.group import GroupBy, Groups
from loom.patterns.data.texts import is_text, number_together
from loom.patterns.given import as_given, host_arithmetic, read_any, read_numbers, read_rows
from loom.patterns.reduce import gpu_max, gpu_min, gpu_sum
from loom.patterns.search import gpu_searchsorted
from loom.runtime.port.device import Device
from loom.tensor import Tensor

__all__ = ["Bars", "bars", "cut", "fill_forward", "interpolate", "is_in", "shift", "value_counts"]


class Bars(NamedTuple):
    """What ``bars`` gives: of every stretch the first, largest, smallest and last price, and the sum of volumes."""

    open: Any
    high: Any
    low: Any
    close: Any
    volume: Any


def shift(data: Any, steps: int = 1, *, fill: float = float("nan"), on: str | Device | None = None) -> Any:
    """Return a series moved by ``steps`` places (back, if negative), ``fill`` where it was.

    Floats keep their dtype; integers and bools become float64.

    Args:
        data: Array (..., n) of floats; integers and bools become f64.
        steps: Places, back if negative.
        fill: Number of the places that nothing moves to.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Array of the shape of ``data``.

    Raises:
        ArgumentError: Not a whole number; ``fill`` does not fit.
        DTypeError: Not numbers; not a device.
        ShapeError: No elements along an axis.

    >>> shift([1.0, 2.0, 3.0], fill=0.0).tolist()
    [0.0, 1.0, 2.0]
    """
    x = read_rows("data.shift", data, on)
    by = whole(steps, "data.shift, steps")
    found = np.full(x.shape, fill if isinstance(fill, float) else real(fill, "data.shift, fill"), x.dtype)
    if abs(by) < x.shape[-1]:
        found[..., max(0, by) : x.shape[-1] + min(0, by)] = x[..., max(0, -by) : x.shape[-1] - max(0, by)]
    return as_given(data, found)


def fill_forward(data: Any, *, on: str | Device | None = None) -> Any:
    """Return rows (..., n) with the number before it in place of every NaN; leading ones stay.

    Args:
        data: Array (..., n) of floats.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Array of the shape of ``data``.

    Raises:
        DTypeError: Not numbers; not a device.
        ShapeError: No elements along an axis.

    >>> fill_forward([1.0, float("nan"), float("nan"), 2.0]).tolist()
    [1.0, 1.0, 1.0, 2.0]
    """
    x = read_rows("data.fill_forward", data, on)
    places = cast("Any", np.arange(x.shape[-1]))
    last = cast("Any", np.maximum).accumulate(np.where(np.isnan(x), 0, places), -1)
    return as_given(data, np.take_along_axis(x, last, -1))


@host_arithmetic()
def interpolate(at: Any, places: Any, values: Any, *, on: str | Device | None = None) -> Any:
    """Return the values at ``at`` (any shape) of the lines through points: ``places`` ascending, (n,), and ``values``.

    Before the first and after the last point its value. Computed as
    v[i] + (x - p[i]) ((v[i + 1] - v[i]) / (p[i + 1] - p[i])). ArgumentError unless places ascend strictly.

    Args:
        at: Array of any shape: where values are wanted.
        places: Array (n,), strictly ascending.
        values: Array (n,).
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Array of floats of the shape of ``at``.

    Raises:
        ArgumentError: Places do not ascend.
        DTypeError: Not numbers; not a device.
        ShapeError: Not one place for each value, or none.

    >>> interpolate([0.5, 2.0], [0.0, 1.0], [10.0, 20.0]).tolist()
    [15.0, 20.0]
    """
    where = "data.interpolate"
    p, v = (read_rows(where, side, on, what=name) for side, name in ((places, "places"), (values, "values")))
    x = read_numbers(where, at, on, what="at")
    if p.ndim != 1 or p.shape != v.shape:
        raise ShapeError(where, "not points", expected="places (n,) and values (n,)", got=f"{p.shape} and {v.shape}",
                         remedy="Match the lengths")  # fmt: skip
    if not (p[1:] > p[:-1]).all():
        raise ArgumentError(f"{where}, places", "they do not ascend", expected="each above the one before",
                            got="others", remedy="Sort the points, and leave equal ones out")  # fmt: skip
    if x.dtype != p.dtype or v.dtype != p.dtype:
        x, p, v = (side.astype(np.result_type(x.dtype, p.dtype, v.dtype)) for side in (x, p, v))
    if p.size == 1:
        return as_given(at, np.where(np.isnan(x), x, v[0]))
    left = np.clip(
        np.asarray(gpu_searchsorted(p, x.reshape(-1), side="right", on=on)).reshape(x.shape) - 1, 0, p.size - 2
    )
    slope = (v[left + 1] - v[left]) / (p[left + 1] - p[left])
    found = v[left] + (x - p[left]) * slope
    found = np.where(x >= p[-1], v[-1], np.where(x <= p[0], v[0], found))
    return as_given(at, found)


def bars(prices: Any, size: int, volumes: Any = None, *, on: str | Device | None = None) -> Bars:
    """Return the bars of a series of prices: one for every ``size`` elements, the last perhaps of fewer.

    Args:
        prices: Array (n,) of floats; integers and bools are taken as f64.
        size: Elements of a bar, at least 1.
        volumes: Array (n,); None: no volumes.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        ``Bars``: open, high, low, close and volume (None without volumes), one for each bar.

    Raises:
        ArgumentError: A size below 1.
        DTypeError: Not numbers; not a device.
        ShapeError: Not one dimension, no elements, or other lengths.

    >>> [side.tolist() for side in bars([1.0, 3.0, 2.0, 5.0], 2, [1.0, 1.0, 2.0, 3.0])]
    [[1.0, 2.0], [3.0, 5.0], [1.0, 2.0], [3.0, 5.0], [2.0, 5.0]]
    """
    where = "data.bars"
    x = read_rows(where, prices, on, what="prices")
    width = whole(size, f"{where}, size", least=1)
    traded = None if volumes is None else read_rows(where, volumes, on, what="volumes")
    if x.ndim != 1 or (traded is not None and traded.shape != x.shape):
        raise ShapeError(where, "not one series", expected="prices (n,), and a volume for each",
                         got=x.shape if traded is None else f"{x.shape} and {traded.shape}",
                         remedy="Match the lengths")  # fmt: skip
    starts = np.arange(0, x.size, width)
    ends = np.minimum(starts + width, x.size) - 1

    def fold(of: Any, how: Any) -> Any:
        full = of.size // width * width
        found = [np.asarray(how(of[:full].reshape(-1, width), axis=-1, on=on))] if full else []
        return np.concatenate([*found, *([np.asarray(how(of[full:], on=on))[None]] if full < of.size else [])])

    sums = None if traded is None else as_given(volumes, fold(traded, gpu_sum))
    sides = x[starts], fold(x, gpu_max), fold(x, gpu_min), x[ends]
    first, high, low, last = (as_given(prices, side) for side in sides)
    return Bars(first, high, low, last, sums)


def cut(data: Any, edges: Any, *, right: bool = True, on: str | Device | None = None) -> Any:
    """Return the number (int64) of the interval that every element is in, from 0; -1 for those in none and NaN.

    ``edges``: ascending, (n + 1,); interval i is above edges[i] up to edges[i + 1], or with ``right=False`` from
    edges[i] to below edges[i + 1].

    Args:
        data: Array of any shape.
        edges: Array (m + 1,), strictly ascending.
        right: Whether intervals have their upper edge, else their lower.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Array of int64 of the shape of ``data``.

    Raises:
        ArgumentError: Edges do not ascend; ``right`` is no truth.
        DTypeError: Not numbers; not a device.
        ShapeError: No edges.

    >>> cut([0.0, 1.0, 1.5, 9.0], [0.0, 1.0, 2.0]).tolist()
    [-1, 0, 1, -1]
    """
    where = "data.cut"
    bounds = read_rows(where, edges, on, what="edges")
    x = read_numbers(where, data, on)
    if bounds.ndim != 1 or not (bounds[1:] > bounds[:-1]).all():
        raise ArgumentError(f"{where}, edges", "they do not ascend", expected="each above the one before",
                            got=f"shape {bounds.shape}", remedy="Sort them, and leave equal ones out")  # fmt: skip
    side = "left" if flag(right, f"{where}, right") else "right"
    flat = x.reshape(-1).astype(np.result_type(x, bounds))
    found = np.asarray(gpu_searchsorted(bounds.astype(flat.dtype), flat, side=side, on=on)).reshape(x.shape) - 1
    return as_given(data, np.where((found >= bounds.size - 1) | np.isnan(x), -1, found).astype(np.int64))


def is_in(data: Any, values: Any, *, on: str | Device | None = None) -> Any:
    """Return for every element, of any shape, whether a number equal to it is among ``values`` (m,); NaN is not.

    The two may have different dtypes: no number is rounded to be found. Texts (n,) are looked for among texts.

    Args:
        data: Array of any shape and dtype, or texts (n,).
        values: Array of any shape and dtype, or texts (m,).
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Array of bools of the shape of ``data``.

    Raises:
        DTypeError: Neither numbers nor texts; not a device.
        ShapeError: Texts of more dimensions than one.

    >>> is_in([1, 2, 3, 2], [2, 5]).tolist()
    [False, True, False, True]
    >>> is_in(["oak", "elm"], ["elm"]).tolist()
    [False, True]
    """
    where = "data.is_in"
    if is_text(data):
        left, right = number_together(data, values, where, ("data", "values"))
        return np.isin(left, right)
    x, among = (widen(*read_any(where, side, on, what=what)) for side, what in ((data, ""), (values, "values")))
    among = np.unique(_among(among.reshape(-1), x.dtype))
    if not among.size or not x.size:
        return as_given(data, np.zeros(x.shape, bool))
    found = np.asarray(gpu_searchsorted(among, x.reshape(-1), on=on)).reshape(x.shape)
    return as_given(data, np.asarray(among[np.minimum(found, among.size - 1)] == x))


def _among(values: np.ndarray[Any, Any], kind: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return those of the numbers that a type has, in it."""
    if values.dtype == kind:
        return values
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        cast = values.astype(kind)
        return cast[[_equal(a, b) for a, b in zip(values.tolist(), cast.tolist(), strict=True)]]


def _equal(a: float, b: float) -> bool:
    """Compare numbers of Python's, which it does without rounding."""
    return a == b


def value_counts(data: Any, *, on: str | Device | None = None) -> Groups:
    """Return the different elements or texts of a series and how many there are of each, the commonest first.

    Those of which there are equally many ascend.

    Args:
        data: Array (n,) of any dtype, or texts.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        ``Groups``: different elements, and int64 for each.

    Raises:
        ArgumentError: An array on another device than ``on``.
        DTypeError: Neither numbers nor texts; not a device.
        ShapeError: Not one dimension.

    >>> value_counts(["b", "a", "b"]).values.tolist()
    [2, 1]
    """
    keys, counts = GroupBy(data, None, on, "data.value_counts", "data").count()
    plain, held = (side.numpy() if isinstance(side, Tensor) else side for side in (keys, counts))
    order = np.argsort(-held, kind="stable")
    return Groups(as_given(data, plain[order]), as_given(data, held[order]))
