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
from loom.core.errors import ArgumentError, DTypeError, ShapeError, near_matches
from loom.core.late.dataclass import dataclass
from loom.onnx.values import dtype_of_element, element_of_dtype, numpy_of_element
from loom.tensor.arrays.tensor import Tensor

__all__ = ["ValueInfo", "arrays_of", "check_lengths", "check_names", "check_output", "info_of", "read_given"]


@dataclass(frozen=True)
class ValueInfo:
    """An input or output: its name, dtype, and shape (a length, a name of a length, or None), None if unknown.

    ``kind``: tensor, sequence (whose values have the dtype), optional, or maps (of an output: dicts of scores).
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None
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


def check_names(given: Mapping[str, Any], needed: Sequence[str], known: Sequence[str], where: str) -> None:
    """ArgumentError unless all ``needed`` inputs are given, and none that is not ``known``."""
    if not isinstance(cast("Any", given), Mapping):
        raise ArgumentError(where, "inputs without names", expected="a mapping: name -> array",
                            got=type(given).__name__, remedy="Pass {" + ", ".join(f"{n!r}: array" for n in known) + "}"
                            )  # fmt: skip
    unknown, missing = sorted(set(map(str, given)) - set(known)), sorted(set(needed) - set(given))
    if unknown or missing:
        remedy = f"Pass {', '.join(missing)}" if missing else near_matches(unknown[0], list(known))
        raise ArgumentError(where, "not the inputs of the model", expected=", ".join(sorted(needed)) or "none",
                            got=", ".join(sorted(map(str, given))) or "none",
                            remedy=remedy or "Leave the others out")  # fmt: skip


def read_given(value: Any, info: ValueInfo, where: str) -> Any:
    """Return an input as an array (of a sequence a list of them, None of an optional value that is not there).

    DTypeError and ShapeError for another dtype or rank than the model's.
    """
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


def check_lengths(found: Mapping[str, Any], infos: Mapping[str, ValueInfo], where: str) -> None:
    """Refuse ranks and lengths that the model fixes otherwise, and one name that has two lengths."""
    lengths: dict[str, int] = {}
    for name, a in found.items():
        if infos[name].kind != "tensor":
            continue
        shape = infos[name].shape
        if shape is not None and len(shape) != len(a.shape):
            raise ShapeError(where, f"{name!r} has another shape", expected=shape, got=a.shape, remedy="Reshape it")
        for n, wanted in zip(a.shape, shape or (), strict=False):
            expected = lengths.setdefault(wanted, n) if isinstance(wanted, str) else wanted
            if expected is not None and expected != n:
                remedy = (
                    f"Lengths called {wanted!r} are {expected}" if isinstance(wanted, str)
                    else "The model was written for this length; export it with a dynamic one"
                )  # fmt: skip
                raise ShapeError(where, f"{name!r} has another shape", expected=shape, got=a.shape, remedy=remedy)


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
