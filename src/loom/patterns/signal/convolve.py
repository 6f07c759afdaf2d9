"""``convolve``, ``correlate``, ``fir_filter``, ``ema``: sums of products along a signal.

Layer: patterns. Direct sums follow the canonical order of products over the shorter operand, its last element first
(``kernels.fft.convolve``); long ones go through real Fourier transforms. Invariant: which of the two is chosen depends
on the lengths and the dtype alone.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from loom.core.dtype import DType, f32, f64, i32, i64, u32, u64
from loom.core.errors import ArgumentError, DTypeError, EmptyError, ShapeError, near_matches
from loom.kernels.fft.convolve import moving_average
from loom.kernels.fft.stages import LANES
from loom.patterns.axis import rows_of
from loom.patterns.calling.call import Call, Operand
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device
from loom.schedules.convolution import record_direct, record_spectra, record_swapped
from loom.schedules.fft import Signals

__all__ = ["convolve", "correlate", "ema", "fir_filter"]

_TYPES = (f32, f64, i32, i64, u32, u64)
_MODES = ("full", "same", "valid")
_METHODS = ("auto", "direct", "fft")
_MOST_DIRECT = 512
"""``auto`` takes transforms when the shorter operand is longer than this (and of floats)."""


def convolve(a: Any, v: Any, mode: str = "full", *, method: str = "auto", on: str | Device | None = None) -> Any:
    """Return the convolution of two signals: sum over j of a[k - j] v[j], as ``numpy.convolve``.

    ``a`` (m,) and ``v`` (n,) of one dtype: f32, f64 or 32- and 64-bit integers (which wrap). ``mode``: "full" (all
    m + n - 1), "same" (the max(m, n) in the middle) or "valid" (only where they overlap wholly). ``method``:
    "direct", "fft" (floats only; its error is relative to the largest sum, not to each) or "auto": fft for floats
    if the shorter one has more than 512 elements. EmptyError if one is empty; DTypeError, ShapeError, ArgumentError.

    >>> convolve([1, 2, 3], [0, 1, 2]).tolist()
    [0, 1, 4, 7, 6]
    """
    return _convolve("signal.convolve", a, v, mode, method, on, reverse=False)


def correlate(a: Any, v: Any, mode: str = "valid", *, method: str = "auto", on: str | Device | None = None) -> Any:
    """Return the cross-correlation of two real signals: sum over j of a[j + k] v[j], as ``numpy.correlate``.

    It is the convolution of ``a`` with ``v`` reversed; arguments, result and errors are those of ``convolve``.

    >>> correlate([1, 2, 3], [0, 1, 2], "full").tolist()
    [2, 5, 8, 3, 0]
    """
    return _convolve("signal.correlate", a, v, mode, method, on, reverse=True)


def fir_filter(data: Any, taps: Any, *, on: str | Device | None = None) -> Any:
    """Return ``data`` filtered by ``taps`` along the last axis: y[i] = sum over j of taps[j] x[i - j].

    ``data`` (..., n) and ``taps`` (k,) of one dtype, f32 or f64; elements before the first are zero. The order is
    that of a direct ``convolve``. The result has the shape of ``data``; EmptyError if there are no taps.

    >>> fir_filter([1.0, 2.0, 4.0], [0.5, 0.5]).tolist()
    [0.5, 1.5, 3.0]
    """
    where = "signal.fir_filter"
    call = Call(where, on)
    x = call.input(data, allowed=(f32, f64))
    if not x.shape:
        raise ShapeError(where, "one number has no axis", expected="at least 1 dimension", got=0, remedy="Pass a row")
    h = _second(call, taps, "taps", x.dtype)
    out = call.output(x.shape, x.dtype)
    rows, n, k = math.prod(x.shape[:-1]), x.shape[-1], h.size

    def record(chain: Chain, *slots: HostSlot) -> None:
        job = Signals(chain, chain.device, x.dtype, rows)
        record_direct(job, slots, (n, k), (0, n), reverse=True)

    if x.size:
        call.run((where, x.dtype, rows, n, k), record, x, h, out)
    return call.result(out)


def ema(data: Any, alpha: float, *, axis: int | None = -1, on: str | Device | None = None) -> Any:
    """Return the exponential moving average: y[0] = x[0], y[i] = alpha x[i] + (1 - alpha) y[i - 1].

    ``data``: f32 or f64 of any shape, averaged along ``axis`` (None: all elements in a row); ``alpha`` from 0 to 1.
    Both factors are rounded to the dtype once, the products then added, one element after the other. The result has
    the shape of ``data``. ArgumentError, DTypeError.

    >>> ema([4.0, 0.0, 2.0], 0.5).tolist()
    [4.0, 2.0, 2.0]
    """
    where = "signal.ema"
    call = Call(where, on)
    x = call.input(data, allowed=(f32, f64))
    if isinstance(alpha, bool) or not isinstance(alpha, Real) or not 0.0 <= float(alpha) <= 1.0:
        raise ArgumentError(
            f"{where}, alpha", "out of range", expected="0 to 1", got=repr(alpha), remedy="Stay within it"
        )
    along = rows_of(x.shape, axis, where)
    n, inner = along.n, along.inner
    out = call.output(x.shape, x.dtype)

    def record(chain: Chain, *slots: HostSlot) -> None:
        lanes = along.results
        params = [n, inner, lanes, float(alpha), 1.0 - float(alpha)]
        chain.dispatch(moving_average(x.dtype), slots, params, groups=-(-lanes // LANES))

    if x.size:
        call.run((where, x.dtype, x.size, n, inner, float(alpha)), record, x, out)
    return call.result(out)


def _convolve(where: str, a: Any, v: Any, mode: str, method: str, on: str | Device | None, *, reverse: bool) -> Any:
    _check_name(f"{where}, mode", mode, _MODES)
    _check_name(f"{where}, method", method, _METHODS)
    call = Call(where, on)
    x = call.input(a, "a", allowed=_TYPES, ndim=1)
    if not x.size:
        raise EmptyError(f"{where}, a", "no elements", expected="at least 1", got=0, remedy="Check for emptiness first")
    y = _second(call, v, "v", x.dtype)
    if method == "fft" and x.dtype not in (f32, f64):
        raise DTypeError(
            f"{where}, method", "fft takes floats", expected="f32 or f64", got=x.dtype, remedy="Use direct"
        )
    m, n = x.size, y.size
    kept = _kept(m, n, mode, reverse)
    out = call.output(kept[1], x.dtype)
    by_fft = method == "fft" or (method == "auto" and x.dtype in (f32, f64) and min(m, n) > _MOST_DIRECT)

    def record(chain: Chain, *slots: HostSlot) -> None:
        job = Signals(chain, chain.device, x.dtype, 1)
        if by_fft:
            record_spectra(job, slots, (m, n), kept, reverse=reverse)
        elif m >= n:
            record_direct(job, slots, (m, n), kept, reverse=not reverse)
        else:
            record_swapped(job, slots, (m, n), kept, reverse=reverse)

    call.run((where, x.dtype, m, n, mode, by_fft), record, x, y, out)
    return call.result(out)


def _check_name(where: str, given: str, known: tuple[str, ...]) -> None:
    if not isinstance(given, str) or given not in known:
        raise ArgumentError(where, f"{given!r} is not known", remedy=near_matches(str(given), known))


def _second(call: Call, data: Any, what: str, dtype: DType) -> Operand:
    """Return the second operand: one dimension, not empty, of the dtype of the first."""
    found = call.input(data, what, dtype=dtype, ndim=1)
    where = f"{call.name}, {what}"
    if found.dtype != dtype:
        raise DTypeError(where, "operands of different types", expected=dtype, got=found.dtype, remedy="Convert one")
    if not found.size:
        raise EmptyError(where, "no elements", expected="at least 1", got=0, remedy="Check for emptiness first")
    return found


def _kept(m: int, n: int, mode: str, reverse: bool) -> tuple[int, int]:
    """Return which of the m + n - 1 sums are kept: the first and how many (numpy's choice of the middle)."""
    long, short = max(m, n), min(m, n)
    if mode == "full":
        return 0, m + n - 1
    if mode == "valid":
        return short - 1, long - short + 1
    return (short // 2 if reverse and n > m else (short - 1) // 2), long
