"""What flows along a graph's edges: arrays the host knows, and tensors that are recorded.

Layer: onnx. Invariant: a value's dtype is one that Loom has; any other is refused by the name that ONNX gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from loom.core.dtype import DType, lookup
from loom.core.errors import ArgumentError, DTypeError
from loom.core.optional import lazy, load
from loom.tensor.arrays.tensor import Tensor

__all__ = [
    "EMPTY",
    "MOST_ELEMENTS",
    "Held",
    "Value",
    "ValueSequence",
    "ValuesNeeded",
    "check_size",
    "dtype_of_element",
    "element_of_dtype",
    "numpy_of_element",
    "onnx",
]

onnx: Any = lazy("onnx", "loom.onnx")
"""The package ``onnx``, which is loaded when it is first needed."""

Value = np.ndarray[Any, Any] | Tensor
"""An array that the host knows (weights, shapes), or a recorded tensor."""

_NAMES = {
    1: "f32", 2: "u8", 3: "i8", 4: "u16", 5: "i16", 6: "i32", 7: "i64", 9: "bool", 10: "f16", 11: "f64", 12: "u32",
    13: "u64", 14: "c64", 15: "c128", 16: "bf16",
}  # fmt: skip
"""``TensorProto.DataType`` to the names of Loom's dtypes."""

MOST_ELEMENTS = 1 << 31
"""A shape with more elements than this is refused before anything is allocated."""


class ValueSequence:
    """Several values as one: a sequence, or what the host makes of them when they are read (``finish``)."""

    def __init__(self, values: Sequence[Held], finish: Callable[[list[Any]], Any] = list) -> None:
        self.values, self.finish = list(values), finish


EMPTY = ValueSequence([], lambda _: None)
"""An optional value that is not there."""
Held = Value | ValueSequence


class ValuesNeeded(Exception):
    """Recording needs the values of inputs: shapes, conditions or axes are made of them."""

    def __init__(self, names: frozenset[str]) -> None:
        super().__init__(", ".join(sorted(names)))
        self.names = names


def _type_name(element: int) -> str:
    known = {int(value): name for name, value in onnx.TensorProto.DataType.items()}
    return known.get(element, f"number {element}")


def dtype_of_element(element: int, where: str) -> DType:
    """Return Loom's dtype of a ``TensorProto.DataType``; DTypeError names one that Loom has not."""
    if element not in _NAMES:
        raise DTypeError(where, "Loom has no such dtype", expected=", ".join(_NAMES.values()), got=_type_name(element),
                         remedy="Convert the model to one of these")  # fmt: skip
    return lookup(_NAMES[element])


def element_of_dtype(dtype: DType) -> int:
    """Return the ``TensorProto.DataType`` of Loom's dtype."""
    return next(element for element, name in _NAMES.items() if lookup(name) == dtype)


def numpy_of_element(element: int, where: str) -> np.dtype[Any]:
    """Return numpy's dtype of a ``TensorProto.DataType`` that Loom has; bf16 is ``ml_dtypes``'."""
    dtype = dtype_of_element(element, where)
    if dtype.name == "bf16":
        return np.dtype(load("ml_dtypes", where).bfloat16)
    return np.dtype(dtype.numpy)


def check_size(shape: tuple[int, ...], where: str) -> tuple[int, ...]:
    """Return a shape; ArgumentError for a negative length or too many elements."""
    count = 1
    for n in shape:
        count *= int(n)
    if any(n < 0 for n in shape) or count > MOST_ELEMENTS:
        raise ArgumentError(where, "an impossible shape", expected=f"at most {MOST_ELEMENTS} elements", got=shape,
                            remedy="Check the shapes that the model computes")  # fmt: skip
    return tuple(int(n) for n in shape)
