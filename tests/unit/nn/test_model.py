"""``Model``: weights in and out, programs for batch sizes, the text of errors."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError, NotFinite, ShapeError, SpecError
from loom.nn.spec import parse
from loom.nn.structure import cut
from loom.nn.weights.model import Model

_LAYERS = [
    {"type": "dense", "output_size": 3, "activation": "tanh"},
    {"type": "batch_norm"},
    {"type": "dense", "output_size": 2},
]


def _model(**fields: Any) -> Model:
    return Model(parse({"format": "loom/1", "input": {"shape": [4]}, "layers": _LAYERS} | fields), "cpu")


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "bf16"])
def test_weights_come_back_bit_for_bit(dtype: str) -> None:
    one, other = _model(dtype=dtype, seed=1), _model(dtype=dtype, seed=2)
    other.load(one.weights())
    found, wanted = other.weights(), one.weights()
    assert list(found) == [*one.network.parameters(), *one.network.state()]
    for name, held in wanted.items():
        assert found[name].tobytes() == held.tobytes()


def test_forward_is_by_hand() -> None:
    model = _model()
    x = np.random.default_rng(1).normal(size=(5, 4))
    w = {name: values.astype(np.float64) for name, values in model.weights().items()}
    h = np.tanh(x @ w["layers.0.weight"] + w["layers.0.bias"])
    h = (h - w["layers.1.running_mean"]) / np.sqrt(w["layers.1.running_variance"] + 1e-5)
    np.testing.assert_allclose(model.forward(x), h @ w["layers.2.weight"] + w["layers.2.bias"], atol=1e-6)


def test_a_batch_gives_what_its_samples_give() -> None:
    model = _model()
    x = np.random.default_rng(1).normal(size=(12, 4)).astype(np.float32)
    whole = model.forward(x)
    for n in range(1, 12):  # more sizes than programs are kept
        assert (model.forward(x[:n]) == whole[:n]).all()
    assert (model.forward(x) == whole).all()


def test_new_weights_are_used_at_once() -> None:
    model = _model()
    x = np.ones((1, 4), np.float32)
    model.forward(x)
    model.load({name: np.zeros(w.shape) for name, w in model.weights().items()})
    assert (model.forward(x) == 0).all()


def test_several_inputs_and_outputs() -> None:
    nodes = {
        "both": {"type": "merge", "combine_mode": "add", "inputs": ["a", "b"]},
        "left": {"type": "activation", "function": "relu", "inputs": ["both"]},
        "right": {"type": "merge", "inputs": ["both", "a"]},
    }
    inputs = {"a": {"shape": [2]}, "b": {"shape": [2]}}
    network = parse({"format": "loom/1", "inputs": inputs, "nodes": nodes, "outputs": ["left", "right"]})
    found = Model(network, "cpu").forward({"a": [[1.0, -2.0]], "b": [[3.0, 1.0]]})
    assert {name: y.tolist() for name, y in found.items()} == {"left": [[4, 0]], "right": [[4, -1, 1, -2]]}


# errors


def _says(text: str) -> str:
    return f"^{re.escape(text)}"


def test_another_shape_is_named() -> None:
    for shape in ((4,), (1, 5), (0, 4), (1, 1, 4)):
        text = (
            "[loom.nn.Model, input 'input'] the array has another shape: expected "
            f"(batch, 4), got {shape}. The first axis counts samples."
        )
        with pytest.raises(ShapeError, match=_says(text)):
            _model().forward(np.zeros(shape, np.float32))


def test_first_weights_of_another_shape_are_named() -> None:
    spec = parse({"format": "loom/1", "input": {"shape": [4]}, "layers": _LAYERS[:1]})
    with pytest.raises(ShapeError, match=r"layers\.0\.weight.* expected \(4, 3\), got \(9, 9\)"):
        loom.Network(spec, on="cpu", weights={"layers.0.weight": np.ones((9, 9)), "layers.0.bias": np.ones(3)})


def test_a_sequence_too_short_is_named() -> None:
    layers = [{"type": "rnn", "hidden_size": 2}]
    model = Model(parse({"format": "loom/1", "input": {"shape": [3, 2]}, "layers": layers}), "cpu")
    text = "[loom.nn.Model, input 'input'] the array has another shape: expected (batch, 3, 2), got (1, 2, 2)."
    with pytest.raises(ShapeError, match=_says(text)):
        model.forward(np.zeros((1, 2, 2), np.float32))


def test_unequal_branches_are_an_error_with_a_path() -> None:
    branches = [{"type": "dense", "output_size": 2}, {"type": "dense", "output_size": 3}]
    layer = {"type": "parallel", "combine_mode": "add", "branches": branches}
    with pytest.raises(SpecError, match=r"layers\[0\].*unequal shapes"):
        parse({"format": "loom/1", "input": {"shape": [4]}, "layers": [layer]})


def test_other_inputs_are_named() -> None:
    text = "[loom.nn.Model] not the network's inputs: expected input, got x."
    with pytest.raises(ArgumentError, match=_says(text)):
        _model().forward({"x": np.zeros((1, 4), np.float32)})


def test_wrong_weights_are_named_and_nothing_is_written() -> None:
    model = _model()
    before = model.weights()
    good = {name: np.ones_like(w) for name, w in before.items()}
    text = "[loom.nn.Model.load] the network has no weight 'layers.0.wieght'. Did you mean 'layers.0.weight'"
    with pytest.raises(ArgumentError, match=_says(text)):
        model.load(good | {"layers.0.wieght": 0})
    less = {name: w for name, w in good.items() if name != "layers.2.bias"}
    text = "[loom.nn.Model.load] weights are missing: expected 8 arrays, got no layers.2.bias. Pass all of them."
    with pytest.raises(ArgumentError, match=_says(text)):
        model.load(less)
    text = "[loom.nn.Model.load] weight 'layers.2.bias' has another shape: expected (2,), got (3,)."
    with pytest.raises(ShapeError, match=_says(text)):
        model.load(good | {"layers.2.bias": np.zeros(3)})
    assert all((model.weights()[name] == w).all() for name, w in before.items())


@pytest.mark.parametrize(("weights", "error", "text"), [
    ("/no/such/file.safetensors", DTypeError, "not weights: expected arrays by name, got str"),
    (b"abc", DTypeError, "Read a file with loom.Network.load"), ([1], DTypeError, "got list"),
    (1, DTypeError, "got int"),
    ({"layers.0.wieght": np.ones((4, 3))}, ArgumentError, "no weight 'layers.0.wieght'.*layers.0.weight"),
    ({"layers.0.bias": np.ones(3), 5: 1}, ArgumentError, "no weight 5"),
])  # fmt: skip
def test_weights_to_begin_with_are_those_of_the_network(weights: Any, error: type[Exception], text: str) -> None:
    spec = _model().network
    with pytest.raises(error, match=rf"loom\.Network, weights.*{text}"):
        loom.Network(spec, on="cpu", weights=weights)


@pytest.mark.parametrize(("value", "error", "text"), [
    (np.float32("nan"), NotFinite, "a weight is nan"), (np.float32("-inf"), NotFinite, "a weight is -inf"),
    (1e39, ArgumentError, "too large for f32"), (np.int8(3), DTypeError, "have no scale"),
])  # fmt: skip
def test_weights_from_elsewhere_are_finite_floats_at_both_doors(value: Any, error: type[Exception], text: str) -> None:
    spec = parse({"format": "loom/1", "input": {"shape": [1]}, "layers": [{"type": "dense", "output_size": 2}]})
    weights = {"layers.0.weight": np.ones((1, 2)), "layers.0.bias": np.array([value, value])}
    with pytest.raises(error, match=rf"loom\.Network, weights, 'layers.0.bias'\].*{text}"):
        loom.Network(spec, on="cpu", weights=weights)
    with pytest.raises(error, match=rf"loom\.Network.load_weights, 'layers.0.bias'\].*{text}"):
        loom.Network(spec, on="cpu").load_weights(weights)


def test_bits_of_bf16_are_finite_at_both_doors() -> None:
    layers = [{"type": "dense", "output_size": 2, "bias": False}]
    spec = parse({"format": "loom/1", "dtype": "bf16", "input": {"shape": [1]}, "layers": layers})
    weights = {"layers.0.weight": np.array([[0x3F80, 0x7FC0]], np.uint16)}
    with pytest.raises(NotFinite):
        loom.Network(spec, on="cpu", weights=weights)
    with pytest.raises(NotFinite):
        loom.Network(spec, on="cpu").load_weights(weights)
    weights["layers.0.weight"][0, 1] = 0
    assert loom.Network(spec, on="cpu", weights=weights).forward([[1.0]]).tolist() == [[1, 0]]
    assert loom.Network(spec, on="cpu", weights={"layers.0.weight": [[1.0, 0.0]]}).forward([[1.0]]).tolist() == [[1, 0]]


def test_what_loom_wrote_comes_back_with_its_nan(tmp_path: Path) -> None:
    layers = [{"type": "dense", "output_size": 2}] * 2
    net = loom.Network.from_json({"format": "loom/1", "input": {"shape": [1]}, "layers": layers}, on="cpu")
    net.model.load({n: np.full_like(w, np.nan) for n, w in net.weights().items()})
    for name in ("a.json", "a.safetensors"):
        net.save(tmp_path / name)
        assert loom.Network.load(tmp_path / name, on="cpu").digest() == net.digest()
    assert copy.deepcopy(net).digest() == pickle.loads(pickle.dumps(net)).digest() == net.digest()
    assert np.isnan(cut(net, 0).weights()["layers.0.bias"]).all()
