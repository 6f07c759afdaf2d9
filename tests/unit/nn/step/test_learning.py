"""Training by ticks: in one program or in parts, on every device, exported: the same bits."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import LoomError, NotFinite, StateError
from loom.export import export_c, freeze_program
from loom.nn.step import StepState

RNG = np.random.default_rng(7)
X, Y = RNG.standard_normal((12, 2, 3)).astype(np.float32), RNG.standard_normal((12, 2, 2)).astype(np.float32)
RATE = np.float32(0.125)
DIGEST = "3e0367b58bc65a87"
"""Of the weights after six ticks that learn, on every machine."""


def network(on: str = "cpu") -> loom.Network:
    layers = [{"type": "dense", "output_size": 5, "activation": "tanh"}, {"type": "dropout", "rate": 0.25},
              {"type": "dense", "output_size": 2, "activation": "sigmoid"}]  # fmt: skip
    return loom.Network.from_json({"format": "loom/1", "seed": 3, "input": {"shape": [3]}, "layers": layers}, on=on)


def learned(net: loom.Network, ticks: int = 12, **settings: Any) -> StepState:
    state = net.step(batch=2, training=True, **settings)
    for x, y in zip(X[:ticks], Y, strict=False):
        state.learn(x, y, RATE)
    return state


def in_parts(net: loom.Network) -> StepState:
    state = net.step(batch=2, training=True)
    for x, y in zip(X, Y, strict=True):
        state.set_input(x)
        state.step_forward()
        away = state.get_output() - y
        state.step_backward(away * np.float32(0.5))  # of the mean of 4 squares: 2 / 4
        state.apply_gradients(RATE)
    return state


def test_learning_is_its_parts() -> None:
    one, other = network(), network()
    learned(one)
    in_parts(other)
    assert one.digest() == other.digest() != network().digest()


def test_one_digest(on: str) -> None:
    net = network(on)
    learned(net, 6)
    assert net.digest()[:16] == DIGEST


def test_one_digest_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    found = set[str]()
    for threads in ("1", "2"):
        monkeypatch.setenv("LOOM_THREADS", threads)
        net = network()
        learned(net, 6)
        found.add(net.digest())
    assert len(found) == 1


def test_exported_to_c(tmp_path: Path) -> None:
    here, there = network(), network()
    frozen = freeze_program(*there.step(batch=2, training=True).record(Y[0]), name="tick")
    export_c(frozen, tmp_path, optimize="size")
    library = ctypes.CDLL(str(tmp_path / "x86_64-linux" / "libtick.so"))
    library.tick_size.restype = ctypes.c_size_t
    memory, at = ctypes.create_string_buffer(library.tick_size()), ctypes.c_void_p()
    assert library.tick_open(memory, ctypes.c_size_t(len(memory)), ctypes.byref(at)) == 0
    state = here.step(batch=2, training=True)
    rate = np.array(RATE)
    for x, y in zip(X[:6], Y, strict=False):
        expected = state.learn(x, y, RATE)
        made, loss = np.zeros((2, 2), np.float32), np.zeros((), np.float32)
        arrays = {"x": x, "t": y, "rate": rate, "y": made, "loss": loss}
        given = [arrays[a.name].ctypes.data_as(ctypes.c_void_p) for a in frozen.arguments]
        assert library.tick_run(at, *given) == 0
        assert (loss.item(), made.tobytes()) == (expected, state.get_output().tobytes())


def test_learning_that_cannot_be() -> None:
    state = network().step(batch=2)
    with pytest.raises(StateError, match="there are no gradients"):
        state.apply_gradients()
    state.step_forward(["layers.0"])
    with pytest.raises(StateError, match="ticks of all nodes"):
        state.learn(X[0], Y[0])
    with pytest.raises(LoomError, match="target for each sample"):
        network().step(batch=2).learn(X[0], Y[0, :1])
    before = (net := network()).digest()
    with pytest.raises(NotFinite):
        net.step(batch=2).learn(X[0], Y[0] * 1e30, loss="mse")
    assert net.digest() == before
