"""Networks of f64 are f64 throughout: inputs, rates, betas, their powers, schedules; as PyTorch in f64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom.flow import dnvm
from loom.nn.spec import parse, to_json
from loom.nn.train import SGD, Adam, AdamW, Cosine, Optimizer, RMSprop

LAYERS = [{"type": "dense", "output_size": 5, "activation": "tanh"}, {"type": "dense", "output_size": 2}]
STEPS, RATE = 50, 0.1


def network(**fields: Any) -> loom.Network:
    document = {"format": "loom/1", "dtype": "f64", "seed": 3, "input": {"shape": [4]}, "layers": LAYERS}
    return loom.Network.from_json(document | fields, on="cpu")


OPTIMIZERS: dict[str, tuple[Optimizer, Callable[[Any, Any], Any]]] = {
    "sgd": (SGD(), lambda t, w: t.SGD(w, lr=RATE)),
    "nesterov": (SGD(momentum=0.9, nesterov=True), lambda t, w: t.SGD(w, lr=RATE, momentum=0.9, nesterov=True)),
    "adam": (Adam(beta1=0.8, beta2=0.99), lambda t, w: t.Adam(w, lr=RATE, betas=(0.8, 0.99))),
    "adamw": (AdamW(weight_decay=0.0), lambda t, w: t.AdamW(w, lr=RATE, weight_decay=0.0)),
    "rmsprop": (RMSprop(alpha=0.9, momentum=0.7), lambda t, w: t.RMSprop(w, lr=RATE, alpha=0.9, momentum=0.7)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fifty_steps_as_pytorch_in_f64(name: str) -> None:
    """Each step rounds a number some ten times, by 2^-53 of about 1; Adam divides by roots, which doubles it."""
    torch = pytest.importorskip("torch")
    mine, theirs = OPTIMIZERS[name]
    draw = np.random.default_rng(0)
    x, y = draw.standard_normal((8, 4)), draw.standard_normal((8, 2))
    net, schedule = network(), Cosine(RATE, steps=STEPS)
    w = {n: torch.tensor(value, requires_grad=True) for n, value in net.weights().items()}
    optimizer = theirs(torch.optim, list(w.values()))
    losses = []
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATE * (1 + np.cos(np.pi * step / STEPS)) / 2
        optimizer.zero_grad()
        hidden = (torch.tensor(x) @ w["layers.0.weight"] + w["layers.0.bias"]).tanh()
        loss = ((hidden @ w["layers.1.weight"] + w["layers.1.bias"] - torch.tensor(y)) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    history = net.train(x, y, epochs=STEPS, batch_size=8, optimizer=mine, schedule=schedule)
    np.testing.assert_allclose(history.loss, losses, rtol=1e-13)
    for n, value in w.items():
        np.testing.assert_allclose(net.weights()[n], value.detach().numpy(), rtol=0, atol=1e-13)


def test_sums_of_batches_are_of_f64_as_well() -> None:
    draw = np.random.default_rng(1)
    x, y = draw.standard_normal((9, 4)), draw.standard_normal((9, 2))
    whole, parts = network(), network()
    whole.train(x, y, batch_size=9, learning_rate=0.1, shuffle=False)
    parts.train(x, y, batch_size=3, accumulate=3, learning_rate=0.1, shuffle=False)  # shares of a third, no f32
    for n, value in whole.weights().items():
        np.testing.assert_allclose(parts.weights()[n], value, rtol=0, atol=1e-15)


def test_inputs_of_a_network_of_f64_are_f64_unless_told() -> None:
    plain = [{"type": "activation", "function": "linear"}]
    assert network(layers=plain).forward([0.1, 0.2, 0.3, 0.4]).tolist() == [0.1, 0.2, 0.3, 0.4]
    several = {"a": {"shape": [1]}, "b": {"shape": [1], "dtype": "f32"}, "c": {"shape": [1], "dtype": "i32"}}
    nodes = {"y": {"inputs": ["a", "b", "c"], "type": "merge", "combine_mode": "concat"}}
    for inputs, types in (
        ({"input": {"shape": [4]}, "layers": plain}, ["f64"]),
        ({"input": {"shape": [4], "dtype": "f32"}, "layers": plain}, ["f32"]),
        ({"inputs": several, "nodes": nodes}, ["f64", "f32", "i32"]),
    ):
        for dtype in ("f64", "f32", "bf16"):
            read = parse({"format": "loom/1", "dtype": dtype} | inputs)
            wanted = types if dtype == "f64" else ["f32" if t == "f64" else t for t in types]
            assert [i.dtype.name for i in read.inputs] == wanted
            assert parse(to_json(read)) == read


def test_flat_names_keep_f64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_DEVICE", "cpu")
    document = {"format": "loom/1", "dtype": "f64", "input": {"shape": [1]}}
    dnvm.create_network_from_json(document | {"layers": [{"type": "activation", "function": "linear"}]})
    assert dnvm.forward_simple([0.1]) == [0.1]
    net = dnvm.create_network_from_json(document | {"layers": [{"type": "dense", "output_size": 1}]})
    net.load_weights({"layers.0.weight": [[0.0]], "layers.0.bias": [0.0]})
    dnvm.train_simple([{"Input": [1.0], "Target": [0.1]}], {"LearningRate": 1.0})
    assert net.weights()["layers.0.bias"].tolist() == [0.1]
