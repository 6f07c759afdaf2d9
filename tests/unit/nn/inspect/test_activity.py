"""Observers: what they see is what layers compute, and nothing else changes for it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError, StateError
from loom.nn.inspect import LayerEvent
from tests.unit.nn.layers.cases import CASES

X = np.random.default_rng(1).standard_normal((12, 4)).astype(np.float32)
Y = np.arange(12) % 3
INNER = {"type": "sequential", "layers": [{"type": "dense", "output_size": 3, "activation": "tanh"},
                                          {"type": "dense", "output_size": 2}]}  # fmt: skip
LAYERS: list[Any] = [
    {"type": "dense", "output_size": 6, "activation": "relu"},
    {"type": "parallel", "branches": [{"type": "dense", "output_size": 2}, INNER]},
    {"type": "dropout", "rate": 0.25},
    {"type": "dense", "output_size": 3},
]


def _network(on: str = "cpu", layers: Any = LAYERS) -> loom.Network:
    return loom.Network.from_json({"format": "loom/1", "seed": 4, "input": {"shape": [4]}, "layers": layers}, on=on)


def test_nothing_changes_for_it(on: str) -> None:
    layers = LAYERS if on == "cpu" else LAYERS[::3]
    plain, seen = _network(on, layers), _network(on, layers)
    told: dict[str, Any] = {"batch_size": 6, "optimizer": "adam", "clip_norm": 1.0}
    told |= {"accumulate": 2} if on == "vulkan" else {}
    with seen.observe() as found:
        assert (seen.predict(X) == plain.predict(X)).all()
        seen.train(X, Y, **told)
    plain.train(X, Y, **told)
    assert seen.digest() == plain.digest()
    assert seen.model.watch is None
    before = len(found.events)
    seen.predict(X)
    assert len(found.events) == before


def test_arrays_are_those_of_the_layers() -> None:
    net = _network()
    w = net.weights()
    with net.observe() as seen:
        made = net.forward(X)
    hidden = np.maximum(X @ w["layers.0.weight"] + w["layers.0.bias"], 0)
    first = hidden @ w["layers.1.branches.0.weight"] + w["layers.1.branches.0.bias"]
    np.testing.assert_allclose(seen.outputs("layers.0"), hidden, atol=1e-6)
    np.testing.assert_allclose(seen.outputs("layers.1.branches.0"), first, atol=1e-6)
    assert (seen.inputs("layers.1.branches.1") == seen.outputs("layers.0")).all()
    assert (seen.outputs("layers.1.branches.1") == seen.outputs("layers.1")[:, 2:]).all()
    assert (seen.outputs("input") == X).all()
    assert (seen.outputs("layers.3") == made).all()
    event = next(e for e in seen.events if e.name == "layers.0")
    assert event.stats.avg == pytest.approx(float(event.output.astype(np.float64).mean()))
    assert (event.stats.max, event.stats.min) == (event.output.max(), event.output.min())
    assert (event.stats.active, event.stats.total) == ((event.output > 0).sum(), 72)
    with pytest.raises(ValueError, match="read-only"):
        event.output[0] = 0


def test_gradients_are_those_of_finite_differences() -> None:
    """The gradient by a layer's output is that of the loss when a bias after it moves (dense: summed over samples)."""
    layers = [{"type": "dense", "output_size": 5, "activation": "tanh"}, {"type": "dense", "output_size": 3}]
    net = loom.Network.from_json({"format": "loom/1", "dtype": "f64", "input": {"shape": [4]}, "layers": layers})
    start = net.weights()
    with net.observe(layers=[1, 0, "input"]) as seen:
        net.train(X, Y, batch_size=12, shuffle=False, learning_rate=0.0)
    net.load_weights(start)
    gradient = seen.gradients("layers.1")
    for k in range(3):
        losses = []
        for step in (1e-5, -1e-5):
            bias = start["layers.1.bias"].copy()
            bias[k] += step
            net.load_weights({**start, "layers.1.bias": bias})
            losses.append(net.evaluate(X, Y).loss)
        assert gradient[:, k].sum() == pytest.approx((losses[0] - losses[1]) / 2e-5, abs=1e-8)
    by_hidden = gradient @ start["layers.1.weight"].T
    np.testing.assert_allclose(seen.gradients("layers.0"), by_hidden, atol=1e-12)
    kinds = [(e.type, e.name) for e in seen.events]
    assert kinds == [("forward", "input"), ("forward", "layers.0"), ("forward", "layers.1"), ("backward", "layers.1"),
                     ("backward", "layers.0"), ("backward", "input")]  # fmt: skip


def test_events_have_the_older_keys() -> None:
    net, events = _network(), list[LayerEvent]()
    observer = net.observe(events.append, layers=["layers.1.branches.1.layers.0", 3], threshold=0.5)
    net.forward(X[:2])
    net.forward(X[:2])
    observer.close()
    observer.close()
    assert [(e.name, e.step_count) for e in events] == [
        ("layers.1.branches.1.layers.0", 1), ("layers.3", 1), ("layers.1.branches.1.layers.0", 2), ("layers.3", 2),
    ]  # fmt: skip
    inner = json.loads(json.dumps(events[0].to_dict(), allow_nan=False))
    assert {"mode", "type", "layer_idx", "layer_type", "stats", "input", "output", "step_count", "grid_row", "grid_col",
            "cell_layer", "model_id", "branch_idx", "is_parallel_branch"} <= set(inner)  # fmt: skip
    assert set(inner["stats"]) == {"avg_activation", "max_activation", "min_activation", "active_neurons",
                                   "total_neurons", "layer_type"}  # fmt: skip
    assert (inner["mode"], inner["type"], inner["layer_idx"], inner["branch_idx"]) == ("normal", "forward", 1, 0)
    assert len(inner["output"]) == 6
    assert events[0].stats.active == (np.abs(events[0].output) > 0.5).sum()
    with pytest.raises(StateError, match="callback"):
        observer.outputs("layers.3")


