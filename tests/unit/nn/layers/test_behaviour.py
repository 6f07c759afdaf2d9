"""What layers do beyond one formula: noise, state, masks, sharing, ids outside the table, first weights."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
import pytest

from conformance.running import kinds
from loom import tensor
from loom.core.dtype import u32
from loom.core.errors import StateError
from loom.nn.base.random import RandomStream, uniforms
from loom.nn.layers import LAYERS
from loom.nn.spec import LAYERS as CONFIGS
from loom.nn.spec import parse
from loom.nn.weights.model import Model
from loom.tensor import Tensor
from loom.tensor.arrays.convolution import convolve_planes
from loom.tensor.ops.random import random_words

_DENSE = {"type": "dense", "output_size": 2}


def build(*layers: dict[str, Any], shape: tuple[int, ...], on: str = "cpu", **fields: Any) -> Model:
    """Return the model of a list of layers."""
    return Model(parse({"format": "loom/1", "input": {"shape": list(shape)}, "layers": list(layers)} | fields), on)


def step(number: int) -> Tensor:
    """Return a step's number as training passes it."""
    return tensor.array(number, "u32", on="cpu")


def test_every_config_has_its_functions() -> None:
    assert {LAYERS[config] and kind for kind, config in CONFIGS.items()} == {config.kind for config in LAYERS}


# random numbers


def test_published_words() -> None:
    """Random123's known answers of philox4x32-10, for counter and key of zeros."""
    drawn = random_words((4,), 0, 0, step(0), 0)  # type: ignore[arg-type]
    assert drawn.tolist() == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


def test_first_weights_are_the_recorded_words() -> None:
    seed = 2**40 + 5
    drawn = random_words((7,), seed, 3, step(0), RandomStream.WEIGHTS).numpy() >> 8
    assert (uniforms((7,), seed, 3) == drawn.astype(np.float32) * np.float32(2**-24)).all()


