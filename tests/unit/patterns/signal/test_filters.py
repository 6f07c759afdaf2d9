"""Recursive filters, spectra, and what is seen in signals. Oracle: scipy.signal, and the same bits on every device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.signal as reference

import loom
from loom import signal
from loom.core.errors import LoomError

BANDS: dict[str, Any] = {"lowpass": 0.2, "highpass": 0.3, "bandpass": [0.2, 0.5], "bandstop": [0.2, 0.6]}


def noise(*shape: int, dtype: str = "f8", seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def relative(found: Any, expected: Any) -> float:
    assert np.shape(found) == np.shape(expected)
    return float(np.abs(np.asarray(found) - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("order", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("band", BANDS)
def test_butterworth(order: int, band: str) -> None:
    b, a = signal.butter(order, BANDS[band], band)
    wanted = reference.butter(order, BANDS[band], band)
    assert relative(b, wanted[0]) < 1e-14
    assert relative(a, wanted[1]) < 1e-14
    at = np.linspace(0.01, 3.1, 50)
    sections = signal.butter(order, BANDS[band], band, output="sos")
    assert relative(reference.sosfreqz(sections, at)[1], reference.freqz(*wanted, at)[1]) < 1e-10
    hertz = [50 * f for f in np.atleast_1d(BANDS[band])]
    assert np.array_equal(signal.butter(order, hertz, band, rate=100.0)[0], b)


@pytest.mark.parametrize("cutoff", [1e-6, 0.1, 0.3, 0.5, 0.7, 0.999999])
def test_the_numbers_of_butterworth_are_the_nearest_ones(cutoff: float) -> None:
    """Of order 2 in closed form, with 50 digits of mpmath: every number is correctly rounded, so the same anywhere."""
    with mpmath.workdps(50):
        k = mpmath.tan(mpmath.pi * mpmath.mpf(cutoff) / 2)
        scale = 1 + mpmath.sqrt(2) * k + k * k
        below = [mpmath.mpf(1), 2 * (k * k - 1) / scale, (1 - mpmath.sqrt(2) * k + k * k) / scale]
        low, high = k * k / scale, 1 / scale
        wanted = [[float(0 if abs(x) < 1e-30 else x) for x in side] for side in (
            below, (low, 2 * low, low), (high, -2 * high, high))]  # fmt: skip
    b, a = signal.butter(2, cutoff)
    assert (a.tolist(), b.tolist()) == (wanted[0], wanted[1])
    b, a = signal.butter(2, cutoff, "highpass")
    assert (a.tolist(), b.tolist()) == (wanted[0], wanted[2])


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_filters_step_as_scipy_does(on: str, axis: int) -> None:
    x, (b, a) = noise(4, 40, 3), reference.butter(3, 0.3)
    assert np.array_equal(signal.lfilter(b, a, x, axis=axis, on=on), reference.lfilter(b, a, x, axis=axis))
    rows = x.astype("f4")
    found = signal.lfilter([0.5], [2.0], rows, axis=axis, on=on)
    assert found.dtype == np.float32
    assert np.array_equal(found, rows / 4)


def test_sections_and_both_ways() -> None:
    x, sos = noise(3, 200), reference.butter(6, 0.3, output="sos")
    assert relative(signal.sosfilt(sos, x), reference.sosfilt(sos, x)) < 1e-14
    b, a = reference.butter(4, 0.2)
    assert relative(signal.filtfilt(b, a, x), reference.filtfilt(b, a, x)) < 1e-13
    assert (
        relative(signal.filtfilt([1.0, 1.0], [2.0], x.T, axis=0), reference.filtfilt([1.0, 1.0], [2.0], x.T, axis=0))
        < 1e-13
    )
    kept = loom.array(x)
    assert isinstance(signal.lfilter(b, a, kept), loom.Array)
    assert np.array_equal(signal.lfilter(b, a, kept).numpy(), signal.lfilter(b, a, x))


def test_spectra() -> None:
    x = noise(2, 1000) + 3
    assert relative(signal.detrend(x), reference.detrend(x)) < 1e-14
    assert relative(signal.detrend(x, "constant"), reference.detrend(x, type="constant")) < 1e-14
    f, power, _ = signal.periodogram(x, 50.0)
    wanted = reference.periodogram(x, 50.0)
    assert np.array_equal(f, wanted[0])
    assert relative(power, wanted[1]) < 1e-13
    for scaling, size in (("density", 101), ("spectrum", 64)):
        f, power, _ = signal.welch(x, 50.0, segment=size, scaling=scaling)
        assert relative(power, reference.welch(x, 50.0, nperseg=size, scaling=scaling)[1]) < 1e-13
    found = signal.spectrogram(x, 50.0, segment=64)
    f, t, power = reference.spectrogram(x, 50.0, window="hann", nperseg=64)
    assert np.array_equal(found.times, t)
    assert relative(found.power, power) < 1e-13
    for size in (1000, 999):
        assert relative(signal.hilbert(x[:, :size]), reference.hilbert(x[:, :size])) < 1e-13


@pytest.mark.parametrize(("segment", "step"), [(64, None), (100, 30), (7, 3), (1, 1)])
def test_a_signal_comes_back_from_its_segments(segment: int, step: int | None) -> None:
    x = noise(2, 313)
    window = "boxcar" if segment == 1 else "hamming"
    parts = signal.stft(x, segment=segment, step=step, window=window)
    assert relative(signal.istft(parts, 313, segment=segment, step=step, window=window), x) < 1e-13


def test_peaks() -> None:
    for n in range(120):
        x = noise(60, seed=n)
        options: dict[str, Any] = {}
        options |= {"height": 0.3} if n % 4 == 1 else {}
        options |= {"distance": 1 + n % 7} if n % 5 == 2 else {}
        options |= {"prominence": 1.0} if n % 3 == 1 else {}
        assert signal.find_peaks(x, **options).tolist() == reference.find_peaks(x, **options)[0].tolist()
    for n in range(60):
        flat = np.round(noise(1 + n, seed=n))
        assert signal.find_peaks(flat).tolist() == reference.find_peaks(flat)[0].tolist()


def test_medians_and_polynomials(on: str) -> None:
    x = noise(3, 51)
    assert np.array_equal(signal.medfilt(x, 5, on=on)[1], reference.medfilt(x[1], 5))
    for window, order, deriv in ((5, 2, 0), (11, 3, 1), (7, 0, 0), (9, 4, 2), (1, 0, 0), (51, 5, 0)):
        found = signal.savgol_filter(x, window, order, deriv, delta=0.5, on=on)
        assert relative(found, reference.savgol_filter(x, window, order, deriv, delta=0.5)) < 1e-11  # its least squares


@pytest.mark.parametrize("size", [1, 50, 51, 101, 150, 151, 202])
def test_other_rates(size: int) -> None:
    x = noise(3, 101)
    for given in (x, x[:, :100], x + 1j * x[::-1], (x + 1j * x[::-1])[:, :100]):
        assert relative(signal.resample(given, size), reference.resample(given, size, axis=-1)) < 1e-13


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "zero leads": (lambda: signal.lfilter([1.0], [0.0, 1.0], [1.0]), r"lfilter, a\] the first number is zero"),
    "no numbers": (lambda: signal.lfilter([], [1.0], [1.0]), r"lfilter, b\] not a filter's numbers"),
    "no sections": (lambda: signal.sosfilt([1.0], [1.0]), r"not sections: expected \(n, 6\)"),
    "short": (lambda: signal.filtfilt([1.0, 1.0], [1.0], [1.0] * 6), "expected more than 6 elements, got 6"),
    "no band": (lambda: signal.butter(2, 0.2, "lowpas"), "Did you mean 'lowpass'"),
    "an edge too many": (lambda: signal.butter(2, [0.2, 0.3]), "unusable frequencies: expected 1 between 0 and 1.0"),
    "beyond the rate": (lambda: signal.butter(2, 60.0, rate=100.0), r"expected 1 between 0 and 50.0"),
    "half the rate": (lambda: signal.butter(2, 50.0, rate=100.0), r"expected 1 between 0 and 50.0"),
    "a step too far": (lambda: signal.stft([1.0] * 9, segment=4, step=5), "leave elements out: expected at most 4"),
    "no step": (lambda: signal.welch([1.0] * 9, segment=4, overlap=4), "segments would not move on"),
    "unknown scaling": (lambda: signal.welch([1.0], scaling="densty"), "Did you mean 'density'"),
    "other segments": (lambda: signal.istft(np.ones((3, 5), "c16"), 9, segment=9 + 1), "not what stft gives"),
    "an even window": (lambda: signal.medfilt([1.0, 2.0], 4), "no middle: expected an odd number, got 4. Pass 5"),
    "too high an order": (lambda: signal.savgol_filter([1.0] * 9, 5, 5), "unusable: expected odd, above the order"),
    "two rows": (lambda: signal.find_peaks(np.ones((2, 3))), "not a series"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_misuse_is_told(what: str) -> None:
    call, said = WRONG[what]
    with pytest.raises(LoomError, match=said):
        call()
