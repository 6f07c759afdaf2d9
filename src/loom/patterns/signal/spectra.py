"""Spectra over time: ``stft``, ``istft``, ``spectrogram``, ``periodogram``, ``welch``, ``hilbert``, ``detrend``.

Layer: patterns, over the transforms. Windows are those of ``windows``, sums and means canonical ones; what is done to
single elements is rounded once a step. Invariant: the same signal gives the same bits on every device.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import numpy as np

from loom.core.dtype import f64
from loom.core.errors import ArgumentError, ShapeError, near_matches
from loom.core.numbers import real, whole
from loom.patterns.given import as_given, read_rows
from loom.patterns.products import gpu_dot
from loom.patterns.reduce import gpu_sum
from loom.patterns.signal.fft import fft, ifft, irfft, rfft
from loom.patterns.signal.windows import make_window
from loom.patterns.stats.moments import mean
from loom.runtime.port.device import Device
from loom.tensor import Tensor

__all__ = ["Spectrum", "detrend", "hilbert", "istft", "periodogram", "spectrogram", "stft", "welch"]

_SCALINGS = ("density", "spectrum")
_TRENDS = ("constant", "linear")


class Spectrum(NamedTuple):
    """Frequencies, and the power at each, numpy's; of a ``spectrogram`` also the times of its columns."""

    frequencies: np.ndarray[Any, Any]
    power: np.ndarray[Any, Any]
    times: np.ndarray[Any, Any] | None = None


def detrend(data: Any, kind: str = "linear", *, on: str | Device | None = None) -> Any:
    """Return a real signal (..., n), f32 or f64, without its mean (``"constant"``) or its line of least squares.

    >>> detrend([1.0, 2.0, 3.0]).tolist()
    [0.0, 0.0, 0.0]
    """
    where = "signal.detrend"
    _require_trend(f"{where}, kind", kind)
    x = read_rows(where, data, on)
    return as_given(data, _detrend(x, kind, on))


def _require_trend(where: str, kind: object) -> None:
    if not isinstance(kind, str) or kind not in _TRENDS:
        raise ArgumentError(where, f"no trend is called {kind!r}", remedy=near_matches(str(kind), _TRENDS))


def _detrend(x: Any, kind: str, on: Any) -> Any:
    middle = np.asarray(mean(x, -1, on=on))[..., None]
    if kind == "constant" or x.shape[-1] < 2:
        return x - middle
    n = x.shape[-1]
    place = cast("Any", np.arange(n) - (n - 1) / 2).astype(x.dtype)
    slope = np.asarray(gpu_sum(x * place, axis=-1, on=on))[..., None] / x.dtype.type((n * (n * n - 1)) / 12)
    return (x - middle) - slope * place


def periodogram(data: Any, rate: float = 1.0, *, window: str = "boxcar", trend: str | None = "constant",
                scaling: str = "density", on: str | Device | None = None) -> Spectrum:  # fmt: skip
    """Return the power of a real signal (..., n) at n // 2 + 1 frequencies: one segment of ``welch``, all of it."""
    x = read_rows("signal.periodogram", data, on)
    return _average("signal.periodogram", x, rate, window, x.shape[-1], 0, trend, scaling, on)


def welch(data: Any, rate: float = 1.0, *, window: str = "hann", segment: int = 256, overlap: int | None = None,
          trend: str | None = "constant", scaling: str = "density",
          on: str | Device | None = None) -> Spectrum:  # fmt: skip
    """Return the power of a real signal (..., n), the mean over segments that overlap (P. D. Welch, 1967).

    ``segment`` elements each (all, if the signal is shorter), ``overlap`` of them shared (half, by default), each
    without its ``trend`` and times the window. ``scaling``: "density" (per hertz, ``rate`` samples a second) or
    "spectrum". The results are those of scipy's function of this name.
    """
    x = read_rows("signal.welch", data, on)
    size = min(whole(segment, "signal.welch, segment", least=1), x.shape[-1])
    shared = size // 2 if overlap is None else whole(overlap, "signal.welch, overlap", least=0)
    return _average("signal.welch", x, rate, window, size, shared, trend, scaling, on)


def spectrogram(data: Any, rate: float = 1.0, *, window: str = "hann", segment: int = 256, overlap: int | None = None,
                trend: str | None = "constant", scaling: str = "density",
                on: str | Device | None = None) -> Spectrum:  # fmt: skip
    """Return the power of every segment of a real signal: ``power`` (..., frequencies, times); else as ``welch``.

    By default segments share an eighth of their elements, as scipy's do.
    """
    where = "signal.spectrogram"
    x = read_rows(where, data, on)
    size = min(whole(segment, f"{where}, segment", least=1), x.shape[-1])
    shared = size // 8 if overlap is None else whole(overlap, f"{where}, overlap", least=0)
    frequencies, power = _powers(where, x, rate, window, size, shared, trend, scaling, on)
    step = size - shared
    times = cast("Any", np.arange(power.shape[-2]) * step + size / 2) / rate
    return Spectrum(frequencies, np.ascontiguousarray(np.swapaxes(power, -1, -2)), times)


def _average(
    where: str, x: Any, rate: float, window: str, size: int, shared: int, trend: Any, scaling: str, on: Any
) -> Spectrum:
    frequencies, power = _powers(where, x, rate, window, size, shared, trend, scaling, on)
    found = power[..., 0, :] if power.shape[-2] == 1 else np.asarray(mean(power, power.ndim - 2, on=on))
    return Spectrum(frequencies, found)


