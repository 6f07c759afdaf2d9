"""Networks inferred of arrays give what the modules that they are of give; what is unclear is told, not guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError
from loom.nn import structure
from loom.nn.structure import dense, infer, layer_norm, lstm
from unit.nn.structure import modules_of_torch

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.filterwarnings("ignore:.*assumed")


def _arrays(module: Any) -> dict[str, Any]:
    return {name: a.detach().numpy() for name, a in module.state_dict().items()}


def _compare(module: Any, x: Any, **hints: Any) -> Any:
    found = infer(_arrays(module), **hints)
    assert found.is_complete, str(found)
    with torch.no_grad():
        expected = module.eval()(torch.tensor(x)).numpy()
    assert np.allclose(found.network(on="cpu").forward(x), expected, atol=2e-6)
    return found


X = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)


def test_lists_of_linear_layers() -> None:
    torch.manual_seed(0)
    found = _compare(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 3)), X)
    assert [(e.module, e.type, e.name) for e in found.layers] == [
        ("0", "dense", "layers.0"), ("2", "dense", "layers.1"), ("3", "dense", "layers.2"),
    ]  # fmt: skip
    assert any("numbered without a gap" in text for text in found.assumed)
    assert 0 < found.confidence < 1
    _compare(nn.Sequential(nn.Linear(4, 8, bias=False), nn.Tanh(), nn.Linear(8, 3, bias=False)), X, activation="tanh")


def test_an_image_network_with_pools_and_a_batch_norm() -> None:
    torch.manual_seed(0)
    x = np.random.default_rng(2).standard_normal((2, 1, 26, 26)).astype(np.float32)
    assert "2 arrangements" in infer(_arrays(modules_of_torch.Image()), input=(1, 26, 26)).problems[0]
    found = _compare(modules_of_torch.Image(), x, input=(1, 26, 26), padding="valid")
    assert found.document is not None
    kinds = [each["type"] for each in found.document["layers"]]
    assert kinds == [
        "conv2d",
        "batch_norm",
        "activation",
        "max_pool",
        "conv2d",
        "max_pool",
        "flatten",
        "dense",
        "dense",
    ]
    assert not infer(_arrays(modules_of_torch.Image())).is_complete
    wrong = infer(_arrays(modules_of_torch.Image()), input=(1, 5, 5))
    assert "no arrangement" in wrong.problems[0]


def test_recurrent_networks_of_words() -> None:
    torch.manual_seed(0)
    found = _compare(modules_of_torch.Words(), np.array([[1, 2, 3], [19, 0, 5]]), input=(3,))
    assert [e.module for e in found.layers] == ["embed", "rnn#0", "rnn#1", "out"]


def test_transformers_of_blocks() -> None:
    torch.manual_seed(0)
    words = np.array([[1, 2, 3, 10, 4], [0, 9, 5, 5, 7]])
    found = _compare(modules_of_torch.Llama(), words, input=(5,), num_heads=4)
    assert any("embedding" in text for text in found.assumed)
    unclear = infer(_arrays(modules_of_torch.Llama()))
    assert "pass input=(tokens,)" in unclear.problems[-1]
    with pytest.raises(ArgumentError, match="do not tell a whole network"):
        unclear.network()


def test_what_loom_wrote_with_and_without_its_document(tmp_path: Path) -> None:
    net = structure.network([lstm(5), layer_norm(), dense(2)], input=(4, 3), seed=3, on="cpu")
    net.save(tmp_path / "net.safetensors")
    found = infer(tmp_path / "net.safetensors")
    assert found.confidence == 1.0
    assert found.network(on="cpu").digest() == net.digest()
    bare = infer(net.weights(), input=(4, 3))
    assert bare.network(on="cpu").digest() == net.digest()
    assert bare.layers[0].reason == "arrays of the gates of lstm"


def test_what_is_unclear_is_told() -> None:
    square = {"0.weight": np.eye(4), "2.weight": np.ones((4, 4))}
    unclear = infer(square)
    assert not unclear.is_complete
    assert 'pass layout="torch" or "loom"' in unclear.problems[0]
    with pytest.raises(ArgumentError, match="layout"):
        unclear.network()
    assert infer(square, layout="loom").is_complete
    strange = infer({"a.weight": np.ones((3, 2, 2, 2, 2)), "b.foo": np.ones(3)})
    assert strange.document is None
    assert strange.problems == (
        "no layer has the arrays of 'a': weight (3, 2, 2, 2, 2)", "no layer has the arrays of 'b': foo (3,)",
    )  # fmt: skip
    apart = infer(
        {"a.weight": np.ones((3, 2)), "a.bias": np.ones(3), "b.weight": np.ones((7, 5)), "b.bias": np.ones(7)}
    )
    assert "in no order" in apart.problems[0]
    heads = infer({f"{n}_weight": np.ones((4, 4)) for n in "qkvo"}, input=(3, 4))
    assert "num_heads" in heads.problems[0]
    assert "missing: the number of heads" in str(heads)
    infinite = infer({"weight": np.full((3, 2), np.inf), "bias": np.ones(3)})
    assert not infinite.is_complete
    with pytest.raises(ArgumentError, match="no arrays"):
        infer({})
    with pytest.raises(ArgumentError, match="'torch' or 'loom'"):
        infer(square, layout="older")
    with pytest.raises(loom.LoomError, match="cannot be read"):
        infer("nowhere.safetensors")


def test_loading_warns_of_what_was_assumed() -> None:
    found = infer(
        {"a.weight": np.ones((3, 2)), "a.bias": np.ones(3), "b.weight": np.ones((1, 3)), "b.bias": np.ones(1)}
    )
    with pytest.warns(UserWarning, match="assumed: relu between"):
        net = found.network(on="cpu")
    assert net.forward([[1.0, 1.0]]).tolist() == [[10.0]]
