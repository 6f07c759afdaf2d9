"""Windows and filter taps against scipy, and cosines of windows against mpmath.

Tolerances: scipy's windows use the host's libm, an ulp or two of cosines of size 1; its Kaiser window errs by some
hundred eps where beta is large.
"""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.signal

import loom
from loom.core.dtype import f32, f64, i32
from loom.core.errors import ArgumentError, DTypeError
from loom.patterns import signal

NAMES = ("bartlett", "blackman", "blackman_harris", "boxcar", "hamming", "hann")


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_windows_are_scipys(name: str, periodic: bool) -> None:
    theirs = getattr(scipy.signal.windows, name.replace("_", ""))
    for n in (1, 2, 3, 4, 5, 64, 255, 256, 257, 65_537):
        found = getattr(signal, name)(n, periodic=periodic, dtype=f64)
        assert found.shape == (n,)
        assert abs(found - theirs(n, sym=not periodic)).max() < 1e-15, n
        assert np.array_equal(signal.window(name, n, periodic=periodic), found.astype(np.float32))
        whole = signal.window(name, n + 1, dtype=f64)
        assert np.array_equal(whole, whole[::-1])


@pytest.mark.parametrize("beta", [0.0, 1.0, 8.6, 14.0, 100.0])
def test_kaiser(beta: float) -> None:
    for n in (1, 2, 3, 64, 257):
        found = signal.kaiser(n, beta, dtype=f64)
        assert (abs(found / scipy.signal.windows.kaiser(n, beta) - 1)).max() < 1e-13
        assert np.array_equal(signal.window("kaiser", n, beta=beta), found.astype(np.float32))


def test_cosines_are_correctly_rounded() -> None:
    found = signal.hann(1001, dtype=f64)
    with mpmath.workprec(200):
        cosines = [mpmath.cos(2 * mpmath.pi * k / 1000) for k in range(501)]
    rounded = np.array([0.5 * float(c) for c in cosines])
    rounded[250] = 0.0  # a quarter of a turn
    assert np.array_equal(found[:501], 0.5 - rounded)


@pytest.mark.parametrize(
    ("numtaps", "cutoff", "options"),
    [
        (31, 0.3, {}),
        (30, 0.3, {}),
        (31, [0.2, 0.5], {"pass_zero": False}),
        (31, [0.2, 0.5], {}),
        (51, [0.1, 0.3, 0.6], {}),
        (31, 0.4, {"pass_zero": False}),
        (63, 1000.0, {"fs": 8000.0}),
        (1, 0.5, {}),
    ],
)
def test_taps_are_scipys(numtaps: int, cutoff: Any, options: dict[str, Any]) -> None:
    found = signal.firwin(numtaps, cutoff, dtype=f64, **options)
    assert abs(found - scipy.signal.firwin(numtaps, cutoff, **options)).max() < 1e-15
    kaiser = signal.firwin(numtaps, cutoff, kind="kaiser", beta=5.0, dtype=f64, **options)
    options["window"] = ("kaiser", 5.0)
    assert abs(kaiser - scipy.signal.firwin(numtaps, cutoff, **options)).max() < 1e-15


def test_dtypes_and_ends() -> None:
    assert loom.signal.hann(0).shape == (0,)
    assert loom.signal.hann(1).tolist() == [1.0]
    assert loom.signal.hann(5).dtype == np.float32
    assert signal.hann(5, dtype=f32).tolist() == [0.0, 0.5, 1.0, 0.5, 0.0]


def test_errors() -> None:
    with pytest.raises(ArgumentError, match=r"\[signal.window, name\] no window is called 'han'. Did you mean 'hann'"):
        signal.window("han", 4)
    with pytest.raises(
        ArgumentError, match=r"\[signal.hann, n\] not a number of elements: expected an int of at least 0"
    ):
        signal.hann(-1)
    with pytest.raises(DTypeError, match=r"\[signal.hann, dtype\] unsupported dtype: expected f32 or f64, got i32"):
        signal.hann(4, dtype=i32)
    with pytest.raises(ArgumentError, match=r"\[signal.kaiser, beta\] out of range: expected 0 to 300, got -1"):
        signal.kaiser(4, -1)
    with pytest.raises(ArgumentError, match=r"\[signal.firwin, cutoff\] unusable frequencies: expected ascending ones"):
        signal.firwin(4, [0.5, 0.2])
    with pytest.raises(ArgumentError, match=r"\[signal.firwin, numtaps\] cannot pass half the sampling rate"):
        signal.firwin(4, 0.5, pass_zero=False)
