"""Networks moved, frozen, cut and continued: weights keep their bits."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DeviceError, StateError
from loom.nn import structure
from loom.nn.structure import batch_norm, dense, dropout, parallel, residual, scale, shared

X = np.random.default_rng(5).standard_normal((24, 4)).astype(np.float32)
Y = np.arange(24) % 3


def _net(**keys: Any) -> loom.Network:
    return structure.network([dense(6, activation="tanh"), dense(3)], input=4, seed=2, **keys)


def test_to_keeps_bits_and_the_training(on: str) -> None:
    stayed, moved = _net(on="cpu"), _net(on="cpu")
    stayed.train(X, Y, epochs=3, optimizer="adamw")
    moved.train(X, Y, epochs=2, optimizer="adamw")
    before = moved.digest()
    assert moved.to(on) is moved
    assert moved.model.device.name == loom.device(on).name
    assert moved.digest() == before
    moved.train(X, Y, epochs=3, optimizer="adamw", resume=True)
    assert moved.digest() == stayed.digest()
    assert (moved.forward(X) == stayed.forward(X)).all()


def test_a_frozen_layer_keeps_every_bit() -> None:
    layers = [scale(), dense(6), batch_norm(), dropout(0.2), parallel([dense(3), dense(3)], combine_mode="add")]
    for optimizer in ("sgd", "adam", "adamw", "rmsprop", "lion", loom.nn.train.SGD(momentum=0.9, weight_decay=0.1)):
        net = structure.network(layers, input=4, on="cpu").freeze(0, 1, "layers.2", "layers.4.branches.1")
        before = net.weights()
        net.train(X, Y, epochs=1, optimizer=optimizer)
        after = net.weights()
        changed = {name for name in before if before[name].tobytes() != after[name].tobytes()}
        assert changed == {"layers.4.branches.0.weight", "layers.4.branches.0.bias"}


def test_a_frozen_batch_norm_uses_what_it_has_measured() -> None:
    net = structure.network([batch_norm(), dense(3)], input=4, on="cpu").freeze("layers.0")
    other = structure.network([dense(3)], input=4, on="cpu")
    weights = net.weights()
    other.load_weights({name.replace("layers.1", "layers.0"): a for name, a in weights.items() if "layers.1" in name})
    scaled = X * np.float32(1 / np.sqrt(np.float32(1) + np.float32(1e-5)))
    net.train(X, Y, epochs=1, batch_size=24, shuffle=False)
    other.train(scaled, Y, epochs=1, batch_size=24, shuffle=False)
    assert np.allclose(net.weights()["layers.1.weight"], other.weights()["layers.0.weight"], atol=1e-5)


def test_freezing_is_saved_and_taken_back() -> None:
    net = structure.network([residual([dense(4), dense(4)]), dense(3)], input=4, on="cpu")
    net.freeze("layers.0.layers.*")
    again = loom.Network.load(net.save())
    assert again.model.frozen == {f"layers.0.layers.{i}.{w}" for i in (0, 1) for w in ("weight", "bias")}
    assert again.unfreeze().model.frozen == frozenset()
    assert again.spec == structure.network([residual([dense(4), dense(4)]), dense(3)], input=4).spec
    with pytest.raises(ArgumentError, match="nothing can be trained"):
        net.freeze().train(X, Y)


def test_wrong_layers_are_told() -> None:
    net = structure.network([("a", residual([dense(4)])), shared("a")], input=4)
    wrongs: list[tuple[Any, str]] = [
        ("b", "Known names"), (7, "from 0 to 1"), (1.5, "1.5"), ("layers.1", "another layer"),
    ]  # fmt: skip
    for wrong, text in wrongs:
        with pytest.raises(ArgumentError, match=text):
            net.freeze(wrong)
    net.freeze("a")
    with pytest.raises(ArgumentError, match="within a frozen layer"):
        net.unfreeze("a.layers.0")
    with pytest.raises(DeviceError):
        net.to("nowhere")


def test_a_head_is_cut_off_and_another_put_on() -> None:
    base = _net(on="cpu")
    base.train(X, Y, epochs=1)
    body = structure.cut(base, 0)
    new = structure.append(body, [dense(5, activation="relu"), ("head", dense(2))])
    assert body.forward(X).shape == (24, 6)
    assert (new.weights()["layers.0.weight"] == base.weights()["layers.0.weight"]).all()
    assert new.forward(X).shape == (24, 2)
    new.train(X, Y % 2, epochs=1)
    assert (body.weights()["layers.0.weight"] == base.weights()["layers.0.weight"]).all()
    with pytest.raises(ArgumentError, match="a name, or a number"):
        structure.cut(base, 9)
    graph = structure.Graph()
    x = graph.input(4)
    with pytest.raises(ArgumentError, match="no list of layers"):
        structure.append(graph.network((x >> dense(2)) + (x >> dense(2))), [dense(2)])


def test_copies_of_a_moved_network_are_their_own() -> None:
    net = _net(on="cpu")
    twin = copy.copy(net)
    net.train(X, Y, epochs=1)
    assert twin.digest() != net.digest()


def test_what_was_made_of_a_network_before_it_was_moved_is_told(on: str) -> None:
    net = _net(on="cpu")
    state, tween, seen = net.step(), net.tween("tween"), net.observe(layers=[0])
    state.set_input(X[0])
    state.step_forward()
    before, held = net.digest(), state.state_dict()
    net.to("interp" if on == "cpu" else on)
    for late in (
        lambda: state.set_input(X[0]), state.step_forward, state.step_through, lambda: state.step_backward(np.ones(3)),
        lambda: state.learn(X[:1], Y[:1]), state.record, lambda: tween.step(X[:4], Y[:4]),
        lambda: tween.diagnose(X[:4], Y[:4]), lambda: tween.record(X[:4], Y[:4]),
    ):  # fmt: skip
        with pytest.raises(StateError, match="was moved"):
            late()
    again = net.step()
    again.load_state_dict(held)  # as the error says
    again.set_input(X[0])
    again.step_forward()
    assert (again.get_output() == net.forward(X[0])).all()
    assert net.digest() == before
    count = len(seen.events)  # an observer goes along
    assert count > 0
    seen.close()
    net.forward(X)
    assert len(seen.events) == count
