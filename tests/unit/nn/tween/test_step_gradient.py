"""The mode ``step`` follows the derivative of what its ticks computed: samples that change at every tick."""

from __future__ import annotations

import numpy as np
import pytest

import loom
from loom.nn.tween import TweenConfig


def test_the_gradient_is_that_of_the_ticks() -> None:
    """Three layers: at tick t the output is the whole network's for the input of tick t - 2; so are its gradients."""
    sizes = [("tanh", 4), ("sigmoid", 3), ("linear", 2)]
    layers = [{"type": "dense", "output_size": n, "activation": a} for a, n in sizes]
    document = {"format": "loom/1", "dtype": "f64", "seed": 2, "input": {"shape": [3]}, "layers": layers}
    config = TweenConfig(loss="mse")
    net, whole = loom.Network.from_json(document), loom.Network.from_json(document)
    rng = np.random.default_rng(1)
    state = net.tween(mode="step", config=config)
    x, y = rng.normal(size=(6, 2, 3)), rng.normal(size=(6, 2, 2))
    for t in range(6):
        before = net.weights()
        state.step(x[t], y[t], 0.0 if t < 5 else 0.1)
    whole.load_weights(before)
    whole.tween(mode="normal", config=config).step(x[3], y[5], 0.1)
    after = whole.weights()
    for name, a in net.weights().items():
        assert np.abs(a - before[name]).max() > 0
        np.testing.assert_allclose(a, after[name], rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_before_the_first_tick_there_is_nothing_to_move() -> None:
    """At the first tick the last layer reads zeros that nobody made: only it has a gradient."""
    layers = [{"type": "dense", "output_size": 3, "activation": "tanh"}, {"type": "dense", "output_size": 2}]
    net = loom.Network.from_json({"format": "loom/1", "seed": 2, "input": {"shape": [3]}, "layers": layers})
    before = net.weights()
    state = net.tween(mode="step", config=TweenConfig(loss="mse"))
    assert state.step([1.0, 2.0, 3.0], [1.0, 1.0], 0.1) == pytest.approx(1.0)
    after = net.weights()
    changed = [n for n in after if after[n].tobytes() != before[n].tobytes()]
    assert changed == ["layers.1.bias"]
    assert np.array_equal(state.tick([1.0, 2.0, 3.0]).shape, (2,))
