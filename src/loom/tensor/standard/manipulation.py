"""Tensors in another shape, order or number: views, joins and repetitions.

Layer: tensor. Chapter "Manipulation functions" of the array API standard 2024.12. Invariant: no element is computed;
repetitions are views that a copy packs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError, ShapeError
from loom.core.given import flag, is_list, items
from loom.core.numbers import whole
from loom.tensor.ops import joining, views
from loom.tensor.record.graph import NodeT, as_shape, require_tensor
from loom.tensor.standard.dtypes import copy_handle

__all__ = [
    "broadcast_arrays", "concat", "flip", "moveaxis", "permute_dims", "reshape", "roll", "tile", "unstack",
]  # fmt: skip


def broadcast_arrays(*arrays: NodeT) -> list[NodeT]:
    """Return tensors repeated to the shape in which all broadcast; ShapeError if they do not.

    Args:
        *arrays: Tensors.

    Raises:
        ArgumentError: An operand is no tensor.
        ShapeError: The shapes do not broadcast.
    """
    for x in arrays:
        require_tensor(x, "broadcast_arrays")
    try:
        shape = np.broadcast_shapes(*(x.shape for x in arrays))
    except ValueError:
        raise ShapeError(
            "broadcast_arrays", "the shapes do not broadcast", expected="equal lengths, or 1, from the last axis on",
            got=" and ".join(str(x.shape) for x in arrays), remedy="Reshape one",
        ) from None  # fmt: skip
    return [views.broadcast_to(x, shape) for x in arrays]


def concat(arrays: Sequence[NodeT], /, axis: int | None = 0) -> NodeT:
    """Return tensors joined along an axis (None: all flattened), in the dtype in which theirs meet.

    Args:
        arrays: Tensors.
        axis: Axis; None: all in row-major order.

    Raises:
        ArgumentError: Not one for each; an operand is no tensor.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.
    """
    given = items(arrays, "concat", "tensors")
    if axis is not None:
        return joining.concat(given, axis)
    for x in given:
        require_tensor(x, "concat")
    return joining.concat([views.reshape(x, (x.size,)) for x in given], 0)


def unstack(x: NodeT, /, *, axis: int = 0) -> tuple[NodeT, ...]:
    """Return the parts of a tensor along an axis, which they do not have.

    Args:
        x: Tensor of any shape.
        axis: Axis, negative ones counted from the end.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.

    >>> from loom import tensor
    >>> [part.tolist() for part in unstack(tensor.array([[1, 2], [3, 4]]), axis=1)]
    [[1, 3], [2, 4]]
    """
    at = views.normal_axis(x, axis, "unstack")
    rows = (slice(None),) * at
    return tuple(views.slice_by(x, (*rows, k)) for k in range(x.shape[at]))


def flip(x: NodeT, /, *, axis: int | tuple[int, ...] | None = None) -> NodeT:
    """Return the elements in reversed order along axes (None: all).

    Args:
        x: Tensor of any shape.
        axis: Axis, or several in a tuple; None: all.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An axis is no integer.
    """
    require_tensor(x, "flip")
    return views.reverse(x, axis)


def permute_dims(x: NodeT, /, axes: tuple[int, ...]) -> NodeT:
    """Return the tensor with its axes in another order.

    Args:
        x: Tensor of any shape.
        axes: Order of the axes.

    Raises:
        ArgumentError: An operand is no tensor; not one for each.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.
    """
    require_tensor(x, "permute_dims")
    return views.permute(x, axes)


def moveaxis(x: NodeT, source: int | tuple[int, ...], destination: int | tuple[int, ...], /) -> NodeT:
    """Return the tensor with axes at other places, the others in their order.

    Args:
        x: Tensor of any shape.
        source: Axis, or several in a tuple.
        destination: Where they go.

    Raises:
        ArgumentError: An operand is no tensor; the axes do not match.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.
    """
    require_tensor(x, "moveaxis")
    first, last = ([views.normal_axis(x, a, "moveaxis") for a in (each if is_list(each) else (each,))]
                   for each in (source, destination))  # fmt: skip
    if len(first) != len(last) or len(set(first)) < len(first) or len(set(last)) < len(last):
        raise ArgumentError("moveaxis", "the axes do not match", expected="as many places as axes, each once",
                            got=f"{source} to {destination}", remedy="Name each axis and place once")  # fmt: skip
    order = [a for a in range(x.ndim) if a not in first]
    for place, axis in sorted(zip(last, first, strict=True)):
        order.insert(place, axis)
    return views.permute(x, order)


def reshape(x: NodeT, /, shape: Any, *more: Any, copy: bool | None = None) -> NodeT:
    """Return the elements in row-major order in another shape, one length of which may be -1.

    ``shape``: a tuple, or its lengths one by one. No tensor sees what is assigned to another, so that ``copy=True``
    and None are the same; ArgumentError (a ValueError) for ``copy=False``, which asks for shared elements.

    Args:
        x: Tensor of any shape.
        shape: Lengths, one of which may be -1: what is left.
        *more: Further lengths.
        copy: True or None; False is refused, since tensors share nothing that is assigned.

    Raises:
        ArgumentError: Not a whole number; an operand is no tensor; a number is not usable there; tensors do not share
            what is assigned.
        ShapeError: The elements do not fit.
    """
    require_tensor(x, "reshape")
    if copy is not None and not flag(copy, "reshape, copy"):
        raise ArgumentError("reshape, copy", "tensors do not share what is assigned", expected="None or True", got=copy,
                            remedy="Leave copy out")  # fmt: skip
    found = views.reshape(x, shape, *more)
    return copy_handle(found) if found is x and copy else found


def roll(x: NodeT, /, shift: int | tuple[int, ...], *, axis: int | tuple[int, ...] | None = None) -> NodeT:
    """Return the elements moved ``shift`` places along axes (None: in row-major order), the last ones to the front.

    Args:
        x: Tensor of any shape.
        shift: Places, a number or one for each axis.
        axis: Axis, or several in a tuple; None: in row-major order.

    Raises:
        ArgumentError: An operand is no tensor; not one for each axis; several, without axes.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.

    >>> from loom import tensor
    >>> roll(tensor.arange(5), 2).tolist()
    [3, 4, 0, 1, 2]
    """
    require_tensor(x, "roll")
    if axis is None:
        if is_list(shift):
            raise ArgumentError("roll, shift", "several, without axes", expected="one number", got=shift,
                                remedy="Name the axes")  # fmt: skip
        return views.reshape(_roll(views.reshape(x, (x.size,)), shift, 0), x.shape)
    axes = [views.normal_axis(x, a, "roll") for a in (axis if is_list(axis) else (axis,))]
    shifts: list[Any] = list(shift) if is_list(shift) else [shift] * len(axes)
    if len(shifts) != len(axes):
        raise ArgumentError("roll, shift", "not one for each axis", expected=f"{len(axes)} numbers", got=shift,
                            remedy="Match them")  # fmt: skip
    for each, at in zip(shifts, axes, strict=True):
        x = _roll(x, each, at)
    return x


def _roll(x: NodeT, shift: Any, axis: int) -> NodeT:
    n = x.shape[axis]
    by = whole(shift, "roll, shift") % n if n else 0
    if by == 0:
        whole(shift, "roll, shift")
        return x
    rows = (slice(None),) * axis
    parts = [views.slice_by(x, (*rows, cut)) for cut in (slice(n - by, None), slice(None, n - by))]
    return joining.concat(parts, axis)


def tile(x: NodeT, repetitions: tuple[int, ...], /) -> NodeT:
    """Return the tensor ``repetitions`` times side by side along each axis, missing ones counting as 1 in front.

    Args:
        x: Tensor of any shape.
        repetitions: How often along each axis.

    Raises:
        ArgumentError: An operand is no tensor.
        ShapeError: Not a shape.

    >>> from loom import tensor
    >>> tile(tensor.array([1, 2]), (2, 2)).tolist()
    [[1, 2, 1, 2], [1, 2, 1, 2]]
    """
    require_tensor(x, "tile")
    times = as_shape(repetitions, "tile, repetitions")
    ndim = max(len(times), x.ndim)
    times = (*(1,) * (ndim - len(times)), *times)
    shape = (*(1,) * (ndim - x.ndim), *x.shape)
    wide = views.reshape(x, tuple(n for size in shape for n in (1, size)))
    wide = views.broadcast_to(wide, tuple(n for pair in zip(times, shape, strict=True) for n in pair))
    return views.reshape(wide, tuple(math.prod(pair) for pair in zip(times, shape, strict=True)))
