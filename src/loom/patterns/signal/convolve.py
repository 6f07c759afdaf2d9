"""``convolve``, ``correlate``, ``fir_filter``, ``ema``: sums of products along a signal.

Layer: patterns. Direct sums follow the canonical order of products over the shorter operand, its last element first
(``kernels.fft.convolve``); long ones go through real Fourier transforms. Invariant: which of the two is chosen depends
on the lengths and the dtype alone.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from loom.core.dtype import f32, f64, i32, i64, u32, u64
from loom.core.errors import ArgumentError, DTypeError, EmptyError, ShapeError, near_matches
from loom.kernels.fft.convolve import moving_average
from loom.kernels.fft.stages import LANES
from loom.patterns.axis import rows_of
from loom.patterns.operand_kinds import require_dtype, require_ndim
from loom.patterns.own_operations import Operation
from loom.patterns.tensor_rows import row
from loom.runtime.port.device import Device
from loom.schedules.convolution import record_direct, record_spectra, record_swapped
from loom.schedules.fft import Signals
from loom.tensor import Tensor
from loom.tensor.record.draft import Draft
from loom.tensor.record.graph import Node

__all__ = ["convolve", "correlate", "ema", "fir_filter"]

_TYPES = (f32, f64, i32, i64, u32, u64)
_MODES = ("full", "same", "valid")
_METHODS = ("auto", "direct", "fft")
_MOST_DIRECT = 512
"""``auto`` takes transforms when the shorter operand is longer than this (and of floats)."""


def _record_convolution(draft: Draft, node: Node, *buffers: Any) -> None:
    (kept, reverse, by_fft), (x, y) = node.attributes[0], node.inputs
    job, sizes = Signals(draft, draft.home, x.dtype, 1), (x.size, y.size)
    if by_fft:
        record_spectra(job, buffers, sizes, kept, reverse=reverse)
    elif x.size >= y.size:
        record_direct(job, buffers, sizes, kept, reverse=not reverse)
    else:
        record_swapped(job, buffers, sizes, kept, reverse=reverse)


def _record_filter(draft: Draft, node: Node, *buffers: Any) -> None:
    if node.size:
        n, taps = node.shape[-1], node.inputs[1].size
        job = Signals(draft, draft.home, node.dtype, math.prod(node.shape[:-1]))
        record_direct(job, buffers, (n, taps), (0, n), reverse=True)


def _record_average(draft: Draft, node: Node, x: Any, out: Any) -> None:
    (rows, alpha), lanes = node.attributes[0], node.attributes[0][0].results
    if node.size:
        params = [rows.n, rows.inner, lanes, alpha, 1.0 - alpha]
        draft.dispatch(moving_average(node.dtype), [x, out], params, groups=-(-lanes // LANES))


_CONVOLVE, _FILTER = Operation("convolve", _record_convolution), Operation("fir_filter", _record_filter)
_AVERAGE = Operation("ema", _record_average)


def _convolve(x: Tensor, y: Tensor, mode: str = "full", *, method: str = "auto") -> Tensor:
    return _convolution("signal.convolve", x, y, mode, method, reverse=False)


def _correlate(x: Tensor, y: Tensor, mode: str = "valid", *, method: str = "auto") -> Tensor:
    return _convolution("signal.correlate", x, y, mode, method, reverse=True)


def _convolution(where: str, x: Tensor, y: Tensor, mode: str, method: str, *, reverse: bool) -> Tensor:
    _check_name(f"{where}, mode", mode, _MODES)
    _check_name(f"{where}, method", method, _METHODS)
    require_dtype(x.dtype, _TYPES, f"{where}, a")
    require_ndim(x, 1, f"{where}, a")
    if not x.size:
        raise EmptyError(f"{where}, a", "no elements", expected="at least 1", got=0, remedy="Check for emptiness first")
    _require_taps(y, x, f"{where}, v")
    is_float = x.dtype in (f32, f64)
    if method == "fft" and not is_float:
        raise DTypeError(
            f"{where}, method", "fft takes floats", expected="f32 or f64", got=x.dtype, remedy="Use direct"
        )
    kept = _bounds(x.size, y.size, mode, reverse)
    by_fft = method == "fft" or (method == "auto" and is_float and min(x.size, y.size) > _MOST_DIRECT)
    return _CONVOLVE([x, y], (kept[1],), x.dtype, kept, reverse, by_fft)


def _filter(x: Tensor, taps: Tensor) -> Tensor:
    where = "signal.fir_filter"
    require_dtype(x.dtype, (f32, f64), where)
    if not x.ndim:
        raise ShapeError(where, "one number has no axis", expected="at least 1 dimension", got=0, remedy="Pass a row")
    _require_taps(taps, x, f"{where}, taps")
    return _FILTER([x, taps], x.shape, x.dtype)


def _average(x: Tensor, alpha: float, *, axis: int | None = -1) -> Tensor:
    where = "signal.ema"
    require_dtype(x.dtype, (f32, f64), where)
    if isinstance(alpha, bool) or not isinstance(alpha, Real) or not 0.0 <= float(alpha) <= 1.0:
        raise ArgumentError(
            f"{where}, alpha", "out of range", expected="0 to 1", got=repr(alpha), remedy="Stay within it"
        )
    return _AVERAGE([x], x.shape, x.dtype, rows_of(x.shape, axis, where), float(alpha))


def _require_taps(x: Tensor, first: Tensor, where: str) -> None:
    """See that a second operand has one dimension and elements, of the dtype of the first."""
    require_ndim(x, 1, where)
    if x.dtype != first.dtype:
        raise DTypeError(where, "operands of different types", expected=first.dtype, got=x.dtype, remedy="Convert one")
    if not x.size:
        raise EmptyError(where, "no elements", expected="at least 1", got=0, remedy="Check for emptiness first")


def _check_name(where: str, given: str, known: tuple[str, ...]) -> None:
    if not isinstance(given, str) or given not in known:
        raise ArgumentError(where, f"{given!r} is not known", remedy=near_matches(str(given), known))


def _bounds(m: int, n: int, mode: str, reverse: bool) -> tuple[int, int]:
    """Return which of the m + n - 1 sums are kept: the first and how many (numpy's choice of the middle)."""
    long, short = max(m, n), min(m, n)
    if mode == "full":
        return 0, m + n - 1
    if mode == "valid":
        return short - 1, long - short + 1
    return (short // 2 if reverse and n > m else (short - 1) // 2), long


@row(_convolve, 2, where="signal.convolve")
def convolve(a: Any, v: Any, mode: str = "full", *, method: str = "auto", on: str | Device | None = None) -> Any:
    """Return the convolution of two signals: sum over j of a[k - j] v[j], as ``numpy.convolve``.

    ``a`` (m,) and ``v`` (n,) of one dtype: f32, f64 or 32- and 64-bit integers (which wrap). ``mode``: "full" (all
    m + n - 1), "same" (the max(m, n) in the middle) or "valid" (only where they overlap wholly). ``method``:
    "direct", "fft" (floats only; its error is relative to the largest sum, not to each) or "auto": fft for floats
    if the shorter one has more than 512 elements. EmptyError if one is empty; DTypeError, ShapeError, ArgumentError.

    >>> convolve([1, 2, 3], [0, 1, 2]).tolist()
    [0, 1, 4, 7, 6]
    """


@row(_correlate, 2, where="signal.correlate")
def correlate(a: Any, v: Any, mode: str = "valid", *, method: str = "auto", on: str | Device | None = None) -> Any:
    """Return the cross-correlation of two real signals: sum over j of a[j + k] v[j], as ``numpy.correlate``.

    It is the convolution of ``a`` with ``v`` reversed; arguments, result and errors are those of ``convolve``.

    >>> correlate([1, 2, 3], [0, 1, 2], "full").tolist()
    [2, 5, 8, 3, 0]
    """


@row(_filter, 2, where="signal.fir_filter")
def fir_filter(data: Any, taps: Any, *, on: str | Device | None = None) -> Any:
    """Return ``data`` filtered by ``taps`` along the last axis: y[i] = sum over j of taps[j] x[i - j].

    ``data`` (..., n) and ``taps`` (k,) of one dtype, f32 or f64; elements before the first are zero. The order is
    that of a direct ``convolve``. The result has the shape of ``data``; EmptyError if there are no taps.

    >>> fir_filter([1.0, 2.0, 4.0], [0.5, 0.5]).tolist()
    [0.5, 1.5, 3.0]
    """


@row(_average, where="signal.ema")
def ema(data: Any, alpha: float, *, axis: int | None = -1, on: str | Device | None = None) -> Any:
    """Return the exponential moving average: y[0] = x[0], y[i] = alpha x[i] + (1 - alpha) y[i - 1].

    ``data``: f32 or f64 of any shape, averaged along ``axis`` (None: all elements in a row); ``alpha`` from 0 to 1.
    Both factors are rounded to the dtype once, the products then added, one element after the other. The result has
    the shape of ``data``. ArgumentError, DTypeError.

    >>> ema([4.0, 0.0, 2.0], 0.5).tolist()
    [4.0, 2.0, 2.0]
    """