def _powers(
    where: str, x: Any, rate: float, window: str, size: int, shared: int, trend: Any, scaling: str, on: Any
) -> tuple[Any, Any]:
    """Return frequencies, and the power of every segment, (..., segments, frequencies)."""
    if not isinstance(scaling, str) or scaling not in _SCALINGS:
        raise ArgumentError(f"{where}, scaling", f"no scaling is called {scaling!r}",
                            remedy=near_matches(str(scaling), _SCALINGS))  # fmt: skip
    if trend is not None:
        _require_trend(f"{where}, trend", trend)
    rate = _rate(where, rate)
    taps = make_window(where, window, size, "window", periodic=True, dtype=f64)
    parts = _segments(where, x, size, shared)
    if trend is not None:
        parts = detrend(parts, trend, on=on)
    found = rfft(parts * taps.astype(x.dtype), on=on)
    power = found.real * found.real + found.imag * found.imag
    total = float(gpu_dot(taps, taps)) * rate if scaling == "density" else float(gpu_sum(taps)) ** 2
    scale = np.full(power.shape[-1], 2.0 / total)
    scale[0] = 1.0 / total
    if size % 2 == 0:
        scale[-1] = 1.0 / total
    return np.arange(size // 2 + 1) * (rate / size), power * scale.astype(power.dtype)


def stft(data: Any, *, window: str = "hann", segment: int = 256, step: int | None = None,
         on: str | Device | None = None) -> Any:  # fmt: skip
    """Return the transforms of a real signal's windowed segments: (..., segments, segment // 2 + 1) complex numbers.

    Segments begin every ``step`` elements (a quarter of ``segment`` by default); the signal is prolonged by zeros, half
    a segment at the beginning and enough at the end, so that ``istft`` gives it back.
    """
    where = "signal.stft"
    x = read_rows(where, data, on)
    size, hop = _sizes(where, segment, step)
    lead = size // 2
    count = -(-(x.shape[-1] + lead) // hop)
    tail = (count - 1) * hop + size - lead - x.shape[-1]
    wide = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(lead, max(0, tail))])
    taps = make_window(where, window, size, "window", periodic=True, dtype=f64).astype(x.dtype)
    return as_given(data, rfft(_segments(where, wide, size, size - hop) * taps, on=on))


def istft(data: Any, length: int, *, window: str = "hann", segment: int = 256, step: int | None = None,
          on: str | Device | None = None) -> Any:  # fmt: skip
    """Return the ``length`` elements of a signal from its ``stft`` (D. Griffin, J. Lim, 1984: least squares).

    Segments are multiplied by the window again and added in their order, and divided by the sum of its squares.
    ArgumentError where that sum is zero, so that elements cannot be known.
    """
    where = "signal.istft"
    size, hop = _sizes(where, segment, step)
    length = whole(length, f"{where}, length", least=0)
    found = data.numpy() if isinstance(data, Tensor) else np.asarray(data)
    if found.ndim < 2 or found.shape[-1] != size // 2 + 1:
        raise ShapeError(where, "not what stft gives", expected=f"(..., segments, {size // 2 + 1})", got=found.shape,
                         remedy="Pass the same segment=")  # fmt: skip
    parts = irfft(found, size, on=on)
    taps = make_window(where, window, size, "window", periodic=True, dtype=f64).astype(parts.dtype)
    whole_size = (parts.shape[-2] - 1) * hop + size
    total, weight = np.zeros((*parts.shape[:-2], whole_size), parts.dtype), np.zeros(whole_size, parts.dtype)
    for k in range(parts.shape[-2]):
        total[..., k * hop : k * hop + size] += parts[..., k, :] * taps
        weight[k * hop : k * hop + size] += taps * taps
    lead = size // 2
    total, weight = total[..., lead : lead + length], weight[lead : lead + length]
    if len(weight) < length or (weight <= 0).any():
        raise ArgumentError(where, "some elements are in no segment", expected="segments that overlap, up to length",
                            got=f"length {length}", remedy="Pass the window, segment and step of stft")  # fmt: skip
    return as_given(data, total / weight)


def hilbert(data: Any, *, on: str | Device | None = None) -> Any:
    """Return the analytic signal of a real one (..., n): complex, its parts of negative frequency left out.

    Its absolute value is the envelope (S. L. Marple, 1999).

    >>> hilbert([1.0, 0.0, -1.0, 0.0]).imag.tolist()
    [0.0, 1.0, 0.0, -1.0]
    """
    x = read_rows("signal.hilbert", data, on)
    n = x.shape[-1]
    keep = np.zeros(n, x.dtype)
    keep[0] = 1
    keep[1 : (n + 1) // 2] = 2
    if n % 2 == 0:
        keep[n // 2] = 1
    return as_given(data, ifft(fft(x, on=on) * keep, on=on))


def _rate(where: str, rate: float) -> float:
    found = real(rate, f"{where}, rate")
    if not 0 < found < math.inf:
        raise ArgumentError(
            f"{where}, rate", "out of range", expected="above 0", got=rate, remedy="Pass samples a second"
        )
    return float(found)


def _sizes(where: str, segment: Any, step: Any) -> tuple[int, int]:
    size = whole(segment, f"{where}, segment", least=1)
    hop = max(1, size // 4) if step is None else whole(step, f"{where}, step", least=1)
    if hop > size:
        raise ArgumentError(f"{where}, step", "segments would leave elements out", expected=f"at most {size}", got=hop,
                            remedy="Pass a smaller step")  # fmt: skip
    return size, hop


def _segments(where: str, x: Any, size: int, shared: int) -> Any:
    """Return all segments that fit wholly, (..., segments, size)."""
    if shared >= size:
        raise ArgumentError(f"{where}, overlap", "segments would not move on", expected=f"less than {size}", got=shared,
                            remedy="Pass a smaller overlap")  # fmt: skip
    return np.lib.stride_tricks.sliding_window_view(x, size, axis=-1)[..., :: size - shared, :]
