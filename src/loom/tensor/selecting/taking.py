"""``take``, ``take_along_axis``, ``gather``, ``index_select``: elements by index.

Layer: tensor. Indices of -n to -1 count from the end. Of indices that are a tensor one outside gives zeros and has no
gradient; one that the host passes is refused. Invariant: gradients of elements taken several times are added in the
order of their positions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError, ShapeError
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.ops import indexing
from loom.tensor.ops.indexing import pick
from loom.tensor.ops.views import broadcast_to, normal_axis, reshape, take_slices
from loom.tensor.record.graph import require_tensor
from loom.tensor.selecting.given import as_index, as_positions, require_rank

__all__ = ["gather", "index_select", "take", "take_along_axis"]


def take(x: Tensor, indices: Any, axis: int | None = None) -> Tensor:
    """Return elements along an axis by ``indices``, integers of any shape, which takes the place of the axis.

    ``axis`` may be left out for one dimension. Indices of -n to -1 count from the end; one outside is an IndexOutside
    if the host passes it, and gives zeros if it is a tensor's.

    Args:
        x: Tensor of any shape.
        indices: Tensor of integers of any shape, or nested lists; below 0: from the end.
        axis: Axis; None: only of one dimension.

    Raises:
        ArgumentError: An operand is no tensor; no axis to take along.
        DTypeError: The elements are no numbers; an axis is no integer; indices are no integers.
        IndexOutside: There is no such index; there is no such axis.

    >>> from loom import tensor
    >>> tensor.take(tensor.array([10, 20, 30]), [2, 0, -1]).tolist()
    [30, 10, 30]
    """
    require_tensor(x, "take")
    if axis is None and x.ndim != 1:
        raise ArgumentError("take, axis", "no axis to take along", expected="an int", got=f"None, shape {x.shape}",
                            remedy="Name the axis, or flatten the tensor")  # fmt: skip
    at = 0 if axis is None else normal_axis(x, axis, "take")
    positions, shape = as_positions(indices, "take", x.shape[at], x)
    found = pick(x, reshape(positions, (positions.size,)), at, shared=True)
    return reshape(found, (*x.shape[:at], *shape, *x.shape[at + 1 :]))


def index_select(x: Tensor, axis: int, index: Any) -> Tensor:
    """Return elements along an axis by an index of one dimension, as torch's.

    Args:
        x: Tensor of any shape.
        axis: Axis, negative ones counted from the end.
        index: Tensor of integers of one dimension.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An axis is no integer; indices are no integers.
        ShapeError: The index has several dimensions; too many elements.
        IndexOutside: There is no such index; there is no such axis.
    """
    require_tensor(x, "index_select")
    found = as_index(index, "index_select", _size(x, axis, "index_select"), x)
    if found.ndim > 1:
        raise ShapeError("index_select", "the index has several dimensions", expected="one dimension",
                         got=found.shape, remedy="Use tensor.take")  # fmt: skip
    return take(x, reshape(found, (-1,)), axis)


def _size(x: Tensor, axis: int, where: str) -> int:
    return x.shape[normal_axis(x, axis, where)]


def take_along_axis(x: Tensor, indices: Any, axis: int = -1) -> Tensor:
    """Return for each element of ``indices`` that of ``x`` at its place but for the axis, where it is the index.

    Both have as many axes; the others broadcast. Indices as for ``take``.

    Args:
        x: Tensor of any shape.
        indices: Tensor of integers of any shape, or nested lists; below 0: from the end.
        axis: Axis, negative ones counted from the end.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An axis is no integer; indices are no integers.
        ShapeError: The shapes do not broadcast.
        IndexOutside: There is no such index; there is no such axis.

    >>> from loom import tensor
    >>> x = tensor.array([[30, 10, 20], [1, 3, 2]])
    >>> tensor.take_along_axis(x, tensor.argsort(x), -1).tolist()
    [[10, 20, 30], [1, 2, 3]]
    """
    where = "take_along_axis"
    at = normal_axis(x, axis, where)
    positions, shape = as_positions(indices, where, x.shape[at], x)
    require_rank(x, where, shape)
    others = [_drop(s, at) for s in (x.shape, shape)]
    try:
        both = np.broadcast_shapes(*others)
    except ValueError:
        raise ShapeError(where, "the shapes do not broadcast", expected=f"{x.shape} but for axis {at}", got=shape,
                         remedy="Match the other axes") from None  # fmt: skip
    table = broadcast_to(x, (*both[:at], x.shape[at], *both[at:]))
    return pick(table, broadcast_to(positions, (*both[:at], shape[at], *both[at:])), at, shared=False)


def _drop(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def gather(table: Tensor, indices: Any, axis: int | None = None) -> Tensor:
    """Return rows of ``table`` (first axis) by ``indices``: shape (*indices.shape, *table.shape[1:]).

    An index outside the table, a negative one too, gives zeros and has no gradient. With ``axis``, as torch's:
    ``indices`` has as many axes as ``table``, none but that one longer, and each is an index along the axis.

    Args:
        table: Tensor whose elements are picked.
        indices: Tensor of integers of any shape, or nested lists; below 0 zeros, with ``axis`` from the end.
        axis: Axis that each index goes along; None: rows.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An axis is no integer; the elements are no numbers.
        ShapeError: The indices reach beyond the table; an axis without elements.
        IndexOutside: There is no such axis; there is no such index.

    >>> from loom import tensor
    >>> tensor.gather(tensor.array([[1, 2], [3, 4]]), tensor.array([[0], [1]]), axis=1).tolist()
    [[1], [4]]
    """
    require_tensor(table, "gather")
    if axis is None:
        return indexing.gather(table, indices)
    at = normal_axis(table, axis, "gather")
    index = as_index(indices, "gather", table.shape[at], table)
    require_rank(table, "gather", index.shape)
    if any(a != at and n > m for a, (n, m) in enumerate(zip(index.shape, table.shape, strict=True))):
        raise ShapeError("gather", "the indices reach beyond the table", got=index.shape,
                         expected=f"at most {table.shape} but for axis {at}", remedy="Take a part")  # fmt: skip
    shape = (*index.shape[:at], table.shape[at], *index.shape[at + 1 :])
    part = take_slices(table, [0] * table.ndim, [1] * table.ndim, shape)
    if math.prod(shape) == 0 and index.size:
        raise ShapeError("gather", "an axis without elements", expected="elements to pick", got=table.shape,
                         remedy="Check for emptiness first")  # fmt: skip
    return pick(part, indexing.wrap_positions(index, "gather", table.shape[at]), at, shared=False)
