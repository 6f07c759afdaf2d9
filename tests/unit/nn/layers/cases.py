"""Networks of one layer, and what PyTorch makes of the same weights."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loom.nn.spec.layers.lora import adapter_names


class _Late:
    """A module that is loaded when something in it is asked for: PyTorch takes seconds, and may be missing."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)


torch: Any = _Late("torch")
F: Any = _Late("torch.nn.functional")

Torch = Any
"""torch.Tensor, where there is PyTorch."""
Weights = dict[str, Torch]


@dataclass(frozen=True)
class Case:
    """``reference(w, x)`` gives the output of weights by name (``layers.0.`` left out), None where PyTorch lacks it.

    ``others``: inputs besides x that the layer reads by name. A layer of several inputs gets tanh(x) and x.
    """

    name: str
    shape: tuple[int, ...]
    layer: dict[str, Any]
    reference: Callable[[Weights, Torch], Torch] | None = None
    training: bool = False
    ids: int = 0
    others: dict[str, Any] = field(default_factory=dict)

    def document(self, dtype: str) -> dict[str, Any]:
        """Return a network of this layer alone, called ``layers.0`` or ``layers_0``."""
        what = {"shape": list(self.shape), "dtype": "i32" if self.ids else dtype}
        told: dict[str, Any] = {"format": "loom/1", "dtype": dtype, "seed": 3}
        if not self.others and self.layer["type"] != "merge":
            return told | {"input": what, "layers": [self.layer]}
        inputs = {"input": what} | {n: {"shape": list(a.shape[1:]), "dtype": dtype} for n, a in self.others.items()}
        nodes: dict[str, Any] = {"layers_0": self.layer | {"inputs": ["input"]}}
        if self.layer["type"] == "merge":
            nodes["layers_0"]["inputs"] = ["bent", "input"]
            nodes["bent"] = {"type": "activation", "function": "tanh", "inputs": ["input"]}
        return told | {"inputs": inputs, "nodes": nodes}


def dense(w: Weights, x: Torch, at: str = "") -> Torch:
    """x W + b."""
    return x @ w[f"{at}weight"] + w[f"{at}bias"]


def plain(w: Weights, x: Torch, name: str) -> Torch:
    """x W, with the bias if there is one."""
    made = x @ w[f"{name}_weight"]
    return made + w[f"{name}_bias"] if f"{name}_bias" in w else made


def _recurrent(module: str, gates: str, *, last: bool = False) -> Callable[[Weights, Torch], Torch]:
    def run(w: Weights, x: Torch) -> Torch:
        if gates:
            inner, outer = (torch.cat([w[f"weight_{k}_{g}"] for g in gates]) for k in ("hh", "ih"))
            bias = torch.cat([w[f"bias_{g}"] for g in gates])
        else:
            inner, outer, bias = w["weight_hh"], w["weight_ih"], w["bias_h"]
        hidden = inner.shape[1]
        other = torch.zeros_like(bias)
        if gates == "rzn":
            other = torch.cat([other[: 2 * hidden], w["bias_hn"]])
        made = getattr(torch.nn, module)(outer.shape[1], hidden, batch_first=True, dtype=torch.float64)
        named = {"weight_ih_l0": outer, "weight_hh_l0": inner, "bias_ih_l0": bias, "bias_hh_l0": other}
        states = torch.func.functional_call(made, named, (x,))[0]
        return states[:, -1] if last else states

    return run


