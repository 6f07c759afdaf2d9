"""Every setting has an effect, and the ones that decide (guard, frontier, thresholds) decide as they say."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.dtype import f32
from loom.nn.train.optimizers import Adam
from loom.nn.tween import TweenConfig
from loom.nn.tween.guard import guard_rate, guard_state

LAYERS = [
    {"type": "dense", "output_size": 5, "activation": "tanh"},
    {"type": "dense", "output_size": 5, "activation": "sigmoid"},
    {"type": "dense", "output_size": 4, "activation": "relu"},
    {"type": "dense", "output_size": 3},
]
LSTM = [{"type": "dense", "output_size": 3}, {"type": "lstm", "hidden_size": 3}]
X = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)

SETTINGS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "loss": ("normal", "mae", {}), "optimizer": ("normal", Adam(), {}),
    "layer_rates": ("tween_chain", {"dense": 0.5}, {}), "momentum": ("tween", 0.5, {}),
    "bias_multiplier": ("tween", 0.2, {}), "weight_multiplier": ("tween", 0.02, {}),
    "ignore_threshold": ("tween", 0.9, {}), "tanh_clamp": ("tween", 0.001, {}), "sigmoid_low": ("tween", 0.6, {}),
    "sigmoid_high": ("tween", 0.1, {}), "relu_clamp": ("tween", 0.001, {}), "link_budget_scale": ("tween", 1.0, {}),
    "total_weight_threshold": ("tween", 100.0, {}), "depth_scale": ("tween_chain", 1.5, {}),
    "depth_linear_to": ("tween_chain", 0, {}), "depth_cap": ("tween_chain", 1.1, {}),
    "gradient_scale": ("tween_chain", 5.0, {"frontier": True, "frontier_threshold": 0.99}),
    "derivative_eps": ("tween_chain", 0.2, {}), "link_clip": ("tween_chain", 0.01, {}),
    "update_clip": ("tween_chain", 0.001, {}), "block_clip": ("tween_chain", 0.0001, {}),
    "lstm_gate_scale": ("tween_chain", 1.0, {}), "exact_links": ("tween_chain", True, {}),
    "frontier": ("tween", True, {"frontier_threshold": 0.9}), "frontier_threshold": ("tween", 0.0, {"frontier": True}),
    "guard": ("tween", True, {"guard_baseline": 1, "guard_growth": 0.0}),
    "guard_baseline": ("tween", 1, {"guard": True, "guard_growth": 0.0}),
    "guard_growth": ("tween", 0.0, {"guard": True, "guard_baseline": 1}),
    "guard_limit": ("tween", 0.0, {"guard": True, "guard_baseline": 1}),
    "guard_cuts": ("tween", (0.1, 0.1, 0.1), {"guard": True, "guard_baseline": 1, "guard_growth": 0.0}),
    "guard_runs": ("tween", (1, 2), {"guard": True, "guard_baseline": 1, "guard_growth": 0.0}),
    "guard_floor": ("tween", 1.0, {"guard": True, "guard_baseline": 1, "guard_growth": 0.0}),
}  # fmt: skip
FIT = {"guard_recovery", "prune", "prune_threshold", "prune_patience", "prune_at_once", "early_stop_score",
       "evaluate_every", "ticks"}  # fmt: skip
"""Those that other tests show: of the guard alone, and of ``fit``."""


def test_no_setting_is_left_out() -> None:
    assert SETTINGS.keys() | FIT == {f.name for f in fields(TweenConfig)}


def digest(mode: str, config: TweenConfig, layers: list[dict[str, Any]]) -> str:
    shape = [2, 3] if layers is LSTM else [6]
    net = loom.Network.from_json({"format": "loom/1", "seed": 3, "input": {"shape": shape}, "layers": layers})
    target = 0.5 if layers is LSTM else 1.0
    state = net.tween(mode=mode, config=config)
    for _ in range(3):
        x = X.reshape(-1, *shape)
        state.step(x, np.full((len(x), *net.outputs[net.spec.outputs[0]].shape), target, np.float32), 0.9)
    return net.digest()


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if i == 12 else pytest.mark.slow)
                                  for i, n in enumerate(SETTINGS)])  # fmt: skip
def test_a_setting_has_an_effect(name: str) -> None:
    mode, value, with_it = SETTINGS[name]
    layers = LSTM if name in ("lstm_gate_scale", "block_clip", "exact_links") else LAYERS
    plain = dict(with_it)
    if name in ("guard", "frontier"):  # what needs it goes with it
        plain = {}
    assert digest(mode, TweenConfig(**plain), layers) != digest(mode, TweenConfig(**{**with_it, name: value}), layers)


def multipliers(gaps: list[float], **settings: Any) -> list[float]:
    """Return the multiplier after each of several gaps."""
    config = TweenConfig(guard=True, **settings)
    state = guard_state(config, f32, None)
    gap = loom.tensor.input("gap", ())
    new, updates = guard_rate(config, gap, state)
    program, found = loom.tensor.compile([new], updates), []
    for value in gaps:
        program.run(gap=np.float32(value))
        found.append(float(program.read()[0]))
    return found


def test_the_guard_cuts_and_recovers() -> None:
    """Three gaps of mean 1 are the baseline; 1.6 times the gap before explodes, and so does 10 times the baseline."""
    found = multipliers([0.5, 1.0, 1.5, 1.6, 2.56, 2.0, 1.9, 1.9, 20.0, 19.0], guard_baseline=3)
    expected = [1, 1, 1, 1, 0.7, 0.735, 0.77175, 0.8103375, 0.56723625, 0.397065375]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    found = multipliers([1.0] + [2.0**k for k in range(1, 13)], guard_baseline=1)
    expected, m = [1.0], 1.0
    for run in range(1, 13):
        m = max(0.01, m * (0.7 if run <= 5 else 0.5 if run <= 10 else 0.3))
        expected.append(m)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert multipliers([1.0, 2.0, 1.0, 1.0], guard_baseline=1, guard_recovery=1.2)[2:] == pytest.approx([0.84, 1.0])


def test_the_guard_cuts_more_after_so_many_in_a_row_and_not_before() -> None:
    """No floor hides which of the cuts it was."""
    settings = {"guard_baseline": 1, "guard_cuts": (0.75, 0.5, 0.25), "guard_runs": (1, 3), "guard_floor": 0.0}
    found = multipliers([2.0**k for k in range(6)], **settings)
    np.testing.assert_allclose(np.divide(found[1:], found[:-1]), [0.75, 0.5, 0.5, 0.25, 0.25], rtol=1e-6)


def test_the_frontier_leaves_what_lies_below() -> None:
    """All budgets are below 1.1: only the last layer moves."""
    for mode in ("tween_chain",):
        net = loom.Network.from_json({"format": "loom/1", "seed": 3, "input": {"shape": [6]}, "layers": LAYERS})
        before = net.weights()
        net.tween(mode=mode, config=TweenConfig(frontier=True, frontier_threshold=1.1)).step(X[0].ravel(), 1, 0.5)
        changed = {n[:8] for n, a in net.weights().items() if a.tobytes() != before[n].tobytes()}
        assert changed == {"layers.3"}


def test_epochs_are_measured_and_stopped() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 40)
    x = np.where(y == 1, 1.0, -1.0)[:, None] + 0.1 * rng.normal(size=(40, 3))
    net = loom.Network.from_json(
        {"format": "loom/1", "seed": 3, "input": {"shape": [3]}, "layers": [{"type": "dense", "output_size": 2}]}
    )
    config = TweenConfig(evaluate_every=2, early_stop_score=99.0)
    history = net.tween(mode="tween_chain", config=config).fit(x, y, epochs=50, batch_size=10, rate=0.2)
    assert history.stopped.startswith("score 100.00 at epoch")
    assert history.epochs == history.score_epochs[-1] < 50
    assert all(e % 2 == 0 for e in history.score_epochs)
    ticks = [net.tween(mode="step", config=TweenConfig(ticks=t)) for t in (1, 3)]
    for state in ticks:
        state.fit(x, y, epochs=1, batch_size=10)
    assert [state.steps for state in ticks] == [4, 12]


def test_a_layer_is_pruned_only_when_it_stays_low() -> None:
    net = loom.Network.from_json({"format": "loom/1", "seed": 3, "input": {"shape": [6]}, "layers": LAYERS})
    config = TweenConfig(prune=True, prune_threshold=0.0, prune_patience=1)
    history = net.tween(mode="tween", config=config).fit(X.reshape(-1, 6), [0, 1, 2, 0], epochs=3)
    assert not history.bypassed
    assert len(net.spec.nodes) == 4
