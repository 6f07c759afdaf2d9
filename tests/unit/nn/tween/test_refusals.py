"""What is no finite number is never written; states are reset, restored, diagnosed and revived as their texts say."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, LoomError, NotFinite, StateError
from loom.nn.train.optimizers import Adam
from loom.nn.tween import TweenConfig, TweenState
from tests.unit.nn.tween.test_state import net_of, task

NOISY = [
    {"type": "dense", "output_size": 5},
    {"type": "batch_norm"},
    {"type": "dropout"},
    {"type": "dense", "output_size": 3},
]


def elements(state: TweenState) -> dict[str, bytes]:
    return {n: a.tobytes() for n, a in {**state.network.weights(), **state.arrays()}.items()}


def test_a_weight_that_would_overflow_stays() -> None:
    """65504 is the largest f16; the move itself is a finite f32."""
    net, (x, y) = net_of(dtype="f16"), task(4)
    state = net.tween(mode="tween")
    for _ in range(3):
        state.step(x, y, 1e30)
    assert all(np.isfinite(a).all() for a in net.weights().values())


@pytest.mark.parametrize("mode", ["step_tween_chain", pytest.param("step", marks=pytest.mark.slow)])
def test_a_tick_that_overflows_within_leaves_the_buffers(mode: str) -> None:
    """The output shows the first layer's infinity only ticks later; no later tick could mend it."""
    net, (x, y) = net_of(layers=[{"type": "dense", "output_size": 5}, {"type": "dense", "output_size": 3}]), task(4)
    net.load_weights({n: a * 30 for n, a in net.weights().items()})
    state = net.tween(mode=mode)
    state.step(x, y, 0.01)
    before = elements(state)
    for call in (lambda: state.step(np.sign(x) * 3e38, y, 0.01), lambda: state.tick(np.sign(x) * 3e38)):
        with pytest.raises(NotFinite, match=r"what layers would give is NaN.*Nothing was changed"):
            call()
    assert elements(state) == before
    state.tick(x)
    assert np.isfinite(state.step(x, y, 0.01))


def test_a_step_that_is_refused_does_not_count() -> None:
    """Noise goes by the count: what follows has the bits of a training without the refused step."""
    x, y = task(4)
    states = [net_of(layers=NOISY).tween(mode="tween_chain", config=TweenConfig(guard=True)) for _ in range(2)]
    for is_bad, state in enumerate(states):
        state.step(x, y, 0.1)
        if is_bad:
            with pytest.raises(NotFinite):
                state.step(x, np.full((4, 3), 3e38), 0.1)
        state.step(x, y, 0.1)
    assert elements(states[0]) == elements(states[1])


def test_a_diagnosis_is_what_the_update_sees_and_holds_nothing() -> None:
    x, y = task(6)
    state = net_of(layers=NOISY).tween()
    before = state.network.digest()
    state.diagnose(x[:2], y[:2])
    with pytest.raises(StateError, match="no tick was made"):
        _ = state.output
    seen = state.diagnose(x, y)
    assert state.network.digest() == before
    state.step(x, y, 0.1, watch=True)
    assert state.report == seen
    state.reset()
    with pytest.raises(StateError, match="no tick was made"):
        _ = state.output
    state.step(x[:2], y[:2], 0.1)  # of another size
    assert state.output.shape == (2, 3)


@pytest.mark.parametrize("mode", ["tween_chain", pytest.param("normal", marks=pytest.mark.slow)])
def test_arrays_of_before_are_restored_into_a_running_state(mode: str) -> None:
    x, y = task(4)
    net = net_of()
    config = TweenConfig(optimizer=Adam()) if mode == "normal" else TweenConfig(guard=True)
    state = net.tween(mode=mode, config=config)
    state.step(x, y, 0.1)
    weights, arrays = net.weights(), state.arrays()
    state.step(x, y, 0.1)
    expected = elements(state)
    for _ in range(2):
        net.load_weights(weights)
        state.restore(arrays, 0)
        state.step(x, y, 0.1)
        assert elements(state) == expected
    fresh = net_of().tween(mode=mode, config=config).arrays()
    state.restore(fresh, 0)
    assert {n: a.tobytes() for n, a in state.arrays().items()}.keys() >= fresh.keys()
    with pytest.raises(StateError, match="arrays of another state"):
        state.restore({"velocity/layers.9.weight": x}, 0)


