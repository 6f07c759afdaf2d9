"""Models written for programs of the first generation: read back bit for bit, and refused by the layer it has not."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, NotFinite

SIGMOID = {"type": "dense", "activation": "sigmoid"}


def network(*layers: dict[str, Any], shape: tuple[int, ...], **more: Any) -> loom.Network:
    document = {"format": "loom/1", "seed": 3, "input": {"shape": list(shape)}, "layers": list(layers)} | more
    return loom.Network.from_json(document, on="cpu")


def older(*layers: dict[str, Any]) -> loom.Network:
    return loom.Network.from_json({"id": "n", "layers": list(layers)}, on="cpu")


def inputs(net: loom.Network) -> np.ndarray:
    shape = net.spec.inputs[0].shape
    if any(part.layer.kind == "embedding" for part in net.spec.walk()):
        return np.arange(2 * int(np.prod(shape)), dtype=np.float32).reshape(2, *shape) % 5
    return np.random.default_rng(1).standard_normal((2, *shape)).astype(np.float32)


DENSE = {"type": "dense", "input_size": 6, "output_size": 4, "activation": "tanh"}
NETWORKS: dict[str, Any] = {
    "as first written": lambda: older({"type": "dense", "width": 4, "height": 8, "activation": "relu"},
                                {"type": "dense", "input_size": 8, "output_size": 2, "activation": "sigmoid"}),
    "images": lambda: network(
        {"type": "conv2d", "filters": 2, "kernel_size": 3, "padding": 1, "activation": "scaled_relu"},
        {"type": "flatten"}, SIGMOID | {"output_size": 3}, shape=(1, 4, 5),
    ),
    "sequences": lambda: older(
        {"type": "lstm", "input_size": 4, "hidden_size": 3, "seq_length": 5},
        {"type": "rnn", "input_size": 3, "hidden_size": 2, "seq_length": 5},
        {"type": "conv1d", "input_channels": 5, "filters": 2, "kernel_size": 2, "input_length": 2},
    ),
    "a block": lambda: older(  # with the additions that the first generation does unsaid
        {"type": "rms_norm", "norm_size": 8}, {"type": "mha", "d_model": 8, "num_heads": 2, "seq_length": 3},
        {"type": "rms_norm", "norm_size": 8, "epsilon": 0.001}, {"type": "swiglu", "input_size": 8, "output_size": 5},
        {"type": "layer_norm", "norm_size": 8},
    ),
    "branches": lambda: older(
        DENSE, {"type": "parallel", "combine_mode": "concat", "branches": [
            {"type": "dense", "input_size": 4, "output_size": 2},
            {"type": "sequential", "branches": [
                {"type": "dense", "input_size": 4, "output_size": 3}, {"type": "dense", "output_size": 2}]},
            {"type": "lstm", "input_size": 2, "hidden_size": 2, "seq_length": 2},
        ]},
        {"type": "softmax", "softmax_variant": "grid", "softmax_rows": 2, "softmax_cols": 4},
    ),
    "a grid of branches": lambda: older(
        {"type": "parallel", "combine_mode": "grid_scatter", "grid_output_rows": 1, "grid_output_cols": 2,
         "grid_output_layers": 1, "branches": [DENSE, DENSE],
         "grid_positions": [{"branch_index": 1, "target_col": 0}, {"branch_index": 0, "target_col": 1}]},
    ),
    "experts": lambda: older(
        {"type": "parallel", "combine_mode": "filter", "branches": [DENSE, DENSE | {"output_size": 2}],
         "filter_softmax": "sparse", "filter_temperature": 2.0},
    ),
    "clusters": lambda: older({"type": "kmeans", "num_clusters": 3, "attached_layer": DENSE, "kmeans_temperature": 2.0,
                               "kmeans_output_mode": "features"}),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*a filter without a gate gives every branch the same weight:UserWarning")
@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_read_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    net = NETWORKS[name]()
    x = inputs(net)
    text = net.save(id="mine", older=True)
    again = loom.Network.load(text, on="cpu")
    assert [a.tobytes() for a in again.weights().values()] == [a.tobytes() for a in net.weights().values()]
    assert again.forward(x).reshape(2, -1).tobytes() == net.forward(x).reshape(2, -1).tobytes()
    said = json.loads(text)
    assert (said["type"], said["version"], said["models"][0]["id"]) == ("modelhost/bundle", 1, "mine")
    assert loom.Network.load(again.save(older=True), on="cpu").digest() == again.digest()
    net.save(tmp_path / "old.safetensors", older=True)
    other = loom.Network(net.spec, on="cpu")
    other.load_weights({n: np.zeros_like(a) for n, a in net.weights().items()})
    if "kmeans" not in [p.layer.kind for p in net.spec.walk()]:
        other.load_weights(tmp_path / "old.safetensors", layout="older")
        assert other.digest() == net.digest()


def test_what_stands_in_the_bundle() -> None:
    """As section 12 of the first generation's description has it: a config, and lists of numbers by its own names."""
    net = NETWORKS["as first written"]()
    model = json.loads(net.save(older=True))["models"][0]
    assert model["cfg"]["grid_rows"] * model["cfg"]["grid_cols"] * model["cfg"]["layers_per_cell"] == 2
    assert model["cfg"]["layers"][0] == {
        "type": "dense", "activation": "relu", "width": 1, "height": 1, "input_height": 4, "output_height": 8,
    }  # fmt: skip
    assert model["weights"]["fmt"] == "jsonModelB64"
    inner = json.loads(base64.b64decode(model["weights"]["data"]))
    assert (inner["type"], inner["dtype"]) == ("float32", "")
    assert inner["layers"][0]["kernel"] == net.weights()["layer0.weight"].reshape(-1).tolist()
    assert inner["layers"][1]["biases"] == net.weights()["layer1.bias"].tolist()


