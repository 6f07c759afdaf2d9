"""What is seen in a signal, and signals at other rates: ``find_peaks``, ``medfilt``, ``savgol_filter``, ``resample``.

Layer: patterns. Invariant: the same signal gives the same bits on every device.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError, ShapeError
from loom.core.numbers import real, whole
from loom.patterns.given import as_given, read_rows
from loom.patterns.signal.convolve import fir_filter
from loom.patterns.signal.fft import fft, ifft, irfft, rfft
from loom.patterns.sort import gpu_sort
from loom.runtime.port.device import Device
from loom.tensor import Tensor

__all__ = ["find_peaks", "medfilt", "resample", "savgol_filter"]


def find_peaks(data: Any, *, height: float | None = None, distance: int = 1, prominence: float | None = None) -> Any:
    """Return the places (int64) of the peaks of a series of f32 or f64: elements above both neighbours.

    Of a level top the one in the middle. ``height``: the least value; ``distance``: the least number of elements
    between two, of which the lower (the earlier, of equal ones) is left out; ``prominence``: the least height above the
    higher of the two valleys that part it from higher ones. In that order, as in scipy.

    >>> find_peaks([0.0, 1.0, 0.0, 2.0, 2.0, 2.0, 1.0]).tolist()
    [1, 4]
    """
    where = "signal.find_peaks"
    x = read_rows(where, data, None)
    if x.ndim != 1:
        raise ShapeError(where, "not a series", expected="one dimension", got=x.shape, remedy="Pass one row")
    found = _tops(x)
    if height is not None:
        found = found[x[found] >= real(height, f"{where}, height")]
    apart = whole(distance, f"{where}, distance", least=1)
    if apart > 1:
        found = _far_apart(x, found, apart)
    if prominence is not None:
        least = real(prominence, f"{where}, prominence")
        found = np.array([k for k in found.tolist() if _prominence(x, k) >= least], np.int64)
    return as_given(data, found)


def _tops(x: Any) -> Any:
    """Return the middles of the runs of equal elements that are above what is on both sides."""
    if x.size < 3:
        return np.zeros(0, np.int64)
    starts = np.flatnonzero(np.concatenate([[True], x[1:] != x[:-1]]))
    ends = np.concatenate([starts[1:], [x.size]]) - 1
    inside = (starts > 0) & (ends < x.size - 1)
    starts, ends = starts[inside], ends[inside]
    above = (x[starts - 1] < x[starts]) & (x[ends + 1] < x[ends])
    return ((starts + ends) // 2)[above].astype(np.int64)


def _far_apart(x: Any, found: Any, apart: int) -> Any:
    keep = np.ones(len(found), bool)
    for k in np.argsort(x[found], kind="stable")[::-1].tolist():
        if keep[k]:
            near = np.abs(found - found[k]) < apart
            keep &= ~near
            keep[k] = True
    return found[keep]


def _prominence(x: Any, at: int) -> float:
    valleys: list[float] = []
    for side in (x[at::-1], x[at:]):
        higher = np.flatnonzero(side > x[at])
        valleys.append(side[: int(higher[0]) if len(higher) else len(side)].min())
    return float(x[at] - max(valleys))


def medfilt(data: Any, size: int = 3, *, on: str | Device | None = None) -> Any:
    """Return the median of the ``size`` (odd) elements around each of a signal (..., n); beyond the ends are zeros.

    >>> medfilt([2.0, 80.0, 6.0, 3.0]).tolist()
    [2.0, 6.0, 6.0, 3.0]
    """
    where = "signal.medfilt"
    x = read_rows(where, data, on)
    wide = whole(size, f"{where}, size", least=1)
    if wide % 2 == 0:
        raise ArgumentError(
            f"{where}, size", "no middle", expected="an odd number", got=wide, remedy=f"Pass {wide + 1}"
        )
    half = wide // 2
    around = np.lib.stride_tricks.sliding_window_view(
        np.pad(x, [(0, 0)] * (x.ndim - 1) + [(half, half)]), wide, axis=-1
    )
    return as_given(data, np.ascontiguousarray(np.asarray(gpu_sort(around, on=on))[..., half]))


def savgol_filter(data: Any, window: int, order: int, deriv: int = 0, *, delta: float = 1.0,
                  on: str | Device | None = None) -> Any:  # fmt: skip
    """Return a signal (..., n) smoothed by polynomials of ``order`` fitted to every ``window`` (odd) elements.

    Or their derivative of order ``deriv``, samples being ``delta`` apart (A. Savitzky, M. Golay, 1964). The weights are
    worked out in fractions and rounded once; near the ends the polynomial of the first or last window is used.

    >>> savgol_filter([0.0, 1.0, 4.0, 9.0, 16.0], 5, 2).round(6).tolist()
    [0.0, 1.0, 4.0, 9.0, 16.0]
    """
    where = "signal.savgol_filter"
    x = read_rows(where, data, on)
    size, degree, times = (whole(n, f"{where}, {name}", least=0) for name, n in
                           (("window", window), ("order", order), ("deriv", deriv)))  # fmt: skip
    if size % 2 == 0 or not degree < size <= x.shape[-1]:
        raise ArgumentError(f"{where}, window", "unusable", expected=f"odd, above the order, at most {x.shape[-1]}",
                            got=size, remedy="Pass another window or order")  # fmt: skip
    apart = real(delta, f"{where}, delta")
    if apart == 0:
        raise ArgumentError(f"{where}, delta", "out of range", expected="any number but 0", got=delta,
                            remedy="Pass how far samples are apart")  # fmt: skip
    scale = 1.0 / apart**times
    half = size // 2
    rows = np.array([[float(w) * scale for w in row] for row in _weights(size, degree, times)]).astype(x.dtype)
    inner = np.asarray(fir_filter(x, np.ascontiguousarray(rows[half][::-1]), on=on))[..., size - 1 :]
    ends = [
        np.stack([np.asarray(fir_filter(part, np.ascontiguousarray(row[::-1]), on=on))[..., -1] for row in some], -1)
        for part, some in ((x[..., :size], rows[:half]), (x[..., -size:], rows[half + 1 :])) if half
    ]  # fmt: skip
    return as_given(data, np.concatenate([ends[0], inner, ends[1]], -1) if half else inner)


def _weights(size: int, degree: int, times: int) -> list[list[Fraction]]:
    """Return, for each place of a window, the weights of its elements in the fitted polynomial's derivative there."""
    places = range(-(size // 2), size // 2 + 1)
    basis: list[list[Fraction]] = []  # orthogonal polynomials, as their values; and as coefficients
    made: list[list[Fraction]] = []
    for power in range(degree + 1):
        coefficients = [Fraction(int(k == power)) for k in range(degree + 1)]
        values = [Fraction(p) ** power for p in places]
        for other, of in zip(basis, made, strict=True):
            share = sum((a * b for a, b in zip(values, other, strict=True)), Fraction()) / sum(b * b for b in other)
            values = [a - share * b for a, b in zip(values, other, strict=True)]
            coefficients = [a - share * b for a, b in zip(coefficients, of, strict=True)]
        basis.append(values)
        made.append(coefficients)
    found: list[list[Fraction]] = []
    for place in places:
        row = [Fraction()] * size
        for values, coefficients in zip(basis, made, strict=True):
            here = _derivative(coefficients, times, place) / sum(v * v for v in values)
            row = [r + here * v for r, v in zip(row, values, strict=True)]
        found.append(row)
    return found


def _derivative(coefficients: list[Fraction], times: int, place: int) -> Fraction:
    for _ in range(times):
        coefficients = [k * c for k, c in enumerate(coefficients)][1:]
    return sum((c * Fraction(place) ** k for k, c in enumerate(coefficients)), Fraction())


def resample(data: Any, size: int, *, on: str | Device | None = None) -> Any:
    """Return a periodic signal (..., n), real or complex, as ``size`` elements, through its Fourier transform.

    >>> resample([1.0, 0.0, -1.0, 0.0], 8)[:5:2].round(3).tolist()
    [1.0, 0.0, -1.0]
    """
    where = "signal.resample"
    number = whole(size, f"{where}, size", least=1)
    given: Any = data.numpy() if isinstance(data, Tensor) else np.asarray(data)
    x = given if given.dtype.kind == "c" else read_rows(where, data, on)
    n, kept = x.shape[-1], min(number, x.shape[-1])
    if x.dtype.kind == "c":
        return as_given(data, ifft(_resize_spectrum(fft(x, on=on), n, number) * (number / n), on=on).astype(x.dtype))
    found = rfft(x, on=on)
    out = np.zeros((*x.shape[:-1], number // 2 + 1), found.dtype)
    out[..., : kept // 2 + 1] = found[..., : kept // 2 + 1]
    if kept % 2 == 0 and n != number:
        out[..., kept // 2] *= 2.0 if number < n else 0.5
    return as_given(data, np.asarray(irfft(out, number, on=on)) * x.dtype.type(number / n))


def _resize_spectrum(found: Any, n: int, number: int) -> Any:
    kept = min(n, number)
    out = np.zeros((*found.shape[:-1], number), found.dtype)
    out[..., : (kept + 1) // 2] = found[..., : (kept + 1) // 2]
    out[..., number - (kept - 1) // 2 :] = found[..., n - (kept - 1) // 2 :]
    if kept % 2 == 0:
        half = found[..., kept // 2] if number >= n else found[..., kept // 2] + found[..., n - kept // 2]
        if number > n:
            half = half * 0.5
            out[..., number - kept // 2] = half
        out[..., kept // 2] = half
    return out
