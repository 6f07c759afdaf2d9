"""What has no rule in integers, and what cannot be read, is refused by its name."""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError, FileError, LoomError, NotFinite, ShapeError
from loom.nn.integer import IntegerNetwork
from loom.nn.spec import parse
from loom.nn.train import SGD

_X = np.ones((4, 6), np.float32)
_Y = np.zeros(4, np.int64)


def _network(*layers: dict[str, Any], shape: Any = (6,)) -> loom.Network:
    return loom.Network.from_json({"format": "loom/1", "input": {"shape": list(shape)}, "layers": list(layers)},
                                  on="cpu")  # fmt: skip


def _small() -> IntegerNetwork:
    """Return a network whose exponents are guesses, so that nothing is compiled."""
    spec = parse({"format": "loom/1", "input": {"shape": [6]}, "layers": [{"type": "dense", "output_size": 3}]})
    net = IntegerNetwork(spec, "int8", {n: np.ones(s, np.float32) for n, s in spec.parameters().items()},
                         {"input": -6}, on="cpu")  # fmt: skip
    net.at({"layers.0": -6})
    return net


@pytest.mark.parametrize(("layer", "text"), [
    ({"type": "layer_norm"}, "layer 'layers.0'] layer_norm has no rule in integers"),
    ({"type": "dense", "output_size": 2, "activation": "gelu"}, "layer 'layers.0'] gelu has no rule in integers"),
    ({"type": "softmax", "variant": "sparse"}, "softmax of variant 'sparse' and temperature 1 has no rule"),
    ({"type": "lstm", "hidden_size": 2}, "lstm has no rule in integers"),
])  # fmt: skip
def test_layers_without_a_rule_are_named(layer: dict[str, Any], text: str) -> None:
    shape = (2, 6) if layer["type"] == "lstm" else (6,)
    with pytest.raises(ArgumentError, match=re.escape(text)):
        _network(layer, shape=shape).quantize("int8", calibration=np.ones((2, *shape), np.float32))


def test_types_and_samples_are_checked() -> None:
    net = _network({"type": "dense", "output_size": 3})
    for dtype in ("int4", "float32", 8, None, ["int8"]):
        with pytest.raises(ArgumentError, match="no integer network is of this type"):
            net.quantize(dtype, calibration=_X)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="input 'input' has another shape"):
        net.quantize("int8", calibration=_X[:, :5])
    with pytest.raises(NotFinite):
        net.quantize("int8", calibration=_X * np.nan)
    with pytest.raises(ArgumentError):
        net.quantize("int8", calibration=_X[:0])
    with pytest.raises(DTypeError):
        net.quantize("int8", calibration="no samples")
    with pytest.raises(ArgumentError, match="are too small"):
        net.quantize("int8", calibration=_X * np.float32(1e-40))
    with pytest.raises(ShapeError, match="another shape"):
        _small().forward(np.ones((2, 7), np.float32))


@pytest.mark.parametrize(("settings", "text"), [
    ({"optimizer": "adam"}, "optimizer] has no rule in integers"),
    ({"optimizer": SGD(momentum=0.9, nesterov=True)}, "optimizer] has no rule in integers"),
    ({"clip_norm": 1.0}, "clip_norm] has no rule in integers"),
    ({"patience": 2}, "patience] has no rule in integers"),
    ({"loss": "huber"}, "'huber' has no rule in integers"),
    ({"rounding": "up"}, "rounding] unknown"),
    ({"gradients": "int4"}, "gradients] unknown"),
    ({"validation": 5}, "validation] not samples and their targets"),
    ({"compute": "bf16"}, "compute] has no rule in integers"),
    ({"precision": "q8"}, "precision] has no rule in integers"),
    ({"evaluate_every": 1}, "evaluate_every] has no rule in integers"),
    ({"learning_rate": 1e308, "loss": "mse"}, "learning_rate] too large"),
    ({"gradients": ["int8"]}, "gradients] unknown"),
    ({"resume": True}, "resume] has no rule in integers"),
    ({"lr": 0.1}, "no setting is called 'lr'"),
])  # fmt: skip
def test_settings_without_a_rule_are_named(settings: dict[str, Any], text: str) -> None:
    y = np.zeros((4, 3), np.float32) if settings.get("loss") else _Y
    with pytest.raises(ArgumentError, match=re.escape(text)):
        _small().train(_X, y, **settings)


