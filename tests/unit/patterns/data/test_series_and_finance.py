"""Series and finance. Oracles: numpy, definitions written out, scipy's normal distribution, put-call parity."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats as reference

import loom
from loom import data
from loom.core.errors import LoomError

X = np.random.default_rng(0).normal(size=50)
PRICES = 100 * np.exp(np.cumsum(X) * 0.02)


@pytest.mark.parametrize("window", [1, 3, 50])
@pytest.mark.parametrize("name", ["sum", "mean", "min", "max", "var", "std", "median"])
def test_rolling_with_and_without_a_beginning(on: str, window: int, name: str) -> None:
    fold = getattr(np, name)
    whole = np.array([fold(X[k : k + window]) for k in range(51 - window)])
    found = getattr(data.rolling(X, window, on=on), name)()
    assert np.allclose(found, whole, rtol=1e-12, atol=1e-14)
    partial = getattr(data.rolling(X, window, partial=True, on=on), name)()
    assert partial.shape == X.shape
    assert np.array_equal(partial[window - 1 :], found)
    first = [fold(X[: k + 1]) for k in range(window - 1)]
    assert np.allclose(partial[: window - 1], first, rtol=1e-12, atol=1e-14)


def test_partial_windows_of_integers_and_of_arrays() -> None:
    assert data.rolling([1, 2, 3], 2, partial=True).max().tolist() == [1, 2, 3]
    kept = data.rolling(loom.array(X), 5, partial=True).mean()
    assert isinstance(kept, loom.Array)
    assert np.array_equal(kept.numpy(), data.rolling(X, 5, partial=True).mean())


def test_interpolation(on: str) -> None:
    places = np.sort(np.random.default_rng(1).random(20))
    at = np.linspace(-0.1, 1.1, 60).reshape(3, 20)
    assert np.allclose(data.interpolate(at, places, X[:20], on=on), np.interp(at, places, X[:20]), rtol=1e-13)
    assert np.array_equal(data.interpolate(places, places, X[:20], on=on), X[:20])
    assert np.isnan(data.interpolate([math.nan], places, X[:20])).all()
    assert data.interpolate([5.0, -5.0], [0.0], [2.0]).tolist() == [2.0, 2.0]


def test_series() -> None:
    assert data.shift([1.0, 2.0, 3.0], -1, fill=9.0).tolist() == [2.0, 3.0, 9.0]
    assert data.shift([1.0, 2.0], 5, fill=0.0).tolist() == [0.0, 0.0]
    gaps = np.array([[np.nan, 1, np.nan, np.nan, 2], [3, np.nan, 4, np.nan, np.nan]])
    assert np.array_equal(data.fill_forward(gaps), [[np.nan, 1, 1, 1, 2], [3, 3, 4, 4, 4]], equal_nan=True)
    found = data.bars(PRICES, 7, np.ones(50))
    parts = [PRICES[k : k + 7] for k in range(0, 50, 7)]
    assert [side.tolist() for side in found] == [
        [p[0] for p in parts], [p.max() for p in parts], [p.min() for p in parts], [p[-1] for p in parts],
        [float(len(p)) for p in parts],
    ]  # fmt: skip
    assert data.bars(PRICES, 99).volume is None


def test_cuts_members_and_counts(on: str) -> None:
    edges = np.array([-1.0, 0.0, 0.5, 2.0])
    expected = [next((k for k in range(3) if edges[k] < x <= edges[k + 1]), -1) for x in X]
    assert data.cut(X, edges, on=on).tolist() == expected
    assert data.cut([0.0, 2.0, np.nan, -1.0], edges, right=False, on=on).tolist() == [1, -1, -1, 0]
    whole = np.random.default_rng(2).integers(0, 9, 100)
    assert np.array_equal(data.is_in(whole, [3, 4, 77], on=on), np.isin(whole, [3, 4, 77]))
    assert data.is_in([1.0, np.nan], [np.nan, 1.0]).tolist() == [True, False]
    assert data.is_in([1, 2], np.empty(0, "i8")).tolist() == [False, False]
    keys, counts = data.value_counts(whole, on=on)
    assert sorted(zip((-counts).tolist(), keys.tolist(), strict=True)) == list(
        zip((-counts).tolist(), keys.tolist(), strict=True)
    )
    assert dict(zip(keys.tolist(), counts.tolist(), strict=True)) == {
        int(k): int((whole == k).sum()) for k in np.unique(whole)
    }


def averaged(x: Any, alpha: float) -> list[float]:
    found = [x[0]]
    for value in x[1:]:
        found.append(alpha * value + (1 - alpha) * found[-1])
    return found


def test_indicators(on: str) -> None:
    change = np.diff(PRICES)
    up, down = np.array(averaged(np.maximum(change, 0), 1 / 14)), np.array(averaged(np.maximum(-change, 0), 1 / 14))
    assert np.allclose(data.rsi(PRICES, on=on), 100 - 100 / (1 + up / np.where(down > 0, down, 1e-300)), rtol=1e-9)
    assert data.rsi([1.0, 1.0]).tolist() == [50.0]
    line = np.array(averaged(PRICES, 2 / 13)) - np.array(averaged(PRICES, 2 / 27))
    found = data.macd(PRICES, on=on)
    assert np.allclose(found.line, line, atol=1e-11)
    assert np.allclose(found.signal, averaged(line, 0.2), atol=1e-11)
    assert np.array_equal(found.histogram, found.line - found.signal)
    returns = np.diff(np.log(PRICES))
    assert np.isclose(data.volatility(PRICES, on=on), returns.std(ddof=1) * math.sqrt(252), rtol=1e-11)
    assert np.isclose(
        data.sharpe(returns, 0.001, on=on), (returns - 0.001).mean() / returns.std(ddof=1) * math.sqrt(252)
    )
    assert np.array_equal(data.drawdown(PRICES, on=on), PRICES / np.maximum.accumulate(PRICES) - 1)
    volumes = np.abs(X) + 0.1
    assert np.allclose(data.vwap(PRICES, volumes, on=on), np.cumsum(PRICES * volumes) / np.cumsum(volumes), rtol=1e-13)


def test_options(on: str) -> None:
    rng = np.random.default_rng(3)
    s, k, t, r, v = (
        rng.uniform(low, high, 40) for low, high in ((50, 150), (50, 150), (0.1, 2), (-0.02, 0.1), (0.1, 0.6))
    )
    call, put = (data.black_scholes(s, k, t, r, v, kind, on=on) for kind in ("call", "put"))
    d1 = (np.log(s / k) + (r + v * v / 2) * t) / (v * np.sqrt(t))
    d2, later = d1 - v * np.sqrt(t), k * np.exp(-r * t)
    normal = reference.norm
    assert np.allclose(call.price, s * normal.cdf(d1) - later * normal.cdf(d2), rtol=1e-11, atol=1e-11)
    assert np.allclose(call.price - put.price, s - later, rtol=1e-11, atol=1e-11)
    assert np.allclose(call.delta - put.delta, 1, rtol=1e-13)
    assert np.allclose(call.gamma, normal.pdf(d1) / (s * v * np.sqrt(t)), rtol=1e-12)
    step = 1e-5
    for name, moved in (
        ("vega", (s, k, t, r, v + step)),
        ("rho", (s, k, t, r + step, v)),
        ("theta", (s, k, t - step, r, v)),
    ):
        for kind, here in (("call", call), ("put", put)):
            there = data.black_scholes(*moved, kind)
            assert np.allclose((there.price - here.price) / step, getattr(here, name), rtol=2e-3, atol=2e-3)
    single = data.black_scholes(np.float32([100.0]), 100.0, 1.0, 0.05, 0.2)
    assert single.price.dtype == np.float32
    assert abs(float(single.price[0]) - 10.450584) < 1e-4


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "descending places": (lambda: data.interpolate([1.0], [1.0, 0.0], [1.0, 2.0]), "they do not ascend"),
    "two lengths": (lambda: data.interpolate([1.0], [1.0, 2.0], [1.0]), "not points"),
    "descending edges": (lambda: data.cut([1.0], [1.0, 1.0]), "they do not ascend"),
    "no bars": (lambda: data.bars([1.0], 0), "at least 1"),
    "too few prices": (lambda: data.rsi([1.0]), r"not a series: expected \(n,\), n at least 2"),
    "no kind": (lambda: data.black_scholes(1.0, 1.0, 1.0, 0.0, 0.1, "cal"), "'call' or 'put'"),
    "no volatility": (lambda: data.black_scholes(1.0, 1.0, 1.0, 0.0, 0.0), r"volatility\] out of range"),
    "no broadcast": (lambda: data.black_scholes([1.0] * 2, [1.0] * 3, 1.0, 0.0, 0.1), "do not broadcast"),
    "no period": (lambda: data.sharpe([1.0, 2.0], periods=0), "out of range: expected above 0"),
    "not a flag": (lambda: data.rolling([1.0], 1, partial=2), "partial"),
}


@pytest.mark.parametrize("what", WRONG)
def test_misuse_is_told(what: str) -> None:
    call, said = WRONG[what]
    with pytest.raises(LoomError, match=said):
        call()
