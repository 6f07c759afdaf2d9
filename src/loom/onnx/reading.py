"""Reading a model: from a file, bytes or a proto, checked before anything is made of it.

Layer: onnx. Invariant: nothing outside the model's folder is read, and what is wrong is a ``LoomError`` that names it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from loom.core.errors import ArgumentError, FileError
from loom.core.optional import load, require
from loom.onnx.functions import check_calls
from loom.onnx.operatorschemas import newest_opset
from loom.onnx.protos import domain_of, functions_of, graphs_of, nodes_of, opsets_of
from loom.onnx.recording import is_done
from loom.onnx.values import check_size, numpy_of_element, onnx

__all__ = ["ReadModel", "read_model"]

_MOST_CHECKED = 1 << 30
"""Bytes of a model that onnx.checker is given."""


class ReadModel:
    """A model that was checked: its graph, opsets, functions, and the arrays of its initializers."""

    def __init__(self, proto: Any, folder: Path | None, name: str) -> None:
        self.proto, self.folder, self.name = proto, folder, name
        self.graph = proto.graph
        self.opsets, self.functions = opsets_of(proto), functions_of(proto)
        self._arrays: dict[int, dict[str, np.ndarray[Any, Any]]] = {}

    def initializers(self, graph: Any) -> Mapping[str, np.ndarray[Any, Any]]:
        """Return the arrays of a graph's initializers by name, each read once."""
        found = self._arrays.get(id(graph))
        if found is None:
            found = {t.name: self.array(t) for t in graph.initializer}
            found.update({s.values.name: self.dense(s) for s in graph.sparse_initializer})
            self._arrays[id(graph)] = found
        return found

    def dense(self, sparse: Any) -> np.ndarray[Any, Any]:
        """Return the array of a sparse tensor."""
        values, at = self.array(sparse.values), self.array(sparse.indices)
        shape = check_size(tuple(sparse.dims), f"onnx, {sparse.values.name!r}")
        dense = np.zeros(int(np.prod(shape)), values.dtype)
        flat = at if at.ndim == 1 else np.ravel_multi_index(tuple(at.T), shape)
        if at.size and (flat.min() < 0 or flat.max() >= dense.size):
            raise FileError("onnx.load", f"{sparse.values.name!r} has an index outside", got=int(flat.max()),
                            expected=f"below {dense.size}", remedy="Write the model again")  # fmt: skip
        dense[flat] = values
        return dense.reshape(shape)

    def array(self, proto: Any) -> np.ndarray[Any, Any]:
        """Return the elements of a ``TensorProto``; FileError for what does not fit or lies elsewhere."""
        return read_tensor(proto, self.folder)


def read_tensor(proto: Any, folder: Path | None) -> np.ndarray[Any, Any]:
    """Return the elements of a ``TensorProto``; FileError for what does not fit, or lies outside ``folder``."""
    where = f"onnx, tensor {proto.name!r}"
    dtype = numpy_of_element(proto.data_type, where)
    shape = check_size(tuple(proto.dims), where)
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        return _external(proto, folder, dtype, shape, where)
    try:
        found = onnx.numpy_helper.to_array(proto)
    except Exception as error:
        raise FileError("onnx.load", f"tensor {proto.name!r} cannot be read ({error})", expected=f"{dtype} of {shape}",
                        remedy="The file is damaged: write it again") from error  # fmt: skip
    return np.asarray(found).astype(dtype, copy=False).reshape(shape)


def _external(proto: Any, folder: Path | None, dtype: Any, shape: tuple[int, ...], where: str) -> np.ndarray[Any, Any]:
    facts = {entry.key: entry.value for entry in proto.external_data}
    location = facts.get("location", "")
    if folder is None:
        raise FileError(where, "external data of a model without a folder", expected="a path", got=location,
                        remedy="Load the model by its path")  # fmt: skip
    if "\0" in location:
        raise FileError(where, "external data has no name of a file", expected="a file's name", got=repr(location),
                        remedy="Write the model again")  # fmt: skip
    inside = Path(os.path.realpath(folder))
    path = Path(os.path.realpath(inside / location))
    if not location or os.path.isabs(location) or not path.is_relative_to(inside) or path == inside:
        raise FileError(where, "external data lies outside the model's folder", expected=f"a file in {inside}",
                        got=location, remedy="Put it beside the model; nothing else is read")  # fmt: skip
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    try:
        start, length = int(facts.get("offset", "0") or 0), int(facts.get("length", nbytes) or nbytes)
        size = path.stat().st_size
    except (ValueError, OSError) as error:
        raise FileError(where, f"external data cannot be read ({error})", got=location,
                        remedy="Put the file beside the model") from error  # fmt: skip
    if start < 0 or length != nbytes or start + nbytes > size or not path.is_file():
        raise FileError(where, "external data is of another length", expected=f"{nbytes} bytes from {start}",
                        got=f"{length} of a file of {size}", remedy="Write the model again")  # fmt: skip
    with path.open("rb") as file:
        file.seek(start)
        return np.frombuffer(file.read(nbytes), dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)


