"""Views: the same elements seen in another shape, order or part.

Layer: tensor. Invariant: a view moves nothing and computes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, SupportsInt, cast

import numpy as np

from loom.core.dtype import bool_
from loom.core.errors import ArgumentError, DTypeError, IndexOutside, ShapeError
from loom.core.given import is_list, items
from loom.core.late import late
from loom.tensor.ops.precision import in_force, keeping_precision
from loom.tensor.record.graph import KNOWN, Node, NodeKind, NodeT, TensorOp, as_shape, make, require_tensor, tensors_of
from loom.tensor.record.layout import StridedLayout

if TYPE_CHECKING:
    from loom.core import numbers
else:
    numbers = late("loom.core", "numbers")

__all__ = [
    "BROADCAST", "broadcast_to", "detach", "expand_dims", "flatten", "normal_axes", "normal_axis",
    "permute", "reshape", "reverse", "routed", "slice_by", "slice_range", "squeeze",
    "take_slices", "transpose", "windows", "with_shape",
]  # fmt: skip


def normal_axis(x: Node, axis: Any, where: str) -> int:
    """Return ``axis`` counted from the start; IndexOutside if there is none such."""
    require_tensor(x, where)
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise DTypeError(f"{where}, axis", "not an axis", expected="an int", got=repr(axis), remedy="Name one")
    at = int(cast("SupportsInt", axis))
    if not -x.ndim <= at < x.ndim:
        raise IndexOutside(
            f"{where}, axis", "there is no such axis",
            expected=f"{-x.ndim} to {x.ndim - 1}" if x.ndim else "none, for a tensor of no dimension", got=at,
            remedy=f"The tensor has shape {x.shape}",
        )  # fmt: skip
    return at % x.ndim


def normal_axes(x: Node, axis: Any, where: str) -> tuple[int, ...]:
    """Return the axes that ``axis`` names (None: all), ascending."""
    require_tensor(x, where)
    if axis is None:
        return tuple(range(x.ndim))
    given = axis if is_list(axis) else (axis,)
    found = sorted(normal_axis(x, a, where) for a in given)
    if len(set(found)) < len(found):
        raise ArgumentError(f"{where}, axis", "an axis is named twice", expected="different axes", got=axis,
                            remedy="Name each once")  # fmt: skip
    return tuple(found)


# reshape

RESHAPE = TensorOp(
    "reshape", NodeKind.VIEW, view=lambda node, access: access.reshape(node.shape)
)  # fmt: skip


def _is_several(value: Any) -> bool:
    is_one = isinstance(value, str) or not isinstance(value, Iterable)
    return not is_one and getattr(cast("object", value), "ndim", 1) == 1


def reshape(x: NodeT, *shape: Any) -> NodeT:
    """Return the elements in row-major order in another shape, one length of which may be -1."""
    require_tensor(x, "reshape")
    wanted = tuple(items(shape[0], "reshape")) if len(shape) == 1 and _is_several(shape[0]) else shape
    sizes = [
        numbers.whole(n, "reshape", least=-1, remedy="Pass the size of each axis, one of which may be -1")
        for n in wanted
    ]
    known = math.prod(n for n in sizes if n != -1)
    if sizes.count(-1) == 1 and known > 0:
        sizes[sizes.index(-1)] = x.size // known
    if math.prod(sizes) != x.size or any(n < 0 for n in sizes):
        raise ShapeError(
            "reshape", "the elements do not fit", expected=f"a shape of {x.size} elements, for {x.shape}", got=wanted,
            remedy="Match the number of elements",
        )  # fmt: skip
    return with_shape(x, tuple(sizes))


def with_shape(x: NodeT, shape: tuple[int, ...]) -> NodeT:
    """Return the elements in another shape, which has as many."""
    return x if x.shape == shape else make(RESHAPE, [x], shape, x.dtype)


def flatten(x: NodeT, start: int = 0) -> NodeT:
    """Return the tensor with all axes from ``start`` on as one.

    Args:
        x: Tensor of any shape.
        start: First axis that is joined.

    Returns:
        Tensor of fewer axes, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.
    """
    require_tensor(x, "flatten")
    start = normal_axis(x, start, "flatten") if x.ndim or not isinstance(start, int) or start else 0
    return reshape(x, (*x.shape[:start], math.prod(x.shape[start:])))


def expand_dims(x: NodeT, axis: int) -> NodeT:
    """Return the tensor with a new axis of length 1 at ``axis``.

    Args:
        x: Tensor of any shape.
        axis: Place of the new axis.

    Raises:
        ArgumentError: An operand is no tensor; not a whole number.
        IndexOutside: There is no such place.
    """
    require_tensor(x, "expand_dims")
    last, at = x.ndim, numbers.whole(axis, "expand_dims, axis")
    if not -1 - last <= at <= last:
        raise IndexOutside("expand_dims, axis", "there is no such place", expected=f"{-1 - last} to {last}", got=at,
                           remedy=f"The tensor has shape {x.shape}")  # fmt: skip
    at %= last + 1
    return reshape(x, (*x.shape[:at], 1, *x.shape[at:]))


def squeeze(x: NodeT, axis: Any = None) -> NodeT:
    """Return the tensor without the axes named (None: all), which have length 1.

    Args:
        x: Tensor of any shape.
        axis: Axis, or several in a tuple, of length 1; None: all of length 1.

    Returns:
        Tensor of the axes that are longer than 1, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.
        ShapeError: An axis is longer than 1.
    """
    require_tensor(x, "squeeze")
    drop = {a for a, n in enumerate(x.shape) if n == 1} if axis is None else set(normal_axes(x, axis, "squeeze"))
    if any(x.shape[a] != 1 for a in drop):
        raise ShapeError("squeeze", "an axis is longer than 1", expected="axes of length 1", got=x.shape,
                         remedy="Leave it")  # fmt: skip
    return reshape(x, tuple(n for a, n in enumerate(x.shape) if a not in drop))


# permute

PERMUTE = TensorOp(
    "permute", NodeKind.VIEW, view=lambda node, access: access.permute(node.attributes[0]),
)  # fmt: skip


def permute(x: NodeT, axes: Sequence[int]) -> NodeT:
    """Return the tensor with its axes in another order.

    Args:
        x: Tensor of any shape.
        axes: Order of the axes.

    Raises:
        ArgumentError: An operand is no tensor; not one for each; not an order of the axes.
        DTypeError: An axis is no integer.
    """
    order = tuple(normal_axis(x, a, "permute") for a in items(axes, "permute, axes", "axes"))
    if sorted(order) != list(range(x.ndim)):
        raise ArgumentError("permute", "not an order of the axes", expected=f"0 to {x.ndim - 1}, each once",
                            got=order, remedy=f"The tensor has shape {x.shape}")  # fmt: skip
    if order == tuple(range(x.ndim)):
        return x
    return make(PERMUTE, [x], tuple(x.shape[a] for a in order), x.dtype, (order,))


def transpose(x: NodeT, first: int = -1, second: int = -2) -> NodeT:
    """Return the tensor with two axes exchanged, by default the last two.

    Args:
        x: Tensor of any shape.
        first: Axis.
        second: Axis it is exchanged with.

    Returns:
        Tensor of the axes exchanged, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.
    """
    a, b = normal_axis(x, first, "transpose"), normal_axis(x, second, "transpose")
    order = list(range(x.ndim))
    order[a], order[b] = b, a
    return permute(x, order)


# reverse

REVERSE = TensorOp(
    "reverse", NodeKind.VIEW, view=lambda node, access: access.reverse(node.attributes[0]),
)  # fmt: skip


def reverse(x: NodeT, axis: Any = None) -> NodeT:
    """Return the tensor with the order of its elements reversed along axes (None: all).

    Args:
        x: Tensor of any shape.
        axis: Axis, negative ones counted from the end.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor; an axis is named twice.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.
    """
    axes = normal_axes(x, axis, "reverse")
    return make(REVERSE, [x], x.shape, x.dtype, (axes,)) if axes else x


# broadcast


BROADCAST = TensorOp(
    "broadcast", NodeKind.VIEW, view=lambda node, access: access.broadcast(node.shape),
)  # fmt: skip


def broadcast_to(x: NodeT, shape: Sequence[int]) -> NodeT:
    """Return the tensor with axes of length 1, and new ones in front, repeated to ``shape``.

    Args:
        x: Tensor of any shape.
        shape: Lengths of the result.

    Raises:
        ArgumentError: An operand is no tensor.
        ShapeError: Not a shape; the shape does not broadcast.
    """
    require_tensor(x, "broadcast")
    wanted = as_shape(shape, "broadcast")
    if x.shape == wanted:
        return x
    new = len(wanted) - x.ndim
    if new < 0 or any(n not in (1, m) for n, m in zip(x.shape, wanted[new:], strict=True)):
        raise ShapeError("broadcast", "the shape does not broadcast", expected=f"a shape that {x.shape} extends to",
                         got=wanted, remedy="Reshape it first")  # fmt: skip
    return make(BROADCAST, [x], wanted, x.dtype)


# slices

SLICE = TensorOp(
    "slice", NodeKind.VIEW,
    view=lambda node, access: access.slice(node.attributes[0], node.attributes[1], node.shape),
)  # fmt: skip


def take_slices(x: NodeT, starts: Sequence[int], steps: Sequence[int], shape: Sequence[int]) -> NodeT:
    """Return ``shape`` elements, every ``steps``-th from ``starts`` on along each axis, which must be there."""
    if tuple(shape) == x.shape and not any(starts):
        return x
    return make(SLICE, [x], tuple(shape), x.dtype, (tuple(starts), tuple(steps)))


def slice_by(x: NodeT, key: Any) -> NodeT:
    """Return ``x[key]``: ints, slices, ``...`` and None."""
    keys: list[Any] = list(cast("tuple[Any, ...]", key)) if isinstance(key, tuple) else [key]
    count = sum(k is not None and k is not Ellipsis for k in keys)
    dots = [n for n, k in enumerate(keys) if k is Ellipsis]
    if count > x.ndim or len(dots) > 1:
        raise ArgumentError("tensor[...]", "too many indices", expected=f"at most {x.ndim}", got=count,
                            remedy=f"The tensor has shape {x.shape}")  # fmt: skip
    at = dots[0] if dots else len(keys)
    keys[at : at + 1] = [slice(None)] * (x.ndim - count)
    starts: list[int] = []
    steps: list[int] = []
    sizes: list[int] = []
    shape: list[int] = []
    backwards: list[int] = []
    axis = 0
    for k in keys:
        if k is None:
            shape.append(1)
            continue
        start, step, size = slice_range(k, x.shape[axis], axis)
        if step < 0:
            start, step = start + (size - 1) * step if size else 0, -step
            backwards.append(axis)
        starts.append(start)
        steps.append(step)
        sizes.append(size)
        if isinstance(k, slice):
            shape.append(size)
        axis += 1
    found = take_slices(x, starts, steps, sizes)
    return reshape(reverse(found, tuple(backwards)) if backwards else found, tuple(shape))


def slice_range(key: Any, n: int, axis: int) -> tuple[int, int, int]:
    """Return start, step and number of elements of one index."""
    if isinstance(key, slice):
        try:
            start, stop, step = key.indices(n)
        except (TypeError, ValueError):
            raise DTypeError("tensor[...]", "not a slice of ints", expected="ints, the step not 0",
                             got=repr(cast("object", key)), remedy="Slice with whole numbers") from None  # fmt: skip
        return start, step, len(range(start, stop, step))
    if isinstance(key, bool) or not isinstance(key, (int, np.integer)):
        is_mask = getattr(key, "dtype", None) in (bool_, np.dtype(bool)) or isinstance(key, (bool, np.bool_))
        remedy = (
            "Use tensor.where, or loom.data.filter" if is_mask else "Use tensor.gather for indices that are a tensor"
        )
        raise DTypeError("tensor[...]", "not an index", expected="an int, a slice, ... or None",
                         got="bools" if is_mask else repr(cast("object", key)), remedy=remedy)  # fmt: skip
    at = int(cast("SupportsInt", key))
    if not -n <= at < n:
        raise IndexOutside("tensor[...]", f"index {at} is outside axis {axis}", expected=f"{-n} to {n - 1}",
                            got=at, remedy="Check the shape")  # fmt: skip
    return at % n, 1, 1


# windows


def _window_access(node: Node, access: StridedLayout) -> StridedLayout:
    axes, _, steps, dilations = cast("tuple[tuple[int, ...], ...]", node.attributes)
    strides = list(access.strides)
    for a, step in zip(axes, steps, strict=True):
        strides[a] *= step
    inner = tuple(access.strides[a] * d for a, d in zip(axes, dilations, strict=True))
    return StridedLayout(node.shape, (*strides, *inner), access.offset)


WINDOWS = TensorOp("windows", NodeKind.VIEW, view=_window_access)


def windows(
    x: NodeT, axes: Sequence[int], sizes: Sequence[int], steps: Sequence[int], dilations: Sequence[int] | None = None
) -> NodeT:
    """Return every window of ``sizes`` along ``axes``: the axes count windows, new last axes the places in one.

    Windows begin ``steps`` apart, and their elements lie ``dilations`` apart (default 1). Nothing is copied.

    Args:
        x: Tensor of any shape.
        axes: Axes of the windows.
        sizes: Lengths of the windows.
        steps: Steps between them.
        dilations: Steps within them.

    Raises:
        ArgumentError: Not one for each; an operand is no tensor; not a whole number.
        DTypeError: An axis is no integer.
        ShapeError: A window does not fit an axis; not one number for each axis.
        IndexOutside: There is no such axis.
    """
    axes = [normal_axis(x, a, "windows") for a in items(axes, "windows, axes", "axes")]
    spread = [1] * len(axes) if dilations is None else dilations
    sizes, steps, spread = ([numbers.whole(n, "windows") for n in items(each, "windows", "whole numbers")]
                            for each in (sizes, steps, spread))  # fmt: skip
    if {len(sizes), len(steps), len(spread)} != {len(axes)}:
        raise ShapeError("windows", "not one number for each axis", expected=f"{len(axes)} sizes, steps and dilations",
                         got=f"{len(sizes)}, {len(steps)} and {len(spread)}", remedy="Match them")  # fmt: skip
    shape = list(x.shape)
    for a, size, step, gap in zip(axes, sizes, steps, spread, strict=True):
        reach = (size - 1) * gap + 1
        if size < 1 or step < 1 or gap < 1 or reach > x.shape[a]:
            raise ShapeError(
                "windows",
                f"a window does not fit axis {a}",
                expected=f"at most {x.shape[a]} elements",
                got=f"{size}, {gap} apart, in steps of {step}",
                remedy="Pad, or use a smaller one",
            )
        shape[a] = (x.shape[a] - reach) // step + 1
    what = tuple(axes), tuple(sizes), tuple(steps), tuple(spread)
    return make(WINDOWS, [x], (*shape, *sizes), x.dtype, what)


# gradients led elsewhere

DETACH = TensorOp("detach", NodeKind.VIEW, view=lambda _node, access: access, takes_complex=True)
ROUTE = TensorOp("route", NodeKind.VIEW, view=lambda _node, access: access, takes_complex=True)


def detach(x: NodeT) -> NodeT:
    """Return the tensor as a constant: no gradient goes through it; known elements stand for themselves.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    require_tensor(x, "detach")
    if x.data is not None and x.lent is None and not x.op.is_written:
        found = type(x)(KNOWN, (), x.shape, x.dtype, data=x.data, device=x.device)
        x.shared = found.shared = True
        found.is_fast = x.is_fast
        return found
    return make(DETACH, [x], x.shape, x.dtype)


def routed(result: NodeT, sources: Sequence[NodeT], vjp: Any) -> NodeT:
    """Return ``result`` with a derivative of its own: ``vjp(node, g)`` gives those of ``sources``,
    which are ``node.inputs`` but for the last.

    ``vjp`` takes sources from there, as a handle that it has itself may be assigned to before gradients are asked for.

    Args:
        result: Tensor whose values count.
        sources: Tensors that gradients go to.
        vjp: Function of a gradient that returns one for each source.
    """
    held = tensors_of(vjp)
    assert not any(x is y for x in held for y in sources), "a derivative takes its sources from node.inputs"
    return make(ROUTE, [*sources, result], result.shape, result.dtype, (keeping_precision(vjp) if in_force() else vjp,))
