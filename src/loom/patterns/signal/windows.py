"""Window functions and filter taps, computed on the host in exactly fixed steps.

Layer: patterns. Cosines are correctly rounded (``core.turns``); beside them only +, -, *, / and square roots of
float64 are used, and sums whose order is written down or which are rounded once. Invariant: the same bits on every
machine; float32 windows are float64 ones rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.arrays import read_as
from loom.core.dtype import FLOATS, DType, dtype_of, f32, f64
from loom.core.errors import ArgumentError, DTypeError, near_matches
from loom.core.given import flag
from loom.core.numbers import real, whole
from loom.core.turns import cos_sin_of_ratio, cos_sin_of_turns

__all__ = [
    "bartlett",
    "blackman",
    "blackman_harris",
    "boxcar",
    "firwin",
    "hamming",
    "hann",
    "kaiser",
    "make_window",
    "window",
]

Floats = np.ndarray[Any, Any]

_COSINE_SUMS = {
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "blackman_harris": (0.35875, 0.48829, 0.14128, 0.01168),
}
_NAMES = ("bartlett", "blackman", "blackman_harris", "boxcar", "hamming", "hann", "kaiser")
_PI = math.pi
_BESSEL_TERMS = 500
_LARGEST_BETA = 300.0
_USUAL_BETA = 14.0
_MOST_TAPS = 0xFFFF_FFFF


def hann(n: int, *, periodic: bool = False, dtype: DType = f32) -> Floats:
    """Return the Hann window 0.5 - 0.5 cos(2 pi k / (n - 1)) of ``n`` elements (over n if ``periodic``), f32 or f64.

    >>> hann(5).tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    return make_window("signal.hann", "hann", n, periodic=periodic, dtype=dtype)


def hamming(n: int, *, periodic: bool = False, dtype: DType = f32) -> Floats:
    """Return the Hamming window 0.54 - 0.46 cos(2 pi k / (n - 1)) of ``n`` elements (over n if ``periodic``).

    >>> hamming(3, dtype=f64).round(3).tolist()
    [0.08, 1.0, 0.08]
    """
    return make_window("signal.hamming", "hamming", n, periodic=periodic, dtype=dtype)


def blackman(n: int, *, periodic: bool = False, dtype: DType = f32) -> Floats:
    """Return the Blackman window 0.42 - 0.5 cos t + 0.08 cos 2 t, t = 2 pi k / (n - 1) (over n if ``periodic``).

    >>> blackman(3)[1].item()
    1.0
    """
    return make_window("signal.blackman", "blackman", n, periodic=periodic, dtype=dtype)


def blackman_harris(n: int, *, periodic: bool = False, dtype: DType = f32) -> Floats:
    """Return the Blackman-Harris window of four terms, of ``n`` elements.

    >>> blackman_harris(3)[1].item()
    1.0
    """
    return make_window("signal.blackman_harris", "blackman_harris", n, periodic=periodic, dtype=dtype)


