"""What a model takes and gives: names, dtypes and shapes of its inputs, and arrays read as they ask.

Layer: onnx. Invariant: what is not the model's (a name, dtype, rank or length) is told before anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from loom.core.arrays import read_array
from loom.core.conversions import show
from loom.core.dlpack import is_torch, require_no_gradient
from loom.core.dtype import lookup, of_numpy
from loom.core.errors import DTypeError, ShapeError
from loom.core.late.dataclass import dataclass
from loom.importers.ports import ArrayInfo, check_names, check_shapes
from loom.onnx.values import dtype_of_element, element_of_dtype, numpy_of_element
from loom.tensor.arrays.tensor import Tensor

__all__ = ["ValueInfo", "arrays_of", "check_output", "info_of", "read_inputs"]


@dataclass(frozen=True)
class ValueInfo(ArrayInfo):
    """An input or output: its name, dtype, and shape (a length, a name of a length, or None), None if unknown.

    ``kind``: tensor, sequence (whose values have the dtype), optional, or maps (of an output: dicts of scores).
    """

    kind: str = "tensor"


def info_of(value: Any) -> ValueInfo:
    """Return what a ``ValueInfoProto`` says; DTypeError for what is no tensor, or of no dtype that Loom has."""
    kind, held = "tensor", value.type
    where = f"onnx, {value.name!r}"
    while held.WhichOneof("value") in ("sequence_type", "optional_type"):
        is_optional = held.WhichOneof("value") == "optional_type"
        kind = "optional" if is_optional or kind == "optional" else "sequence"
        held = (held.optional_type if is_optional else held.sequence_type).elem_type
    if held.WhichOneof("value") == "map_type" and kind == "sequence":
        return ValueInfo(value.name, "f32", None, "maps")
    if held.WhichOneof("value") != "tensor_type":
        raise DTypeError(where, "Loom has no such type", expected="a tensor, or a sequence of them",
                         got=held.WhichOneof("value") or "none", remedy="Export the model without it")  # fmt: skip
    tensor = held.tensor_type
    if kind != "tensor":
        return ValueInfo(value.name, dtype_of_element(tensor.elem_type, where).name, None, kind)
    shape = tuple(_length(d) for d in tensor.shape.dim) if tensor.HasField("shape") else None
    return ValueInfo(value.name, dtype_of_element(tensor.elem_type, where).name, shape)


def _length(dimension: Any) -> int | str | None:
    if dimension.HasField("dim_value"):
        return int(dimension.dim_value)
    return dimension.dim_param or None


def read_inputs(
    given: Mapping[str, Any],
    infos: Mapping[str, ValueInfo],
    needed: Sequence[str],
    where: str,
    *,
    tensors: bool = False,
) -> dict[str, Any]:
    """Return inputs as arrays by name (sequences as lists, None of an optional value that is not there).

    ``tensors`` stay. ArgumentError for names that are unknown or missing, DTypeError and ShapeError for another dtype,
    rank or length than the model's.
    """
    check_names(given, needed, list(infos), where)
    found = {
        name: value if tensors and isinstance(value, Tensor) else _read_given(value, infos[name], where)
        for name, value in given.items()
    }
    for name, value in found.items():
        if isinstance(value, Tensor) and value.dtype != infos[name].type:
            raise DTypeError(where, f"{name!r} has another dtype", expected=infos[name].dtype, got=value.dtype,
                             remedy="Convert it with astype")  # fmt: skip
    check_shapes({n: a for n, a in found.items() if infos[n].kind == "tensor"}, infos, where)
    return found


def _read_given(value: Any, info: ValueInfo, where: str) -> Any:
    if info.kind == "optional" and value is None:
        return None
    if info.kind == "sequence" or (info.kind == "optional" and isinstance(value, (list, tuple))):
        if not isinstance(value, (list, tuple)):
            raise DTypeError(where, f"{info.name!r} is a sequence", expected="a list of arrays",
                             got=type(value).__name__, remedy="Pass a list")  # fmt: skip
        return [_read_array(v, info, where) for v in cast("list[Any]", value)]
    return _read_array(value, info, where)


def _read_array(value: Any, info: ValueInfo, where: str) -> np.ndarray[Any, Any]:
    found = value.numpy() if isinstance(value, Tensor) else np.asarray(_on_host(value, where))
    wanted = numpy_of_element(element_of_dtype(lookup(info.dtype)), where)
    if found.dtype != wanted:
        raise DTypeError(where, f"{info.name!r} has another dtype", expected=wanted, got=found.dtype,
                         remedy=f"Pass array.astype({str(wanted)!r})")  # fmt: skip
    if info.shape is not None and found.ndim != len(info.shape):
        raise ShapeError(where, f"{info.name!r} has another shape", expected=info.shape, got=found.shape,
                         remedy="Reshape it")  # fmt: skip
    return found


def _on_host(value: Any, where: str) -> Any:
    """Return a tensor of PyTorch's as an array, and what is none as it is."""
    if not is_torch(value):
        return value
    require_no_gradient(value, where)
    return show(*read_array(value.detach().cpu(), where))


def check_output(info: ValueInfo, value: Any) -> None:
    """DTypeError if a model says another dtype of an output than its operators give."""
    if info.kind != "tensor" or not isinstance(value, (np.ndarray, Tensor)):
        return
    held = cast("Tensor | np.ndarray[Any, Any]", value)
    found = held.dtype if isinstance(held, Tensor) else of_numpy(held.dtype, "onnx.run", complexes=True)
    if found.name != info.dtype:
        raise DTypeError(f"onnx, output {info.name!r}", "the model says another dtype than its operators give",
                         expected=info.dtype, got=found, remedy="Put a Cast before it, or correct the output's type"
                         )  # fmt: skip


def arrays_of(value: Any) -> list[np.ndarray[Any, Any]]:
    """Return the arrays of an input that was read."""
    return [] if value is None else cast("list[Any]", value) if isinstance(value, list) else [value]
