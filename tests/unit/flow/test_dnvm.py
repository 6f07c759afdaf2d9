"""The older names of networks: created, run, trained, saved, loaded and measured."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError, DeviceError, LoomError, ShapeError, StateError
from loom.flow import dnvm
from loom.flow.dnvm import current, training

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
    monkeypatch.setattr(current, "_own", threading.local())
    yield
    current._latest.clear()


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


def told(**config: Any) -> dict[str, Any]:
    dnvm.create_network_from_json(GRID)
    return dnvm.train_simple(XOR, {"Epochs": 4, "LearningRate": 0.5} | config)


VALIDATION: dict[str, Any] = {"ValidationInputs": [[0, 1], [1, 1]], "ValidationTargets": [1, 0]}


def test_evaluation_every_so_many_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    """004:219, 721: measured while training and printed; each is what a training of so many epochs is worth."""
    found = told(EvaluateEveryN=2, **VALIDATION)
    assert [m["Epoch"] for m in found["EvalHistory"]] == [2, 4]
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 2
    score = found["EvalHistory"][1]["score"]
    assert out[1].startswith(f"  Validation Score: {score:.1f}/100, Avg Deviation: ")
    assert {k: v for k, v in found["EvalHistory"][1].items() if k != "Epoch"} == found["EvalMetrics"]
    half = told(Epochs=2, **VALIDATION)
    assert half["EvalMetrics"] == {k: v for k, v in found["EvalHistory"][0].items() if k != "Epoch"}
    assert "EvalHistory" not in half
    assert told(EvaluateEveryN=0)["EvalHistory"] == []


def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    dnvm.create_network_from_json(GRID)
    dnvm.train_simple(XOR * 4, {"Epochs": 2, "Verbose": True, "PrintEveryBatch": 2})
    words = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert words == ["batch 2", "batch 4", "epoch 1", "batch 2", "batch 4", "epoch 2"]
    dnvm.train_simple(XOR, {"PrintEveryBatch": True})
    assert capsys.readouterr().out.startswith("batch 1: loss ")


@pytest.mark.parametrize("on", ["vulkan"], indirect=True)
def test_use_gpu_trains_there_and_gives_the_same_bits(on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    trainer = training.Trainer

    def noted(model: Any, *args: Any, **fields: Any) -> Any:
        seen.append(model.device.kind)
        return trainer(model, *args, **fields)

    monkeypatch.setattr(training, "Trainer", noted)
    made = []
    for use in (None, False, True):
        net = dnvm.create_network_from_json(GRID)
        found = dnvm.train_simple(XOR, {"Epochs": 3, "UseGPU": use, "EvaluateEveryN": 2} | VALIDATION)
        made.append((net.digest(), found["LossHistory"], found["EvalHistory"]))
    assert seen == ["cpu", "cpu", on]
    assert made[0] == made[1] == made[2]
    monkeypatch.setenv("LOOM_DEVICE", on)
    net = dnvm.create_network_from_json(GRID)
    assert dnvm.train_simple(XOR, {"Epochs": 3, "UseGPU": False})["LossHistory"] == made[0][1]
    assert (seen[-1], net.digest()) == ("cpu", made[0][0])


def test_without_a_gpu_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    dnvm.create_network_from_json(GRID)
    before = dnvm.save_model_simple()

    def none(spec: Any, where: str) -> Any:
        raise DeviceError("loom.device", f"no {where}", remedy="Use the CPU")

    monkeypatch.setattr(training, "Model", none)
    with pytest.raises(DeviceError, match="no gpu"):
        dnvm.train_simple(XOR, {"UseGPU": True})
    assert dnvm.save_model_simple() == before


@pytest.mark.parametrize(
    ("batches", "config", "text"),
    [
        (XOR[0], {}, "[train_simple, batches] not a list of batches: expected [{'Input': ..., 'Target': ...}], got a "
         "mapping. Put the batch into a list."),
        ("no", {}, "[train_simple, batches] not a list of batches"),
        (XOR, {"EvaluateEveryN": 1}, "[train_simple, config] a validation lacks its samples: expected ValidationInputs "
         "and ValidationTargets, got neither. Pass both, or none of them and no EvaluateEveryN."),
        (XOR, {"ValidationInputs": [[0, 1]]}, "a validation lacks its samples: expected ValidationInputs and "
         "ValidationTargets, got validationinputs"),
        (XOR, {"UseGPU": "yes"}, "[train_simple, config, usegpu] not usable: expected True or False, got 'yes'"),
        (XOR, {"EvaluateEveryN": -1} | VALIDATION, "evaluateeveryn] not usable: expected an int of at least 0, got -1"),
        (XOR, {"PrintEveryBatch": 1.5}, "printeverybatch] not usable: expected an int of at least 0, got 1.5"),
    ],
)  # fmt: skip
def test_settings_without_sense(batches: Any, config: Any, text: str) -> None:
    dnvm.create_network_from_json(GRID)
    with pytest.raises(LoomError, match=re.escape(text)):
        dnvm.train_simple(batches, config)
