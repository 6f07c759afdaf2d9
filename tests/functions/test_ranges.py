"""Functions of ``tensor.special`` over every exponent: no step between leaves the numbers before the result does.

Oracle: mpmath, at 60 digits. The bars are those of docs/guide/tensors.md, of f64 twice those of f32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import scipy.special

from deferred import functions_of
from loom import tensor
from loom.tensor import special

Array = np.ndarray[Any, Any]
exact, peer = functions_of(mp), functions_of(scipy.special)


def _ndtr(x: Any) -> Any:
    upper = mp.erfc(min(abs(x), 1e6) / mp.sqrt(2)) / 2
    return upper if x < 0 else 1 - upper


def _log_ndtr(x: Any) -> Any:
    """Return it; below -10,000 by the first terms of the series of ndtr (DLMF 7.12.1)."""
    if x < -1e4:
        w = 1 / (x * x)
        return -x * x / 2 - mp.log(-x * mp.sqrt(2 * mp.pi)) + mp.log1p(-w + 3 * w * w - 15 * w**3 + 105 * w**4)
    return mp.log(_ndtr(x)) if x < 0 else mp.log1p(-_ndtr(-x))


def _ndtri(p: Any) -> Any:
    """Return the root of log ndtr(x) = log p by Newton's method, from scipy's."""
    log = mp.log(p)
    if p > 0.25:
        return mp.sqrt(2) * mp.erfinv(2 * p - 1)
    x = mp.mpf(float(peer.ndtri_exp(float(log))))
    for _ in range(5):
        chance = mp.erfc(-x / mp.sqrt(2)) / 2
        x -= (mp.log(chance) - log) * chance * mp.sqrt(2 * mp.pi) * mp.exp(x * x / 2)
    return x


def _scaled(order: int, x: Any) -> Any:
    """Return I(x) e^-|x|; from a million on by the first terms of Hankel's series (DLMF 10.40.1)."""
    size, m = abs(x), 4 * order * order
    if size < 1e6:
        found = mp.besseli(order, size) * mp.exp(-size)
    else:
        w = 1 / (8 * size)
        terms = 1 - (m - 1) * w * (1 - (m - 9) * w / 2 * (1 - (m - 25) * w / 3 * (1 - (m - 49) * w / 4)))
        found = terms / mp.sqrt(2 * mp.pi * size)
    return -found if order and x < 0 else found


def _whole(order: int, x: Any) -> Any:
    return _scaled(order, x) * mp.exp(min(abs(x), 2000))


def _erfinv(x: Any) -> Any:
    return mp.erfinv(x) if abs(x) > 1e-20 else x * mp.sqrt(mp.pi) / 2


_CASES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], tuple[float, float], float]] = {
    "log_ndtr": (special.log_ndtr, _log_ndtr, (-inf, inf), 3),
    "ndtr": (special.ndtr, _ndtr, (-inf, inf), 3),
    "ndtri": (special.ndtri, _ndtri, (0, 1), 4),
    "erfinv": (special.erfinv, _erfinv, (-1, 1), 5.5),
    "digamma": (special.digamma, exact.digamma, (0, inf), 12),
    "entr": (special.entr, lambda x: -x * mp.log(x), (0, inf), 3),
    "logit": (special.logit, lambda x: mp.log(x) - mp.log1p(-x), (0, 1), 3),
    "sinc": (special.sinc, exact.sincpi, (-1e4, 1e4), 4),
    "i0": (special.i0, partial(_whole, 0), (-inf, inf), 14),
    "i1": (special.i1, partial(_whole, 1), (-inf, inf), 14),
    "i0e": (special.i0e, partial(_scaled, 0), (-inf, inf), 12),
    "i1e": (special.i1e, partial(_scaled, 1), (-inf, inf), 12),
    **{
        f"polygamma {n}": (partial(special.polygamma, n), lambda x, n=n: mp.polygamma(n, x), (0, inf), 8)
        for n in (1, 2, 3)
    },
}
"""The function, mpmath's, where it has a bar, and the bar of f32."""
_NEAR_A_ROOT = {"digamma": (1, 3)}


def _magnitudes(dtype: str, low: float, high: float) -> Array:
    """Return numbers of every exponent of f32, every sixth of f64, the least and largest ones, of both signs."""
    limits = np.finfo(dtype)
    least, most = (-149, 128) if dtype == "f4" else (-1074, 1024)
    exponents = np.arange(least, most, 1 if dtype == "f4" else 6).astype(dtype)
    parts = np.random.default_rng(11).uniform(1, 2, exponents.size).astype(dtype)
    edges = np.array([limits.max, limits.max / 2, limits.max / 7, limits.tiny, limits.smallest_subnormal], dtype)
    x = np.concatenate([np.ldexp(parts, exponents.astype("i4")), edges])
    x = np.concatenate([x, -x, 1 - x[x < 1]])
    return np.unique(x[(x > low) & (x < high) & (x != 0)])


