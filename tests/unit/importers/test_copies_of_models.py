"""Imported models are copied and pickled whole: graph, weights as they are, and where their training stopped."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

import loom
import loom.onnx
from loom.core.errors import FileError

torch: Any = pytest.importorskip("torch")

_TEXT = """
<ir_version: 8, opset_import: ["" : 17]> g (float[n, 3] x) => (float[n, 2] y)
<float[3, 4] a = {1, 2, 3, 4, 5, 6, -7, 8, 9, 1, 2, -3}, float[4, 2] b = {5, -5, 2, 7, -1, 3, 2, 6}, float half = {0.5}>
{ h = MatMul (x, a)  t = Tanh (h)  s = Mul (t, half)  y = MatMul (s, b) }
"""
X = np.random.default_rng(1).standard_normal((6, 3)).astype(np.float32)
Y = np.zeros((6, 2), np.float32)


def _onnx() -> Any:
    return loom.onnx.load(onnx.parser.parse_model(_TEXT), on="cpu")


def _torch() -> Any:
    torch.manual_seed(1)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    return loom.from_torch(module, (torch.ones(2, 3),), on="cpu")


def _answer(model: Any) -> bytes:
    found = model.run({"x": X}) if isinstance(model, loom.onnx.OnnxModel) else model.forward(X)
    return next(iter(found.values())).tobytes()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("make", [_onnx, _torch])
def test_a_copy_goes_on_by_itself(make: Callable[[], Any], copied: Callable[[Any], Any]) -> None:
    model = make()
    assert _answer(copied(model)) == _answer(model)
    model.train(X, Y, epochs=2, optimizer="adam", learning_rate=0.01)
    other = copied(model)
    before = {n: w.tobytes() for n, w in model.weights().items()}
    assert {n: w.tobytes() for n, w in other.weights().items()} == before
    assert list(other.parameters) == list(model.parameters)
    other.train(X, Y, epochs=4, optimizer="adam", learning_rate=0.01, resume=True)
    assert {n: w.tobytes() for n, w in model.weights().items()} == before
    model.train(X, Y, epochs=4, optimizer="adam", learning_rate=0.01, resume=True)
    assert {n: w.tobytes() for n, w in other.weights().items()} == {n: w.tobytes() for n, w in model.weights().items()}
    assert _answer(other) == _answer(model)


def test_what_is_trained_stays_chosen() -> None:
    model = loom.onnx.load(onnx.parser.parse_model(_TEXT), on="interp", trained=["b"])
    other = pickle.loads(pickle.dumps(model))
    assert list(other.parameters) == ["b"]
    assert other.parameters["b"].device.name == "interp"


def test_a_model_too_large_for_one_file_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loom.onnx.writing._MOST", 8)
    with pytest.raises(FileError, match=r"too large for one file.*model\.weights\(\)"):
        pickle.dumps(_onnx())