def test_several_observe_and_may_call_the_network() -> None:
    net, names = _network(), list[str]()
    with net.observe(layers=0) as first, net.observe(lambda e: (names.append(e.name), net.forward(X)), layers=[3]):
        net.forward(X[:3])
        net.forward(X[:3])
    assert names == ["layers.3", "layers.3"]
    assert {e.name for e in first.events} == {"layers.0"}
    with pytest.raises(StateError, match="were not seen"):
        first.outputs("layers.3")
    with pytest.raises(StateError, match="were not seen"):
        first.gradients("layers.0")


def test_an_error_of_a_callback_is_that_of_the_call() -> None:
    net = _network()

    def refuse(event: LayerEvent) -> None:
        raise RuntimeError(event.name)

    with net.observe(refuse, layers=[0]), pytest.raises(RuntimeError, match=r"layers\.0"):
        net.forward(X)
    assert net.forward(X).shape == (12, 3)


def test_observers_come_and_go_in_any_order() -> None:
    """Within a callback too, where nothing that runs is told, or it would call itself."""
    net, told = _network(), list[tuple[str, int]]()

    def look(event: LayerEvent) -> None:
        told.append((event.name, event.step_count))
        with net.observe(layers=0) as within:
            net.forward(X[:1])
        assert not within.events

    first = net.observe(look, layers=0)
    net.forward(X[:1])
    with net.observe(layers=0) as other:
        net.forward(X[:1])
        other.attach()
    first.close()
    with other:  # again
        net.forward(X[:1])
    assert told == [("layers.0", 1), ("layers.0", 2)]
    assert [e.step_count for e in other.events] == [2, 1]  # counted while anyone observes
    assert net.model.watch is None
    names: list[str] = []
    last = net.observe(lambda event: (names.append(event.name), last.close()))
    net.forward(X[:1])
    assert names == ["input"]  # nothing more of that pass


@pytest.mark.parametrize("mode", ["tween", "step"])
def test_what_cannot_be_observed_is_told(mode: str) -> None:
    net = _network(layers=[{"type": "dense", "output_size": 3}])
    state = net.tween(mode)
    with net.observe(), pytest.raises(StateError, match="cannot be observed"):
        state.step(X[:2], Y[:2])
    state.step(X[:2], Y[:2])
    with net.observe(lambda _event: state.step(X[:2], Y[:2])):  # within a callback nothing is told anyway
        net.forward(X[:2])


@pytest.mark.parametrize("case", CASES[1::15], ids=lambda c: c.name)
def test_every_layer_is_observed(case: Any) -> None:
    """Of any layer: inputs of numbers, of ids, of several names; the bits of the output stay."""
    net = loom.Network.from_json(case.document("f32"))
    draw = np.random.default_rng(2)
    x = {i.name: draw.integers(0, case.ids, (2, *i.shape)) if case.ids else draw.standard_normal((2, *i.shape))
         for i in net.spec.inputs}  # fmt: skip
    given = x if len(x) > 1 else next(iter(x.values()))
    plain = net.forward(given)
    with net.observe() as seen:
        np.testing.assert_array_equal(net.forward(given), plain)
        made = net.spec.outputs[0]
        np.testing.assert_array_equal(seen.outputs(made), plain)
        if net.model.parameters:
            net.train(given, plain, loss="mse", learning_rate=0.0)
            assert np.isfinite(seen.gradients(made)).all()


@pytest.mark.parametrize("layers", ["layers.9", 4, -5, [], ["layers.0", None], 1.5, [True]])
def test_what_is_no_layer_is_told(layers: Any) -> None:
    with pytest.raises(ArgumentError, match="layers"):
        _network().observe(layers=layers)


def test_bad_callbacks_and_thresholds() -> None:
    for threshold in (-1, float("nan"), float("inf"), "1", True):
        with pytest.raises(ArgumentError, match="threshold"):
            _network().observe(threshold=threshold)  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="callback"):
        _network().observe(3)


def test_ticks_are_observed() -> None:
    net = _network()
    state = net.step(2)
    state.set_input(X[:2])
    with net.observe() as seen:
        for _ in range(len(LAYERS)):
            state.step_forward()
    assert [e.name for e in seen.events[:4]] == [f"layers.{k}" for k in range(4)]
    assert {(e.mode, e.type) for e in seen.events} == {("step", "forward")}
    assert seen.events[-1].step_count == 4
    assert (seen.events[-1].output == net.forward(X[:2])).all()
    assert (seen.events[0].input == X[:2]).all()
    assert (seen.events[4 + 1].input == seen.events[0].output).all()  # of the tick before
