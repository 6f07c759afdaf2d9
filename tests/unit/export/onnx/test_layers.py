"""Every kind of layer as ONNX: Loom reads it back to the bits, onnxruntime's answers are near."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.export import to_onnx
from unit.export.onnx.there_and_back import TOLERANCES, fed_to, forward, near, same_bits
from unit.nn.layers.cases import CASES, Case

_ALWAYS = frozenset((
    "dense_lora", "conv2d", "max_pool", "average_pool", "layer_norm", "batch_norm", "embedding", "lstm",
    "swiglu", "parallel_concat", "kmeans", "softmax_entmax0_4",
))  # fmt: skip
_NOT_BY_ONNXRUNTIME = {"f64": ("conv", "average_pool", "gelu")}
"""It has no kernels of f64 for these, or computes them in f32."""


def _check(case: Case, dtype: str, samples: int) -> None:
    net = loom.Network.from_json(case.document(dtype), on="cpu")
    model = to_onnx(net)
    fed = fed_to(net, samples, ids=case.ids or 5) | {
        name: np.resize(a, (samples, *a.shape[1:])).astype(net.spec.inputs[0].dtype.numpy)
        for name, a in case.others.items()
    }
    wanted = forward(net, fed)
    same_bits(wanted, model, fed)
    if not any(part in case.name for part in _NOT_BY_ONNXRUNTIME.get(dtype, ())):
        near(wanted, model, fed, TOLERANCES[dtype])


@pytest.mark.parametrize("case", [c for c in CASES if c.name in _ALWAYS], ids=lambda c: c.name)
def test_layers(case: Case) -> None:
    _check(case, "f32", 2)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["f32", "f64", "f16"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_layer_of_every_dtype(case: Case, dtype: str) -> None:
    _check(case, dtype, 1)
    _check(case, dtype, 4)


def test_the_cases_are_of_every_layer() -> None:
    assert {c.name for c in CASES} >= _ALWAYS


def _document(**more: Any) -> dict[str, Any]:
    layers = [
        {"type": "conv2d", "filters": 4, "kernel_size": 3, "padding": 1, "activation": "relu"},
        {"type": "max_pool", "pool_size": 2}, {"type": "flatten"}, {"type": "dense", "output_size": 5},
    ]  # fmt: skip
    return {"format": "loom/1", "seed": 4, "input": {"shape": [1, 6, 6]}, "layers": layers, **more}


def test_a_network_comes_back_on_every_device(on: str) -> None:
    net = loom.Network.from_json(_document(), on=on)
    fed = fed_to(net, 3)
    same_bits(forward(net, fed), to_onnx(net), fed, on)


def test_convolutions_and_pools_are_those_of_onnx() -> None:
    model = to_onnx(loom.Network.from_json(_document(), on="cpu"))
    kinds = [n.op_type for n in model.graph.node]
    assert kinds.count("Conv") == kinds.count("MaxPool") == 1
    assert not {"Gather", "Slice", "Max"} & set(kinds)
    named = {t.name for t in model.graph.initializer}
    assert {"layers.0.weight", "layers.0.bias", "layers.3.weight", "layers.3.bias"} <= named


@pytest.mark.parametrize("samples", [1, 2, 64])
def test_any_number_of_samples(samples: int) -> None:
    """Also where a schedule of another size is recorded than the one that was written."""
    net = loom.Network.from_json(_document(), on="cpu")
    model = to_onnx(net)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    fed = fed_to(net, samples)
    wanted = forward(net, fed)
    same_bits(wanted, model, fed)
    near(wanted, model, fed, TOLERANCES["f32"])


@pytest.mark.parametrize("precision", ["x12", *(pytest.param(p, marks=pytest.mark.slow) for p in ("q8", "q12", "q24"))])
def test_a_precision_is_kept(precision: str) -> None:
    net = loom.Network.from_json(_document(precision=precision), on="cpu")
    fed = fed_to(net, 2)
    model = to_onnx(net)
    assert [f.name for f in model.functions] == ["matmul"]
    wanted = forward(net, fed)
    same_bits(wanted, model, fed)
    near(wanted, model, fed, 0.05)