def _ulps(found: float, true: Any, dtype: str) -> float:
    """Return the distance in units in the last place of the true value; infinite where it should be another kind."""
    limits = np.finfo(dtype)
    if abs(true) > float(limits.max):
        return 0.0 if abs(found) == inf and (found > 0) == (true > 0) else (inf if abs(found) != limits.max else 0.0)
    if not np.isfinite(found):
        return inf
    unit = max(mp.frexp(true)[1] - 1 - limits.nmant, limits.minexp - limits.nmant) if true else limits.minexp
    return float(abs(mp.mpf(found) - true) / mp.mpf(2) ** int(unit))


def _measure(name: str, x: Array, dtype: str) -> list[tuple[float, float, float]]:
    """Return errors with their inputs and results, largest first."""
    function, true, _, _ = _CASES[name]
    found = function(tensor.array(x)).tolist()
    with mp.workdps(60):
        return sorted(
            ((_ulps(f, true(mp.mpf(v)), dtype), v, f) for v, f in zip(x.tolist(), found, strict=True)), reverse=True
        )


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", _CASES)
def test_bars_hold_at_every_exponent(name: str, dtype: str) -> None:
    (low, high), bar = _CASES[name][2:]
    x = _magnitudes(dtype, low, high)
    first, last = _NEAR_A_ROOT.get(name, (0, 0))
    x = x[(x < first) | (x > last)]
    assert _measure(name, x, dtype)[0][0] <= bar * (1 if dtype == "f4" else 2)


_AT: list[tuple[str, str, float]] = [
    ("i0e", "f4", 5.5e37), ("i1e", "f4", -5.5e37), ("i0e", "f8", 1.7e308), ("i0", "f4", 5.5e37), ("i1", "f8", -1.7e308),
    ("log_ndtr", "f4", -1.8446744e19), ("log_ndtr", "f4", -2e19), ("log_ndtr", "f8", -1.3407807929942597e154),
    ("ndtri", "f4", 1.264e-42), ("ndtri", "f4", 2.0**-149), ("ndtri", "f4", 2.0**-137), ("ndtri", "f8", 5e-324),
    ("ndtri", "f8", 2.0**-1038), ("erfinv", "f4", 0.50675696), ("polygamma 1", "f4", 0.40721717),
    ("polygamma 3", "f4", 0.23511098),
]  # fmt: skip


@pytest.mark.parametrize(("name", "dtype", "at"), _AT)
def test_bars_hold_at_the_worst_that_was_found(name: str, dtype: str, at: float) -> None:
    assert _measure(name, np.array([at], dtype), dtype)[0][0] <= _CASES[name][3] * (1 if dtype == "f4" else 2)


def test_trigamma_has_its_bar_where_it_was_mirrored() -> None:
    x = np.random.default_rng(5).uniform(0, 0.6, 300_000).astype("f4")
    found, about = special.polygamma(1, tensor.array(x)).numpy(), peer.polygamma(1, x.astype("f8"))
    assert (np.abs(found - about) <= 4 * np.spacing(about.astype("f4"))).all()


@pytest.mark.parametrize("order", [8, 20])
def test_high_orders_do_not_vanish_before_their_result(order: int) -> None:
    x = np.array([50.0, 150.0, 200.0, 300.0], "f4")
    found = special.polygamma(order, tensor.array(x)).numpy()
    true = [mp.polygamma(order, mp.mpf(float(v))) for v in x]
    assert np.allclose(found, np.array(true, "f8"), rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_even_and_odd_functions_keep_signs(dtype: str) -> None:
    x = np.concatenate([_magnitudes(dtype, 0, inf), np.array([0.0, 1.0, 2.0, 3.0], dtype)])
    bits = f"u{x.itemsize}"
    for name in ("i0", "i0e", "sinc"):
        up, down = (getattr(special, name)(tensor.array(v)).numpy().view(bits) for v in (x, -x))
        assert (up == down).all(), name
    for name, most in (("i1", inf), ("i1e", inf), ("erfinv", 1)):
        part = x[x <= most]
        up, down = (getattr(special, name)(tensor.array(v)).numpy() for v in (part, -part))
        assert ((-up).view(bits) == down.view(bits)).all(), name