def test_targets_are_checked() -> None:
    with pytest.raises(ArgumentError, match="a target is too large"):
        _small().train(_X, np.full((4, 3), 1e6, np.float32))
    with pytest.raises(ArgumentError, match="a target is too large"):
        _small().train(_X, np.full((4, 3), np.nan, np.float32))
    with pytest.raises(ArgumentError, match="differ in samples"):
        _small().train(_X, _Y[:3])
    with pytest.raises(ArgumentError, match="out of range"):
        _small().train(_X, _Y + 3)


def test_files_are_checked(tmp_path: Path) -> None:
    net = _small()
    path = tmp_path / "net.json"
    text = net.save(path)
    assert IntegerNetwork.load(path, on="cpu").digest() == IntegerNetwork.load(text, on="cpu").digest() == net.digest()
    found = json.loads(text)
    for change in (
        {"format": "loom/1"}, {"dtype": "int4"}, {"step": -1}, {"inputs": {}}, {"outputs": {}}, {"exponents": {"a": 1}},
        {"inputs": {"input": 1.5}}, {"inputs": {"input": 130}}, {"outputs": {"layers.0": -6, "layers.1": -6}},
        {"exponents": dict.fromkeys(found["exponents"], 2000)}, {"outputs": {"layers.0": -4000}}, {"dtype": ["int8"]},
        {"peaks": {}}, {"saturated": {"layers.0": -1}}, {"peaks": {"layers.0": 0.5}},
        {"masters": {}}, {"masters": {**found["masters"], "layers.0.bias": "?"}},
        {"masters": {**found["masters"], "layers.0.bias": "AAAA"}},
        {"masters": {**found["masters"], "layers.0.bias": "////f////3////9/"}},
        {"stp": 5}, {"\ud800": 1}, {"sha256": None}, {"sha256": "\ud800"},
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=re.escape("[IntegerNetwork.load]")):
            IntegerNetwork.load(json.dumps(found | change), on="cpu")
    del found["sha256"]  # as older versions wrote them
    assert IntegerNetwork.load(json.dumps(found), on="cpu").digest() == net.digest()
    assert IntegerNetwork.load(json.dumps(found | {"step": 5}), on="cpu").step.item() == 5
    for wrong in ("{", "{}", "[]", b"\xff", 5):
        with pytest.raises((ArgumentError, FileError)):
            IntegerNetwork.load(wrong)
    with pytest.raises(FileError):
        IntegerNetwork.load(str(tmp_path / "none.json"))


def test_a_bit_that_is_another_is_refused() -> None:
    data = _small().save().encode()
    for bit in range(0, 8 * len(data), 3):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(LoomError):
            IntegerNetwork.load(bytes(damaged), on="cpu")
    step = data.index(b'"step": 0') + 8
    with pytest.raises(ArgumentError, match=r"damaged, or was changed: expected SHA-256 .* take out 'sha256'"):
        IntegerNetwork.load(data[:step] + b"1" + data[step + 1 :], on="cpu")


@pytest.mark.parametrize("setting", [
    {"samples": 0}, {"samples": -1}, {"rounding": "up"}, {"gradients": "int4"}, {"momentum": 1.0}, {"momentum": np.nan},
    {"seed": -1}, {"seed": 1.5}, {"loss": "huber"},
], ids=str)  # fmt: skip
def test_a_recorded_step_is_checked(setting: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        _small().recorded_step(**({"samples": 4} | setting))


def test_weights_beyond_f32_are_named() -> None:
    spec = parse({"format": "loom/1", "input": {"shape": [1]}, "layers": [{"type": "dense", "output_size": 1}]})
    for wrong in (1e300, np.inf, np.nan):
        with pytest.raises(ArgumentError, match=r"weight 'layers\.0\.weight' is beyond"):
            IntegerNetwork(spec, "int8", {n: np.full(s, wrong) for n, s in spec.parameters().items()}, {"input": 0})


def test_copies_and_single_samples() -> None:
    net = _small()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.digest() == net.digest()
        assert other.masters["layers.0.bias"] is not net.masters["layers.0.bias"]
    assert (net.forward(_X[0]) == net.forward(_X)[0]).all()