def bartlett(n: int, *, periodic: bool = False, dtype: DType = f32) -> Floats:
    """Return the triangle that is zero at both ends, of ``n`` elements.

    >>> bartlett(5).tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    return make_window("signal.bartlett", "bartlett", n, periodic=periodic, dtype=dtype)


def boxcar(n: int, *, periodic: bool = False, dtype: DType = f32) -> Floats:
    """Return ``n`` ones.

    >>> boxcar(2).tolist()
    [1.0, 1.0]
    """
    return make_window("signal.boxcar", "boxcar", n, periodic=periodic, dtype=dtype)


def kaiser(n: int, beta: float, *, periodic: bool = False, dtype: DType = f32) -> Floats:
    """Return the Kaiser window I0(beta sqrt(1 - (2 k / (n - 1) - 1)^2)) / I0(beta); ``beta`` from 0 to 300.

    I0 is summed as its power series, whose terms are positive, in float64.

    >>> kaiser(3, 0.0).tolist()
    [1.0, 1.0, 1.0]
    """
    beta = _beta("signal.kaiser", beta)
    return make_window("signal.kaiser", "kaiser", n, periodic=periodic, beta=beta, dtype=dtype)


def _beta(where: str, beta: object) -> float:
    found = real(beta, f"{where}, beta")
    if not 0.0 <= found <= _LARGEST_BETA:
        raise ArgumentError(
            f"{where}, beta", "out of range", expected=f"0 to {_LARGEST_BETA:g}", got=beta, remedy="Stay within it"
        )
    return float(found)


def window(name: str, n: int, *, periodic: bool = False, beta: float | None = None, dtype: DType = f32) -> Floats:
    """Return the window called ``name`` as a numpy array; ``beta`` is Kaiser's (14 if left out).

    "bartlett", "blackman", "blackman_harris", "boxcar", "hamming", "hann" or "kaiser"; symmetric for filters, or
    ``periodic`` for spectra. No elements for n = 0, a one for n = 1. Raises ArgumentError or DTypeError.

    >>> window("hann", 4, periodic=True).tolist()
    [0.0, 0.5, 1.0, 0.5]
    """
    return make_window("signal.window", name, n, periodic=periodic, beta=beta, dtype=dtype)


def make_window(
    where: str,
    name: str,
    n: int,
    argument: str = "name",
    *,
    periodic: bool = False,
    beta: float | None = None,
    dtype: DType = f32,
) -> Floats:
    """Return a window as ``window`` does; errors name ``where``, and ``argument`` if there is no such window."""
    if not isinstance(name, str) or name not in _NAMES:
        raise ArgumentError(
            f"{where}, {argument}", f"no window is called {name!r}", remedy=near_matches(str(name), _NAMES)
        )
    if name == "kaiser":
        told = _USUAL_BETA if beta is None else _beta(where, beta)
        return _cut(where, n, periodic, dtype, lambda m: _kaiser(m, told))
    if beta is not None:
        raise ArgumentError(f"{where}, beta", f"a {name} window has none", expected="the name 'kaiser'", got=beta,
                            remedy="Leave beta out")  # fmt: skip
    if name == "boxcar":
        return _cut(where, n, periodic, dtype, np.ones)
    if name == "bartlett":
        return _cut(where, n, periodic, dtype, _bartlett)
    return _cut(where, n, periodic, dtype, lambda m: _cosine_sum(m, _COSINE_SUMS[name]))


@ordinary_arithmetic()
def _cut(where: str, n: int, periodic: bool, dtype: DType, make: Callable[[int], Floats]) -> Floats:
    """Return a window; a periodic one is the symmetric one of one element more, without its last."""
    try:
        n = whole(n, f"{where}, n", least=0, most=_MOST_TAPS)
    except ArgumentError:
        raise ArgumentError(
            f"{where}, n", "not a number of elements", expected="an int of at least 0", got=repr(n), remedy="Pass one"
        ) from None
    periodic = flag(periodic, f"{where}, periodic")
    dtype = dtype_of(dtype, f"{where}, dtype")
    if dtype not in FLOATS:
        raise DTypeError(
            f"{where}, dtype", "unsupported dtype", expected="f32 or f64", got=dtype, remedy="Convert the window"
        )
    if n <= 1:
        return np.ones(n, dtype.numpy)
    try:
        return make(int(n) + 1)[:-1].astype(dtype.numpy) if periodic else make(int(n)).astype(dtype.numpy)
    except MemoryError:
        raise ArgumentError(
            f"{where}, n", "more elements than there is memory for", got=n, remedy="Take fewer"
        ) from None


def _cosine_sum(n: int, coefficients: Sequence[float]) -> Floats:
    """Return a0 - a1 cos t + a2 cos 2 t - ..., terms added from left to right; symmetric by construction."""
    half = np.arange((n + 1) // 2)
    total = np.full(half.size, coefficients[0])
    for k, coefficient in enumerate(coefficients[1:], start=1):
        term = coefficient * cos_sin_of_ratio(half * k, n - 1)[0]
        total = total - term if k % 2 else total + term
    return _mirror(total, n)


def _bartlett(n: int) -> Floats:
    return _mirror(2.0 * np.arange((n + 1) // 2) / (n - 1), n)


def _kaiser(n: int, beta: float) -> Floats:
    half = np.arange((n + 1) // 2)
    # 1 - (2 k / (n - 1) - 1)^2 without its cancellation
    inside = (4.0 * half * (n - 1 - half)) / (float(n - 1) * float(n - 1))
    return _mirror(_bessel_i0(beta * np.sqrt(inside)) / _bessel_i0(np.array([beta])), n)


def _bessel_i0(x: Floats) -> Floats:
    """Return I0: the sum over k of ((x / 2)^k / k!)^2, terms ascending."""
    square = x * x * 0.25
    total, term = np.ones_like(x), np.ones_like(x)
    for k in range(1, _BESSEL_TERMS):
        term = term * (square / float(k * k))
        total = total + term
    return total


def _mirror(half: Floats, n: int) -> Floats:
    return np.concatenate([half, half[: n // 2][::-1]])


@ordinary_arithmetic()
def firwin(
    numtaps: int,
    cutoff: float | Sequence[float],
    *,
    kind: str = "hamming",
    beta: float | None = None,
    pass_zero: bool = True,
    fs: float = 2.0,
    dtype: DType = f32,
) -> Floats:
    """Return the taps of a linear-phase filter by the window method, for ``fir_filter``.

    ``cutoff``: one frequency, or ascending ones between 0 and ``fs`` / 2 where the filter turns from passing to
    stopping or back; ``pass_zero``: whether it passes frequency 0. ``kind`` names the window, ``beta`` is Kaiser's.
    The gain is 1 in the middle of the first passband. A filter that passes fs / 2 needs an odd ``numtaps``.
    Raises ArgumentError. The definition is that of ``scipy.signal.firwin``.

    >>> firwin(3, 0.5, kind="boxcar", dtype=f64).round(3).tolist()
    [0.28, 0.44, 0.28]
    """
    where = "signal.firwin"
    wanted = dtype_of(dtype, f"{where}, dtype")
    if wanted not in FLOATS:
        raise DTypeError(f"{where}, dtype", "unsupported dtype", expected="f32 or f64", got=wanted,
                         remedy="Convert the taps")  # fmt: skip
    numtaps = whole(numtaps, f"{where}, numtaps", least=1, most=_MOST_TAPS)
    fs = real(fs, f"{where}, fs")
    pass_zero = flag(pass_zero, f"{where}, pass_zero")
    edges = _edges(where, cutoff, fs, pass_zero=pass_zero)
    shape = make_window(where, kind, numtaps, "kind", beta=beta, dtype=f64)
    if numtaps < 1 or (edges[-1] == 1.0 and numtaps % 2 == 0):
        raise ArgumentError(
            f"{where}, numtaps", "cannot pass half the sampling rate", expected="an odd number", got=numtaps,
            remedy="Add a tap",
        )  # fmt: skip
    doubled = 2.0 * np.arange(numtaps) - (numtaps - 1)  # twice the distance from the middle
    taps = np.zeros(numtaps)
    for left, right in zip(edges[::2], edges[1::2], strict=True):
        taps = taps + (_low_pass(right, doubled) - _low_pass(left, doubled))
    taps = taps * shape
    middle = 0.0 if edges[0] == 0.0 else 1.0 if edges[1] == 1.0 else (edges[0] + edges[1]) / 2
    gain = math.fsum(taps * cos_sin_of_turns(doubled * middle / 4)[0])
    return (taps / gain).astype(wanted.numpy)


def _edges(where: str, cutoff: Any, fs: float, *, pass_zero: bool) -> list[float]:
    """Return the passbands as pairs of frequencies, 1 being half the sampling rate."""
    given = read_as(cutoff, f64, f"{where}, cutoff").reshape(-1).tolist()
    cuts = [float(c) / (float(fs) / 2) for c in given] if fs > 0 else []
    inside = all(0.0 < c < 1.0 for c in cuts) and cuts == sorted(set(cuts))
    if not cuts or not inside:
        raise ArgumentError(
            f"{where}, cutoff", "unusable frequencies", expected=f"ascending ones between 0 and {fs / 2:g}",
            got=cutoff, remedy="Give them in the unit of fs",
        )  # fmt: skip
    edges = [0.0, *cuts] if pass_zero else cuts
    return [*edges, 1.0] if len(edges) % 2 else edges


def _low_pass(edge: float, doubled: Floats) -> Floats:
    """Return edge sinc(edge m), m half of ``doubled``."""
    sine = cos_sin_of_turns(edge * doubled / 4)[1]
    middle = doubled == 0
    return np.where(middle, edge, sine / np.where(middle, 1.0, _PI * (doubled / 2)))
