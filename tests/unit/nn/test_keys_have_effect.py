"""Every key of every layer and of the document: another value is refused, or changes what is computed or written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import LoomError, SpecError
from loom.nn.spec import LAYERS, convert, parse
from loom.nn.spec.base.fields import value_fields
from unit.nn.layers.cases import CASES

DENSE = {"type": "dense", "output_size": 3}
LAYER: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {  # a sample's shape, and a layer for it
    **{case.layer["type"]: (case.shape, case.layer) for case in reversed(CASES)},  # the first of each type, but for:
    "dense": ((4,), DENSE),
    "stitch": ((4,), {"output_size": 3}),
    "conv1d": ((2, 6), {"filters": 2, "kernel_size": 2}),
    "conv2d": ((2, 5, 6), {"filters": 2, "kernel_size": 2}),
    "rnn": ((4, 3), {"hidden_size": 2}),
    "gru": ((4, 3), {"hidden_size": 2}),
    "lstm": ((4, 3), {"hidden_size": 2}),
    "softmax": ((4,), {}),
    "kmeans": ((4,), {"num_clusters": 3}),
    "parallel": ((4,), {"branches": [DENSE]}),
    "sequential": ((4,), {"layers": [DENSE]}),
    "residual": ((3,), {"layers": [DENSE]}),
    "dropout": ((4,), {}),
    "max_pool": ((1, 4, 4), {"pool_size": 2}),
    "average_pool": ((1, 4, 4), {"pool_size": 2}),
    "reshape": ((4,), {"shape": [2, 2]}),
    "activation": ((4,), {"function": "tanh"}),
    "merge": ((2, 2), {}),
    "permute": ((3, 4), {"axes": [0, 1]}),
    "token_pool": ((3, 4), {}),
    "unembedding": ((4,), {"table": "both.branches.0", "vocab_size": 5}),
    "multi_head_attention": ((6, 8), {"num_heads": 2}),
}
OTHER: dict[str, Any] = {
    "activation": "tanh", "function": "relu", "bias": False, "frozen": True, "output": "last", "causal": True,
    "kernel_size": 1, "stride": 2, "padding": 1, "rate": 0.25, "epsilon": 0.5, "momentum": 0.9, "temperature": 3.0,
    "noise": False, "alpha": 1.25, "learning_rate": 2.0, "variant": "sparse", "combine_mode": "filter",
    "distance_metric": "cosine", "output_mode": "features", "rope_freq_base": 7.0, "padding_mask": "input",
    "levels": [2, 2], "mask": [True, True, True, False], "clusters": [[0, 1], [2, 3]], "weights": [0.5, 0.5],
    "branches": [DENSE, DENSE], "layers": [DENSE | {"activation": "tanh"}], "attached_layer": DENSE, "gate": DENSE,
    "gate_softmax": {"type": "softmax", "temperature": 2.0}, "grid": {"rows": 1, "cols": 1},
    "grid_positions": [{}], "shape": [4, 1], "axis": 0, "pool_size": 1, "rope_interleaved": True, "scale": 0.75,
    "rope_factors": [1.0, 9.0], "qk_norm_epsilon": 0.5, "relative_buckets": 4, "output_bias": False,
}  # fmt: skip
FOR: dict[tuple[str, str], dict[str, Any]] = {  # what a key needs beside it
    ("softmax", "noise"): {"variant": "gumbel"},
    ("softmax", "alpha"): {"variant": "entmax"},
    ("parallel", "gate_softmax"): {
        "combine_mode": "filter",
        "branches": [DENSE] * 2,
        "gate": {**DENSE, "output_size": 2},
    },
    ("parallel", "gate"): {"combine_mode": "filter", "branches": [DENSE] * 3},
    ("parallel", "combine_mode"): {"branches": [DENSE] * 2},
    ("multi_head_attention", "rope_dims"): {"rope_freq_base": 3.0},
    ("multi_head_attention", "rope_interleaved"): {"rope_freq_base": 3.0},
    ("multi_head_attention", "rope_factors"): {"rope_freq_base": 3.0},
    ("multi_head_attention", "window"): {"causal": True},
    ("multi_head_attention", "relative_distance"): {"relative_buckets": 8},
    ("multi_head_attention", "relative_table"): {"relative_buckets": 4},
    ("parallel", "axis"): {"branches": [{"type": "reshape", "shape": [2, 2]}] * 2},
}
INSTEAD = {("merge", "combine_mode"): "add", ("max_pool", "stride"): 1, ("average_pool", "stride"): 1,
           ("multi_head_attention", "num_kv_heads"): 1, ("multi_head_attention", "head_dim"): 8,
           ("multi_head_attention", "relative_table"): "first", ("multi_head_attention", "relative_distance"): 3,
           ("permute", "axes"): [1, 0], ("token_pool", "mode"): "max", ("normalize", "epsilon"): 9.0,
           ("unembedding", "table"): "both.branches.1"}  # fmt: skip
TRAINED = ("frozen", "rate", "momentum", "learning_rate", "noise")
"""Keys that a training shows."""


def document(kind: str, **more: Any) -> dict[str, Any]:
    shape, layer = LAYER[kind]
    made = {"type": kind, **layer, **more}
    head = {"format": "loom/1", "seed": 3, "input": {"shape": list(shape)}}
    if kind == "merge":
        bent = {"type": "activation", "function": "tanh", "inputs": ["input"]}
        return head | {"nodes": {"bent": bent, "sum": made | {"inputs": ["input", "bent"]}}, "output": "sum"}
    if kind == "unembedding":
        tables = [{"type": "embedding", "vocab_size": 5, "embedding_dim": 2}] * 2
        return head | {
            "layers": [{"type": "parallel", "name": "both", "branches": tables, "combine_mode": "add"}, made]
        }
    return head | {"layers": [made]}


def seen(told: dict[str, Any], *, trained: bool) -> Any:
    """Return what can be seen of a network: names and shapes of its weights, its outputs, its weights after a step."""
    net = loom.Network.from_json(told, on="cpu")
    x = np.arange(1, 1 + 3 * int(np.prod(net.spec.inputs[0].shape)), dtype=np.float32).reshape(
        3, *net.spec.inputs[0].shape
    )
    x = x % 5 if "embedding" in str(told) else np.sin(x)
    output = net.forward(x)
    if trained:
        try:
            net.train(x, np.ones_like(output), loss="mse", epochs=2, learning_rate=0.5)
        except LoomError as error:  # nothing can be trained
            return str(error)
        return {n: a.tobytes() for n, a in net.weights().items()}, net.forward(x).tobytes()
    return output.shape, output.tobytes()


@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_keys_of_a_layer(kind: str) -> None:
    silent = []
    for field in value_fields(LAYERS[kind]):
        key = field.name
        if key == "frozen" and (kind == "unembedding" or not parse(document(kind)).parameters()):
            continue  # it says what is so anyhow
        besides = FOR.get((kind, key), {})
        value = OTHER.get(key, 2 if LAYER[kind][1].get(key) != 2 else 3)
        if "if it is to be checked" in field.meaning:
            value = 7
        value = INSTEAD.get((kind, key), value)
        before, after = document(kind, **besides), document(kind, **besides, **{key: value})
        trained = key in TRAINED
        if trained and kind in ("dropout", "softmax", "kmeans"):  # something to train before it
            for told in (before, after):
                told["layers"].insert(0, {"type": "dense", "output_size": 4, "activation": "tanh"})
        try:
            found = parse(after)
        except SpecError:
            continue
        old = parse(before)
        if (found.parameters(), found.shapes()) != (old.parameters(), old.shapes()):
            continue
        if seen(before, trained=trained) == seen(after, trained=trained):
            silent.append(key)
    assert silent == []


def _trained(net: loom.Network) -> str:
    x = np.eye(4, dtype=np.float32)
    net.train(x, np.ones((4, 3), np.float32), epochs=1, learning_rate=0.1)
    return net.digest()


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("name", "other", lambda net: net.save()),
        ("dtype", "f64", lambda net: net.weights()["layers.0.weight"].dtype),
        ("seed", 4, lambda net: net.digest()),
        ("batch_size", 2, _trained),
        ("classes", ["a", "b", "c"], lambda net: net.spec.classes),
        ("metadata", {"by": "me"}, lambda net: net.save()),
        ("grid", {"rows": 1, "cols": 1}, lambda net: net.spec.grid),
        ("input", {"shape": [4], "dtype": "f64"}, lambda net: net.spec.inputs[0].dtype),
    ],
)
def test_keys_of_the_document(key: str, value: Any, where: Any) -> None:
    before = document("dense")
    after = {**before, key: value}
    assert where(loom.Network.from_json(before, on="cpu")) != where(loom.Network.from_json(after, on="cpu"))


def test_an_axis_that_nothing_is_put_along_is_refused() -> None:
    with pytest.raises(SpecError, match=r"axis\] only the combine_mode 'concat' has this key: got add"):
        convert(document("parallel", combine_mode="add", axis=0))
    with pytest.raises(SpecError, match=r"axis\] only the combine_mode 'concat' has this key: got avg"):
        convert(document("merge", combine_mode="avg", axis=0))
