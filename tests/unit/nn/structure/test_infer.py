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


class _Image(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.conv2 = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 5, bias=False)
        self.fc1, self.fc2 = nn.Linear(6 * 4 * 4, 9), nn.Linear(9, 3)

    def forward(self, x: Any) -> Any:
        x = torch.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2).flatten(1)
        return self.fc2(torch.relu(self.fc1(x)))


class _Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(20, 6), nn.Linear(5, 20)
        self.rnn = nn.LSTM(6, 5, num_layers=2, batch_first=True)

    def forward(self, x: Any) -> Any:
        return self.out(self.rnn(self.embed(x))[0])


def _rotate(x: Any) -> Any:
    size, tokens = x.shape[-1], x.shape[-2]
    angle = torch.arange(tokens)[:, None] * 10000.0 ** (-torch.arange(0, size, 2) / size)
    angle = torch.cat([angle, angle], -1)
    turned = torch.cat([-x[..., size // 2 :], x[..., : size // 2]], -1)
    return x * angle.cos() + turned * angle.sin()


class _Norm(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(size) + 0.5)

    def forward(self, x: Any) -> Any:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * self.weight


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, kv: int, size: int, inner: int) -> None:
        super().__init__()
        self.heads, self.kv, self.size = heads, kv, size
        sizes = {"q": (width, heads), "k": (width, kv), "v": (width, kv)}
        self.self_attn = nn.ModuleDict({f"{n}_proj": nn.Linear(i, h * size, bias=False) for n, (i, h) in sizes.items()})
        self.self_attn["o_proj"] = nn.Linear(heads * size, width, bias=False)
        self.mlp = nn.ModuleDict({"gate_proj": nn.Linear(width, inner, bias=False),
                                  "up_proj": nn.Linear(width, inner, bias=False),
                                  "down_proj": nn.Linear(inner, width, bias=False)})  # fmt: skip
        self.input_layernorm, self.post_attention_layernorm = _Norm(width), _Norm(width)

    def forward(self, x: Any) -> Any:
        y = self.input_layernorm(x)
        q, k, v = (
            self.self_attn[f"{n}_proj"](y).unflatten(-1, (-1, self.size)).transpose(1, 2) for n in ("q", "k", "v")
        )
        k, v = (t.repeat_interleave(self.heads // self.kv, 1) for t in (k, v))
        seen = nn.functional.scaled_dot_product_attention(_rotate(q), _rotate(k), v, is_causal=True)
        x = x + self.self_attn["o_proj"](seen.transpose(1, 2).flatten(2))
        y = self.post_attention_layernorm(x)
        return x + self.mlp["down_proj"](nn.functional.silu(self.mlp["gate_proj"](y)) * self.mlp["up_proj"](y))


class _Llama(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"embed_tokens": nn.Embedding(11, 8), "norm": _Norm(8)})
        self.model["layers"] = nn.ModuleList([_Block(8, 4, 2, 4, 10) for _ in range(2)])

    def forward(self, x: Any) -> Any:
        x = self.model["embed_tokens"](x)
        for block in self.model["layers"]:
            x = block(x)
        return self.model["norm"](x) @ self.model["embed_tokens"].weight.T


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
    assert "2 arrangements" in infer(_arrays(_Image()), input=(1, 26, 26)).problems[0]
    found = _compare(_Image(), x, input=(1, 26, 26), padding="valid")
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
    assert not infer(_arrays(_Image())).is_complete
    wrong = infer(_arrays(_Image()), input=(1, 5, 5))
    assert "no arrangement" in wrong.problems[0]


def test_recurrent_networks_of_words() -> None:
    torch.manual_seed(0)
    found = _compare(_Words(), np.array([[1, 2, 3], [19, 0, 5]]), input=(3,))
    assert [e.module for e in found.layers] == ["embed", "rnn#0", "rnn#1", "out"]


def test_transformers_of_blocks() -> None:
    torch.manual_seed(0)
    words = np.array([[1, 2, 3, 10, 4], [0, 9, 5, 5, 7]])
    found = _compare(_Llama(), words, input=(5,), num_heads=4)
    assert any("embedding" in text for text in found.assumed)
    unclear = infer(_arrays(_Llama()))
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