def test_first_weights_depend_on_the_seed() -> None:
    one, same, other = (build(_DENSE, shape=(3,), seed=s).weights()["layers.0.weight"] for s in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_first_weights_have_the_deviations_told() -> None:
    layers = [
        {"type": "dense", "output_size": 400, "activation": "relu"},
        {"type": "dense", "output_size": 400},
        {"type": "stitch", "output_size": 400},
    ]
    weights = build(*layers, shape=(200,)).weights()
    for name, wanted in (("0", (2 / 200) ** 0.5), ("1", (1 / 400) ** 0.5), ("2", (2 / 400) ** 0.5)):
        w = weights[f"layers.{name}.weight"]
        assert abs(w.std() / wanted - 1) < 0.02  # 80,000 numbers: the deviation of a deviation is 0.0025 of it
        assert abs(w.mean()) < wanted * 0.02
        assert not weights[f"layers.{name}.bias"].any()


# noise


def test_dropout_keeps_its_share_and_scales_it() -> None:
    model = build({"type": "dropout", "rate": 0.25}, shape=(5000,), seed=4)
    x = tensor.array(np.ones((2, 5000), np.float32), on="cpu")
    first, again, later = (model.apply(x, training=True, step=step(n)).numpy() for n in (1, 1, 2))
    assert set(np.unique(first)) == {0, np.float32(1) / np.float32(0.75)}
    assert abs((first == 0).mean() - 0.25) < 0.02  # deviation 0.0043
    assert (first == again).all()
    assert (first != later).any()
    assert (first[0] != first[1]).any()
    assert (model.forward(x) == 1).all()


def test_two_dropouts_differ() -> None:
    branch = {"type": "dropout"}
    model = build({"type": "parallel", "branches": [branch, branch]}, shape=(200,))
    y = model.apply(tensor.array(np.ones((1, 200), np.float32), on="cpu"), training=True, step=step(0)).numpy()
    assert (y[:, :200] != y[:, 200:]).any()


def test_noise_without_a_step_is_an_error() -> None:
    model = build({"type": "dropout"}, shape=(4,))
    text = (
        "[loom.nn, layer 'layers.0'] training draws random numbers: expected the number of the step, got step=None. "
        "Pass step=, an integer tensor of one element."
    )
    with pytest.raises(StateError, match=re.escape(text)):
        model.apply(tensor.zeros((1, 4)), training=True)


def test_gumbel_picks_by_chance() -> None:
    """The largest of x + noise is element i with chance softmax(x)_i (Gumbel 1954)."""
    model = build({"type": "softmax", "variant": "gumbel", "temperature": 0.1}, shape=(3,))
    x = np.log(np.array([0.2, 0.3, 0.5], np.float32))
    y = model.apply(tensor.array(np.tile(x, (4000, 1)), on="cpu"), training=True, step=step(0)).numpy()
    shares = np.bincount(y.argmax(1), minlength=3) / 4000
    assert np.abs(shares - [0.2, 0.3, 0.5]).max() < 0.04  # 5 deviations
    np.testing.assert_allclose(y.sum(1), 1, atol=1e-6)


# state


def test_batch_norm_moves_its_running_means() -> None:
    model = build({"type": "batch_norm", "momentum": 0.25}, shape=(2, 3))
    x = np.random.default_rng(1).normal(size=(4, 2, 3)).astype(np.float32)
    model.apply(tensor.array(x, on="cpu"), training=True)
    moved = {held.name: new.numpy() for held, new in model.state_updates}
    np.testing.assert_allclose(moved["layers.0.running_mean"], 0.25 * x.mean((0, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(moved["layers.0.running_variance"], 0.75 + 0.25 * x.var((0, 2)), rtol=1e-5)
    model.apply(tensor.array(x, on="cpu"))
    assert model.state_updates == []


def test_a_shared_layer_has_one_set_of_weights_and_moves_its_state_twice() -> None:
    norm = {"type": "batch_norm", "name": "norm", "momentum": 0.5}
    model = build(norm, {"$ref": "norm"}, shape=(2,))
    x = np.random.default_rng(1).normal(size=(8, 2)).astype(np.float32)
    y = model.apply(tensor.array(x, on="cpu"), training=True)
    assert list(model.parameters) == ["norm.gamma", "norm.beta"]
    moved = {held.name: new.numpy() for held, new in model.state_updates}
    np.testing.assert_allclose(moved["norm.running_mean"], 0.25 * x.mean(0), rtol=1e-4, atol=1e-6)
    (g,) = tensor.grad((y * y * y).sum(), [model.parameters["norm.gamma"]])
    assert g.numpy().shape == (2,)
    tensor.compile([y], model.state_updates).run()


def test_frozen_layers_and_step_sizes_are_told() -> None:
    held = {"type": "sequential", "frozen": True, "layers": [_DENSE]}
    model = build(held, {"type": "kmeans", "num_clusters": 2, "learning_rate": 0.5}, shape=(3,))
    assert model.frozen == {"layers.0.layers.0.weight", "layers.0.layers.0.bias"}
    assert model.learning_rates == {"layers.1.centers": 0.5}


# masks and ids


def _masked(**fields: Any) -> Model:
    attend = {"type": "multi_head_attention", "num_heads": 2, "padding_mask": "there", "inputs": ["x"]} | fields
    inputs = {"x": {"shape": [4, 4]}, "there": {"shape": [4]}}
    return Model(parse({"format": "loom/1", "inputs": inputs, "nodes": {"attend": attend}}), "cpu")


def test_padding_is_not_seen() -> None:
    model = _masked()
    x = np.random.default_rng(2).normal(size=(2, 4, 4)).astype(np.float32)
    other = x.copy()
    other[:, 2:] = 100
    there = np.array([[1, 1, 0, 0]] * 2, np.float32)
    y, z = (model.forward({"x": v, "there": there})[:, :2] for v in (x, other))
    assert (y.view(np.uint32) == z.view(np.uint32)).all()


def test_a_token_that_sees_nothing_is_the_output_bias() -> None:
    model = _masked(causal=True)
    x = np.random.default_rng(2).normal(size=(1, 4, 4)).astype(np.float32)
    y = model.forward({"x": x, "there": np.array([[0, 1, 1, 1]], np.float32)})
    assert (y[0, 0] == model.weights()["attend.o_bias"]).all()
    assert np.isfinite(y).all()


def test_later_tokens_are_not_seen() -> None:
    layer = {"type": "multi_head_attention", "num_heads": 2, "causal": True, "rope_freq_base": 1e4}
    model = build(layer, shape=(4, 4))
    x = np.random.default_rng(2).normal(size=(2, 4, 4)).astype(np.float32)
    other = x.copy()
    other[:, 2:] = 100
    assert (model.forward(x)[:, :2] == model.forward(other)[:, :2]).all()


@pytest.mark.parametrize("dtype", ["i32", "f32"])
def test_ids_outside_the_table_are_zeros(dtype: str) -> None:
    layer = {"type": "embedding", "vocab_size": 3, "embedding_dim": 2}
    network = parse({"format": "loom/1", "input": {"shape": [4], "dtype": dtype}, "layers": [layer]})
    model = Model(network, "cpu")
    table = model.weights()["layers.0.weight"]
    y = model.forward(np.array([[2, -1, 3, 0]], dtype={"i32": np.int32, "f32": np.float32}[dtype]))
    assert (y[0] == np.stack([table[2], np.zeros(2), np.zeros(2), table[0]])).all()


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_ids_that_are_not_whole_are_zeros_and_train_nothing(dtype: str) -> None:
    layer = {"type": "embedding", "vocab_size": 3, "embedding_dim": 2}
    model = build(layer, shape=(6,), dtype=dtype)
    ids = np.array([[1.0, 0.5, np.nan, np.inf, -0.25, 2.0]])
    table = model.weights()["layers.0.weight"]
    y = model.forward(ids)
    assert (y[0, [0, 5]] == table[[1, 2]]).all()
    assert (y[0, 1:5] == 0).all()
    fed = tensor.input("x", (1, 6), dtype)
    found = tensor.compile([tensor.grad(model.apply(fed).sum(), list(model.parameters.values()))[0]])
    found.run(x=ids)
    assert found.read()[0].tolist() == [[0, 0], [1, 1], [1, 1]]


def test_embeddings_start_standard_normal() -> None:
    """By Kolmogorov and Smirnov: the largest distance of distributions is below 1.95 / sqrt(n) in 999 of 1000 draws."""
    stats = pytest.importorskip("scipy.stats")
    for seed in (1, 2):
        model = build({"type": "embedding", "vocab_size": 100, "embedding_dim": 64}, shape=(2,), seed=seed)
        drawn = model.weights()["layers.0.weight"].reshape(-1)
        assert stats.kstest(drawn, "norm").statistic < 1.95 / 80


def test_the_last_state_is_the_last_of_all() -> None:
    x = np.random.default_rng(2).normal(size=(2, 2, 2)).astype(np.float32)
    every, last = (build({"type": "gru", "hidden_size": 2, "output": o}, shape=(2, 2)) for o in ("sequence", "last"))
    assert (every.forward(x)[:, -1] == last.forward(x)).all()


def test_samples_do_not_see_each_other() -> None:
    model = build(
        {"type": "multi_head_attention", "num_heads": 2}, {"type": "flatten"}, {"type": "softmax"}, shape=(3, 4)
    )
    x = np.random.default_rng(2).normal(size=(3, 3, 4)).astype(np.float32)
    whole = model.forward(x)
    for i in range(3):
        np.testing.assert_array_equal(model.forward(x[i : i + 1])[0], whole[i])


def test_a_convolution_adds_in_the_order_of_implicit_gemm() -> None:
    """``tensor.convolve`` has the same k, channels fastest, in another layout."""
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=(3, 5, 9, 8)).astype(np.float32), rng.normal(size=(4, 5, 3, 3)).astype(np.float32)
    found = convolve_planes(tensor.array(x, on="cpu"), tensor.array(w, on="cpu"), [2, 1], [1, 1]).numpy()
    last = (
        tensor.array(x.transpose(0, 2, 3, 1).copy(), on="cpu"),
        tensor.array(w.transpose(2, 3, 1, 0).copy(), on="cpu"),
    )
    wanted = tensor.convolve(*last, stride=[2, 1], padding=1).numpy()
    assert (found.view(np.uint32) == wanted.transpose(3, 0, 1, 2).view(np.uint32)).all()


# generations, types, devices


def test_relu_of_the_first_generation_is_scaled() -> None:
    old = {"id": "a", "grid_rows": 1, "grid_cols": 1, "layers_per_cell": 1}
    layer = {"type": "dense", "input_size": 2, "output_size": 2, "activation": "relu"}
    model = Model(parse(old | {"layers": [layer]}), "cpu")
    names = list(model.parameters)
    model.load({names[0]: np.eye(2), names[1]: np.zeros(2)})
    assert model.forward([[2.0, -3.0]]).tolist() == [[float(np.float32(2) * np.float32(1.1)), 0.0]]


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_narrow_types_are_near(dtype: str) -> None:
    layers = [{"type": "dense", "output_size": 8}, {"type": "layer_norm"}, {"type": "softmax"}]
    narrow, wide = (build(*layers, shape=(4,), dtype=d) for d in (dtype, "f32"))
    x = np.random.default_rng(2).normal(size=(2, 4)).astype(np.float32)
    y = narrow.apply(tensor.array(x, on="cpu"))
    assert y.dtype.name == dtype
    np.testing.assert_allclose(y.tolist(), wide.forward(x), atol={"f16": 2.0**-8, "bf16": 2.0**-5}[dtype])


_SHORT = [
    {"type": "conv2d", "filters": 2, "kernel_size": 2, "activation": "mish"},
    {"type": "max_pool", "pool_size": 2},
    {"type": "batch_norm"},
    {"type": "flatten"},
    {"type": "dropout", "rate": 0.3},
    {"type": "dense", "output_size": 3},
    {"type": "softmax"},
]
_LONG = [
    *_SHORT[:3],
    {"type": "reshape", "shape": [2, 4]},
    {"type": "multi_head_attention", "num_heads": 2, "causal": True, "rope_freq_base": 10.0},
    {"type": "lstm", "hidden_size": 4},
    {"type": "flatten"},
    {"type": "parallel", "combine_mode": "filter", "branches": [_DENSE, {"type": "stitch", "output_size": 3}],
     "gate": _DENSE, "gate_softmax": {"type": "softmax", "variant": "entmax"}},
    {"type": "kmeans", "num_clusters": 3},
]  # fmt: skip


def _digest(layers: list[dict[str, Any]], on: Any) -> str:
    """Return the digest of a training pass: output, gradients, state, first weights."""
    network = parse({"format": "loom/1", "seed": 9, "input": {"shape": [1, 5, 5]}, "layers": layers})
    model = Model(network, on)
    x = np.random.default_rng(5).normal(size=(2, 1, 5, 5)).astype(np.float32)
    y = model.apply(tensor.array(x, on=on), training=True, step=tensor.array(7, u32, on=on))
    wrt = list(model.parameters.values())
    found = tensor.compile([y, *tensor.grad((y * y).sum(), wrt), *(new for _, new in model.state_updates)])
    found.run()
    arrays = [*found.read(), *model.weights().values()]
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


@pytest.mark.parametrize("layers", [_SHORT, _LONG], ids=["short", "long"])
@pytest.mark.parametrize("on", [kind for kind in kinds() if kind != "cpu"], indirect=True)
def test_bits_are_those_of_the_cpu(on: str, layers: list[dict[str, Any]]) -> None:
    assert _digest(layers, on) == _digest(layers, "cpu")
