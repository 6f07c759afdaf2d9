"""Models that are malformed or hostile: each is refused with a ``LoomError`` that names what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import loom.onnx
from loom.core.errors import ArgumentError, DTypeError, FileError, LoomError, ShapeError


def _model(
    nodes: list[Any],
    *,
    inputs: Any = None,
    initializers: Any = (),
    opset: int = 17,
    domain: str = "",
    kind: int | None = None,
) -> Any:
    given = inputs or [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2])]
    out = onnx.helper.make_tensor_value_info("y", kind or onnx.TensorProto.FLOAT, ["a", "b"])
    graph = onnx.helper.make_graph(nodes, "g", given, [out], list(initializers))
    imports = [onnx.helper.make_opsetid("", opset)] + ([onnx.helper.make_opsetid(domain, 3)] if domain else [])
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=8)


def _external(location: str, length: int = 8) -> Any:
    w = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[2], data_location=onnx.TensorProto.EXTERNAL)
    w.external_data.add(key="location", value=location)
    w.external_data.add(key="length", value=str(length))
    return _model([onnx.helper.make_node("Add", ["x", "w"], ["y"])], initializers=[w])


@pytest.mark.parametrize("cut", [0, 1, 10, 40, 60])
def test_a_file_that_is_cut_off_is_refused(cut: int) -> None:
    data = _model([onnx.helper.make_node("Relu", ["x"], ["y"])]).SerializeToString()
    with pytest.raises(FileError):
        loom.onnx.load(data[:cut])


def test_cycles_and_names_that_no_node_makes_are_refused() -> None:
    cycle = [onnx.helper.make_node("Add", ["x", "b"], ["a"]), onnx.helper.make_node("Relu", ["a"], ["b"]),
             onnx.helper.make_node("Relu", ["b"], ["y"])]  # fmt: skip
    for nodes in (cycle, [onnx.helper.make_node("Add", ["x", "nobody"], ["y"])]):
        with pytest.raises(FileError):
            loom.onnx.load(_model(nodes))


@pytest.mark.parametrize("word", [b"inner", b"weight", b"middle", b"outer", b"length", b"LeakyRelu", b"alpha"])
def test_names_that_are_no_utf8_are_refused(word: bytes) -> None:
    given = [onnx.helper.make_tensor_value_info("inner", onnx.TensorProto.FLOAT, ["length"])]
    nodes = [onnx.helper.make_node("Add", ["inner", "weight"], ["middle"]),
             onnx.helper.make_node("LeakyRelu", ["middle"], ["outer"], alpha=0.5)]  # fmt: skip
    out = onnx.helper.make_tensor_value_info("outer", onnx.TensorProto.FLOAT, ["length"])
    weight = onnx.helper.make_tensor("weight", onnx.TensorProto.FLOAT, [1], [2.0])
    graph = onnx.helper.make_graph(nodes, "g", given, [out], [weight])
    data = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    loom.onnx.load(data)
    with pytest.raises(FileError, match="a name is no UTF-8"):
        loom.onnx.load(data.replace(word, b"\xff" + word[1:]))


def test_unknown_operators_are_named_with_domain_and_opset() -> None:
    nodes = [
        onnx.helper.make_node("Conjure", ["x"], ["h"], domain="com.elsewhere"),
        onnx.helper.make_node("Relu", ["h"], ["y"]),
    ]
    with pytest.raises(ArgumentError, match=r"com\.elsewhere:Conjure \(opset 3\)"):
        loom.onnx.load(_model(nodes, domain="com.elsewhere"))


def test_external_data_is_read_from_the_folder_of_the_model_alone(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    weights = np.array([1.0, 2.0], "<f4").tobytes()
    (folder / "w.bin").write_bytes(weights)
    (tmp_path / "secret.bin").write_bytes(weights)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    path = folder / "m.onnx"
    path.write_bytes(_external("w.bin").SerializeToString())
    assert loom.onnx.load(path).run({"x": np.zeros((1, 2), "f4")})["y"].tolist() == [[1.0, 2.0]]
    for location in ("../secret.bin", str(tmp_path / "secret.bin"), "link.bin", "", ".", "none.bin"):
        path.write_bytes(_external(location).SerializeToString())
        with pytest.raises(FileError):
            loom.onnx.load(path)
    path.write_bytes(_external("w.bin", 1 << 40).SerializeToString())
    with pytest.raises(FileError):
        loom.onnx.load(path)
    with pytest.raises(FileError):
        loom.onnx.load(_external("w.bin"))


def test_impossible_shapes_are_refused_before_anything_is_allocated() -> None:
    huge = onnx.helper.make_tensor("s", onnx.TensorProto.INT64, [3], [1 << 40, 1 << 20, 7])
    for operator in ("Expand", "Reshape", "Tile"):
        with pytest.raises(LoomError):
            loom.onnx.load(_model([onnx.helper.make_node(operator, ["x", "s"], ["y"])], initializers=[huge])).run(
                {"x": np.zeros((1, 2), "f4")}
            )
    w = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[1 << 40, 1 << 20])
    with pytest.raises(LoomError):
        loom.onnx.load(_model([onnx.helper.make_node("Add", ["x", "w"], ["y"])], initializers=[w]))


def test_attributes_of_another_type_and_unknown_ones_are_refused() -> None:
    for attributes in ({"axis": "last"}, {"axis": 1.5}, {"spell": 1}, {"axis": 7}):
        with pytest.raises(LoomError):
            loom.onnx.load(_model([onnx.helper.make_node("Softmax", ["x"], ["y"], **attributes)])).run(
                {"x": np.zeros((1, 2), "f4")}
            )


def test_inputs_of_another_name_dtype_or_shape_are_refused() -> None:
    model = loom.onnx.load(_model([onnx.helper.make_node("Relu", ["x"], ["y"])]))
    for inputs, kind in (
        ({}, ArgumentError), ({"z": np.zeros((1, 2), "f4")}, ArgumentError), ({"x": np.zeros((1, 2))}, DTypeError),
        ({"x": np.zeros((1, 3), "f4")}, ShapeError), ({"x": np.zeros(2, "f4")}, ShapeError),
    ):  # fmt: skip
        with pytest.raises(kind):
            model.run(inputs)
    assert model.run({"x": np.array([[-1, 2]], "f4")})["y"].tolist() == [[0.0, 2.0]]
    assert model.run({"x": np.array([[-1, 2], [3, -4]], "f4")})["y"].tolist() == [[0.0, 2.0], [3.0, 0.0]]


def test_dtypes_that_loom_has_not_are_named() -> None:
    strings = [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.STRING, [2])]
    with pytest.raises(DTypeError, match="STRING"):
        loom.onnx.load(
            _model([onnx.helper.make_node("Identity", ["x"], ["y"])], inputs=strings, kind=onnx.TensorProto.STRING)
        )


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "none.onnx", 7, None, b"hello", onnx.ModelProto()):
        with pytest.raises(LoomError):
            loom.onnx.load(source)


def test_raw_data_of_another_length_and_cycles_of_trees_are_refused() -> None:
    for raw in (b"", b"\0" * 7, b"\0" * 12):
        w = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[2], raw_data=raw)
        with pytest.raises(FileError):
            loom.onnx.load(_model([onnx.helper.make_node("Add", ["x", "w"], ["y"])], initializers=[w]))
    tree = {"nodes_treeids": [0, 0], "nodes_nodeids": [0, 1], "nodes_modes": ["BRANCH_LEQ", "LEAF"],
            "nodes_values": [0.0, 0.0], "nodes_featureids": [0, 0], "target_treeids": [0], "target_nodeids": [1],
            "target_ids": [0], "target_weights": [1.0], "n_targets": 1}  # fmt: skip
    for yes, no, features in (([0, 0], [1, 0], [0, 0]), ([1, 0], [7, 0], [0, 0]), ([1, 0], [1, 0], [0, 0])):
        facts = tree | {"nodes_truenodeids": yes, "nodes_falsenodeids": no, "nodes_featureids": features}
        node = onnx.helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **facts)
        with pytest.raises(LoomError):
            loom.onnx.load(_model([node], domain="ai.onnx.ml")).run({"x": np.zeros((1, 2), "f4")})


@pytest.mark.slow
def test_loops_without_end_are_refused() -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 17]> g (float[n, 2] x) => (float[n, 2] y)
    { yes = Constant <value = bool {1}> ()  y = Loop ( , yes, x) <body = b (int64 i, bool go, float[n, 2] h)
      => (bool on, float[n, 2] next) { on = Identity (go)  next = Relu (h) }> }
    """
    model = loom.onnx.load(onnx.parser.parse_model(text))
    with pytest.raises(LoomError, match=r"rounds|nodes"):
        model.run({"x": np.zeros((1, 2), "f4")})
