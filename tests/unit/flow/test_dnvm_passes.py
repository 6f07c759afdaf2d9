"""The older names for passes back, samples and labels, schedulers, and networks as values."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError, LoomError, ShapeError, StateError
from loom.flow import dnvm
from loom.flow.dnvm import current

DOCUMENT: dict[str, Any] = {
    "batch_size": 2, "grid_rows": 1, "grid_cols": 1, "layers_per_cell": 2, "seed": 5,
    "layers": [
        {"type": "dense", "input_size": 3, "output_size": 4, "activation": "tanh"},
        {"type": "dense", "output_size": 2, "activation": "sigmoid"},
    ],
}  # fmt: skip


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LOOM_DEVICE", "cpu")
    monkeypatch.setattr(current, "_own", threading.local())
    yield
    current._latest.clear()
    current._gpu.clear()


def test_a_pass_back_is_the_true_gradient() -> None:
    """Against central differences of the output weighed by the numbers that are given, in f64."""
    net = dnvm.create_network_from_json(DOCUMENT | {"dtype": "float64"})
    x, given = [0.3, -0.2, 0.9], [0.7, -1.3]
    dnvm.forward_simple(x)
    before = net.weights()
    dnvm.backward_simple(given)
    dnvm.update_weights_simple(0.5)
    after = net.weights()
    for name in ("layer0.weight", "layer1.bias"):
        where, step = (0,) * before[name].ndim, 1e-6
        values = []
        for sign in (1, -1):
            moved = {n: a.copy() for n, a in before.items()}
            moved[name][where] += sign * step
            net.load_weights(moved)
            values.append(float(np.dot(dnvm.forward_simple(x), given)))
        slope = (values[0] - values[1]) / (2 * step)
        assert (before[name][where] - after[name][where]) / 0.5 == pytest.approx(slope, rel=1e-6)


def test_targets_of_a_network_that_is_a_value() -> None:
    net = dnvm.create_network(input_size=3, grid_rows=1, grid_cols=1, layers_per_cell=1)
    dnvm.set_layer(net, 0, 0, 0, dnvm.init_dense_layer(3, 2, dnvm.Activation.SIGMOID))
    away = []
    for _ in range(3):
        out = dnvm.forward(net, [1.0, 0.0, 1.0])
        assert dnvm.get_output(net, 2) == out
        away.append(abs(out[0] - 1.0) + abs(out[1]))
        dnvm.backward(net, [1.0, 0.0])
        dnvm.update_weights(net, 0.5)
    assert away[0] > away[1] > away[2]
    copy = dnvm.load_model_from_string(dnvm.save_model_to_string(net, "a"), "a")
    assert dnvm.forward(copy, [1.0, 0.0, 1.0]) == dnvm.forward(net, [1.0, 0.0, 1.0])
    info = {"grid_rows": 1, "grid_cols": 1, "layers_per_cell": 1, "batch_size": 1, "total_layers": 1}
    assert dnvm.get_network_info(net) == {"type": "Network", "gpu_enabled": False, **info}
    dnvm.free_graft_network(copy)


def test_what_is_asked_before_it_can_be() -> None:
    dnvm.create_network_from_json(DOCUMENT)
    with pytest.raises(StateError, match=r"\[backward_simple\] nothing ran forward"):
        dnvm.backward_simple([1.0, 2.0])
    dnvm.forward_simple([1.0, 2.0, 3.0])
    with pytest.raises(StateError, match="there is no gradient"):
        dnvm.update_weights_simple(0.1)
    with pytest.raises(ShapeError, match="not one number for each output: expected 2, got 1"):
        dnvm.backward_simple([1.0])
    with pytest.raises(ArgumentError, match=r"no such function: 'InitDenzeLayer'\. Did you mean 'InitDenseLayer'"):
        dnvm.call_layer_init("InitDenzeLayer", 1, 2)
    with pytest.raises(ArgumentError, match="got 1 arguments"):
        dnvm.call_layer_init("InitDenseLayer", 1)


def test_samples_and_labels() -> None:
    draw = np.random.default_rng(1)
    x = draw.standard_normal((40, 3))
    labels = (x[:, 0] > 0).astype(int)
    for name, y in (("train_standard", np.eye(2)[labels]), ("train_labels", labels)):
        net = dnvm.create_network_from_json(DOCUMENT)
        found = getattr(dnvm, name)(x.tolist(), y.tolist(), {"epochs": 8, "LearningRate": 0.5})
        assert len(found["LossHistory"]) == 8
        assert found["FinalLoss"] < found["LossHistory"][0]
        assert net.evaluate(x, labels).accuracy > 0.9
    digests = []
    for name, y in (("train_standard", np.eye(2)[labels]), ("train_labels", labels)):  # which are the same
        net = dnvm.create_network_from_json(DOCUMENT)
        getattr(dnvm, name)(x.tolist(), y.tolist(), {"epochs": 1})
        digests.append(net.digest())
    assert digests[0] == digests[1]
    net = dnvm.create_network_from_json(DOCUMENT)
    pairs = [{"Input": x[i : i + 2].ravel(), "Target": np.eye(2)[labels[i : i + 2]].ravel()} for i in range(0, 40, 2)]
    dnvm.train_simple(pairs, {"Epochs": 1, "LearningRate": 0.05})
    assert net.digest() == digests[0]
    with pytest.raises(ArgumentError, match="expected integers from 0 to 1, got 0 to 2"):
        dnvm.train_labels(x.tolist()[:3], [0, 1, 2])
    with pytest.raises(LoomError, match="not one target for each input: expected 2, got 1"):
        dnvm.train_standard(x.tolist()[:2], [[1, 0]])
    assert dnvm.train(net, [(x[0], [1, 0])], {"epochs": 2, "verbose": False})["BestLoss"] > 0


def test_schedulers_by_their_formulas() -> None:
    """Section 7 of design/dnvm.md, worked out by hand."""
    made_constant = dnvm.create_constant_scheduler(0.1)
    made = {
        "Constant": (dnvm.create_constant_scheduler(0.1), [0.1, 0.1]),
        "LinearDecay": (dnvm.create_linear_decay_scheduler(1.0, 0.5, 10), [1.0, 0.75]),
        "CosineAnnealing": (dnvm.create_cosine_scheduler(1.0, 0.0, 10), [1.0, 0.5]),
        "CosineAnnealingWarmRestarts": (dnvm.create_cosine_warm_restarts_scheduler(1.0, 0.0, 5), [1.0, 1.0]),
        "ExponentialDecay": (dnvm.create_exponential_decay_scheduler(1.0, 0.25, 10), [1.0, 0.5]),
        "StepDecay": (dnvm.create_step_decay_scheduler(1.0, 0.1, 5), [1.0, 0.1]),
        "PolynomialDecay": (dnvm.create_polynomial_decay_scheduler(1.0, 0.0, 10, 2.0), [1.0, 0.25]),
        "Warmup+Constant": (dnvm.create_warmup_scheduler(10, 0.0, 0.1, made_constant), [0.0, 0.05]),
    }
    for name, (scheduler, wanted) in made.items():
        assert scheduler.name() == name
        assert [dnvm.get_scheduler_lr(scheduler, s) for s in (0, 5)] == pytest.approx(wanted)
        dnvm.free_scheduler(scheduler)
    with pytest.raises(ArgumentError, match="what comes after begins at another rate"):
        dnvm.create_warmup_scheduler(10, 0.0, 0.2, dnvm.create_constant_scheduler(0.1))


@pytest.mark.parametrize("on", ["vulkan"], indirect=True)
def test_networks_on_the_gpu(on: str) -> None:
    dnvm.enable_gpu_global(True)
    assert dnvm.create_network_from_json(DOCUMENT).model.device.kind == on
    dnvm.enable_gpu_global(False)
    net = dnvm.create_network_from_json(DOCUMENT)
    assert net.model.device.kind == "cpu"
    before = dnvm.forward(net, [1.0, 0.5, 0.0])
    assert dnvm.initialize_gpu(net)
    assert dnvm.get_network_info(net)["gpu_enabled"]
    assert dnvm.forward(net, [1.0, 0.5, 0.0]) == before
    dnvm.cleanup_gpu(net)
    assert net.model.device.kind == "cpu"
