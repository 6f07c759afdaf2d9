"""Writing a model with other weights.

Layer: onnx. Invariant: all but the elements of weights is as it was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from loom.core.errors import FileError
from loom.onnx.reading import ReadModel
from loom.onnx.values import numpy_of_element

__all__ = ["with_weights"]

_MOST = (1 << 31) - (1 << 16)
"""Bytes of one protobuf."""


def with_weights(read: ReadModel, weights: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """Return a model as a file, its initializers having other elements; those outside the file are put inside."""
    import onnx

    total = sum(a.nbytes for a in read.initializers(read.graph).values())
    if total > _MOST:
        raise FileError("onnx.save", "the weights are too large for one file", expected=f"at most {_MOST} bytes",
                        got=total, remedy="Keep model.weights() in a .safetensors file")  # fmt: skip
    proto = onnx.ModelProto()
    proto.CopyFrom(read.proto)
    arrays: dict[str, np.ndarray[Any, Any]] = {**read.initializers(read.graph), **weights}
    for tensor in proto.graph.initializer:
        if tensor.name in weights or tensor.data_location == onnx.TensorProto.EXTERNAL:
            _put(tensor, arrays[tensor.name])
    known = {t.name for t in proto.graph.initializer} | {s.values.name for s in proto.graph.sparse_initializer}
    for node in list(proto.graph.node):
        if node.op_type == "Identity" and node.output[0] in weights and node.output[0] not in known:
            proto.graph.node.remove(node)
            proto.graph.initializer.append(onnx.numpy_helper.from_array(weights[node.output[0]], node.output[0]))
    for sparse in list(proto.graph.sparse_initializer):
        if sparse.values.name in weights:
            name = sparse.values.name
            proto.graph.sparse_initializer.remove(sparse)
            proto.graph.initializer.append(onnx.numpy_helper.from_array(weights[name], name))
    return proto.SerializeToString()


def _put(tensor: Any, array: np.ndarray[Any, Any]) -> None:
    name, kind = tensor.name, tensor.data_type
    array = np.asarray(array, numpy_of_element(kind, f"onnx, tensor {name!r}"))
    tensor.Clear()
    tensor.name, tensor.data_type = name, kind
    tensor.dims.extend(array.shape)
    tensor.raw_data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
