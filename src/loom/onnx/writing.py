"""Writing a model with other weights.

Layer: onnx. Invariant: all but the elements of weights is as it was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from loom.core.errors import FileError
from loom.onnx.reading import ReadModel
from loom.onnx.values import onnx

__all__ = ["with_weights"]

_MOST = (1 << 31) - (1 << 16)
"""Bytes of one protobuf."""


def with_weights(read: ReadModel, nodes: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """Return a model as a file, with these nodes and initializers; those outside the file are put inside."""
    total = sum(a.nbytes for a in arrays.values())
    if total > _MOST:
        raise FileError("onnx.save", "the weights are too large for one file", expected=f"at most {_MOST} bytes",
                        got=total, remedy="Keep model.weights() in a .safetensors file")  # fmt: skip
    proto, kinds = onnx.ModelProto(), {t.name: t.data_type for t in read.graph.initializer}
    proto.CopyFrom(read.proto)
    for part in (proto.graph.node, proto.graph.initializer, proto.graph.sparse_initializer):
        del part[:]
    proto.graph.node.extend(nodes)
    for name, array in arrays.items():
        wanted = np.asarray(array, read.initializers(read.graph)[name].dtype if name in kinds else array.dtype)
        _put(proto.graph.initializer.add(), name, wanted)
    return proto.SerializeToString()


def _put(tensor: Any, name: str, array: np.ndarray[Any, Any]) -> None:
    tensor.name, tensor.data_type = name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor.dims.extend(array.shape)
    tensor.raw_data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
