"""Operators that no case of ONNX's has, beside onnxruntime; constant indices, names and calls that are refused."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest

import loom.onnx
from loom.core.errors import ArgumentError, FileError

runtime: Any = pytest.importorskip("onnxruntime")
_RNG = np.random.default_rng(2)
_X = _RNG.normal(size=(7, 3)).astype("f4")


def _model(node: Any, feeds: dict[str, np.ndarray[Any, Any]], domain: str = "ai.onnx.ml") -> Any:
    given = [
        onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in feeds.items()
    ]
    kinds = {"label": onnx.TensorProto.INT64}
    made = [onnx.helper.make_tensor_value_info(o, kinds.get(o, onnx.TensorProto.FLOAT), None) for o in node.output]
    imports = [onnx.helper.make_opsetid("", 17), *([onnx.helper.make_opsetid(domain, 3)] if domain else [])]
    return onnx.helper.make_model(onnx.helper.make_graph([node], "g", given, made), opset_imports=imports, ir_version=8)


def _compare(node: Any, feeds: dict[str, np.ndarray[Any, Any]], domain: str = "ai.onnx.ml") -> None:
    model = _model(node, feeds, domain)
    wanted = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)
    found = loom.onnx.load(model).run(feeds)
    for name, expected in zip(found, wanted, strict=True):
        assert found[name].dtype == expected.dtype, name
        assert found[name].shape == expected.shape, name
        np.testing.assert_allclose(found[name], expected, rtol=2e-5, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("shape", [(2, 2), (3, 1), (1, 1)])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_largest_elements_of_regions(shape: tuple[int, int], scale: float) -> None:
    x = _RNG.normal(size=(2, 3, 8, 9)).astype("f4")
    rois = np.array([[0, 0, 0, 7, 6], [1, 1, 2, 5, 5], [0, 3, 3, 3, 3], [1, 2, 0, 8, 7]], "f4")
    node = onnx.helper.make_node("MaxRoiPool", ["x", "r"], ["y"], pooled_shape=list(shape), spatial_scale=scale)
    _compare(node, {"x": x, "r": rois}, "")


_TRANSFORMS = ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT")


@pytest.mark.parametrize(
    ("transform", "classes"), [(t, n) for t in _TRANSFORMS for n in (2, 3) if (t, n) != ("PROBIT", 3)]
)
def test_scores_of_support_vectors(transform: str, classes: int) -> None:
    """Labels are those of onnxruntime; scores those of ONNX's reference.

    Onnxruntime leaves the one score of two classes as it is for SOFTMAX, and gives one that it did not write for
    PROBIT, which of three classes, whose scores are no chances, is no number.
    """
    each, pairs = [2] * classes, classes * (classes - 1) // 2
    settings = {
        "classlabels_ints": list(range(5, 5 + classes)), "vectors_per_class": each, "kernel_type": "RBF",
        "kernel_params": [0.4, 0.0, 3.0], "support_vectors": _RNG.normal(size=2 * classes * 3).tolist(),
        "coefficients": (_RNG.uniform(0.02, 0.1, size=2 * classes * (classes - 1))).tolist(),
        "rho": [0.3] * pairs, "post_transform": transform,
    }  # fmt: skip
    node = onnx.helper.make_node("SVMClassifier", ["x"], ["label", "p"], domain="ai.onnx.ml", **settings)
    model = _model(node, {"x": _X})
    found = loom.onnx.load(model).run({"x": _X})
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.array_equal(found["label"], session.run(["label"], {"x": _X})[0])
    scores = onnx.reference.ReferenceEvaluator(model).run(["p"], {"x": _X})[0]
    assert found["p"].shape == scores.shape
    np.testing.assert_allclose(found["p"], scores, rtol=2e-5, atol=2e-5)


def test_scores_of_a_regression_by_support_vectors() -> None:
    settings = {
        "kernel_type": "POLY", "kernel_params": [0.4, 0.1, 2.0], "support_vectors": _RNG.normal(size=12).tolist(),
        "coefficients": _RNG.uniform(-0.1, 0.1, size=4).tolist(), "rho": [0.3], "n_supports": 4,
    }  # fmt: skip
    _compare(onnx.helper.make_node("SVMRegressor", ["x"], ["y"], domain="ai.onnx.ml", **settings), {"x": _X})


@pytest.mark.parametrize("lengths", [[3, 2], [2, 2], [4, 1]])
def test_features_are_joined_cut_and_filled(lengths: list[int]) -> None:
    feeds = {"x": _X, "z": np.arange(14).reshape(7, 2).astype("f4")}
    node = onnx.helper.make_node("FeatureVectorizer", ["x", "z"], ["y"], domain="ai.onnx.ml", inputdimensions=lengths)
    found = loom.onnx.load(_model(node, feeds)).run(feeds)["y"]
    parts = [np.pad(a, ((0, 0), (0, 4)))[:, :n] for a, n in zip(feeds.values(), lengths, strict=True)]
    assert np.array_equal(found, np.concatenate(parts, 1))
    if lengths == [3, 2]:  # others are a failure there
        _compare(node, feeds)


_HEAD = '<ir_version: 10, opset_import: ["": 24]> g '


@pytest.mark.parametrize(
    "text",
    [
        "(float[3,2] x) => (float[1,2] y) <int64[1] i = {3}> { y = Gather (x, i) }",
        "(float[3,2] x) => (float[1] y) <int64[1,2] i = {5, 0}> { y = GatherND (x, i) }",
        "(float[3,2] x) => (float[1] y) <int64[1,2] i = {-4, 0}> { y = GatherND (x, i) }",
        "(float[3,2] x) => (float[3,2] y) <int64[1,2] i = {0, 2}, float[1] u = {1}> { y = ScatterND (x, i, u) }",
        "(float[3,2] x) => (float[3,2] y) <int64[3] i = {2, 0, 0}, float[3,1] u = {1, 1, 1}>"
        " { y = TensorScatter <axis = 1> (x, u, i) }",
        "(float[3,2] x) => (float[1,1,2,2] y) <int64[1,1,1,1] i = {4}, int64[4] s = {1, 1, 1, 1}>"
        " { h = ReduceMax <keepdims = 1> (x) k = Reshape (h, s) y = MaxUnpool <kernel_shape = [2, 2]> (k, i) }",
    ],
)
def test_constant_indices_that_there_are_not_are_refused(text: str) -> None:
    model = loom.onnx.load(onnx.parser.parse_model(_HEAD + text))
    with pytest.raises(ArgumentError, match="an index that there is not"):
        model.run({"x": np.ones((3, 2), "f4")})


def test_two_outputs_of_one_name_are_refused() -> None:
    with pytest.raises(FileError, match="two outputs are called 'y'"):
        loom.onnx.load(onnx.parser.parse_model(_HEAD + "(float[3] x) => (float[3] y, float[3] y) { y = Neg (x) }"))


def _calling(depth: int, last: str) -> Any:
    bodies = [
        f'<domain: "a", opset_import: ["": 17, "a": 1]> f{k} (x) => (y) {{ u = a.f{k + 1} (x) y = a.f{k + 1} (u) }}'
        for k in range(depth)
    ]
    bodies.append(f'<domain: "a", opset_import: ["": 17, "a": 1]> f{depth} (x) => (y) {{ y = {last} (x) }}')
    head = '<ir_version: 8, opset_import: ["": 17, "a": 1]> g (float[3] x) => (float[3] y) { y = a.f0 (x) }'
    return onnx.parser.parse_model("\n".join([head, *bodies]))


def test_functions_that_call_each_other_too_often_are_refused_at_once() -> None:
    start = time.perf_counter()
    with pytest.raises(ArgumentError, match="too many nodes") as told:
        loom.onnx.load(_calling(39, "Neg"))
    assert told.value.got == 2**39
    with pytest.raises(ArgumentError, match="too deeply"):
        loom.onnx.load(_calling(3, "a.f1"))
    assert time.perf_counter() - start < 5
    x = np.ones(3, "f4")
    assert np.array_equal(loom.onnx.load(_calling(3, "Neg")).run({"x": x})["y"], x)


def test_inputs_and_outputs_without_shapes_run_and_train() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[3, 2] x) => (float[3, 2] y) <float[2, 2] w = {1, 2, 3, 4}>'
        " { y = MatMul (x, w) }"
    )
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.ClearField("shape")
    read = loom.onnx.load(model)
    assert read.inputs[0].shape is None
    x = np.ones((5, 2), "f4")
    assert np.array_equal(read(x), x @ np.array([[1, 2], [3, 4]], "f4"))
    before = read.weights()["w"]
    read.train(x, x, epochs=1, batch_size=2)
    assert not np.array_equal(read.weights()["w"], before)
