"""The seeds' names of networks: created, run, trained, saved, loaded and measured."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError, ShapeError, StateError
from loom.flow import dnvm

GRID = {
    "id": "xor", "batch_size": 1, "grid_rows": 1, "grid_cols": 2, "layers_per_cell": 1,
    "layers": [
        {"type": "dense", "width": 2, "height": 8, "activation": "tanh"},
        {"type": "dense", "input_size": 8, "output_size": 1, "activation": "sigmoid"},
    ],
}  # fmt: skip
XOR = [{"Input": [0, 0, 0, 1, 1, 0, 1, 1], "Target": [0, 1, 1, 0]}]


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LOOM_DEVICE", "cpu")
    monkeypatch.setattr(dnvm, "_own", threading.local())
    yield
    dnvm._latest.clear()


def test_the_seeds_calls_one_after_the_other() -> None:
    dnvm.create_network_from_json(GRID)
    assert len(dnvm.forward_simple([0, 1, 1, 1])) == 2
    result = dnvm.train_simple(XOR, {"Epochs": 400, "LearningRate": 0.8, "LossType": "mse"})
    assert set(result) == {"FinalLoss", "BestLoss", "TotalTime", "AvgThroughput", "LossHistory", "EvalMetrics"}
    assert len(result["LossHistory"]) == 400
    assert result["FinalLoss"] == result["LossHistory"][-1] < 0.05 < result["LossHistory"][0]
    outputs = dnvm.forward_simple([0, 1, 1, 1])
    saved = dnvm.save_model_simple("xor")
    dnvm.create_network_from_json(GRID)
    dnvm.load_model_simple(saved, "xor")
    assert dnvm.forward_simple([0, 1, 1, 1]) == outputs
    found = dnvm.evaluate_network_simple([[0, 1], [1, 1]], [1, 0])
    assert found["total_samples"] == 2
    assert found["score"] > 70


def test_one_update_is_the_rate_times_the_errors_mean() -> None:
    layer = {"format": "loom/1", "input": {"shape": [2]}, "layers": [{"type": "dense", "output_size": 2}]}
    net = dnvm.create_network_from_json(layer)
    net.load_weights({"layers.0.weight": np.eye(2), "layers.0.bias": np.zeros(2)})
    batch: list[dict[str, Any]] = [{"inputs": [1, 2, 3, 4], "labels": [0, 2, 3, 2]}]
    with pytest.raises(ArgumentError, match="not a batch: expected Input and Target, got inputs, labels"):
        dnvm.train_simple(batch)
    batch = [{"inputs": [1, 2, 3, 4], "Target": [0, 2, 3, 2]}]
    result = dnvm.train_simple(batch, {"learning_rate": 0.5})
    assert result["LossHistory"] == [(1 + 4) / 2]  # the sum of squares, for a sample
    # gradient (o - t) / B: errors (1, 0) for (1, 2) and (0, 2) for (3, 4)
    assert net.weights()["layers.0.bias"].tolist() == [-0.25, -0.5]
    assert net.weights()["layers.0.weight"].tolist() == [[0.75, -1.5], [-0.5, -1.0]]


def test_validation_is_measured_after_training() -> None:
    dnvm.create_network_from_json(GRID)
    told = {"Epochs": 2, "ValidationInputs": [[0, 1], [1, 1]], "validation_targets": [1, 0], "EvaluateEveryN": 1}
    found = dnvm.train_simple(XOR, told)["EvalMetrics"]
    assert found == dnvm.evaluate_network_simple([[0, 1], [1, 1]], [1, 0])
    assert dnvm.train_simple(XOR)["EvalMetrics"] is None


def test_errors() -> None:
    with pytest.raises(StateError, match=r"\[loom.flow.dnvm\] there is no network"):
        dnvm.forward_simple([1.0])
    dnvm.create_network_from_json(GRID)
    with pytest.raises(ShapeError, match="not whole samples: expected a multiple of 2 numbers, got 3"):
        dnvm.forward_simple([1.0, 2.0, 3.0])
    with pytest.raises(ArgumentError, match=r"no setting is called 'epoch'.*Did you mean 'epochs'"):
        dnvm.train_simple(XOR, {"epoch": 1})