def test_a_state_whose_network_was_frozen_is_revived() -> None:
    net, (x, y) = net_of(), task(4)
    state = net.tween(mode="tween")
    state.step(x, y, 0.1)
    net.freeze()
    again = pickle.loads(pickle.dumps(state))
    with pytest.raises(ArgumentError, match="nothing can be trained"):
        again.step(x, y, 0.1)
    again.network.unfreeze()
    net.unfreeze()
    assert again.step(x, y, 0.1) == state.step(x, y, 0.1)
    assert elements(again) == elements(state)


def test_epochs_scale_the_input_and_follow_a_schedule_to_its_end() -> None:
    x, y = task(10)
    layers = [{"type": "scale"}, {"type": "dense", "output_size": 3}]
    nets = [net_of(layers=layers) for _ in range(2)]
    told: dict[str, Any] = {"epochs": 4, "batch_size": 4, "learning_rate": 1.0, "schedule": "cosine"}
    ticks = nets[0].train(x * 100 + 50, y, mode="step_tween", **told)  # two whole batches an epoch, the rest waits
    nets[1].train(x * 100 + 50, y, epochs=1)
    for name in ("layers.0.shift", "layers.0.factor"):
        assert nets[0].weights()[name].tobytes() == nets[1].weights()[name].tobytes()
    assert ticks.rate == pytest.approx([(1 + np.cos(np.pi * k / 8)) / 2 for k in (1, 3, 5, 7)])
    two = {"a": {"type": "dense", "output_size": 3, "inputs": ["input"]},
           "b": {"type": "dense", "output_size": 2, "inputs": ["input"]}}  # fmt: skip
    document = {"format": "loom/1", "input": {"shape": [4]}, "nodes": two, "outputs": ["a", "b"]}
    rates = [loom.Network.from_json(document).train(x, t, mode="tween", **told).rate
             for t in ({"a": y, "b": y % 2}, [y, y % 2])]  # fmt: skip
    assert rates[0] == rates[1]


def test_settings_that_cannot_be_used_are_told() -> None:
    net, (x, y) = net_of(), task(4)
    state = net.tween(mode="tween")
    many: Any = 10**400
    cases: list[tuple[type[LoomError], str, Any]] = [
        (ArgumentError, "rate] not usable", lambda: state.step(x, y, many)),
        (ArgumentError, "rate] too large for f32", lambda: state.step(x, y, 1e300)),
        (ArgumentError, "tween, momentum", lambda: TweenConfig(momentum=many)),
        (ArgumentError, "would not cut more", lambda: TweenConfig(guard=True, guard_cuts=(2, 0.5, 0.3))),
        (ArgumentError, "would not cut more", lambda: TweenConfig(guard=True, guard_runs=(10, 5))),
        (ArgumentError, "tanh_clamp] too large for f32", lambda: net.tween("tween", TweenConfig(tanh_clamp=1e39))),
        (ArgumentError, "'dense'] too large", lambda: net.tween("tween", TweenConfig(layer_rates={"dense": 1e300}))),
        (ArgumentError, "no loss is called 5", lambda: TweenConfig(loss=5)),  # type: ignore[arg-type]
        (ArgumentError, "expected a loom.Network", lambda: TweenState(5, "tween")),  # type: ignore[arg-type]
        (ArgumentError, "expected a TweenConfig", lambda: net.train(
            x, y, mode="step", config={"momentum": 0.5}, optimizer="adam")),  # type: ignore[arg-type]
        (LoomError, "tween, fit, target", lambda: net.train(x, None, mode="tween", schedule="cosine")),
        (ArgumentError, "report", lambda: state.fit(x, y, report=3)),  # type: ignore[arg-type]
        (ArgumentError, "from 0 to 18446744073709551615", lambda: state.fit(x, y, seed=1 << 64)),
    ]  # fmt: skip
    before = net.digest()
    for kind, text, call in cases:
        with pytest.raises(kind, match=text):
            call()
    assert net.digest() == before
    assert TweenConfig(depth_scale=9e5, depth_linear_to=1000, depth_cap=50.0).depth(99) == 50.0
    assert TweenConfig(depth_scale=1e-30, depth_linear_to=1000).depth(99) == 0.0