def attention(heads: int, kv_heads: int, *, causal: bool = False, base: float | None = None, there: Any = None) -> Any:
    """Attention by PyTorch's own; positions turned as complex numbers."""

    def run(w: Weights, x: Torch) -> Torch:
        batch, tokens, _ = x.shape

        def projected(name: str, count: int) -> Torch:
            return plain(w, x, name).view(batch, tokens, count, -1).transpose(1, 2)

        q, k, v = projected("q", heads), projected("k", kv_heads), projected("v", kv_heads)
        if base is not None:
            q, k = turned(q, base), turned(k, base)
        k, v = (t.repeat_interleave(heads // kv_heads, 1) for t in (k, v))
        seen = None if there is None else torch.tensor(there != 0)[:, None, None, :]
        made = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=causal)
        return plain(w, made.transpose(1, 2).reshape(batch, tokens, -1), "o")

    return run


def attention_in_full(layer: dict[str, Any]) -> Any:
    """Attention with all that a layer may ask for, by its definition, a head and a token at a time."""
    heads, kv_heads = layer["num_heads"], layer.get("num_kv_heads", layer["num_heads"])
    table = layer.get("relative_table", "").removeprefix("layers.0.")

    def run(w: Weights, x: Torch, at: str = "") -> Torch:
        own = {name.removeprefix(at): a for name, a in w.items() if name.startswith(at)}
        batch, tokens, _ = x.shape
        q, k, v = (plain(own, x, name).view(batch, tokens, n, -1).transpose(1, 2)
                   for name, n in (("q", heads), ("k", kv_heads), ("v", kv_heads)))  # fmt: skip
        if "qk_norm_epsilon" in layer:
            small = layer["qk_norm_epsilon"]
            q, k = (F.rms_norm(t, t.shape[-1:], own[name], small) for name, t in (("q_norm", q), ("k_norm", k)))
        if "rope_freq_base" in layer:
            q, k = (turned_pairs(t, layer) for t in (q, k))
        k, v = (t.repeat_interleave(heads // kv_heads, 1) for t in (k, v))
        scores = q @ k.transpose(-1, -2) * layer.get("scale", q.shape[-1] ** -0.5)
        buckets = layer.get("relative_buckets")
        if buckets:
            relative = w[f"{table}.relative_weight"] if table else own["relative_weight"]
            both = not layer.get("causal", False)
            number = [[bucket(j - i, buckets, layer.get("relative_distance", 128), both) for j in range(tokens)]
                      for i in range(tokens)]  # fmt: skip
            scores = scores + relative[torch.tensor(number)].permute(2, 0, 1)
        if layer.get("causal"):
            window = layer.get("window", tokens)
            seen = torch.tensor([[0 <= i - j < window for j in range(tokens)] for i in range(tokens)])
            scores = scores.masked_fill(~seen, -math.inf)
        return plain(own, (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, -1), "o")

    return run


def bucket(away: int, buckets: int, most: int, both: bool) -> int:
    """A distance's bucket, by logarithms."""
    first = 0
    if both:
        buckets //= 2
        first, away = (buckets if away > 0 else 0), abs(away)
    else:
        away = max(-away, 0)
    near = buckets // 2
    if away < near:
        return first + away
    grown = math.log(away / near) / math.log(most / near) * (buckets - near)
    return first + min(near + int(grown + 1e-9), buckets - 1)


def turned_pairs(x: Torch, layer: dict[str, Any]) -> Torch:
    """Rotary position embedding of some features, in either layout of pairs."""
    rotated = layer.get("rope_dims", x.shape[-1])
    half = rotated // 2
    factors = torch.tensor(layer.get("rope_factors", [1.0] * half)).double()
    turns = layer["rope_freq_base"] ** (-torch.arange(half).double() / half) / factors
    angles = torch.outer(torch.arange(x.shape[-2]).double(), turns)
    part, rest = x[..., :rotated], x[..., rotated:]
    near = layer.get("rope_interleaved", False)
    first, second = (part[..., ::2], part[..., 1::2]) if near else (part[..., :half], part[..., half:])
    pairs = torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles)
    ends = torch.stack([pairs.real, pairs.imag], -1).flatten(-2) if near else torch.cat([pairs.real, pairs.imag], -1)
    return torch.cat([ends, rest], -1)


def twice(layer: dict[str, Any]) -> Any:
    """Attention, then attention that has the first one's bias."""
    second = layer | {"relative_table": "layers.0.layers.0"}

    def run(w: Weights, x: Torch) -> Torch:
        return attention_in_full(second)(w, attention_in_full(layer)(w, x, "layers.0."), "layers.1.")

    return run


def of_attention(name: str, shape: tuple[int, ...], **fields: Any) -> Case:
    """Attention with some keys of its own."""
    layer = {"type": "multi_head_attention", "num_heads": 2} | fields
    return Case(f"attention_{name}", shape, layer, attention_in_full(layer))


def of_pool(mode: str, reference: Any, there: Any = None) -> Case:
    """Three tokens brought to one."""
    layer = {"type": "token_pool", "mode": mode} | ({} if there is None else {"padding_mask": "there"})
    others = {} if there is None else {"there": there}
    return Case(f"token_pool_{mode}{len(others)}", (3, 2), layer, lambda _, x: reference(x), others=others)


def turned(x: Torch, base: float) -> Torch:
    """Rotary position embedding."""
    half = x.shape[-1] // 2
    angles = torch.outer(torch.arange(x.shape[-2]).double(), base ** (-torch.arange(half).double() / half))
    pairs = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([pairs.real, pairs.imag], -1)


def kmeans(metric: str, temperature: float, *, features: bool = False, at: str = "") -> Any:
    """Soft assignment by its definition."""

    def run(w: Weights, x: Torch) -> Torch:
        c = w[f"{at}centers"]
        if metric == "cosine":
            logits = -(1 - F.cosine_similarity(x[..., None, :], c, dim=-1)) / temperature
        elif metric == "manhattan":
            logits = -torch.cdist(x, c, p=1) / temperature
        else:
            logits = -((x[..., None, :] - c) ** 2).sum(-1) / (2 * temperature**2)
        made = logits.softmax(-1)
        return made @ c if features else made

    return run


def swiglu(w: Weights, x: Torch) -> Torch:
    """The gated block."""
    return plain(w, F.silu(plain(w, x, "gate")) * plain(w, x, "up"), "down")


def filtered(w: Weights, x: Torch) -> Torch:
    """Two experts, the first shorter."""
    shares = (x @ w["gate.weight"] + w["gate.bias"]).softmax(-1)
    first = F.pad(dense(w, x, "branches.0."), (0, 1))
    return first * shares[:, :1] + dense(w, x, "branches.1.") * shares[:, 1:]


def kmeans_of_kmeans(w: Weights, x: Torch) -> Torch:
    """Chances of chances of features."""
    inner = dense(w, x, "attached_layer.attached_layer.")
    return kmeans("euclidean", 1)(w, kmeans("euclidean", 1, at="attached_layer.")(w, inner))


def filtered_tokens(w: Weights, x: Torch) -> Torch:
    """Two experts with a gate for each token, by sparsemax of two: half of 1 + the difference, cut at 0 and 1."""
    logits = dense(w, x, "gate.")
    first = ((1 + logits[..., :1] - logits[..., 1:]) / 2).clamp(0, 1)
    return dense(w, x, "branches.0.") * first + dense(w, x, "branches.1.") * (1 - first)


def filtered_samples(w: Weights, x: Torch) -> Torch:
    """Two experts of tokens with one gate for each sample."""
    shares = dense(w, x.flatten(1), "gate.layers.1.").softmax(-1)[:, None]
    return dense(w, x, "branches.0.") * shares[..., :1] + dense(w, x, "branches.1.") * shares[..., 1:]


def _named(name: str) -> Callable[[Torch], Torch]:
    def run(v: Torch) -> Torch:
        return getattr(F, name)(v)

    return run


ACTIVATIONS: dict[str, Callable[[Torch], Torch]] = {
    "linear": lambda v: v,
    "relu": _named("relu"),
    "scaled_relu": lambda v: F.relu(v * 1.1),
    "leaky_relu": lambda v: F.leaky_relu(v, 0.1),
    "leaky_relu_001": lambda v: F.leaky_relu(v, 0.01),
    "relu2": lambda v: F.relu(v) ** 2,
    "sigmoid": lambda v: v.sigmoid(),
    "tanh": lambda v: v.tanh(),
    "softplus": _named("softplus"),
    "elu": _named("elu"),
    "selu": _named("selu"),
    "gelu": _named("gelu"),
    "gelu_tanh": lambda v: F.gelu(v, approximate="tanh"),
    "swish": _named("silu"),
    "mish": _named("mish"),
    "softmax": lambda v: v.softmax(-1),
}


def of_activation(name: str, function: Callable[[Torch], Torch]) -> Case:
    """A function alone."""
    return Case(f"activation_{name}", (4,), {"type": "activation", "function": name}, lambda _, x: function(x))


def of_branches(mode: str, combine: Callable[[Torch, Torch], Torch], **fields: Any) -> Case:
    """Two branches of different kinds."""
    branches = [
        {"type": "dense", "output_size": 3},
        {"type": "sequential", "layers": [{"type": "dense", "output_size": 2}, {"type": "dense", "output_size": 3}]},
    ]

    def run(w: Weights, x: Torch) -> Torch:
        inner = dense(w, dense(w, x, "branches.1.layers.0."), "branches.1.layers.1.")
        return combine(dense(w, x, "branches.0."), inner)

    return Case(
        f"parallel_{mode}", (2,), {"type": "parallel", "branches": branches, "combine_mode": mode} | fields, run
    )


def of_merge(mode: str, combine: Callable[[Torch, Torch], Torch], **fields: Any) -> Case:
    """tanh(x) and x made one."""
    layer = {"type": "merge", "combine_mode": mode} | fields
    return Case(f"merge_{mode}{len(fields)}", (2, 3), layer, lambda _, x: combine(x.tanh(), x))


def of_softmax(variant: str, width: int, reference: Any = None, **fields: Any) -> Case:
    """A softmax of numbers that are all different."""
    return Case(
        f"softmax_{variant}{len(fields)}_{width}", (width,), {"type": "softmax", "variant": variant} | fields, reference
    )


_RELATIVE = {"type": "multi_head_attention", "num_heads": 2, "relative_buckets": 8, "relative_distance": 5,
             "scale": 1.0}  # fmt: skip
_GRID = {"rows": 1, "cols": 2}
_DENSE = {"type": "dense", "output_size": 2}
_THERE = np.array([[1, 1, 0], [1, 0, 1], [1, 1, 1]], np.float64)

_LORA = {"rank": 2, "alpha": 3}


def lora(w: Weights, x: Torch) -> Torch:
    """Return a linear map and its adapters: x W + b + (alpha / rank) x A B."""
    a, b = (w[name] for name in adapter_names("weight"))
    return dense(w, x) + 1.5 * (x @ a) @ b


CASES = [
    *(of_activation(name, function) for name, function in ACTIVATIONS.items()),
    Case("dense_tokens", (3, 2), _DENSE, dense),
    Case("dense_lora", (3,), _DENSE | {"lora": _LORA}, lora),
    Case("stitch_lora", (3,), {"type": "stitch", "output_size": 2, "lora": _LORA}, lora),
    Case("swiglu_lora", (2, 3), {"type": "swiglu", "inner_size": 4, "lora": _LORA}),
    Case("attention_lora", (3, 4), {"type": "multi_head_attention", "num_heads": 2, "lora": _LORA}),
    Case("dense_plain", (3,), _DENSE | {"bias": False}, lambda w, x: x @ w["weight"]),
    Case("stitch", (3,), {"type": "stitch", "output_size": 2}, dense),
    Case("scale", (2, 3), {"type": "scale"}, lambda w, x: (x - w["shift"]) * w["factor"]),
    Case("dense_mish", (3,), _DENSE | {"activation": "mish"}, lambda w, x: F.mish(dense(w, x))),
    Case("flatten", (2, 3), {"type": "flatten"}, lambda _, x: x.flatten(1)),
    Case("reshape", (2, 3), {"type": "reshape", "shape": [3, -1]}, lambda _, x: x.reshape(-1, 3, 2)),
    Case("conv1d", (2, 7), {"type": "conv1d", "filters": 3, "kernel_size": 3, "stride": 2, "padding": 1},
         lambda w, x: F.conv1d(x, w["weight"], w["bias"], 2, 1)),
    Case("conv2d", (2, 5, 4), {"type": "conv2d", "filters": 2, "kernel_size": [3, 2], "stride": [2, 1],
         "padding": [1, 0], "activation": "tanh"},
         lambda w, x: F.conv2d(x, w["weight"], w["bias"], (2, 1), (1, 0)).tanh()),
    Case("conv1d_plain", (2, 5), {"type": "conv1d", "filters": 2, "kernel_size": 2, "bias": False, "activation": "elu"},
         lambda w, x: F.elu(F.conv1d(x, w["weight"]))),
    Case("conv2d_plain", (2, 3, 4), {"type": "conv2d", "filters": 2, "kernel_size": 2, "bias": False},
         lambda w, x: F.conv2d(x, w["weight"])),
    Case("conv2d_wide_padding", (1, 2, 3), {"type": "conv2d", "filters": 2, "kernel_size": [1, 2], "stride": [2, 3],
         "padding": 2}, lambda w, x: F.conv2d(x, w["weight"], w["bias"], (2, 3), 2)),
    Case("conv2d_softmax", (1, 3, 4), {"type": "conv2d", "filters": 2, "kernel_size": 2, "activation": "softmax"},
         lambda w, x: F.conv2d(x, w["weight"], w["bias"]).softmax(-1)),
    Case("max_pool", (2, 5, 4), {"type": "max_pool", "pool_size": [3, 2], "stride": [2, 1], "padding": [1, 0]},
         lambda _, x: F.max_pool2d(x, (3, 2), (2, 1), (1, 0))),
    Case("max_pool_1d", (2, 6), {"type": "max_pool", "pool_size": 2}, lambda _, x: F.max_pool1d(x, 2)),
    Case("average_pool", (2, 5, 4), {"type": "average_pool", "pool_size": 2, "stride": 2, "padding": 1},
         lambda _, x: F.avg_pool2d(x, 2, 2, 1, count_include_pad=False)),
    Case("average_pool_1d", (2, 6), {"type": "average_pool", "pool_size": 3}, lambda _, x: F.avg_pool1d(x, 3)),
    Case("layer_norm", (2, 4), {"type": "layer_norm"}, lambda w, x: F.layer_norm(x, (4,), w["gamma"], w["beta"])),
    Case("rms_norm", (2, 4), {"type": "rms_norm"}, lambda w, x: F.rms_norm(x, (4,), w["gamma"], 1e-5)),
    Case("batch_norm_training", (2, 3), {"type": "batch_norm"}, training=True,
         reference=lambda w, x: F.batch_norm(x, None, None, w["gamma"], w["beta"], training=True)),
    Case("batch_norm", (2, 3, 2), {"type": "batch_norm"},
         lambda w, x: F.batch_norm(x, w["running_mean"].detach(), w["running_variance"].detach(), w["gamma"],
                                       w["beta"])),
    Case("embedding", (3,), {"type": "embedding", "vocab_size": 5, "embedding_dim": 2}, ids=5,
         reference=lambda w, x: F.embedding(x, w["weight"])),
    Case("swiglu", (2, 3), {"type": "swiglu", "inner_size": 4}, swiglu),
    Case("rnn", (3, 2), {"type": "rnn", "hidden_size": 3}, _recurrent("RNN", "")),
    Case("swiglu_plain", (3,), {"type": "swiglu", "inner_size": 2, "bias": False}, swiglu),
    Case("rnn_last", (3, 2), {"type": "rnn", "hidden_size": 2, "output": "last"}, _recurrent("RNN", "", last=True)),
    Case("lstm_last", (3, 2), {"type": "lstm", "hidden_size": 2, "output": "last"},
         _recurrent("LSTM", "ifgo", last=True)),
    Case("gru_last", (3, 2), {"type": "gru", "hidden_size": 2, "output": "last"}, _recurrent("GRU", "rzn", last=True)),
    Case("rnn_one_token", (1, 2), {"type": "rnn", "hidden_size": 3}, _recurrent("RNN", "")),
    Case("lstm", (3, 2), {"type": "lstm", "hidden_size": 2}, _recurrent("LSTM", "ifgo")),
    Case("gru", (3, 2), {"type": "gru", "hidden_size": 2}, _recurrent("GRU", "rzn")),
    Case("attention", (3, 4), {"type": "multi_head_attention", "num_heads": 2}, attention(2, 2)),
    Case("attention_rope", (3, 8), {"type": "multi_head_attention", "num_heads": 2, "num_kv_heads": 1, "causal": True,
         "rope_freq_base": 100.0}, attention(2, 1, causal=True, base=100.0)),
    Case("attention_padding", (3, 3), {"type": "multi_head_attention", "num_heads": 2, "head_dim": 2, "bias": False,
         "padding_mask": "there"}, attention(2, 2, there=_THERE), others={"there": _THERE}),
    of_attention("qk_norm", (3, 4), qk_norm_epsilon=1e-3, output_bias=False, causal=True, window=2),
    of_attention("rope_part", (3, 12), rope_freq_base=50.0, rope_dims=4, rope_interleaved=True, rope_factors=[1.0, 3.5],
                 scale=0.25, bias=False, output_bias=True),
    of_attention("relative", (7, 4), relative_buckets=6, relative_distance=5, causal=True),
    Case("attention_relative_table", (9, 4), {"type": "sequential", "layers": [
         _RELATIVE, _RELATIVE | {"relative_table": "layers.0.layers.0"}]}, twice(_RELATIVE)),
    Case("permute", (2, 3, 4), {"type": "permute", "axes": [2, 0, 1]}, lambda _, x: x.permute(0, 3, 1, 2)),
    Case("normalize", (2, 4), {"type": "normalize"}, lambda _, x: F.normalize(x, dim=-1)),
    Case("class_token", (3, 2), {"type": "class_token"},
         lambda w, x: torch.cat([w["weight"].expand(len(x), 1, -1), x], 1)),
    of_pool("mean", lambda x: x.mean(1)),
    of_pool("first", lambda x: x[:, 0]),
    of_pool("last", lambda x: x[:, -1]),
    of_pool("max", lambda x: x.amax(1)),
    of_pool("mean", lambda x: torch.stack([x[0, :2].mean(0), x[1, ::2].mean(0), x[2].mean(0)]), _THERE),
    of_pool("last", lambda x: torch.stack([x[0, 1], x[1, 2], x[2, 2]]), _THERE),
    of_pool("max", lambda x: torch.stack([x[0, :2].amax(0), x[1, ::2].amax(0), x[2].amax(0)]), _THERE),
    Case("unembedding", (3,), {"type": "sequential", "layers": [
         {"type": "embedding", "vocab_size": 5, "embedding_dim": 2}, {"type": "activation", "function": "tanh"},
         {"type": "unembedding", "table": "layers.0.layers.0", "vocab_size": 5}]}, ids=5,
         reference=lambda w, x: F.embedding(x, w["layers.0.weight"]).tanh() @ w["layers.0.weight"].T),
    Case("position_embedding", (3, 2), {"type": "position_embedding", "max_positions": 4},
         lambda w, x: x + w["weight"][:3]),
    Case("swiglu_gelu", (3,), {"type": "swiglu", "inner_size": 2, "activation": "gelu_tanh"},
         lambda w, x: plain(w, F.gelu(plain(w, x, "gate"), approximate="tanh") * plain(w, x, "up"), "down")),
    Case("shared", (2,), {"type": "sequential", "layers": [_DENSE, {"type": "activation", "function": "tanh"},
         {"$ref": "layers.0.layers.0"}]}, lambda w, x: dense(w, dense(w, x, "layers.0.").tanh(), "layers.0.")),
    Case("residual", (2,), {"type": "residual", "layers": [_DENSE, {"type": "activation", "function": "tanh"}]},
         lambda w, x: x + dense(w, x, "layers.0.").tanh()),
    of_branches("concat", lambda a, b: torch.cat([a, b], -1)),
    of_branches("add", lambda a, b: a + b),
    of_branches("avg", lambda a, b: (a + b) / 2),
    of_branches("multiply", lambda a, b: a * b),
    of_branches("grid_scatter", lambda a, b: torch.cat([b, a], -1), grid=_GRID,
                grid_positions=[{"col": 1}, {"col": 0}]),
    Case("parallel_filter", (3,), {"type": "parallel", "combine_mode": "filter", "gate": _DENSE,
         "branches": [{"type": "stitch", "output_size": 2}, {"type": "dense", "output_size": 3}]}, filtered),
    Case("parallel_concat_axis", (2, 3), {"type": "parallel", "axis": 0, "branches": [
         {"type": "activation", "function": "tanh"}, {"type": "rms_norm"}]},
         lambda w, x: torch.cat([x.tanh(), F.rms_norm(x, (3,), w["branches.1.gamma"], 1e-5)], 1)),
    Case("parallel_filter_tokens", (3, 2), {"type": "parallel", "combine_mode": "filter", "gate": _DENSE, "branches":
         [_DENSE, _DENSE], "gate_softmax": {"type": "softmax", "variant": "sparse"}}, filtered_tokens),
    Case("parallel_filter_samples", (3, 2), {"type": "parallel", "combine_mode": "filter", "branches": [_DENSE, _DENSE],
         "gate": {"type": "sequential", "layers": [{"type": "flatten"}, _DENSE]}}, filtered_samples),
    Case("parallel_filter_equal", (3,), {"type": "parallel", "combine_mode": "filter", "branches": [_DENSE, _DENSE]},
         lambda w, x: (dense(w, x, "branches.0.") + dense(w, x, "branches.1.")) / 2),
    of_merge("concat", lambda a, b: torch.cat([a, b], -1)),
    of_merge("concat", lambda a, b: torch.cat([a, b], 1), axis=0),
    of_merge("add", lambda a, b: a + b),
    of_merge("avg", lambda a, b: (a + b) / 2),
    of_merge("multiply", lambda a, b: a * b),
    Case("kmeans", (3,), {"type": "kmeans", "num_clusters": 2, "temperature": 1.5}, kmeans("euclidean", 1.5)),
    Case("kmeans_cosine", (3,), {"type": "kmeans", "num_clusters": 2, "distance_metric": "cosine"},
         kmeans("cosine", 1)),
    Case("kmeans_manhattan", (3,), {"type": "kmeans", "num_clusters": 2, "distance_metric": "manhattan", "output_mode":
         "features"}, kmeans("manhattan", 1, features=True)),
    Case("kmeans_in_kmeans", (3,), {"type": "kmeans", "num_clusters": 2, "attached_layer": {"type": "kmeans",
         "num_clusters": 3, "attached_layer": _DENSE}}, kmeans_of_kmeans),
    Case("kmeans_features", (3,), {"type": "kmeans", "num_clusters": 2, "output_mode": "features"},
         kmeans("euclidean", 1, features=True)),
    of_softmax("standard", 3, lambda _, x: x.softmax(-1)),
    of_softmax("temperature", 3, lambda _, x: (x / 0.5).softmax(-1), temperature=0.5),
    of_softmax("grid", 6, lambda _, x: x.reshape(-1, 2, 3).softmax(-1).reshape(-1, 6), rows=2, cols=3),
    of_softmax("masked", 4, lambda _, x: F.pad(x[:, 1:3].softmax(-1), (1, 1)), mask=[False, True, True, False]),
    of_softmax("mixture", 6, lambda _, x: 0.25 * x[:, :3].softmax(-1) + 0.75 * x[:, 3:].softmax(-1),
               weights=[0.25, 0.75]),
    of_softmax("hierarchical", 8, lambda _, x: (x[:, :2].softmax(-1)[..., None]
               * x[:, 2:].reshape(-1, 2, 3).softmax(-1)).reshape(-1, 6), levels=[2, 3]),
    of_softmax("hierarchical", 6, lambda _, x: (x.reshape(-1, 2, 3).mean(-1).softmax(-1)[..., None]
               * x.reshape(-1, 2, 3).softmax(-1)).reshape(-1, 6), levels=[2, 3]),
    of_softmax("adaptive", 5, lambda _, x: _adaptive(x, x[:, 4:]), clusters=[[2, 0], [3, 1]]),
    of_softmax("adaptive", 4, lambda _, x: _adaptive(x, (x[:, 3:4] + x[:, 1:2]) / 2), clusters=[[2, 0], [3, 1]]),
    Case("dropout_training", (6,), {"type": "dropout", "rate": 0.4}, training=True),
    Case("gumbel_training", (3,), {"type": "softmax", "variant": "gumbel", "temperature": 0.7}, training=True),
    of_softmax("gumbel", 3, lambda _, x: x.softmax(-1)),
    Case("gumbel_quiet", (3,), {"type": "softmax", "variant": "gumbel", "noise": False}, training=True,
         reference=lambda _, x: x.softmax(-1)),
    of_softmax("sparse", 4, lambda _, x: _thresholded(x, 2.0)),
    of_softmax("entmax", 4, lambda _, x: _thresholded(x, 1.5)),
    of_softmax("entmax", 3, lambda _, x: _thresholded(x, 1.25), alpha=1.25),
]  # fmt: skip


def _adaptive(x: Torch, token: Torch) -> Torch:
    head = torch.cat([x[:, 2:3], x[:, :1], token], -1).softmax(-1)
    tail = torch.cat([x[:, 3:4], x[:, 1:2]], -1).softmax(-1) * head[:, 2:]
    return torch.cat([head[:, 1:2], tail[:, 1:], head[:, :1], tail[:, :1]], -1)


def _thresholded(x: Torch, alpha: float) -> Torch:
    """Alpha-entmax by its definition: tau by halving, then one of Newton's steps, which can be differentiated."""
    z = (alpha - 1) * x
    low = z.detach().max(-1, keepdim=True).values - 1
    high = low + 1
    for _ in range(80):
        tau = (low + high) / 2
        over = (z.detach() - tau).clamp(min=0).pow(1 / (alpha - 1)).sum(-1, keepdim=True) >= 1
        low, high = torch.where(over, tau, low), torch.where(over, high, tau)
    away = (z - low).clamp(min=0)
    there = (away > 0).double()
    slope = there * torch.where(away > 0, away, torch.ones_like(away)).pow(1 / (alpha - 1) - 1) / (alpha - 1)
    tau = low + (away.pow(1 / (alpha - 1)).sum(-1, keepdim=True) - 1) / slope.detach().sum(-1, keepdim=True)
    return (z - tau).clamp(min=0).pow(1 / (alpha - 1))
