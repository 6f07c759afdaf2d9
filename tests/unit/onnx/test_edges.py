"""Operators at their ends beside onnxruntime, and what no run can take.

A model is drawn of one operator, its inputs and attributes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest
from onnx import helper

import loom.onnx
from loom.core.errors import ArgumentError, DTypeError, FileError
from loom.tensor import array, celu

_RNG = np.random.default_rng(0)
_IMAGE = _RNG.normal(size=(1, 2, 4, 5)).astype("f4")
_GRID = _RNG.uniform(-1.5, 1.5, size=(1, 3, 4, 2)).astype("f4")
_SIGNED = np.array([1, -1, -3, 0, 0.5, -0.5], "f4")
_CASES: list[tuple[str, list[np.ndarray[Any, Any]], dict[str, Any], int]] = [
    ("Celu", [_SIGNED], {"alpha": -1.0}, 1),
    ("Celu", [_SIGNED], {"alpha": 3.0}, 1),
    ("GridSample", [_IMAGE, _GRID], {"mode": "cubic", "padding_mode": "border"}, 1),
    ("GridSample", [_IMAGE, _GRID], {"mode": "cubic", "padding_mode": "border", "align_corners": 1}, 1),
    ("MaxPool", [np.full((1, 2, 3, 3), -np.inf, "f4")], {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1]}, 2),
    ("MaxPool", [np.full((1, 1, 3, 4), -128, "i1")], {"kernel_shape": [3, 2], "pads": [2, 0, 1, 1]}, 2),
    ("MaxPool", [_IMAGE], {"kernel_shape": [3, 2], "pads": [1, 1, 0, 1], "storage_order": 1}, 2),
    # a last window that would begin just behind the image is none, one that begins in its last element is
    ("MaxPool", [_IMAGE], {"kernel_shape": [2, 2], "strides": [5, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1}, 1),
    ("AveragePool", [_IMAGE], {"kernel_shape": [3, 2], "strides": [4, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}, 1),
]  # fmt: skip


def model_of(
    name: str, arrays: list[np.ndarray[Any, Any]], attributes: dict[str, Any], count: int = 1, opset: int = 20
) -> Any:
    """Return a model of one operator whose inputs are fed as a0, a1, ..."""
    given = [
        helper.make_tensor_value_info(f"a{i}", helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for i, a in enumerate(arrays)
    ]
    outputs = [f"y{i}" for i in range(count)]
    node = helper.make_node(name, [i.name for i in given], outputs, **attributes)
    graph = helper.make_graph([node], "g", given, [onnx.ValueInfoProto(name=o) for o in outputs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model)


@pytest.mark.parametrize(("name", "arrays", "attributes", "count"), _CASES)
def test_operators_at_their_ends_are_as_in_onnxruntime(
    name: str, arrays: list[np.ndarray[Any, Any]], attributes: dict[str, Any], count: int
) -> None:
    model = model_of(name, arrays, attributes, count)
    fed = {f"a{i}": a for i, a in enumerate(arrays)}
    wanted = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, fed)
    found = loom.onnx.load(model).run(fed)
    for output, each in zip(found.values(), wanted, strict=True):
        assert output.dtype == each.dtype
        np.testing.assert_allclose(output, each, rtol=1e-5, atol=1e-5 if output.dtype.kind == "f" else 0)


_OUTSIDE: list[tuple[str, dict[str, Any]]] = [
    ("MaxPool", {"kernel_shape": [1], "pads": [1, 1]}),
    ("MaxPool", {"kernel_shape": [1], "pads": [0, 1]}),
    ("MaxPool", {"kernel_shape": [2], "pads": [2, 2], "strides": [2]}),
    ("AveragePool", {"kernel_shape": [1], "pads": [1, 1]}),
    ("AveragePool", {"kernel_shape": [1], "pads": [1, 0], "strides": [3], "ceil_mode": 1}),
]


@pytest.mark.parametrize(("name", "attributes"), _OUTSIDE)
def test_windows_in_the_padding_alone_are_refused(name: str, attributes: dict[str, Any]) -> None:
    """ONNX's reference gives NaN there, or fails, and onnxruntime refuses the model."""
    x = np.arange(4, dtype="f4").reshape(1, 1, 4)
    model = model_of(name, [x], attributes)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.Fail):
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with pytest.raises(ArgumentError, match=rf"onnx, {name} .*a window lies in the padding alone.*got window \("):
        loom.onnx.load(model).run({"a0": x})


