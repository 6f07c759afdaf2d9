"""Short calls over tensors: changes of series, scaling, distances; numpy and scipy on the same input."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.special

import loom
from loom import tensor
from loom.core.errors import ArgumentError, EmptyError, LoomError, ShapeError

RNG = np.random.default_rng(3)
X = np.exp(RNG.normal(size=50) / 10).cumprod()
ROWS, OTHERS = RNG.normal(size=(6, 4)), RNG.normal(size=(5, 4))


def near(found: Any, wanted: Any, dtype: Any = np.float64) -> bool:
    return bool(np.allclose(np.asarray(found), wanted, rtol=1e-12 if dtype == np.float64 else 1e-5, atol=1e-12))


@pytest.mark.parametrize("lag", [1, 2, 49, 50, 80])
def test_changes(lag: int) -> None:
    before, after = X[: max(0, 50 - lag)], X[lag:]
    assert np.array_equal(loom.data.diff(X, lag), after - before)
    assert np.array_equal(loom.data.momentum(X, lag), after - before)
    assert near(loom.data.percent_change(X, lag), after / before - 1)
    assert near(loom.data.log_returns(X, lag), np.log(after / before))
    counts = np.array([5, 3, 9, 250], np.uint8)
    assert np.array_equal(loom.data.diff(counts, 1), np.diff(counts))


@pytest.mark.parametrize("window", [1, 3, 50])
def test_bands(window: int) -> None:
    parts = np.lib.stride_tricks.sliding_window_view(X, window)
    lower, middle, upper = loom.data.bollinger(X, window, 1.5)
    assert near(middle, parts.mean(1))
    assert near(lower, parts.mean(1) - 1.5 * parts.std(1))
    assert near(upper, parts.mean(1) + 1.5 * parts.std(1))


def test_scaling_and_sums_of_exponentials() -> None:
    assert near(loom.stats.minmax(X), (X - X.min()) / (X.max() - X.min()))
    spans = ROWS.max(1, keepdims=True) - ROWS.min(1, keepdims=True)
    assert near(loom.stats.minmax(ROWS, 1), (ROWS - ROWS.min(1, keepdims=True)) / spans)
    assert loom.stats.minmax([7.0, 7.0]).tolist() == [0.0, 0.0]
    for data in (ROWS, ROWS * 1e3, ROWS - 1e4, np.array([[np.inf, 1.0], [-np.inf, -np.inf], [2.0, np.nan]])):
        for axis in (None, 0, 1, -1):
            assert np.allclose(
                loom.stats.logsumexp(data, axis), scipy.special.logsumexp(data, axis), rtol=1e-12, equal_nan=True
            )


def test_autocorrelation() -> None:
    away = X - X.mean()
    wanted = np.correlate(away, away, "full")[49:60] / (away**2).sum()
    assert near(loom.stats.autocorrelation(X, 10), wanted)
    assert loom.stats.autocorrelation(X, 0).tolist() == [1.0]


def test_distances() -> None:
    theirs = {"euclidean": "euclidean", "squared": "sqeuclidean", "manhattan": "cityblock", "cosine": "cosine"}
    for name, scipys in theirs.items():
        assert near(loom.linalg.pairwise(ROWS, OTHERS, name), scipy.spatial.distance.cdist(ROWS, OTHERS, scipys))
    assert np.diag(loom.linalg.pairwise(ROWS)).tolist() == [0.0] * 6
    assert near(loom.linalg.distance(ROWS[:5], OTHERS), np.linalg.norm(ROWS[:5] - OTHERS, axis=1))
    assert near(
        loom.linalg.cosine_similarity(ROWS[:5], OTHERS),
        1 - np.diag(scipy.spatial.distance.cdist(ROWS[:5], OTHERS, "cosine")),
    )


def test_kinds_of_results() -> None:
    assert isinstance(loom.data.diff(loom.array(X)), loom.Array)
    assert isinstance(loom.stats.minmax(tensor.array(X)), tensor.Tensor)
    assert loom.linalg.distance(ROWS.astype(np.float32), ROWS.astype(np.float32)).dtype == np.float32
    assert np.array_equal(loom.stats.logsumexp(ROWS, on="interp"), loom.stats.logsumexp(ROWS, on="cpu"))


@pytest.mark.parametrize(("wrong", "error", "text"), [
    (lambda: loom.data.diff(ROWS), ArgumentError, "[data.diff] no series or no lag: expected one dimension, and a"),
    (lambda: loom.data.diff(X, 0), ArgumentError, "[data.diff] no series or no lag"),
    (lambda: loom.data.bollinger(X, 51), ArgumentError, "[data.bollinger] no windows"),
    (lambda: loom.stats.minmax(np.zeros(0)), EmptyError, "[stats.minmax] no elements: expected at least 1, got 0."),
    (lambda: loom.stats.autocorrelation(X, 50), ArgumentError, "[stats.autocorrelation] no such lags"),
    (lambda: loom.linalg.pairwise(X), ShapeError, "[linalg.pairwise] not rows of vectors"),
    (lambda: loom.linalg.pairwise(ROWS, ROWS, "chess"), ArgumentError, "no metric is called 'chess'"),
    (lambda: loom.linalg.distance(ROWS, OTHERS), ShapeError, "[linalg.distance] not vectors of one shape"),
])  # fmt: skip
def test_what_is_refused(wrong: Any, error: type[LoomError], text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        wrong()


@pytest.mark.parametrize("on", ["cpu", "interp", "vulkan"])
@pytest.mark.parametrize("function", [
    loom.gpu_transpose, loom.linalg.transpose, loom.gpu_sum, loom.gpu_abs, lambda x: loom.gpu_cast(x, "f32"),
    lambda x: loom.gpu_min(x, axis=0), lambda x: loom.gpu_clip(x, 0, 9), loom.gpu_sort,
])  # fmt: skip
def test_no_result_is_the_tensor_that_it_is_made_of(function: Any, on: str) -> None:
    for x in (tensor.array([1.0, 2.0, 3.0], on=on), tensor.array([1.0], on=on)):
        found = function(x)
        wanted = found.tolist()
        x[0] = 55.0
        assert found.tolist() == wanted


@pytest.mark.parametrize("condition", [True, np.True_, 1, None, 0.5])
def test_a_condition_is_an_array(condition: Any) -> None:
    for a in ([1.0], tensor.array([1.0])):
        with pytest.raises(ArgumentError, match=r"\[gpu_where, condition\] not an array.*Write \[True\]"):
            loom.gpu_where(condition, a, a)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.float32, np.float64, np.uint8, int, float])
def test_norms_are_named_by_any_number(kind: Any) -> None:
    assert loom.gpu_norm([3.0, 4.0], kind(2)) == 5
    assert loom.linalg.norm([3.0, 4.0], kind(1)) == 7
    for wrong in (True, np.True_, 3, "2", np.float64(np.nan)):
        with pytest.raises(ArgumentError, match=r"no such norm: expected 1, 2 or inf"):
            loom.gpu_norm([3.0, 4.0], wrong)