def read_model(source: Any) -> ReadModel:
    """Return the model of a path, bytes or ``ModelProto``; FileError or ArgumentError says what is wrong with it."""
    require("onnx", "onnx.load")
    folder: Path | None = None
    name = "the model"
    if isinstance(source, onnx.ModelProto):
        proto = source
    else:
        if isinstance(source, (bytes, bytearray, memoryview)):
            data = bytes(cast("bytes", source))
        elif isinstance(source, (str, os.PathLike)):
            path = Path(cast("str", source))
            name = str(path)
            try:
                data, folder = path.read_bytes(), path.parent
            except OSError as error:
                raise FileError("onnx.load", f"{name} cannot be read ({error.strerror})", got=name,
                                remedy="Check the path") from error  # fmt: skip
        else:
            raise ArgumentError("onnx.load", "no model", expected="a path, bytes or onnx.ModelProto",
                                got=type(source).__name__, remedy="Pass one of these")  # fmt: skip
        proto = _parse(data, name)
    _check(proto, name)
    return ReadModel(proto, folder, name)


def _parse(data: bytes, name: str) -> Any:
    require("google.protobuf", "loom.onnx")
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise FileError("onnx.load", f"{name} is no ONNX model, or is cut off", expected="a ModelProto",
                        got=f"{len(data)} bytes", remedy="Write the file again") from error  # fmt: skip
    if not proto.HasField("graph") or not proto.opset_import:
        raise FileError("onnx.load", f"{name} is no ONNX model", expected="a graph and its opsets",
                        got=f"{len(data)} bytes", remedy="Pass a file that onnx wrote")  # fmt: skip
    return proto


def _check(proto: Any, name: str) -> None:
    """Refuse what is malformed, then what is unknown: all of it by name."""
    undecodable = next((n for n in _names(proto) if isinstance(n, bytes)), None)
    if undecodable is not None:
        raise FileError("onnx.load", f"{name} is malformed: a name is no UTF-8", expected="text", got=repr(undecodable),
                        remedy="Check it with onnx.checker")  # fmt: skip
    opsets, functions = opsets_of(proto), functions_of(proto)
    each = {(n.domain, n.op_type): n for n in _all_nodes(proto)}
    missing = sorted(_full_name(n, opsets) for n in each.values() if not is_done(n, opsets, functions))
    if missing:
        raise ArgumentError("onnx.load", f"{name} has operators that are not done", got=", ".join(missing[:20]),
                            remedy="docs/guide/models/onnx.md lists those that are")  # fmt: skip
    _check_ends(proto, name)
    check_calls(proto, functions, name)
    newest, version = newest_opset(), load("onnx", "onnx.load").__version__
    if opsets.get("", 0) > newest:
        raise ArgumentError("onnx.load", f"{name} is of an opset that onnx {version} does not know",
                            expected=f"opset {newest} or older", got=opsets[""],
                            remedy="pip install --upgrade onnx, or convert it with onnx.version_converter"
                            )  # fmt: skip
    if proto.ByteSize() > _MOST_CHECKED or _has_external(proto):
        return  # the checker would read files; recording refuses what it would find
    try:
        onnx.checker.check_model(_with_shapes(proto))
    except (onnx.checker.ValidationError, ValueError) as error:
        text = str(error).strip().replace("\n", " ")[:400].rstrip(".")
        raise FileError("onnx.load", f"{name} is malformed: {text}", remedy="Check it with onnx.checker") from error


def _with_shapes(proto: Any) -> Any:
    """Return a model as the checker takes it: one whose inputs or outputs tell no shape with shapes of no axes."""
    ends = [v.type.tensor_type for v in (*proto.graph.input, *proto.graph.output) if v.type.HasField("tensor_type")]
    if all(t.HasField("shape") for t in ends):
        return proto
    shaped = type(proto)()
    shaped.CopyFrom(proto)
    for value in (*shaped.graph.input, *shaped.graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    return shaped


def _check_ends(proto: Any, name: str) -> None:
    """Refuse inputs, or outputs, of one name: callers have them by name."""
    for what, values in (("inputs", proto.graph.input), ("outputs", proto.graph.output)):
        names = [v.name for v in values]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            raise FileError("onnx.load", f"{name} is malformed: two {what} are called {twice!r}",
                            expected="a name for each", got=", ".join(names),
                            remedy="Give one another name, through an Identity node")  # fmt: skip


def _all_nodes(proto: Any) -> Iterator[Any]:
    """Yield every node of graphs, of their bodies, and of functions."""
    return nodes_of(node for source in (proto.graph, *proto.functions) for node in source.node)


def _names(proto: Any) -> Iterator[str | bytes]:
    """Yield every name of a model; protobuf gives those that are no UTF-8 as bytes."""
    nodes = list(_all_nodes(proto))
    for graph in (proto.graph, *(g for n in nodes for g in graphs_of(n))):
        for value in (*graph.input, *graph.output, *graph.value_info):
            yield from (value.name, *(d.dim_param for d in value.type.tensor_type.shape.dim))
        yield from (tensor.name for tensor in graph.initializer)
        yield from (sparse.values.name for sparse in graph.sparse_initializer)
    for node in nodes:
        yield from (*node.input, *node.output, node.op_type, node.domain)
        for attribute in node.attribute:
            yield from (attribute.name, attribute.ref_attr_name)
    for function in proto.functions:
        yield from (function.name, function.domain, *function.input, *function.output, *function.attribute)
    for opset in proto.opset_import:
        yield opset.domain


def _full_name(node: Any, opsets: dict[str, int]) -> str:
    domain = domain_of(node.domain)
    return f"{domain or 'ai.onnx'}:{node.op_type} (opset {opsets.get(domain, 'none')})"


def _has_external(proto: Any) -> bool:
    graphs = [proto.graph, *(g for n in _all_nodes(proto) for g in graphs_of(n))]
    return any(t.data_location == onnx.TensorProto.EXTERNAL for g in graphs for t in g.initializer)
