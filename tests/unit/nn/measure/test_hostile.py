"""What strangers pass to measures: each is measured right, or refused with what to do, and never rounded in silence."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import loom
from loom.cli.main import app
from loom.core.errors import ArgumentError, DTypeError, LoomError, NotFinite, ShapeError
from loom.nn.measure import (
    Correlation,
    DeviationMetrics,
    OutlierDetector,
    accuracy,
    calibration,
    classification_report,
    correlate,
    deviation_metrics,
    kmeans,
    nearest_centroid,
    plot_losses,
    plot_roc,
    report_of,
    roc_auc,
    roc_curves,
    silhouette,
    silhouette_samples,
)  # fmt: skip
from loom.nn.train.measures import chances_of

NAN, BIG = float("nan"), 1 << 60
X = np.array([[1.0, 1], [1.1, 1.5], [9, 8], [9, 8.5], [5, 1]])
REFUSED: list[tuple[str, type[LoomError], Callable[[], Any]]] = [
    ("NUL", DTypeError, lambda: accuracy(["a\0", "a"], ["a", "a"])),
    ("names", ArgumentError, lambda: classification_report([0, 1], [0, 1], names=5)),  # type: ignore[arg-type]
    ("names of a set", ArgumentError, lambda: classification_report([0, 1], [0, 1], names={"a", "b"})),  # type: ignore[arg-type]
    ("labels", ArgumentError, lambda: roc_curves([0, 1], np.eye(2), labels=2)),
    ("labels of a set", ArgumentError, lambda: roc_auc([0, 1], np.eye(2), labels={0, 1})),
    ("labels of one column", ArgumentError, lambda: roc_auc([0, 1], [0.1, 0.2], labels=[0, 1])),
    ("average of one column", ArgumentError, lambda: roc_auc([0, 1], [0.1, 0.2], average="mean")),
    ("scores that round", DTypeError, lambda: roc_auc([0, 1], np.array([2**63, 2**63 + 1], np.uint64))),
    ("features that round", DTypeError, lambda: correlate(np.array([[BIG, 1], [BIG + 1, 2]]))),
    ("clusters that round", DTypeError, lambda: kmeans(np.array([[-BIG], [BIG]]), 2)),
    ("part of a sample", DTypeError, lambda: report_of([[1.5, 0], [0, 1]])),
    ("counts of NaN", DTypeError, lambda: report_of([[NAN, 0], [0, 1]])),
    ("counts of texts", DTypeError, lambda: report_of([["a", "b"], ["c", "d"]])),
    ("counts beyond i64", LoomError, lambda: report_of([[2**70, 0], [0, 1]])),
    ("sums beyond i64", ArgumentError, lambda: report_of([[2**62, 2**62], [2**62, 2**62]])),
    ("labels of a report", ArgumentError, lambda: report_of([[1, 0], [0, 1]], [1])),
    ("names of a report", ArgumentError, lambda: report_of([[1, 0], [0, 1]], names=["a"])),
    ("no columns", ShapeError, lambda: calibration([0, 1], np.zeros((2, 0)))),
    ("single", ArgumentError, lambda: silhouette_samples([[1.0], [2.0]], [0, 1], single=np.array([0, 1]))),  # type: ignore[arg-type]
    ("indexes", DTypeError, lambda: DeviationMetrics([1], [1], [1.5])),
    ("texts as indexes", DTypeError, lambda: DeviationMetrics([1], [1], ["a"])),
    ("two indexes", ShapeError, lambda: DeviationMetrics([1], [1], [1, 2])),
    ("no curve", ArgumentError, lambda: plot_roc(None)),  # type: ignore[arg-type]
    ("no history", ArgumentError, lambda: plot_losses({})),  # type: ignore[arg-type]
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("kind", "call"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_be_measured_right_is_refused(kind: type[LoomError], call: Callable[[], Any]) -> None:
    with pytest.raises(kind) as told:
        call()
    assert told.value.remedy


@pytest.mark.filterwarnings("error")
def test_half_precision_labels_are_labels() -> None:
    assert accuracy(np.array([1, 2], np.float16), [1, 2]) == 1.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("dtype", "power"), [("f4", 100), ("f8", -900)])
def test_a_power_of_two_changes_no_cluster(dtype: str, power: int) -> None:
    """Squares of the numbers would not be numbers of the type: all were infinite, or 0, and all samples equally far."""
    near = X.astype(dtype)
    far = np.ldexp(near, power)
    mine, theirs = kmeans(near, 2, restarts=3), kmeans(far, 2, restarts=3)
    assert (mine.assignments == theirs.assignments).all()
    assert (np.ldexp(mine.centroids, power) == theirs.centroids).all()
    assert silhouette(near, mine.assignments) == silhouette(far, theirs.assignments)
    assert (
        np.ldexp(nearest_centroid(near, mine.centroids)[1], power) == nearest_centroid(far, theirs.centroids)[1]
    ).all()
    assert (correlate(near).matrix == correlate(far).matrix).all()


@pytest.mark.filterwarnings("error")
def test_means_at_the_edge_of_f64() -> None:
    found = correlate(np.array([[1.7e308], [1.7e308], [-1.0]]))
    assert found.means.tolist() == pytest.approx([1.7e308 / 3 * 2])
    assert Correlation.from_json(found.to_json()).means.tolist() == found.means.tolist()


def _changed(found: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    made = copy.deepcopy(found)
    at: Any = made
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return made


@pytest.mark.parametrize(("path", "value"), [
    (("accuracy",), 0.9), (("results", 0, "deviation"), 55.0), (("results", 0, "sample_index"), 2**80),
    (("results", 0, "expected"), 10**400), (("buckets", "0-10%", "count"), 77),
])  # fmt: skip
def test_damaged_deviations_are_refused(path: tuple[Any, ...], value: Any) -> None:
    found = deviation_metrics([[1.0], [3.0], [9.0]], [1, 2, 3]).to_dict()
    with pytest.raises(ArgumentError, match=r"not that of|none of f64"):
        DeviationMetrics.from_dict(_changed(found, path, value))


@pytest.mark.parametrize(("path", "value"), [
    (("correlation", "matrix", 0, 0), 0.3), (("correlation", "n"), 9), (("std_devs",), [-1.0, 1.0]),
    (("mins",), [99.0, 99.0]),
])  # fmt: skip
def test_damaged_correlations_are_refused(path: tuple[Any, ...], value: Any) -> None:
    with pytest.raises(ArgumentError, match=r"not correlations|contradict"):
        Correlation.from_dict(_changed(correlate(X).to_dict(), path, value))


@pytest.mark.parametrize(("key", "value"), [("threshold", -1), ("quantile", 7), ("dtype", "float16"),
                                            ("centroids", [[1e300, 0.0]])])  # fmt: skip
def test_damaged_detectors_are_refused(key: str, value: Any) -> None:
    found = OutlierDetector.fit(X.astype(np.float32), clusters=2).to_dict()
    assert OutlierDetector.from_dict(found).centroids.tolist() == found["centroids"]
    with pytest.raises((ArgumentError, DTypeError)):
        OutlierDetector.from_dict(found | {key: value})


@pytest.mark.filterwarnings("error")
def test_networks_that_overflow(tmp_path: Path) -> None:
    """NaN says no class; infinities do, and JSON stays JSON."""
    layers: list[Any] = [{"type": "dense", "output_size": 2}]
    net = loom.Network.from_json({"format": "loom/1", "input": {"shape": [1]}, "layers": layers})
    net.load_weights({"layers.0.weight": np.array([[3e38, -3e38]], "f4"), "layers.0.bias": np.zeros(2, "f4")})
    x, y = np.array([[9.0], [-9.0]], np.float32), np.array([0, 1])
    found = net.evaluate(x, y)
    assert found.accuracy == found.auc() == 1.0
    assert chances_of(np.array([[np.inf, 0, np.inf]]), probabilities=False).tolist() == [[0.5, 0, 0.5]]
    json.dumps([found.to_dict(), found.brief()], allow_nan=False)
    with pytest.raises(ArgumentError, match="average"):
        found.auc("mean")
    layers.append({"type": "dense", "output_size": 2})
    net = loom.Network.from_json({"format": "loom/1", "input": {"shape": [1]}, "layers": layers})
    net.load_weights(
        {n: w * 0 if w.ndim == 1 else np.full_like(w, 3e38) * np.float32([1, -1]) for n, w in net.weights().items()}
    )
    with pytest.raises(NotFinite, match="output of sample 0 is NaN"):
        net.evaluate(x, y)
    history = net.train(x * 0, y, validation=(x, y), epochs=1, evaluate_every=1, learning_rate=0.0)
    assert history.validation_accuracy == [0.0]  # not that of class 0
    assert history.evaluations == [{"epoch": 1, "samples": 2, "loss": None}]


def test_each_of_several_outputs_has_no_loss_of_all() -> None:
    nodes = {name: {"type": "dense", "output_size": 2, "inputs": ["input"]} for name in ("a", "b")}
    document: Any = {"format": "loom/1", "input": {"shape": [2]}, "nodes": nodes, "outputs": ["a", "b"]}
    y = {"a": np.array([0, 0, 1, 1, 0]), "b": X}
    told: Any = {"loss": {"a": "cross_entropy", "b": "mse"}, "evaluate_every": 1, "validation": (X, y), "epochs": 1}
    (found,) = loom.Network.from_json(document).train(X, y, **told).evaluations
    assert found["loss"] > 0
    assert [each["loss"] for each in found["outputs"].values()] == [None, None]


def test_every_option_has_an_effect(tmp_path: Path) -> None:
    layers: list[Any] = [{"type": "dense", "output_size": 2}]
    loom.Network.from_json({"format": "loom/1", "input": {"shape": [2]}, "layers": layers}).save(tmp_path / "n.json")
    np.savez(tmp_path / "c.npz", x=X, y=[0, 0, 1, 1, 0])
    np.savez(tmp_path / "r.npz", x=X, y=X)

    def run(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, [w.replace("@", f"{tmp_path}/") for w in words])
        assert result.exit_code == code, result.output
        return result.output

    told = json.loads(run("eval", "@n.json", "--data", "@c.npz", "--json", "--worst", "2", "--auc"))
    assert len(told["worst"]) == 2
    assert list(told["auc"]) == ["1"]
    assert sum(told["calibration"]["counts"]) == 5
    assert "is a text" in run("eval", "@n.json", "--data", "@c.npz", "--json", "--summary", code=2)
    assert "no classes" in run("eval", "@n.json", "--data", "@r.npz", "--names", "a,b", code=2)
    for more in (["--batch", "3"], ["--json"]):
        assert "has no effect here" in run("inspect", "@n.json", "--svg", "@a.svg", *more, code=2)
    assert "has no effect here" in run("inspect", "@n.json", "--diff", "@n.json", "--batch", "3", code=2)
