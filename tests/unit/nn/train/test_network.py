"""The door: documents to trained networks, saved and loaded bit for bit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, NotFinite, ShapeError
from loom.nn.spec import to_json

LAYERS: list[dict[str, Any]] = [
    {"type": "dense", "output_size": 8, "activation": "tanh", "frozen": True},
    {"type": "batch_norm"},
    {"type": "dropout", "rate": 0.2},
    {"type": "dense", "output_size": 3},
    {"type": "softmax"},
]


def document(layers: list[dict[str, Any]] = LAYERS, dtype: str = "f32") -> dict[str, Any]:
    return {"format": "loom/1", "seed": 3, "dtype": dtype, "input": {"shape": [4]}, "layers": layers}


def test_whole_numbers_for_one_output_are_no_classes() -> None:
    net = loom.Network.from_json(document([{"type": "dense", "output_size": 1}]), on="cpu")
    x = np.ones((4, 4), np.float32)
    with pytest.raises(ShapeError, match=r"\[train, y\] targets do not fit the output: expected \(n, 1\), got \(4,\)"):
        net.train(x, np.arange(4))
    assert net.evaluate(x, np.arange(4)[:, None]).accuracy is None


def test_train_evaluate_save_load(samples: Any, tmp_path: Path) -> None:
    net = loom.Network.from_json(document(), on="cpu")
    start = net.weights()
    history = net.train(*samples, epochs=30, batch_size=8, optimizer="adam", learning_rate=0.05, schedule="cosine")
    moved = {n for n, w in net.weights().items() if (w != start[n]).any()}
    assert moved.isdisjoint({"layers.0.weight", "layers.0.bias"})
    assert moved >= {"layers.3.weight", "layers.3.bias"}
    assert len(moved) > 4  # running means as well
    assert history.loss[-1] < history.loss[0]
    found = net.evaluate(*samples)
    assert found.accuracy is not None
    assert found.confusion is not None
    assert found.deviation is not None
    assert found.accuracy == np.trace(found.confusion) / 20 == found.deviation.accuracy > 0.6
    right = net.forward(samples[0])[np.arange(20), samples[1]]
    assert found.loss == pytest.approx(-np.log(right.astype(np.float64)).mean(), rel=1e-6)
    net.save(tmp_path / "m.json", "mine")
    again = loom.Network.load(tmp_path / "m.json", on="cpu")
    assert (again.digest(), again.spec) == (net.digest(), net.spec)
    assert (again.forward(samples[0]).view(np.uint32) == net.forward(samples[0]).view(np.uint32)).all()


@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16", "f16"])
def test_round_trips_keep_every_bit(dtype: str, tmp_path: Path) -> None:
    layers = [{"type": "dense", "output_size": 5}, {"type": "batch_norm"}]
    net = loom.Network.from_json(document(layers, dtype), on="cpu")
    assert loom.Network.load(net.save(), on="cpu").digest() == net.digest()
    net.save(tmp_path / "m.safetensors")
    assert loom.Network.load(tmp_path / "m.safetensors", on="cpu").digest() == net.digest()


FIRST: list[tuple[str, tuple[int, ...], list[dict[str, Any]]]] = [
    ("sequential", (6,), [{"type": "sequential", "layers": [{"type": "dense", "output_size": 4}]}]),
    ("kmeans", (6,), [{"type": "kmeans", "num_clusters": 3, "attached_layer": {"type": "dense", "output_size": 4}}]),
    ("layer_norm", (6,), [{"type": "layer_norm"}]),
    ("rnn", (3, 2), [{"type": "rnn", "hidden_size": 4}, {"type": "flatten"}]),
    ("lstm", (3, 2), [{"type": "lstm", "hidden_size": 4}, {"type": "flatten"}]),
    ("attention", (3, 4), [{"type": "multi_head_attention", "num_heads": 2}, {"type": "flatten"}]),
    ("swiglu", (6,), [{"type": "swiglu", "inner_size": 8}]),
    ("branches", (6,), [{"type": "parallel", "combine_mode": "concat", "branches": [
        {"type": "dense", "output_size": 2}, {"type": "dense", "output_size": 5, "activation": "tanh"}]}]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shape", "layers"),
    [pytest.param(*f, id=f[0], marks=pytest.mark.slow if n % 3 else ()) for n, f in enumerate(FIRST)],
)
def test_any_layer_can_come_first(name: str, shape: tuple[int, ...], layers: list[dict[str, Any]]) -> None:
    draw = np.random.default_rng(4)
    x, y = draw.standard_normal((6, *shape)).astype(np.float32), np.array([0, 1, 2, 2, 1, 0])
    last = {"type": "dense", "output_size": 3}
    net = loom.Network.from_json({"format": "loom/1", "input": {"shape": shape}, "layers": [*layers, last]}, on="cpu")
    start, before = net.weights(), net.evaluate(x, y).loss
    net.train(x, y, epochs=3, batch_size=4, optimizer="adam", learning_rate=0.02)
    still = [n for n, w in net.weights().items() if (w == start[n]).all()]
    assert still == []
    assert net.evaluate(x, y).loss < before


@pytest.mark.parametrize("dtype", [pytest.param("f64", marks=pytest.mark.slow), "bf16"])
def test_other_types_learn(dtype: str, samples: Any) -> None:
    layers = [{"type": "dense", "output_size": 8, "activation": "tanh"}, {"type": "dense", "output_size": 3}]
    net = loom.Network.from_json(document(layers, dtype), on="cpu")
    history = net.train(*samples, epochs=30, batch_size=8, optimizer="adam", learning_rate=0.05, progress=True)
    accuracy = net.evaluate(*samples).accuracy
    assert history.loss[-1] < 0.5
    assert accuracy is not None
    assert accuracy > 0.8


def test_safetensors_of_others(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    net = loom.Network.from_json(document([{"type": "dense", "output_size": 2}]), on="cpu")
    weights = {"layers.0.weight": np.ones((4, 2), np.float32), "layers.0.bias": np.zeros(2, np.float32)}
    path = tmp_path / "other.safetensors"
    library.save_file(weights, path)
    with pytest.raises(ArgumentError, match=r"the file holds no network: expected metadata 'loom.network', got none"):
        loom.Network.load(path)
    net.load_weights(path)
    assert net.forward([1.0, 1.0, 1.0, 1.0]).tolist() == [4.0, 4.0]
    library.save_file({**weights, "layers.0.bias": np.zeros(3, np.float32)}, path)
    with pytest.raises(ArgumentError, match=r"weight 'layers.0.bias' does not fit: expected shape \(2,\), got \(3,\)"):
        net.load_weights(path)
    library.save_file({**weights, "layers.0.bia": np.zeros(3, np.float32)}, path)
    with pytest.raises(ArgumentError, match=r"unknown weight 'layers.0.bia'.*Did you mean 'layers.0.bias'"):
        net.load_weights(path)
    path.write_bytes(b"nothing of it")
    with pytest.raises(ArgumentError, match="not a safetensors file"):
        net.load_weights(path)


def test_safetensors_need_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = loom.Network.from_json(document([{"type": "dense", "output_size": 2}]), on="cpu")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    net.save(tmp_path / "m.safetensors")
    assert loom.Network.load(tmp_path / "m.safetensors", on="cpu").digest() == net.digest()


def test_several_models_in_one_file(samples: Any, tmp_path: Path) -> None:
    nets = {
        name: loom.Network.from_json(document([{"type": "dense", "output_size": n}]), on="cpu")
        for name, n in (("a", 3), ("b", 2))
    }
    nets["a"].train(*samples, optimizer="adam")
    text = loom.Network.save_all(nets, tmp_path / "both.json")
    found = loom.Network.load_all(tmp_path / "both.json", on="cpu")
    assert {name: net.digest() for name, net in found.items()} == {name: net.digest() for name, net in nets.items()}
    assert found["b"].training is None
    assert found["a"].training is not None
    assert loom.Network.save_all(found) == text
    assert "mean" not in loom.Network.save_all(found, training=False)
    with pytest.raises(ArgumentError, match=r"has not one model: expected an id, got 2 models. Pass one of 'a', 'b'"):
        loom.Network.load(text)


def test_an_older_document_keeps_its_first_weights_in_the_new_form() -> None:
    layers = [
        {"type": "dense", "width": 4, "height": 8, "activation": "relu"},
        {"type": "parallel", "combine_mode": "filter", "filter_gate": {"type": "dense", "width": 8, "height": 2},
         "branches": [{"type": "dense", "width": 8, "height": 2}, {"type": "dense", "width": 8, "height": 3}]},
    ]  # fmt: skip
    old = {"id": "a", "seed": 5, "grid_rows": 1, "grid_cols": 1, "layers_per_cell": 2, "layers": layers}
    net = loom.Network.from_json(old, on="cpu")
    again = loom.Network.from_json(to_json(net.spec), on="cpu")
    assert again.digest() == net.digest() == loom.Network.load(net.save(), on="cpu").digest()
    other = loom.Network.from_json(old | {"seed": 6}, on="cpu")
    assert (other.weights()["layer0.weight"] != net.weights()["layer0.weight"]).all()


def test_models_of_a_bundle() -> None:
    text = loom.Network.from_json(document([{"type": "dense", "output_size": 2}]), on="cpu").save(id="a")
    assert loom.Network.load(text, "a", on="cpu").spec.outputs == ("layers.0",)
    with pytest.raises(ArgumentError, match=r"no model is called 'b'"):
        loom.Network.load(text, "b")


def test_what_does_not_fit(samples: Any) -> None:
    x, y = samples
    net = loom.Network.from_json(document(), on="cpu")
    with pytest.raises(ShapeError, match=r"\[train, y\] targets do not fit the output: expected \(n, 3\), got \(20,\)"):
        net.train(x, y.astype(np.float32))
    with pytest.raises(ArgumentError, match=r"\[train, y\] a class out of range: expected 0 to 2, got 0 to 3"):
        net.train(x, y + (y == 2))
    with pytest.raises(ArgumentError, match=r"no setting is called 'epoch'.*'epochs'"):
        net.train(x, y, epoch=3)
    with pytest.raises(ShapeError, match="another shape"):
        net.train(x[:, :3], y)
    with pytest.raises(NotFinite, match="NaN in the data"):
        net.evaluate(x * np.nan, y)


def test_one_sample_and_many() -> None:
    net = loom.Network.from_json(document(), on="cpu")
    x = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
    assert net.forward(x[2]).tolist() == pytest.approx(net.forward(x)[2].tolist(), rel=1e-6)
    assert net.predict(x).shape == (5, 3)


@pytest.mark.parametrize(("dtype", "given"), [("f64", "f32"), ("f64", "f64"), ("f32", "f64"), ("bf16", "f64")])
def test_the_network_may_compute_in_another_type_than_its_input(dtype: str, given: str) -> None:
    """A linear unit, one step on the mean squared error by hand; targets are of the type that outputs have."""
    spec = {"format": "loom/1", "dtype": dtype, "input": {"shape": [2], "dtype": given},
            "layers": [{"type": "dense", "output_size": 1}]}  # fmt: skip
    net = loom.Network.from_json(spec, on="cpu")
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((4, 2)).astype(np.float32), rng.standard_normal((4, 1))
    y = y if dtype == "f64" else y.astype(np.float32)
    (w, b), before = net.weights().values(), net.predict(x)
    history = net.train(x, y, epochs=1, batch_size=4, learning_rate=0.125, shuffle=False)
    assert history.loss[0] == pytest.approx(float(((before - y) ** 2).mean()), rel=1e-6)
    if dtype == "f64":
        away = x.astype(np.float64) @ w + b - y
        new = list(net.weights().values())
        np.testing.assert_allclose(new[0], w - 0.125 * 2 * x.T.astype(np.float64) @ away / 4, rtol=1e-14)
        np.testing.assert_allclose(new[1], b - 0.125 * 2 * away.mean(0), rtol=1e-14)
    assert net.evaluate(x, y).loss < history.loss[0]


def test_truths_are_classes(samples: Any) -> None:
    x, y = samples
    digests = set()
    for targets in (y == 1, (y == 1).astype(np.int32)):
        net = loom.Network.from_json(document(), on="cpu")
        net.train(x, targets, epochs=1, validation=(x, targets))
        found = net.evaluate(x, targets)
        assert found.accuracy is not None
        digests.add((net.digest(), found.loss, found.accuracy))
    assert len(digests) == 1


def test_an_input_of_bf16_is_trained_on_and_gone_on_with() -> None:
    """bfloat16 is a type that Python's buffers cannot name."""
    spec = {"format": "loom/1", "dtype": "bf16", "input": {"shape": [4], "dtype": "bf16"},
            "layers": [{"type": "dense", "output_size": 3}]}  # fmt: skip
    x = np.random.default_rng(3).standard_normal((8, 4)).astype(np.float32)
    whole, first = (loom.Network.from_json(spec, on="cpu") for _ in range(2))
    whole.train(x, np.arange(8) % 3, epochs=2)
    first.train(x, np.arange(8) % 3, epochs=1)
    again = loom.Network.load(first.save(), on="cpu")
    again.train(x, np.arange(8) % 3, epochs=2, resume=True)
    assert again.digest() == whole.digest() != first.digest()
