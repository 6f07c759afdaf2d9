"""Shapes of distributions, ranks and lines. Oracle: scipy.stats, and the same bits on every device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats as reference

import loom
from loom import stats
from loom.core.errors import LoomError

PAIRS: dict[str, tuple[Callable[..., Any], Callable[[Any], Any]]] = {
    "moment": (lambda x, **o: stats.moment(x, 3, **o), lambda x: reference.moment(x, 3, axis=-1)),
    "skew": (stats.skew, lambda x: reference.skew(x, axis=-1)),
    "unbiased skew": (
        lambda x, **o: stats.skew(x, unbiased=True, **o), lambda x: reference.skew(x, axis=-1, bias=False)
    ),
    "kurtosis": (stats.kurtosis, lambda x: reference.kurtosis(x, axis=-1)),
    "unbiased kurtosis": (
        lambda x, **o: stats.kurtosis(x, unbiased=True, **o), lambda x: reference.kurtosis(x, axis=-1, bias=False)
    ),
    "sem": (stats.sem, lambda x: reference.sem(x, axis=-1)),
    "iqr": (stats.iqr, lambda x: reference.iqr(x, axis=-1)),
    "mad": (stats.median_abs_deviation, lambda x: reference.median_abs_deviation(x, axis=-1)),
    "trim_mean": (lambda x, **o: stats.trim_mean(x, 0.1, **o), lambda x: reference.trim_mean(x, 0.1, axis=-1)),
    "gmean": (lambda x, **o: stats.gmean(abs(x), **o), lambda x: reference.gmean(abs(x), axis=-1)),
    "hmean": (lambda x, **o: stats.hmean(abs(x), **o), lambda x: reference.hmean(abs(x), axis=-1)),
    "entropy": (
        lambda x, **o: stats.entropy(abs(x), base=2, **o), lambda x: reference.entropy(abs(x), base=2, axis=-1)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("shape", [(5,), (3, 40), (2, 3, 7)])
def test_like_scipy(on: str, name: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape) ** 3
    ours, theirs = PAIRS[name]
    found, expected = ours(x, on=on), theirs(x)
    assert np.shape(found) == np.shape(expected)
    assert np.allclose(found, expected, rtol=1e-12, atol=1e-13)
    kept = loom.array(x, on=on)
    if "mean" not in name[:5] and name != "entropy":
        held = ours(kept)
        assert isinstance(held, loom.Array)
        assert np.array_equal(held.numpy(), found)


@pytest.mark.parametrize("method", ["average", "min", "max", "dense", "ordinal"])
@pytest.mark.parametrize("dtype", ["i4", "f4", "f8", "u1"])
def test_ranks(on: str, method: str, dtype: str) -> None:
    x = np.random.default_rng(1).integers(0, 9, (4, 30)).astype(dtype)
    assert np.array_equal(stats.rank(x, method, on=on), reference.rankdata(x, method, axis=-1))
    assert stats.rank(x[:, :1], method, on=on).tolist() == [[1.0]] * 4


def test_nans_rank_last_together() -> None:
    assert stats.rank([np.nan, 1.0, np.nan, -np.inf]).tolist() == [3.5, 2.0, 3.5, 1.0]
    assert stats.rank([0.0, -0.0]).tolist() == [1.5, 1.5]


def test_modes() -> None:
    x = np.random.default_rng(2).integers(0, 5, (6, 25))
    assert np.array_equal(stats.mode(x), reference.mode(x, axis=-1).mode)
    assert np.isnan(stats.mode([np.nan, 1.0, np.nan]))


def test_lines_and_spearman() -> None:
    rng = np.random.default_rng(3)
    for n in (2, 3, 50):
        x = rng.normal(size=n)
        y = x + rng.normal(size=n)
        found, expected = stats.linregress(x, y), reference.linregress(x, y)
        assert np.allclose(found[:3], [expected.slope, expected.intercept, expected.rvalue], rtol=1e-12)
        if n > 2:
            assert np.allclose(found[3:], [expected.stderr, expected.intercept_stderr], rtol=1e-11)
            assert np.isclose(stats.spearman(x, y), reference.spearmanr(x, y).statistic, rtol=1e-12)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "no method": (lambda: stats.rank([1.0], "averge"), "Did you mean 'average'"),
    "no rows": (lambda: stats.skew(np.ones((3, 0))), "no elements along an axis"),
    "all trimmed": (lambda: stats.trim_mean([1.0], 0.5), "out of range: expected 0 to below 0.5"),
    "below zero": (lambda: stats.entropy([1.0, -1.0]), "shares below zero"),
    "no base": (lambda: stats.entropy([1.0], base=1), "out of range: expected above 1"),
    "two lengths": (lambda: stats.linregress([1.0, 2.0], [1.0]), "not two series of one length"),
    "a vertical line": (lambda: stats.linregress([1.0, 1.0], [1.0, 2.0]), "all elements are equal"),
    "too high": (lambda: stats.moment([1.0], 17), "too high: expected at most 16"),
    "two series": (lambda: stats.spearman([1.0, 2.0], [1.0]), "not two series of one length"),
}


@pytest.mark.parametrize("what", WRONG)
def test_misuse_is_told(what: str) -> None:
    call, said = WRONG[what]
    with pytest.raises(LoomError, match=said):
        call()
