"""States saved, copied, shared by threads, misused; graphs of several inputs and outputs; attention; noise."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, FileError, LoomError, NotFinite, ShapeError, StateError

X = np.random.default_rng(0).standard_normal((9, 2, 3)).astype(np.float32)


def network(*layers: dict[str, Any], shape: tuple[int, ...] = (3,)) -> loom.Network:
    given = layers or (
        {"type": "dense", "output_size": 4, "activation": "tanh"}, {"type": "dense", "output_size": 2},
    )  # fmt: skip
    return loom.Network.from_json(
        {"format": "loom/1", "seed": 3, "input": {"shape": list(shape)}, "layers": list(given)}, on="cpu"
    )


def go_on(state: Any, xs: np.ndarray) -> bytes:
    for x in xs:
        state.learn(x, np.zeros((2, 2)), 0.01, optimizer="adam")
    return state.get_output().tobytes() + state.network.digest().encode()


def test_a_state_goes_on_where_it_was(tmp_path: Path) -> None:
    state = network().step(batch=2)
    go_on(state, X[:4])
    weights = state.network.weights()
    state.save(tmp_path / "state.npz")
    copied = pickle.loads(pickle.dumps(state))
    expected = go_on(state, X[4:])
    other = network()
    other.load_weights(weights)
    loaded = other.step(batch=2)
    loaded.load(tmp_path / "state.npz")
    assert go_on(copied, X[4:]) == go_on(loaded, X[4:]) == expected


def test_what_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    state = network().step(batch=2)
    before = {n: a.tobytes() for n, a in state.state_dict().items()}
    whole = network().step(batch=2, gradient="current").state_dict()
    for wrong in (whole, network().step(batch=3).state_dict(), {}, {**state.state_dict(), "buffer.inptu": X}):
        with pytest.raises(ArgumentError):
            state.load_state_dict(wrong)
    (tmp_path / "x.npz").write_bytes(b"PK")
    for name in ("x.npz", "none.npz"):
        with pytest.raises(FileError):
            state.load(tmp_path / name)
    assert before == {n: a.tobytes() for n, a in state.state_dict().items()}


def test_bad_input() -> None:
    net = network()
    for settings in ({"batch": 0}, {"batch": 1.5}, {"gradient": "ture"}, {"horizon": 0}, {"training": 1},
                     {"gradient": "current", "horizon": 3}):  # fmt: skip
        with pytest.raises(ArgumentError):
            net.step(**settings)
    state = net.step(batch=2)
    before = state.buffer("input").tolist()
    for x, error in ((np.zeros((3, 3)), ShapeError), (np.full((2, 3), np.nan), NotFinite),
                     (np.zeros((0, 3)), ShapeError),
                     ([["a"] * 3] * 2, LoomError),
                     (np.full((2, 3), np.inf, np.float32), NotFinite)):  # fmt: skip
        with pytest.raises(error):
            state.set_input(x)
    assert state.buffer("input").tolist() == before
    with pytest.raises(StateError, match="nothing was computed"):
        state.step_backward(np.zeros((2, 2)))
    state.step_forward()
    with pytest.raises(NotFinite):
        state.step_backward(np.full((2, 2), np.nan))
    with pytest.raises(StateError, match="no gradients"):
        state.apply_gradients(0.1)
    with pytest.raises(ArgumentError, match=r"layers\.1"):
        state.step_forward(["layers.2"])
    with pytest.raises(ArgumentError, match="no buffer"):
        state.set_buffer("layers.9", [0])
    with pytest.raises(StateError, match="without gradients"):
        net.step(gradient=None).step_backward([0, 0])
    state.step_backward(np.ones((2, 2)))
    with net.model.alone("a training"), pytest.raises(StateError, match="being trained"):
        state.apply_gradients(0.1)
    state.apply_gradients(0.1)
    with pytest.raises(StateError, match="no gradients"):
        state.apply_gradients(0.1)
    net.freeze()
    with pytest.raises(ArgumentError, match="nothing can be trained"):
        state.step_backward(np.ones((2, 2)))


def test_two_threads_with_two_states() -> None:
    net, wrong = network(), list[int]()
    expected = [net.forward(x).tobytes() for x in X]

    def run(number: int) -> None:
        state = net.step(batch=2)
        for _ in range(60):
            state.set_input(X[number])
            state.step_forward()
            state.step_forward()
            wrong.extend([number] * (state.get_output().tobytes() != expected[number]))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong


def test_several_inputs_and_outputs() -> None:
    document = {
        "format": "loom/1", "seed": 3, "inputs": {"a": {"shape": [3]}, "b": {"shape": [2]}}, "outputs": ["sum", "low"],
        "nodes": {
            "low": {"type": "dense", "output_size": 3, "activation": "tanh", "inputs": ["b"]},
            "sum": {"type": "merge", "combine_mode": "multiply", "inputs": ["a", "low"]},
        },
    }  # fmt: skip
    net = loom.Network.from_json(document, on="cpu")
    state, given = net.step(batch=2), {"a": X[0], "b": X[1, :, :2]}
    state.set_input(given)
    state.step_forward()
    state.step_forward()
    made = state.get_output()
    assert all(made[n].tobytes() == a.tobytes() for n, a in net.forward(given).items())
    assert (state.depth, state.delays) == (2, {"a": 0, "b": 0, "low": 1, "sum": 2})
    found = state.step_backward({"sum": np.ones((2, 3)), "low": np.zeros((2, 3))})
    assert np.allclose(found["a"], made["low"])
    assert found["b"].shape == (2, 2)


def test_attention_looks_at_its_buffer() -> None:
    net = network({"type": "residual", "layers": [{"type": "multi_head_attention", "num_heads": 2, "causal": True}]},
                  {"type": "layer_norm"}, shape=(5, 4))  # fmt: skip
    x = np.random.default_rng(1).standard_normal((1, 5, 4)).astype(np.float32)
    state = net.step()
    state.set_input(x)
    state.step_forward()
    state.step_forward()
    assert state.get_output().tobytes() == net.forward(x).tobytes()
    assert state.step_backward(np.ones((1, 5, 4))).shape == (1, 5, 4)


def test_noise_is_that_of_the_tick() -> None:
    net = network({"type": "dropout", "rate": 0.5}, shape=(64,))

    def masks() -> list[bytes]:
        state, found = net.step(training=True), []
        state.set_input(np.ones(64))
        for _ in range(3):
            state.step_forward()
            found.append(state.get_output().tobytes())
        return found

    first = masks()
    assert len(set(first)) == 3
    assert first == masks()