@pytest.mark.parametrize(("name", "attributes"), [
    ("AveragePool", {"kernel_shape": [1], "pads": [1, 1], "count_include_pad": 1}),
    ("LpPool", {"kernel_shape": [2], "pads": [2, 2]}),
    ("MaxPool", {"kernel_shape": [2], "pads": [2, 2], "dilations": [2]}),
    ("AveragePool", {"kernel_shape": [2], "pads": [2, 2], "dilations": [2]}),
])  # fmt: skip
def test_wide_padding_is_pooled_as_in_onnxs_reference(name: str, attributes: dict[str, Any]) -> None:
    x = np.arange(1, 5, dtype="f4").reshape(1, 1, 4)
    model = model_of(name, [x], attributes)
    (wanted,) = onnx.reference.ReferenceEvaluator(model).run(None, {"a0": x})
    np.testing.assert_allclose(loom.onnx.load(model).run({"a0": x})["y0"], wanted, rtol=1e-6)


def test_celu_of_a_negative_alpha_is_its_formula() -> None:
    x = np.array([-2, -1, 1], "f4")
    np.testing.assert_allclose(celu(array(x), -2.0).numpy(), np.where(x > 0, x, -2 * np.expm1(x / -2.0)), rtol=1e-6)


@pytest.mark.parametrize("name", ["CumSum", "CumProd"])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("exclusive", [0, 1])
def test_running_sums_and_products_by_their_definition(name: str, reverse: int, exclusive: int) -> None:
    """Also of what comes before alone: it begins with what changes nothing (onnxruntime has no products)."""
    x = _RNG.normal(size=(3, 5)).astype("f4")
    model = model_of(name, [x, np.array(1)], {"reverse": reverse, "exclusive": exclusive}, opset=26)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1), "a1"))
    del model.graph.input[1]
    along = x[:, ::-1] if reverse else x
    run, nothing = (np.cumsum, 0) if name == "CumSum" else (np.cumprod, 1)
    wanted = run(along, 1)
    if exclusive:
        wanted = np.pad(wanted[:, :-1], [(0, 0), (1, 0)], constant_values=nothing)
    found = loom.onnx.load(model).run({"a0": x})["y0"]
    np.testing.assert_allclose(found, wanted[:, ::-1] if reverse else wanted, rtol=1e-5, atol=1e-5)


def test_an_opset_that_onnx_does_not_know_is_refused() -> None:
    model = model_of("Neg", [_SIGNED], {})
    model.opset_import[0].version = onnx.defs.onnx_opset_version() + 1
    with pytest.raises(ArgumentError, match="does not know"):
        loom.onnx.load(model)


def test_scales_that_are_no_numbers_and_inputs_without_names_are_refused() -> None:
    scales = np.array([1, 1, 1, np.nan], "f4")
    model = model_of("Resize", [_IMAGE, np.zeros(8, "f4"), scales], {})
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y0", onnx.TensorProto.FLOAT, ["a", "b", "c", "d"]))
    with pytest.raises(ArgumentError, match="a scale that is no number"):
        loom.onnx.load(model).run({"a0": _IMAGE, "a1": np.zeros(8, "f4"), "a2": scales})
    with pytest.raises(ArgumentError, match="inputs without names"):
        loom.onnx.load(model_of("Neg", [_SIGNED], {})).run([_SIGNED])  # type: ignore[arg-type]


def test_external_data_whose_name_is_no_files_is_refused(tmp_path: Any) -> None:
    w = onnx.TensorProto(name="w", data_type=1, dims=[2], data_location=onnx.TensorProto.EXTERNAL)
    w.external_data.add(key="location", value="w\0.bin")
    model = model_of("Add", [np.ones(2, "f4"), np.ones(2, "f4")], {})
    del model.graph.input[1]
    model.graph.node[0].input[1] = "w"
    model.graph.initializer.append(w)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(FileError, match="no name of a file"):
        loom.onnx.load(path)


@pytest.mark.parametrize(
    ("text", "feeds", "message"),
    [
        ("(float[n] x, double[n] z) => (float[n] y) { y = Add (x, z) }", {"x": "f4", "z": "f8"}, "input 1 has a dtype"),
        ("(int32[n] x) => (int32[n] y) { y = Sqrt (x) }", {"x": "i4"}, "input 0 has a dtype"),
        ("(float[n] x) => (int64[n] y) { y = Neg (x) }", {"x": "f4"}, "says another dtype than its operators give"),
    ],
    ids=["mixed", "unknown", "declared"],
)
def test_dtypes_that_the_standard_does_not_have_are_refused(text: str, feeds: dict[str, str], message: str) -> None:
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]> g ' + text)
    with pytest.raises(DTypeError, match=message):
        loom.onnx.load(model).run({name: np.ones(3, kind) for name, kind in feeds.items()})
    cast = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[n] x, double[n] z) => (float[n] y)'
        " { w = Cast <to = 1> (z) y = Add (x, w) }"
    )
    (found,) = loom.onnx.load(cast).run({"x": np.ones(3, "f4"), "z": np.ones(3)}).values()
    assert found.tolist() == [2, 2, 2]
