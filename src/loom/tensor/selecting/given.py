"""Reads what functions by index take: tensors, indices, axes.

Layer: tensor. Invariant: indices that the host knows are looked at, those of a tensor cannot be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.arrays import read_array
from loom.core.dtype import i64
from loom.core.errors import DTypeError, IndexOutside, ShapeError
from loom.tensor.arrays.tensor import Tensor, array
from loom.tensor.ops.elementwise import constant
from loom.tensor.ops.indexing import wrap_positions
from loom.tensor.ops.views import broadcast_to
from loom.tensor.record.graph import Node, require_tensor

__all__ = ["as_index", "as_positions", "as_values", "not_bool", "require_rank"]


def as_index(indices: Any, where: str, n: int | None, *like: Any) -> Tensor:
    """Return indices as a tensor of integers, of the host's where ``like`` are; IndexOutside outside -n to n - 1."""
    if isinstance(indices, Tensor):
        if not indices.dtype.is_integer:
            raise _no_integers(where, indices.dtype)
        return indices
    memory, dtype = read_array(indices, where, dtype=None)
    if memory.size and not dtype.is_integer:
        raise _no_integers(where, dtype)
    wide = memory.astype(np.int64) if dtype.bits < i64.bits or dtype.is_signed or not memory.size else memory
    wrong = wide[(wide < -n) | (wide >= n)] if n is not None and wide.size else wide[:0]
    if wrong.size:
        raise IndexOutside(where, "there is no such index", expected=f"{-n} to {n - 1}" if n else "none",
                           got=int(wrong.flat[0]), remedy="Check the shape")  # fmt: skip
    return array(wide.astype(np.int64), on=next((x.device for x in like if isinstance(x, Node) and x.device), None))


def _no_integers(where: str, got: Any) -> DTypeError:
    return DTypeError(where, "indices are no integers", expected="an integer type", got=got,
                      remedy="Convert with astype")  # fmt: skip


def as_positions(indices: Any, where: str, n: int, *like: Any) -> tuple[Tensor, tuple[int, ...]]:
    """Return indices as u32, -1 being the last and one outside what no axis has; and their shape."""
    found = as_index(indices, where, n, *like)
    return wrap_positions(found, where, n), found.shape


def as_values(values: Any, where: str, x: Tensor, shape: Sequence[int] | None = None) -> Tensor:
    """Return values of the dtype of ``x``, tensors or what the host has, repeated to a shape."""
    if isinstance(values, Node):
        found: Any = values
        if found.dtype != x.dtype:
            raise DTypeError(where, "values of another type", expected=x.dtype, got=found.dtype,
                             remedy="Convert with astype")  # fmt: skip
    elif isinstance(values, (bool, int, float, np.generic)):
        found = constant(values, x.dtype, x, where)  # type: ignore[arg-type]
    else:
        found = array(values, x.dtype, on=x.device)
    if shape is None or found.shape == tuple(shape):
        return found
    try:
        np.broadcast_shapes(found.shape, tuple(shape))
        return broadcast_to(found, shape)
    except (ValueError, ShapeError):
        raise ShapeError(where, "the values do not fit", expected=f"what broadcasts to {tuple(shape)}", got=found.shape,
                         remedy="Reshape them") from None  # fmt: skip


def not_bool(x: Tensor, where: str) -> None:
    """See that a tensor has numbers; DTypeError for bools."""
    require_tensor(x, where)
    if x.dtype.is_bool:
        raise DTypeError(where, "bools are no numbers", expected="integers or floats", got=x.dtype,
                         remedy="Convert with astype")  # fmt: skip


def require_rank(x: Tensor, where: str, other: Sequence[int], what: str = "index") -> None:
    """See that a shape has as many axes as a tensor; ShapeError if not."""
    require_tensor(x, where)
    if len(other) != x.ndim:
        raise ShapeError(where, f"the {what} has another number of axes", expected=x.ndim, got=tuple(other),
                         remedy="Reshape it")  # fmt: skip
