"""Ticks against the ordinary forward, and gradients against finite differences of the ticks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import loom
from loom.nn.step import StepState


def chain(*sizes: int, dtype: str = "f64", activation: str = "tanh") -> loom.Network:
    layers = [{"type": "dense", "output_size": n, "activation": activation} for n in sizes[1:]]
    document = {"format": "loom/1", "seed": 3, "dtype": dtype, "input": {"shape": [sizes[0]]}, "layers": layers}
    return loom.Network.from_json(document, on="cpu")


def skipping() -> loom.Network:
    """A graph whose output is behind its input by one, two and three ticks."""
    nodes: dict[str, Any] = {
        "a": {"type": "dense", "output_size": 3, "activation": "tanh", "inputs": ["input"]},
        "b": {"type": "dense", "output_size": 3, "activation": "sigmoid", "inputs": ["a"]},
        "join": {"type": "merge", "combine_mode": "add", "inputs": ["a", "b", "input"]},
        "out": {"type": "dense", "output_size": 2, "activation": "tanh", "inputs": ["join"]},
    }
    document = {"format": "loom/1", "seed": 5, "dtype": "f64", "inputs": {"input": {"shape": [3]}}, "nodes": nodes,
                "outputs": ["out"]}  # fmt: skip
    return loom.Network.from_json(document, on="cpu")


def test_held_input_shows_forward() -> None:
    net, x = chain(4, 8, 8, 8, 2, dtype="f32"), np.random.default_rng(0).random((3, 4), np.float32)
    state = net.step(batch=3)
    state.set_input(x)
    for _ in range(state.depth):
        state.step_forward()
    assert state.depth == 4
    assert state.get_output().view(np.int32).tolist() == net.forward(x).view(np.int32).tolist()


def drive(state: StepState, xs: Sequence[np.ndarray]) -> StepState:
    state.reset()
    for x in xs:
        state.set_input(x)
        state.step_forward()
    return state


def differences(net: loom.Network, xs: Sequence[np.ndarray], g: np.ndarray, name: str) -> np.ndarray:
    """Return the derivative of sum(g output) after ticks with ``xs`` by a weight, from both sides."""
    weights, found = net.weights(), np.zeros(net.weights()[name].shape)
    state = net.step(batch=len(xs[0]), gradient=None)
    for at in np.ndindex(*found.shape):
        values = []
        for step in (1e-6, -1e-6):
            moved = {n: w.copy() for n, w in weights.items()}
            moved[name][at] += step
            net.load_weights(moved)
            values.append(float((drive(state, xs).get_output() * g).sum()))
        found[at] = (values[0] - values[1]) / 2e-6
    net.load_weights(weights)
    return found


@pytest.mark.parametrize("ticks", [pytest.param(2, marks=pytest.mark.slow), 5])
@pytest.mark.parametrize("make", [lambda: chain(3, 4, 3, 2), skipping])
def test_gradient_is_that_of_the_ticks(make: Any, ticks: int) -> None:
    net, rng = make(), np.random.default_rng(1)
    xs, g = [rng.standard_normal((2, 3)) for _ in range(ticks)], rng.standard_normal((2, 2))
    state = drive(net.step(batch=2), xs)
    state.step_backward(g)
    for name, found in state.gradients().items():
        assert np.abs(found - differences(net, xs, g, name)).max() < 1e-8, name


def test_current_is_true_of_a_held_input() -> None:
    net, rng = chain(3, 4, 2), np.random.default_rng(2)
    xs, g = [rng.standard_normal((1, 3))] * 3, rng.standard_normal((1, 2))
    true, now = (drive(net.step(gradient=way), xs) for way in ("true", "current"))
    assert true.step_backward(g).tolist() == now.step_backward(g).tolist()
    assert all((true.gradients()[n] == now.gradients()[n]).all() for n in net.weights())


def test_rescaled_is_current_times_softmax() -> None:
    net, rng = chain(3, 4, 2), np.random.default_rng(2)
    xs, g = [rng.standard_normal((1, 3)) for _ in range(3)], rng.standard_normal((1, 2))
    now, scaled = (drive(net.step(gradient=way), xs) for way in ("current", "rescaled"))
    now.step_backward(g)
    scaled.step_backward(g)
    for name, plain in now.gradients().items():
        size = np.exp(np.abs(plain)) / np.exp(np.abs(plain)).sum()
        assert np.allclose(scaled.gradients()[name], plain * plain.size * size, rtol=1e-12)


@pytest.mark.parametrize("optimizer", ["sgd", "sgd_momentum", "adam", "adamw", "rmsprop", "lion"])
def test_training_by_ticks(optimizer: str) -> None:
    net, rng = chain(2, 8, 1, dtype="f32"), np.random.default_rng(0)
    x = rng.standard_normal((16, 2)).astype(np.float32)
    y = np.tanh(x[:, :1] - x[:, 1:])
    state, losses = net.step(batch=16), []
    state.set_input(x)
    for _ in range(60):
        state.step_forward()
        away = state.get_output() - y
        losses.append(float((away * away).mean()))
        state.step_backward(2 * away / len(x))
        state.apply_gradients(0.1 if optimizer.startswith("sgd") else 0.01, optimizer)
    assert losses[-1] < 0.3 * losses[2]


def test_layers_by_hand() -> None:
    """Named layers advance alone: one after the other they are the ordinary forward, with its gradient."""
    net, rng = chain(3, 4, 3, 2), np.random.default_rng(4)
    x, g = rng.standard_normal((1, 3)), rng.standard_normal((1, 2))
    state, held = net.step(), drive(net.step(), [x] * 3)
    state.set_input(x)
    for name in state.names:
        state.step_forward([name])
    assert state.get_output().tolist() == net.forward(x).tolist()
    assert state.step_backward(g).tolist() == held.step_backward(g).tolist()
    assert all((state.gradients()[n] == held.gradients()[n]).all() for n in net.weights())
    state.step_forward(state.names[:1])
    with pytest.raises(loom.LoomError, match="horizon=n"):
        state.step_backward(g)
    state.set_buffer(state.names[1], np.ones((1, 3)))
    state.step_forward(state.names[2])
    state.step_backward(g)
    assert not state.gradients()[f"{state.names[0]}.weight"].any()
    assert state.gradients()[f"{state.names[2]}.weight"].any()
