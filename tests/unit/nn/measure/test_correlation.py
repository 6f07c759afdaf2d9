"""Correlations against numpy and scipy, as JSON, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from loom.core.errors import ArgumentError, DTypeError, EmptyError, NotFinite
from loom.nn.measure import Correlation, correlate

DRAW = np.random.default_rng(6)
X = DRAW.standard_normal((60, 4))
X[:, 1] = X[:, 0] * -2 + 0.1 * X[:, 1]
X[:, 3] = np.round(X[:, 3])  # ties


def test_pearson_is_that_of_numpy(on: str) -> None:
    narrow = X.astype(np.float32)
    found = correlate(narrow, on=on)
    np.testing.assert_allclose(found.matrix, np.corrcoef(narrow.T), atol=2e-6)
    assert found.matrix.tobytes() == correlate(narrow).matrix.tobytes()
    assert (found.matrix == found.matrix.T).all()
    assert (np.diag(found.matrix) == 1).all()


def test_spearman_is_that_of_scipy() -> None:
    np.testing.assert_allclose(correlate(X, method="spearman").matrix, stats.spearmanr(X).statistic, atol=1e-14)
    found = correlate(X)
    np.testing.assert_allclose(found.matrix, np.corrcoef(X.T), atol=1e-14)
    for ours, theirs in ((found.means, X.mean(0)), (found.std_devs, X.std(0)), (found.mins, X.min(0)),
                         (found.maxs, X.max(0))):  # fmt: skip
        np.testing.assert_allclose(ours, theirs, atol=1e-14)


def test_constant_features_and_large_offsets() -> None:
    x = np.stack([np.full(9, 0.1), np.arange(9.0), 1e8 + np.arange(9.0), np.full(9, -3.0)], 1)
    found = correlate(x)
    assert found.matrix[0].tolist() == [1, 0, 0, 0]
    assert found.std_devs[[0, 3]].tolist() == [0, 0]
    assert found.matrix[1, 2] == pytest.approx(1.0, abs=1e-12)
    assert correlate(x, method="spearman").matrix[1, 2] == 1
    for scale in (1e-300, 1e-160, 1e160, 1e307):
        assert correlate(np.arange(6.0).reshape(3, 2) * scale).matrix.tolist() == [[1, 1], [1, 1]]


def test_pairs_labels_and_one_feature() -> None:
    found = correlate(X, ["a", "b", "c", "d"])
    pairs = found.strong_pairs(0.0)
    assert len(pairs) == 6
    assert (pairs[0].feature1, pairs[0].feature2) == ("a", "b")
    assert pairs[0].to_dict()["abs_correlation"] == -pairs[0].correlation > 0.99
    sizes = [abs(p.correlation) for p in pairs]
    assert sizes == sorted(sizes, reverse=True)
    assert found.strong_pairs(0.9) == pairs[:1] == found.strong_pairs(0.0, most=1)
    assert found.of("b") == found.of(1) == found.of(-3)
    assert next(iter(found.of("b"))) == "a"
    assert "b" not in found.of("b")
    assert correlate(X).labels == ("F0", "F1", "F2", "F3")
    for bad in ("e", 4, None, 1.5):
        with pytest.raises(ArgumentError):
            found.of(bad)  # type: ignore[arg-type]
    for threshold in (-0.1, 1.1, float("nan"), "x"):
        with pytest.raises(ArgumentError):
            found.strong_pairs(threshold)  # type: ignore[arg-type]
    assert str(found).splitlines()[0].split() == ["a", "b", "c", "d"]


def test_json_has_the_older_keys_and_is_read_back() -> None:
    found = correlate(X, method="spearman")
    told = found.to_dict()
    assert set(told) == {"correlation", "means", "std_devs", "mins", "maxs"}
    assert {"labels", "matrix", "n", "samples"} <= set(told["correlation"])
    again = Correlation.from_json(found.to_json())
    assert again.to_dict() == told
    del told["correlation"]["method"]  # as the first generation writes it
    assert Correlation.from_dict(told).method == "pearson"
    for change in ({"means": [1.0]}, {"correlation": {"labels": ["a"], "matrix": [[1, 2], [2, 1]]}}, {"mins": None},
                   {"correlation": 3}):  # fmt: skip
        with pytest.raises((ArgumentError, DTypeError)):
            Correlation.from_dict(told | change)
    with pytest.raises(ArgumentError, match="not JSON"):
        Correlation.from_json("[")


@pytest.mark.parametrize(("x", "error"), [
    ([], EmptyError), ([[1.0, 2.0]], EmptyError), ([[1.0], [np.nan]], NotFinite), ([["a"], ["b"]], DTypeError),
    ([[1j], [2j]], DTypeError), ([[1.0], [1e39]], None),
])  # fmt: skip
def test_bad_input(x: Any, error: Any) -> None:
    if error is None:
        assert correlate(x).matrix.tolist() == [[1.0]]
        return
    with pytest.raises(error):
        correlate(x)
    with pytest.raises(ArgumentError, match="method"):
        correlate(X, method="kendall")
    for labels in (["a"], ["a", "a", "b", "c"], "abcd"):
        with pytest.raises(ArgumentError):
            correlate(X, labels)
