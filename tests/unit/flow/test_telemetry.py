"""The older names of evaluation, telemetry, correlation and clusters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError
from loom.flow import dnvm

DOCUMENT = {
    "grid_rows": 1, "grid_cols": 1, "layers_per_cell": 2, "layers": [
        {"type": "dense", "input_size": 4, "output_size": 8, "activation": "relu"},
        {"type": "dense", "input_size": 8, "output_size": 2, "activation": "sigmoid"}],
}  # fmt: skip
X = np.random.default_rng(1).standard_normal((10, 4)).astype(np.float32).tolist()


def test_an_evaluation_is_printed_written_and_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dnvm.create_network_from_json(DOCUMENT)
    found = dnvm.evaluate_network_simple(X, [k % 2 for k in range(10)])
    dnvm.print_summary(found)
    assert f"Quality Score: {found['score']:.1f}/100" in capsys.readouterr().out
    dnvm.save_metrics(found, tmp_path / "evaluation.json")
    assert dnvm.load_metrics(tmp_path / "evaluation.json") == found
    worst = dnvm.get_worst_samples(found, 3)
    assert len(worst) == 3
    assert worst[0]["deviation"] == max(r["deviation"] for r in found["results"])
    assert dnvm.get_samples_in_bucket(found, "0-10%") == found["buckets"]["0-10%"]["samples"]


def test_telemetry() -> None:
    dnvm.create_network_from_json(DOCUMENT)
    (model,) = dnvm.extract_network_blueprint("mine")["models"]
    assert (model["id"], model["total_layers"], model["total_parameters"]) == ("mine", 2, 4 * 8 + 8 + 8 * 2 + 2)
    told: list[dict[str, Any]] = []
    with dnvm.set_layer_observer(told.append):
        output = dnvm.forward_simple(X[0])
    dnvm.forward_simple(X[1])
    assert [e["layer_idx"] for e in told] == [-1, 0, 1]
    assert told[-1]["output"] == output
    assert told[1]["stats"]["total_neurons"] == 8
    methods = json.loads(dnvm.get_methods_json())
    assert [m["method_name"] for m in methods] == dnvm.list_methods()
    assert dnvm.has_method("train")
    assert not dnvm.has_method("Train")
    assert dnvm.get_method_signature("digest") == "digest() (str)"
    with pytest.raises(ArgumentError, match="callable"):
        dnvm.set_layer_observer(3)  # type: ignore[arg-type]


def test_correlation_and_clusters() -> None:
    data = [[1.0, 2.0, 9.0], [2.0, 4.0, 1.0], [3.0, 6.0, 5.0], [4.0, 8.5, 2.0]]
    found = dnvm.compute_correlation(data, ["a", "b", "c"])
    np.testing.assert_allclose(found["correlation"]["matrix"], np.corrcoef(np.transpose(data)), atol=1e-12)
    (pair,) = dnvm.get_strong_correlations(found, 0.9)
    assert (pair["feature1"], pair["feature2"]) == ("a", "b")
    assert next(iter(dnvm.get_correlations_with(json.dumps(found), "a"))) == "b"
    ranked = dnvm.compute_spearman_correlation(data)["correlation"]
    assert ranked["labels"] == ["F0", "F1", "F2"]
    assert ranked["matrix"][0][1] == 1
    clusters = dnvm.kmeans_cluster([[0.0], [1.0], [9.0]], 2, max_iter=10, seed=1)
    assert sorted(c[0] for c in clusters["centroids"]) == [0.5, 9.0]
    # samples 0 and 1: (b - 1) / b; the single one 1, as in the older programs
    assert dnvm.silhouette_score([[0.0], [1.0], [9.0]], clusters["assignments"]) == pytest.approx(
        (8 / 9 + 7 / 8 + 1) / 3
    )
