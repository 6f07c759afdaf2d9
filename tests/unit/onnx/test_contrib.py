"""Operators of ``com.microsoft`` and indices outside, beside onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import loom.onnx
from loom.core.errors import IndexOutside
from loom.export import to_onnx

ort: Any = pytest.importorskip("onnxruntime", reason="the oracle of these tests")

TYPES = {"float32": "FLOAT", "uint8": "UINT8", "int8": "INT8", "int32": "INT32", "int64": "INT64"}
RANDOM = np.random.default_rng(1)


def _floats(*shape: int) -> Any:
    return RANDOM.normal(size=shape).astype(np.float32)


def _bytes(*shape: int, dtype: str = "uint8") -> Any:
    info = np.iinfo(dtype)
    return RANDOM.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def _type(name: str) -> Any:
    return getattr(onnx.TensorProto, TYPES[name])


def _model(op: str, given: dict[str, Any], made: str, domain: str = "com.microsoft", **attributes: Any) -> Any:
    node = onnx.helper.make_node(op, [n if n[0] != "_" else "" for n in given], ["y"], domain=domain, **attributes)
    inputs = [
        onnx.helper.make_tensor_value_info(n, _type(str(a.dtype)), a.shape) for n, a in given.items() if a is not None
    ]
    graph = onnx.helper.make_graph([node], "g", inputs, [onnx.helper.make_tensor_value_info("y", _type(made), None)])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)


S, Z, I8 = np.float32(0.02), np.uint8(120), np.int8(-3)
X, Y, B8 = _bytes(3, 4, 5), _bytes(3, 4, 5), _bytes(4, 6, dtype="int8")
IMAGE = {"x": _floats(2, 3, 6, 6), "w": _floats(4, 3, 3, 3), "b": _floats(4)}
TWO = {"a": X, "sa": S, "za": Z, "b": Y, "sb": np.float32(0.01), "zb": np.uint8(99)}
ONE = {"a": X, "sa": S, "za": Z}
SIXTHS = np.full(6, 0.01, np.float32)
CASES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "conv relu": ("FusedConv", {**IMAGE, "z": _floats(2, 4, 4, 4)}, "float32", {"activation": "Relu"}),
    "conv tanh": ("FusedConv", IMAGE, "float32", {"activation": "Tanh"}),
    "conv leaky": ("FusedConv", IMAGE, "float32", {"activation": "LeakyRelu", "activation_params": [0.2]}),
    "conv clip": ("FusedConv", IMAGE, "float32", {"activation": "Clip", "activation_params": [-0.5, 0.7]}),
    "conv hard": ("FusedConv", IMAGE, "float32", {"activation": "HardSigmoid", "activation_params": [0.3, 0.4]}),
    "gemm relu": ("FusedGemm", {"a": _floats(3, 4), "b": _floats(4, 4), "c": _floats(4)}, "float32",
                  {"activation": "Relu", "alpha": 0.5, "beta": 2.0, "transB": 1}),
    "gemm leaky": ("FusedGemm", {"a": _floats(3, 4), "b": _floats(4, 4), "c": _floats(4)}, "float32",
                   {"activation": "LeakyRelu", "activation_alpha": 0.3}),
    "matmul": ("FusedMatMul", {"a": _floats(2, 4, 3), "b": _floats(2, 5, 4)}, "float32",
               {"transA": 1, "transB": 1, "alpha": 0.5}),
    "add": ("QLinearAdd", {**TWO, "sy": np.float32(0.03), "zy": np.uint8(128)}, "uint8", {}),
    "mul": ("QLinearMul", {**TWO, "sy": np.float32(0.03), "zy": np.uint8(128)}, "uint8", {}),
    "sigmoid": ("QLinearSigmoid", {**ONE, "sy": np.float32(1 / 256), "zy": np.uint8(0)}, "uint8", {}),
    "leaky": ("QLinearLeakyRelu", {**ONE, "sy": S, "zy": Z}, "uint8", {"alpha": 0.1}),
    "softmax": ("QLinearSoftmax", {**ONE, "sy": np.float32(1 / 256), "zy": np.uint8(0)}, "uint8",
                {"axis": -1, "opset": 13}),
    "older softmax": ("QLinearSoftmax", {**ONE, "sy": np.float32(1 / 256), "zy": np.uint8(0)}, "uint8",
                      {"axis": 1, "opset": 11}),
    "pool": ("QLinearGlobalAveragePool", {"a": _bytes(2, 3, 4, 4), "sa": S, "za": Z, "sy": S, "zy": Z}, "uint8", {}),
    "pool last": ("QLinearGlobalAveragePool", {"a": _bytes(2, 4, 4, 3), "sa": S, "za": Z, "sy": S, "zy": Z}, "uint8",
                  {"channels_last": 1}),
    "gemm": ("QGemm", {"a": _bytes(3, 4), "sa": S, "za": Z, "b": B8, "sb": np.float32(0.01), "zb": I8,
                       "c": np.arange(6, dtype=np.int32) * 50, "sy": np.float32(0.1),
                       "zy": np.uint8(128)}, "uint8", {}),
    "gemm of channels": ("QGemm", {"a": _bytes(3, 4), "sa": S, "za": Z, "b": B8.T.copy(), "sb": SIXTHS,
                                   "zb": np.zeros(6, np.int8)}, "float32", {"transB": 1, "alpha": 1.0}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operators_of_onnxruntime(name: str) -> None:
    op, given, made, attributes = CASES[name]
    given = {n: np.asarray(a) for n, a in given.items()}
    proto = _model(op, given, made, **attributes)
    (wanted,) = ort.InferenceSession(proto.SerializeToString()).run(None, given)
    found = loom.onnx.load(proto).run(given)["y"]
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    if made == "float32":
        assert np.allclose(found, wanted, rtol=2e-5, atol=1e-5)
    else:  # a half may fall to either side of what onnxruntime's tables and sums of floats give
        gap = np.abs(found.astype(int) - wanted.astype(int))
        assert gap.max() <= 1
        assert (gap > 0).mean() < 0.05


@pytest.mark.parametrize("op", ["Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND"])
@pytest.mark.parametrize("index", [-3, 2, 3, -4])
def test_an_index_that_is_fed_is_refused_outside(op: str, index: int) -> None:
    ids = np.full({"Gather": (1,), "GatherND": (1, 1), "ScatterND": (1, 1)}.get(op, (1, 4)), index, np.int64)
    given = {"x": _floats(3, 4), "i": ids} | ({"u": _floats(1, 4)} if op.startswith("Scatter") else {})
    proto = _model(op, given, "float32", "")
    if -3 <= index < 3:
        (wanted,) = ort.InferenceSession(proto.SerializeToString()).run(None, given)
        assert np.array_equal(loom.onnx.load(proto).run(given)["y"], wanted)
        return
    with pytest.raises(IndexOutside, match=rf"an index that there is not: expected -3 to 2, got {index}\. Correct"):
        loom.onnx.load(proto).run(given)


def test_an_index_that_is_computed_is_refused_outside() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[3, 2] x, float[n, 5] z) => (float[n, 2] y)
              { i = ArgMax <axis = 1, keepdims = 0> (z)
                y = Gather (x, i) }"""
    model = loom.onnx.load(onnx.parser.parse_model(text))
    x, z = _floats(3, 2), np.eye(5, dtype=np.float32)
    assert np.array_equal(model.run({"x": x, "z": z[:3]})["y"], x)
    with pytest.raises(IndexOutside, match="expected -3 to 2, got 4"):
        model.run({"x": x, "z": z})
    assert np.array_equal(model.run({"x": x, "z": z[2::-1]})["y"], x[::-1])


def test_a_model_of_onnx_is_written_with_its_own_inputs() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[n, 2] x) => (float[n, 2] y)
              <float[2, 2] w = {0.1, -0.2, 0.3, 0.4}> { y = MatMul (x, w) }"""
    model = loom.onnx.load(onnx.parser.parse_model(text))
    proto = to_onnx(model)
    assert [d.dim_param or d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim] == ["n", 2]
    assert [o.name for o in proto.graph.output] == ["y"]
    x = _floats(5, 2)
    assert np.array_equal(loom.onnx.load(proto).run({"x": x})["y"], model.run({"x": x})["y"])