def test_names_and_shapes_of_its_safetensors(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    net = NETWORKS["as first written"]()
    net.save(tmp_path / "a.safetensors", older=True)
    found = library.load_file(tmp_path / "a.safetensors")
    assert {n: a.shape for n, a in found.items()} == {
        "layers.0.weight": (8, 4), "layers.0.bias": (8,), "layers.1.weight": (2, 8), "layers.1.bias": (2,),
    }  # fmt: skip
    assert found["layers.0.weight"].tobytes() == net.weights()["layer0.weight"].tobytes()  # (in, out) in memory


REFUSED: dict[str, tuple[Any, str]] = {
    "linear": (lambda: network(SIGMOID | {"output_size": 2}, {"type": "dense", "output_size": 2}, shape=(3,)),
               "layer 'layers.1'] the first generation cannot express it: it makes relu of every activation but "
               "scaled_relu, sigmoid, tanh, softplus, leaky_relu (its relu is scaled_relu): got linear. Save it as "
               "Loom's own bundle, or lose it"),
    "gru": (lambda: network({"type": "gru", "hidden_size": 2}, shape=(3, 2)), "'layers.0'] the first generation cannot "
            "express it: it has no such layer: got gru."),
    "embedding": (lambda: older({"type": "embedding", "vocab_size": 5, "embedding_dim": 4}), "no such layer: got"),
    "a residual": (lambda: older(DENSE | {"output_size": 6}, {"type": "residual"}), "the first generation cannot"),
    "not causal": (lambda: network({"type": "multi_head_attention", "num_heads": 2}, shape=(3, 4)), "its attention is "
                   "causal, with rotation of base 10000 and as many key as query heads: got causal False"),
    "no additions": (lambda: network({"type": "rms_norm"}, {"type": "swiglu", "inner_size": 4}, shape=(3, 4)),
                     "'layers.1'] the first generation cannot express it: it would be read as 3 layers, with"),
    "rows of a softmax": (lambda: network({"type": "rms_norm"}, {"type": "softmax"}, shape=(3, 4)), "layer 'layers.1'] "
                          "the first generation cannot express it: it would be read as"),
    "a gate": (lambda: older({"type": "parallel", "combine_mode": "filter", "branches": [DENSE, DENSE],
                              "filter_gate": DENSE | {"output_size": 2}}), "keeps no weights of a gate: got a"),
    "f64": (lambda: network(SIGMOID | {"output_size": 2}, shape=(3,), dtype="f64"), "hold weights of f32: got f64."),
    "scaling": (lambda: network({"type": "scale"}, SIGMOID | {"output_size": 2}, shape=(3,)), "such layer: got scale"),
    "a pool": (lambda: network({"type": "max_pool", "pool_size": 2}, shape=(1, 4, 4)), "no such layer: got max_pool"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_has_not_is_refused_by_name(name: str, tmp_path: Path) -> None:
    make, wanted = REFUSED[name]
    with pytest.raises(ArgumentError) as caught:
        make().save(tmp_path / "m.json", older=True)
    assert wanted in str(caught.value)
    assert not (tmp_path / "m.json").exists()


def test_weights_that_json_cannot_say() -> None:
    net = NETWORKS["as first written"]()
    net.model.load({n: np.full_like(a, np.nan) for n, a in net.weights().items()})
    with pytest.raises(NotFinite, match="a weight is not finite: expected numbers that JSON has, got 32 others"):
        net.save(older=True)


def test_what_a_bundle_changes_is_shown() -> None:
    with pytest.warns(UserWarning, match="a filter without a gate gives every branch the same weight"):
        net = NETWORKS["experts"]()
    with pytest.warns(UserWarning, match="a filter without a gate gives every branch the same weight") as seen:
        again = loom.Network.load(net.save(older=True), on="cpu")
    assert again.warnings
    assert seen[0].filename == __file__
