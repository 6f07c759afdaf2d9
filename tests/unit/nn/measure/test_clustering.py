"""k-means, silhouettes and outliers against scikit-learn and by what defines them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn import cluster, metrics

import loom
from loom.core.errors import ArgumentError, DTypeError, EmptyError, NotFinite, ShapeError
from loom.nn.measure import OutlierDetector, kmeans, layer_features, nearest_centroid, silhouette, silhouette_samples

DRAW = np.random.default_rng(5)
CENTRES = np.array([[0, 0, 0], [7, 0, 0], [0, 7, 0], [7, 7, 7]])
X = (np.repeat(CENTRES, 25, 0) + DRAW.standard_normal((100, 3))).astype(np.float32)


@pytest.mark.parametrize("start", ["random", "k-means++"])
def test_clusters_are_a_fixed_point(start: str) -> None:
    found = kmeans(X, 4, start=start, seed=2, restarts=4)
    assert found.is_settled
    for k in range(4):
        np.testing.assert_allclose(found.centroids[k], X[found.assignments == k].mean(0), rtol=1e-5)
    far = np.linalg.norm(X[:, None] - found.centroids, axis=2)
    assert (far.argmin(1) == found.assignments).all()
    theirs = cluster.KMeans(4, n_init=4, random_state=0).fit(X)
    assert found.inertia == pytest.approx(theirs.inertia_, rel=1e-5)
    assert metrics.adjusted_rand_score(theirs.labels_, found.assignments) == 1.0
    assert found.counts.tolist() == np.bincount(found.assignments).tolist()
    json.dumps(found.to_dict(), allow_nan=False)
    assert (found.assign(X) == found.assignments).all()


def test_clusters_are_the_same_everywhere(on: str) -> None:
    mine, there = kmeans(X, 5, seed=1), kmeans(X, 5, seed=1, on=on)
    assert mine.centroids.tobytes() == there.centroids.tobytes()
    assert (mine.assignments == there.assignments).all()
    assert mine.inertia == there.inertia
    assert silhouette(X, mine.assignments) == silhouette(X, mine.assignments, on=on)


def test_seeds_starts_and_types() -> None:
    assert (kmeans(X, 3, seed=1).assignments == kmeans(X, 3, seed=np.int64(1)).assignments).all()
    firsts = {kmeans(X, 3, seed=s, iterations=1).centroids.tobytes() for s in range(5)}
    assert len(firsts) == 5
    assert kmeans(X.astype(np.float64), 2).centroids.dtype == np.float64
    assert kmeans((X * 10).astype(np.int64), 2).centroids.dtype == np.float64
    assert kmeans([1.0, 2.0, 9.0], 2).centroids.shape == (2, 1)
    every = kmeans(X[:6], 6)
    assert every.inertia == 0
    assert sorted(every.assignments.tolist()) == [0, 1, 2, 3, 4, 5]
    same = kmeans(np.ones((4, 2)), 3, iterations=5)  # two clusters stay empty, whatever point they move to
    assert same.counts.tolist() == [4, 0, 0]
    assert kmeans(np.ones((4, 2)), 2, start="k-means++").inertia == 0


def test_silhouettes_are_those_of_scikit_learn() -> None:
    labels = kmeans(X, 5, seed=3).assignments
    np.testing.assert_allclose(silhouette_samples(X, labels), metrics.silhouette_samples(X, labels), atol=1e-6)
    named = np.array(["a", "b", "c", "d", "e"])[labels]
    assert silhouette(X, named) == pytest.approx(metrics.silhouette_score(X, labels), abs=1e-6)
    alone = np.append(np.zeros(99, int), 1)
    assert silhouette_samples(X, alone)[-1] == 0
    assert silhouette_samples(X, alone, single=1)[-1] == 1
    assert silhouette([[1.0], [1.0], [1.0]], [0, 0, 1]) == 0


def test_bad_input() -> None:
    for k in (0, -1, 1.5, "2", True, 101):
        with pytest.raises(ArgumentError):
            kmeans(X, k)  # type: ignore[arg-type]
    for bad in (np.nan, np.inf):
        with pytest.raises(NotFinite, match="sample 1, feature 0"):
            kmeans([[1.0], [bad]], 1)
    for empty in ([], np.zeros((0, 3)), np.zeros((3, 0))):
        with pytest.raises(EmptyError):
            kmeans(empty, 1)
    with pytest.raises(ShapeError):
        kmeans(3.0, 1)
    with pytest.raises(DTypeError):
        kmeans(["a"], 1)
    with pytest.raises(ArgumentError, match="k-means"):
        kmeans(X, 2, start="forgy")
    with pytest.raises(ArgumentError, match="one cluster"):
        silhouette(X, np.zeros(100, int))
    with pytest.raises(ShapeError, match="differ in samples"):
        silhouette(X, [0, 1])
    with pytest.raises(ArgumentError, match="other features"):
        nearest_centroid(X, [[1.0, 2.0]])


def test_outliers_are_told_from_what_is_known() -> None:
    found = OutlierDetector.fit(X, 4, quantile=0.9, seed=1)
    near = metrics.pairwise_distances(X, found.centroids).min(1)
    np.testing.assert_allclose(found.scores(X), near, rtol=1e-5)
    assert (found.scores(X) <= found.threshold).sum() == 90
    strange = X + np.float32([0, 0, -20])
    assert found.is_outlier(strange).all()
    curve = found.roc(X, strange)
    truths = np.repeat([0, 1], 100)
    assert curve.auc == metrics.roc_auc_score(truths, np.append(found.scores(X), found.scores(strange))) == 1.0
    again = OutlierDetector.from_dict(json.loads(json.dumps(found.to_dict())))
    assert (again.scores(strange) == found.scores(strange)).all()
    assert again.threshold == found.threshold
    for quantile in (0, 1.1, -1, float("nan"), "x"):
        with pytest.raises(ArgumentError, match="quantile"):
            OutlierDetector.fit(X, 4, quantile)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="no detector"):
        OutlierDetector.from_dict({})


@pytest.mark.parametrize("layer", [0, "layers.0"])
def test_features_of_a_layer(layer: Any) -> None:
    layers = [{"type": "dense", "output_size": 6, "activation": "tanh"}, {"type": "dense", "output_size": 2}]
    net = loom.Network.from_json({"format": "loom/1", "input": {"shape": [3]}, "layers": layers})
    found = layer_features(net, X, layer)
    w = net.weights()
    np.testing.assert_allclose(found, np.tanh(X @ w["layers.0.weight"] + w["layers.0.bias"]), atol=1e-5)
