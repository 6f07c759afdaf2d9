"""What strangers found: random graphs against an independent model of ticks, and calls in an order nobody meant."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import loom
from loom.core.errors import ArgumentError, NotFinite, StateError
from loom.nn.spec import Input, NetworkSpec, parse
from loom.nn.step import sample
from loom.nn.step.tokens import one_token
from tests.unit.nn.spec.networks import networks

X = np.array([0.1, 0.2, 0.3], np.float32)


def chain(*sizes: int, dtype: str = "f32", activation: str = "tanh") -> loom.Network:
    layers = [{"type": "dense", "output_size": n, "activation": activation} for n in sizes[1:]]
    document = {"format": "loom/1", "seed": 3, "dtype": dtype, "input": {"shape": [sizes[0]]}, "layers": layers}
    return loom.Network.from_json(document, on="cpu")


class Ticks:
    """Each node a network of its own, computed on a dict of arrays: what a tick is."""

    def __init__(self, net: loom.Network, state: Any) -> None:
        self.spec, shapes, types = net.spec, net.spec.shapes(), {n: t.dtype for n, t in state.tensors.items()}
        self.held = {n: np.zeros(t.shape, t.dtype.numpy) for n, t in state.tensors.items()}
        self.parts: dict[str, tuple[loom.Network, tuple[str, ...]]] = {}
        for node in net.spec.nodes:
            sources = state.wiring.sources[node.name]
            inputs = tuple(Input(name=n, shape=shapes[n], dtype=types[n]) for n in sources)
            own = NetworkSpec(seed=1, dtype=net.spec.dtype, inputs=inputs, nodes=(node,), outputs=(node.name,))
            self.parts[node.name] = loom.Network(own, on="cpu"), sources
        self.load(net.weights())

    def load(self, weights: dict[str, np.ndarray]) -> None:
        for part, _ in self.parts.values():
            if part.weights():
                part.load_weights({n: weights[n] for n in part.weights()})

    def advance(self, names: Any = None) -> None:
        made: dict[str, np.ndarray] = {}
        for name, (part, sources) in self.parts.items():
            if names is None or name in names:
                x = {n: self.held[n] for n in sources}
                runner = part.model if part.spec.vocabularies() else part  # ids that a layer computed may be no rows
                made[name] = runner.forward(x if len(x) > 1 else x[sources[0]])
        self.held |= made


def attack(spec: NetworkSpec, seed: int) -> None:
    if one_token(spec)[1]:
        return
    rng, net = np.random.default_rng(seed), loom.Network(spec, on="cpu")
    net.load_weights({n: (w + 0.3 * rng.standard_normal(w.shape)).astype(w.dtype) for n, w in net.weights().items()})
    state, log = net.step(batch=int(rng.integers(1, 4))), list[tuple[str, Any]]()
    model = Ticks(net, state)

    rows = spec.vocabularies()

    def drawn(name: str) -> np.ndarray:
        like = model.held[name]
        if name in rows:
            return rng.integers(0, rows[name], like.shape).astype(like.dtype)
        return (rng.random(like.shape) < 0.7 if name == "mask" else 2 * rng.standard_normal(like.shape)).astype(
            like.dtype
        )

    for kind in rng.integers(0, 7, rng.integers(3, 9)):
        if kind < 2:
            log.append(("in", {i.name: drawn(i.name) for i in spec.inputs}))
            state.set_input(log[-1][1])
        elif kind < 6:
            log.append(("tick", None if kind < 5 else [n for n in state.names if rng.random() < 0.5]))
            state.step_forward(log[-1][1])
        else:
            name = state.names[rng.integers(len(state.names))]
            log.append(("in", {name: drawn(name)}))
            state.set_buffer(name, log[-1][1][name])
        replay(model, log[-1:])
        for name in state.names:
            assert np.array_equal(state.buffer(name), model.held[name], equal_nan=True), name
    if spec.dtype == loom.f64 and state.ticks and net.weights():
        check_gradient(net, state, model, log, rng)


def replay(model: Ticks, log: list[tuple[str, Any]]) -> None:
    for kind, what in log:
        model.held |= what if kind == "in" else {}
        if kind == "tick":
            model.advance(what)


def check_gradient(net: loom.Network, state: Any, model: Ticks, log: list[Any], rng: Any) -> None:
    out, weights = net.spec.outputs[0], net.weights()
    g = rng.standard_normal(model.held[out].shape)
    try:
        state.step_backward(g)
    except StateError:  # ways longer than the history
        return

    def value(name: str, at: Any, step: float) -> float:
        model.load(weights | {name: moved(weights[name], at, step)})
        model.held = {n: np.zeros_like(a) for n, a in model.held.items()}
        replay(model, log)
        return float((model.held[out] * g).sum())

    for name, found in list(state.gradients().items())[:2]:
        at = tuple(rng.integers(0, n) for n in found.shape)
        near, far = ((value(name, at, h) - value(name, at, -h)) / (2 * h) for h in (1e-6, 1e-5))
        if abs(near - far) < 1e-4 * (1 + abs(near)):  # else there is a kink
            assert abs(found[at] - near) < 2e-4 * (1 + abs(near)), name


def moved(w: np.ndarray, at: Any, step: float) -> np.ndarray:
    found = w.copy()
    found[at] += step
    return found


def given_networks(examples: int) -> Any:
    quiet = settings(max_examples=examples, deadline=None, derandomize=True, database=None,
                     suppress_health_check=list(HealthCheck))  # fmt: skip
    return lambda test: quiet(given(networks(), st.integers(0, 2**31))(test))


@pytest.mark.parametrize("seed", [3, 8])
def test_calls_in_any_order(seed: int) -> None:
    nodes: dict[str, Any] = {
        "a": {"type": "layer_norm", "inputs": ["x"]},
        "b": {
            "type": "residual",
            "layers": [{"type": "dense", "output_size": 3, "activation": "tanh"}],
            "inputs": ["a"],
        },
        "c": {"type": "merge", "combine_mode": "multiply", "inputs": ["b", "x"]},
        "d": {"type": "swiglu", "inner_size": 2, "inputs": ["c"]},
    }
    attack(parse({"format": "loom/1", "dtype": "f64", "inputs": {"x": {"shape": [3]}}, "nodes": nodes,
                  "outputs": ["d"]}), seed)  # fmt: skip


@pytest.mark.slow
@given_networks(60)
def test_random_graphs_and_calls(spec: NetworkSpec, seed: int) -> None:
    attack(spec, seed)


def ticked(net: loom.Network, ticks: int = 2) -> Any:
    state = net.step()
    state.set_input(X)
    for _ in range(ticks):
        state.step_forward()
    return state


def test_freezing_between_gradients() -> None:
    net = chain(3, 4, 2)
    state = ticked(net)
    state.step_backward([1, 1])
    first, before = state.gradients(), net.weights()
    net.freeze("layers.0")
    state.apply_gradients(0.1)
    assert {n for n, w in net.weights().items() if (w != before[n]).any()} == {"layers.1.weight", "layers.1.bias"}
    net.load_weights(before)
    state.step_backward([1, 1])
    assert set(state.gradients()) == {"layers.1.weight", "layers.1.bias"}
    net.unfreeze("layers.0")
    state.step_backward([1, 1])
    assert all((state.gradients()[n] == g).all() for n, g in first.items())


def test_what_was_kept_is_all_there_is() -> None:
    """A state put back knows the form of its input, and optimisers only what they kept then."""

    def learn(state: Any, times: int) -> None:
        for _ in range(times):
            state.learn(X, [[1.0, 0.0]], 0.1, optimizer="adam")

    net, other = chain(3, 4, 2), chain(3, 4, 2)
    state, fresh = net.step(), other.step()
    start, weights = state.state_dict(), net.weights()
    learn(state, 4)
    assert copy.deepcopy(state).get_output().shape == (2,)
    damaged = state.state_dict()
    del damaged["buffer.layers.0"]
    with pytest.raises(ArgumentError):
        fresh.load_state_dict(damaged)
    assert set(fresh.state_dict()) == set(start)
    net.freeze("layers.0")
    pickled = pickle.loads(pickle.dumps(state))
    learn(pickled, 1)
    learn(state, 1)
    assert pickled.network.digest() == net.digest()
    net.unfreeze()
    net.load_weights(weights)
    state.load_state_dict(start)
    learn(state, 3)
    learn(fresh, 3)
    assert net.weights()["layers.0.weight"].tobytes() == other.weights()["layers.0.weight"].tobytes()


def test_a_gradient_out_of_range_moves_nothing() -> None:
    net = chain(2, 3, 1, activation="linear")
    net.load_weights({n: np.full_like(w, 1e30 if "1.w" in n else 1e-25) for n, w in net.weights().items()})
    state, before = net.step(), net.digest()
    state.set_input(np.full(2, 1e10))
    state.step_forward()
    with pytest.raises(NotFinite, match="a gradient is"):  # of a loss of 6e15
        state.learn(np.full(2, 1e10), [[0.0]], 0.1, loss="mae")
    assert net.digest() == before
    state.step_backward([1e-30])
    with pytest.raises(ArgumentError, match="learning_rate"):
        state.apply_gradients(1e300)


def test_a_network_that_moved() -> None:
    net = chain(3, 4, 2)
    state = ticked(net, 1)
    net.to("interp")
    for call in (state.step_forward, lambda: state.set_input(X), lambda: state.step_backward([1, 1])):
        with pytest.raises(StateError, match="another device"):
            call()
    follower = copy.copy(state)
    assert follower.network is net
    follower.step_forward()
    assert follower.get_output().tobytes() == net.forward(X).tobytes()


def test_arrays_of_other_types_are_converted() -> None:
    state, x = chain(3, 2, dtype="bf16").step(), np.array([0.1, 0.2, 0.3])
    state.set_input(x)
    found = state.buffer("input").tolist()
    state.set_input(x.tolist())
    assert state.buffer("input").tolist() == found
    ids = loom.Network.from_json(
        {"format": "loom/1", "input": {"shape": [1], "dtype": "i32"},
         "layers": [{"type": "embedding", "vocab_size": 5, "embedding_dim": 3}]}, on="cpu").step()  # fmt: skip
    ids.set_input(np.array([2.0]))
    assert ids.buffer("input").tolist() == [[2]]
    with pytest.raises(loom.LoomError, match="does not fit i32"):
        ids.set_input(np.array([0.5]))


def test_recurrent_layers_wait_for_what_they_read() -> None:
    dense = {"type": "dense", "output_size": 4}
    document = {"format": "loom/1", "seed": 1, "input": {"shape": [5, 3]},
                "layers": [dense, {"type": "rnn", "hidden_size": 4}, dense]}  # fmt: skip
    net = loom.Network.from_json(document, on="cpu")
    state = net.step(gradient="current")
    state.step_forward("layers.2")  # a tick, in which nothing reaches layers.1
    with pytest.raises(StateError, match="ticks of all nodes"):
        state.learn(X, np.zeros((1, 1, 4)))
    state.set_input(X)
    state.step_forward()
    state = pickle.loads(pickle.dumps(state))
    assert not state.buffer("layers.1").any()
    state.step_forward()
    waited = state.buffer("layers.1")
    state.reset()
    state.set_buffer("layers.0", np.tensordot(X, net.weights()["layers.0.weight"], 1)[None, None])
    state.step_forward("layers.1")  # what it reads is there
    assert np.allclose(state.buffer("layers.1"), waited)
    assert waited.any()


def test_arguments_have_an_effect_or_are_refused() -> None:
    state = ticked(chain(3, 4, 2))
    for names in (5, [["layers.0"]], [5], b"layers.0", {"layers.0": 1}):
        with pytest.raises(ArgumentError, match="step_forward"):
            state.step_forward(names)
    with pytest.raises(ArgumentError, match="not the arrays of a state"):
        state.load_state_dict(3)
    for told in ({"loss": "mse"}, {"optimizer": "adam"}):
        with pytest.raises(ArgumentError, match="without targets"):
            state.record(**told)
    assert sample(state, temperature=1e-300).tolist() == [int(state.get_output().argmax())]
    with pytest.raises(ArgumentError, match="temperature"):
        sample(state, temperature=1e300)
    state.set_buffer("layers.1", [1, 1])
    assert not state.step_backward([1, 1]).any()
    assert not any(g.any() for g in state.gradients().values())


def test_layers_one_after_the_other_are_observed() -> None:
    for gradient in ("true", None):
        net, seen = chain(3, 4, 2), list[Any]()
        net.observe(seen.append)
        net.step(gradient=gradient).step_through()
        assert len(seen) == 2
