"""Operands of calls, by role: for every dtype none, one and many elements, the edges of the type, and strange shapes.

A sample is written once, as numbers on the host with their dtype, and given to one door as a tensor, to the other as
the numpy array of that tensor or as a tensor too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from loom import tensor
from loom.core.dtype import DType, bf16, bool_, f16, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64

__all__ = ["DTYPES", "ROLES", "Operands", "Typed"]

DTYPES = (bool_, i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64)
_MIXED = {
    bool_: (i32, f32), i8: (u8, f32), i16: (i32,), i32: (u32, f64), i64: (u64, f16), u8: (i8, u32), u16: (f32,),
    u32: (i64,), u64: (i64, f64), f16: (bf16, f32, i32), bf16: (f32,), f32: (f64, i64, bool_), f64: (f32, u8),
}  # fmt: skip
"""The dtypes that each one meets in calls of two operands."""


@dataclass(frozen=True)
class Typed:
    """Numbers of the host, and the dtype that they are to have."""

    values: Any
    dtype: DType

    def tensor(self) -> Any:
        """Return them as a tensor."""
        return tensor.array(self.values, self.dtype)

    def numpy(self) -> Any:
        """Return them as a numpy array of the dtype."""
        return self.tensor().numpy()


Operands = tuple[Any, ...]
Kinds = dict[str, Callable[[DType], Operands]]


@cache
def _edges(dtype: DType) -> np.ndarray[Any, Any]:
    """Return what a dtype has at its ends, and NaN, infinities and both zeros."""
    if dtype.is_bool:
        return np.array([True, False, True, True, False])
    if dtype.is_integer:
        ends = [dtype.maximum, dtype.minimum, 0, 1, dtype.maximum, dtype.maximum - 1, dtype.minimum + 1, 3, 3, 0, 7]
        return np.array(ends, dtype.numpy)
    largest = {f16: 65504.0, bf16: 3.3895314e38, f32: 3.4028234663852886e38, f64: 1.7976931348623157e308}[dtype]
    least = {f16: 2.0**-24, bf16: 2.0**-133, f32: 2.0**-149, f64: 5e-324}[dtype]
    ends = [np.nan, np.inf, -np.inf, -0.0, 0.0, largest, -largest, least, 1.0, -1.0, largest, 0.0, np.nan, 2.5, -0.5]
    return np.array(ends, np.float64 if dtype == f64 else np.float32)


@cache
def _large(dtype: DType) -> np.ndarray[Any, Any]:
    """Return finite numbers whose sums and products do not fit the dtype."""
    numbers = _edges(dtype)
    return numbers[np.isfinite(numbers)] if dtype.is_float else numbers


def _spread(dtype: DType, shape: tuple[int, ...], shift: int = 0) -> np.ndarray[Any, Any]:
    """Return ordinary numbers, with ties, negative where the dtype has such."""
    count = int(np.prod(shape))
    whole = (np.arange(shift, count + shift) * 7919 + shift * 31) % 23
    if dtype.is_bool:
        return (whole % 3 > 0).reshape(shape)
    if dtype.is_integer:
        return (whole - (11 if dtype.is_signed else 0)).astype(dtype.numpy).reshape(shape)
    return ((whole - 11) / 8).astype(np.float32).reshape(shape)


def _of(shape: tuple[int, ...], shift: int = 0) -> Callable[[DType], Typed]:
    return lambda dtype: Typed(_spread(dtype, shape, shift), dtype)


def _one(shape: tuple[int, ...]) -> Callable[[DType], Operands]:
    return lambda dtype: (_of(shape)(dtype),)


SINGLE: Kinds = {
    "none": _one((0,)), "one": _one((1,)), "many": _one((70,)), "number": _one(()), "matrix": _one((3, 5)),
    "hollow": _one((0, 3)), "cube": _one((2, 3, 4)), "pairs": _one((3, 2)),
    "edges": lambda dtype: (Typed(_edges(dtype), dtype),),
    "large": lambda dtype: (Typed(_large(dtype), dtype),),
    "zero": lambda dtype: (Typed(np.array([-0.0 if dtype.is_float else 0]), dtype),),
    "column": lambda dtype: (Typed(_edges(dtype)[:, None], dtype),),  # of rows of one element each
    "tiles": _one((4500,)),
}  # fmt: skip
"""One array."""


def _two(left: tuple[int, ...], right: tuple[int, ...]) -> Callable[[DType], Operands]:
    return lambda dtype: (_of(left)(dtype), _of(right, 5)(dtype))


def _edges_twice(dtype: DType) -> Operands:
    numbers = _edges(dtype)
    left, right = np.meshgrid(numbers, numbers)
    return Typed(left.reshape(-1), dtype), Typed(right.reshape(-1), dtype)


def _beside(number: Any) -> Callable[[DType], Operands]:
    return lambda dtype: (_of((6,))(dtype), number)


def _mixed(at: int) -> Callable[[DType], Operands]:
    def operands(dtype: DType) -> Operands:
        others = _MIXED[dtype]
        return _of((9,))(dtype), _of((9,), 5)(others[at % len(others)])

    return operands


DOUBLE: Kinds = {
    "none": _two((0,), (0,)), "one": _two((1,), (1,)), "many": _two((70,), (70,)), "number": _two((), ()),
    "matrix": _two((3, 5), (3, 5)), "edges": _edges_twice,
    "with-int": _beside(3), "with-float": _beside(2.5), "with-bool": _beside(True), "with-large": _beside(300),
    "with-negative": _beside(-1),
    "broadcast": _two((2, 3), (3,)), "apart": _two((3,), (4,)), "with-number": _two((5,), ()),
    "mixed-0": _mixed(0), "mixed-1": _mixed(1), "mixed-2": _mixed(2),
}  # fmt: skip
"""Two arrays, or an array and a number."""


def _chosen(kind: Callable[[DType], Operands]) -> Callable[[DType], Operands]:
    def operands(dtype: DType) -> Operands:
        a, b = kind(dtype)
        shape = np.shape(a.values)
        return Typed((np.arange(int(np.prod(shape))) % 3 > 0).reshape(shape), bool_), a, b

    return operands


def _with_ends(low: Any, high: Any) -> Callable[[DType], Operands]:
    return lambda dtype: (Typed(_edges(dtype), dtype), low, high)


CHOICE: Kinds = {
    **{kind: _chosen(make) for kind, make in DOUBLE.items()},
    "two-numbers": lambda _dtype: (_of((6,))(bool_), 1, 2),
    "two-floats": lambda _dtype: (_of((6,))(bool_), 1.5, 2.0),
    "condition": lambda dtype: (_of((6,))(dtype), _of((6,))(f32), _of((6,), 5)(f32)),
}
"""A condition and two arrays."""

BETWEEN: Kinds = {
    "none": lambda dtype: (_of((0,))(dtype), 0, 1), "many": lambda dtype: (_of((70,))(dtype), 1, 7),
    "number": lambda dtype: (_of(())(dtype), 0, 1), "matrix": lambda dtype: (_of((3, 5))(dtype), 1, 7),
    "edges": _with_ends(0, 100), "wrong-order": _with_ends(5, 2), "floats": _with_ends(-0.5, 2.5),
    "nan": _with_ends(float("nan"), 1.0), "bools": _with_ends(False, True), "too-large": _with_ends(-300, 300),
    "arrays": lambda dtype: (_of((9,))(dtype), _of((9,), 2)(dtype), _of((9,), 4)(dtype)),
    "array-and-number": lambda dtype: (_of((9,))(dtype), _of((9,), 2)(dtype), 3),
    "mixed": lambda dtype: (_of((9,))(dtype), _of((9,), 2)(_MIXED[dtype][0]), _of((9,), 4)(dtype)),
}  # fmt: skip
"""An array and the two ends it is moved between."""


def _plain(shape: tuple[int, ...]) -> Callable[[DType], Typed]:
    """Return matrices of ordinary rank and condition, symmetric and positive definite where they are square."""

    def make(dtype: DType) -> Typed:
        found = _spread(dtype, shape)
        if len(shape) > 1 and shape[-1] == shape[-2]:
            found = np.abs(found // 4 if dtype.is_integer else found).astype(found.dtype)
            found = found | found.swapaxes(-1, -2) if dtype.is_bool else found + found.swapaxes(-1, -2)
            np.einsum("...ii->...i", found)[...] = True if dtype.is_bool else 40 + np.arange(shape[-1]) * 3
        return Typed(found, dtype)

    return make


def _matrix(shape: tuple[int, ...]) -> Callable[[DType], Operands]:
    return lambda dtype: (_plain(shape)(dtype),)


def _holding(value: float) -> Callable[[DType], Operands]:
    def operands(dtype: DType) -> Operands:
        found = _plain((3, 3))(dtype)
        if dtype.is_float:
            found.values[1, 2] = value
        return (found,)

    return operands


MATRIX: Kinds = {
    "none": _matrix((0, 0)), "one": _matrix((1, 1)), "many": _matrix((4, 4)), "batch": _matrix((2, 3, 3)),
    "large": _matrix((40, 40)), "wide": _matrix((2, 3)), "tall": _matrix((4, 3)), "vector": _one((3,)),
    "number": _one(()), "nan": _holding(float("nan")), "inf": _holding(float("inf")),
    "zeros": lambda dtype: (Typed(np.zeros((3, 3), dtype.numpy if not dtype.storage_only else np.float32), dtype),),
    "hollow": _matrix((0, 3)), "no-batch": _matrix((0, 3, 3)),
}  # fmt: skip
"""One matrix, or several."""


def _system(left: tuple[int, ...], right: tuple[int, ...], mixed: bool = False) -> Callable[[DType], Operands]:
    return lambda dtype: (_plain(left)(dtype), _of(right, 5)(_MIXED[dtype][0] if mixed else dtype))


SYSTEM: Kinds = {
    "none": _system((0, 0), (0, 2)), "one": _system((1, 1), (1, 1)), "many": _system((4, 4), (4, 3)),
    "vector": _system((4, 4), (4,)), "batch": _system((2, 3, 3), (2, 3, 2)), "shared": _system((3, 3), (2, 3, 2)),
    "repeated": _system((2, 3, 3), (3, 2)), "apart": _system((3, 3), (4, 2)), "tall": _system((5, 3), (5, 2)),
    "wide": _system((3, 5), (3, 2)), "mixed": _system((4, 4), (4, 2), mixed=True),
    "zeros": lambda dtype: (*MATRIX["zeros"](dtype), _of((3, 2), 5)(dtype)),
}  # fmt: skip
"""Matrices and right-hand sides."""

PRODUCT: Kinds = {
    **{kind: SYSTEM[kind] for kind in ("none", "one", "many", "vector", "batch", "shared", "repeated", "apart")},
    "tall": _two((5, 3), (3, 2)), "vectors": _two((5,), (5,)), "hollow": _two((2, 0), (0, 3)),
    "mixed": _system((4, 4), (4, 2), mixed=True), "number": _two((), (3,)), "large": _two((70, 300), (300, 9)),
    "edges": lambda dtype: (Typed(_large(dtype).reshape(1, -1), dtype), Typed(_large(dtype).reshape(-1, 1), dtype)),
}  # fmt: skip
"""Two matrices that are multiplied."""


def _vectors(left: tuple[int, ...], right: tuple[int, ...]) -> Callable[[DType], Operands]:
    return _two(left, right)


VECTORS: Kinds = {
    "none": _vectors((0,), (0,)), "one": _vectors((1,), (1,)), "many": _vectors((70,), (70,)),
    "three": _vectors((3,), (3,)), "rows": _vectors((4, 3), (4, 3)), "row-and-rows": _vectors((3,), (4, 3)),
    "broadcast": _vectors((2, 1, 3), (4, 3)), "apart": _vectors((3,), (4,)), "number": _vectors((), ()),
    "edges": lambda dtype: (Typed(_edges(dtype), dtype), Typed(_edges(dtype)[::-1].copy(), dtype)),
    "zeros": lambda dtype: (Typed(_spread(dtype, (3,)) * 0, dtype) if not dtype.is_bool else _of((3,))(dtype),) * 2,
    "mixed": _mixed(0),
}  # fmt: skip
"""Two vectors, or rows of them."""


def _sorted(dtype: DType) -> Typed:
    return Typed(np.sort(_spread(dtype, (20,))), dtype)


SORTED: Kinds = {
    "none": lambda dtype: (_of((0,))(dtype), _of((3,))(dtype)),
    "many": lambda dtype: (_sorted(dtype), _of((30,), 3)(dtype)),
    "nothing": lambda dtype: (_sorted(dtype), _of((0,))(dtype)),
    "number": lambda dtype: (_sorted(dtype), _of(())(dtype)),
    "matrix": lambda dtype: (_sorted(dtype), _of((3, 4))(dtype)), "edges": lambda dtype: (
        Typed(np.sort(_edges(dtype)), dtype), Typed(_edges(dtype), dtype)),
    "mixed": lambda dtype: (_sorted(dtype), _of((3,))(_MIXED[dtype][0])),
    "int": lambda dtype: (_sorted(dtype), 3),
    "unsorted-matrix": lambda dtype: (_of((3, 4))(dtype), _of((3, 2))(dtype)),
}  # fmt: skip
"""A sorted array, and values to look for."""

NUMBERLESS: Kinds = {"call": lambda _dtype: ()}
"""Nothing but options."""

ROLES: dict[str, Kinds] = {
    "x": SINGLE, "xy": DOUBLE, "cab": CHOICE, "between": BETWEEN, "m": MATRIX, "mb": SYSTEM, "mm": PRODUCT,
    "vv": VECTORS, "sorted": SORTED, "": NUMBERLESS,
}  # fmt: skip
