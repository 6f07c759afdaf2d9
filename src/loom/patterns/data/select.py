"""``filter`` and ``compact``: the elements that are kept, in their order.

Layer: patterns. Invariant: the elements kept are those of the input, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.dtype import bool_, i64, u32
from loom.core.errors import DTypeError, ShapeError
from loom.core.given import flag
from loom.kernels.move.compact import clear_words
from loom.patterns.array_calls import Arrays, element, first
from loom.patterns.data.move import pick
from loom.patterns.maps.map import as_operation, map_elements
from loom.patterns.own_operations import Operation
from loom.patterns.tensor_rows import answer
from loom.runtime.port.device import Device
from loom.schedules.compact import record_kept
from loom.tensor import Tensor
from loom.tensor.record.draft import Draft
from loom.tensor.record.graph import Node

__all__ = ["compact", "filter"]


def filter(data: Any, mask: Any, *, on: str | Device | None = None) -> Any:  # noqa: A001
    """Return the elements of ``data`` whose mask is true, in their order, in one dimension.

    ``mask`` is an array of bools of the shape of ``data``, one bool per row of it (the rows are kept whole), or a
    Python function of one element, compiled as for ``gpu_map``. Every dtype is taken; elements keep their bits.
    ShapeError for other shapes, DTypeError for a mask that is not of bools.

    Args:
        data: Array (n, ...) of any dtype.
        mask: Array of bools of the shape of ``data`` or (n,), or a function of one element that gives a bool.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Array (k,) of elements, or (k, ...) of rows.

    Raises:
        ArgumentError: Arrays on several devices.
        DTypeError: Not numbers; a mask that is not of bools; not a device.
        ShapeError: A mask of another shape.
        KernelError: A function that is outside the kernel language.

    >>> filter([3, 1, 4, 1, 5], lambda x: x > 2).tolist()
    [3, 4, 5]
    >>> filter([3, 1, 4], [True, False, True]).tolist()
    [3, 4]
    """
    is_asked = callable(mask)
    if is_asked:
        Arrays("data.filter", on, data).input(data)
        mask = map_elements("data.filter, mask", as_operation(mask, "data.filter, mask"), [data], None, on)
    options = {"asked": is_asked, "strict": isinstance(mask, np.ndarray), "on": on}
    found = _cut(answer("data.filter", _filter, [data, mask], options, ("data", "mask"), apart=(1,)))
    return found if _shape(data) == _shape(mask) else pick("data.filter", data, found, on)


def _shape(x: Any) -> tuple[int, ...]:
    return tuple(getattr(x, "shape", None) or np.shape(x))


def compact(data: Any, *, indices: bool = False, on: str | Device | None = None) -> Any:
    """Return the elements of ``data`` that are not zero (or False), in their order, in one dimension.

    -0 is a zero, NaN is none. With ``indices`` the result is (elements, positions): int64 positions in ``data``,
    read row by row. Every dtype is taken.

    Args:
        data: Array of any shape and dtype.
        indices: Whether positions are returned too.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Array (k,), with ``indices`` a pair of it and of positions (k,), int64.

    Raises:
        ArgumentError: ``indices`` is no truth; an array on another device than ``on``.
        DTypeError: Not numbers; not a device.

    >>> compact([0, 7, 0, 9]).tolist()
    [7, 9]
    >>> compact([0, 7, 0, 9], indices=True)[1].tolist()
    [1, 3]
    """
    flag(indices, "data.compact, indices")
    found = _cut(answer("data.compact", _compact, [data], {"on": on}))
    return (found, _cut(answer("data.compact", _positions, [data], {"on": on}))) if indices else found


def _record(draft: Draft, node: Node, mask: Any, *buffers: Any) -> None:
    *source, out, count = buffers
    flags, (whole,) = node.inputs[0], node.attributes[0]
    if flags.size:
        elements = (node.inputs[-1].dtype, source[0] if source else mask) if whole else None
        record_kept(draft, flags.dtype, flags.size, mask, out, count, elements)
    else:
        draft.dispatch(clear_words(), [count], [1])


_KEEP = Operation("data.filter", _record)


def _keep(flags: Tensor, x: Tensor | None) -> tuple[Tensor, ...]:
    """Return places for elements of ``x`` (None: their positions) whose flag is not zero, and how many there are."""
    kind = (flags.size,), i64 if x is None else x.dtype
    operands = [flags] if x is None or x is flags else [flags, x]
    return tuple(_KEEP.several(operands, [kind, ((1,), u32)], x is not None))


def _compact(x: Tensor) -> tuple[Tensor, ...]:
    return _keep(x, x)


def _positions(x: Tensor) -> tuple[Tensor, ...]:
    return _keep(x, None)


def _filter(x: Tensor, flags: Tensor, *, asked: bool, strict: bool) -> tuple[Tensor, ...]:
    where = "data.filter, mask"
    if flags.dtype != bool_ and (flags.size or strict):
        raise DTypeError(where, "not a mask", expected="bool", got=flags.dtype,
                         remedy="Return a comparison" if asked else "Compare, for example mask != 0")  # fmt: skip
    if flags.shape not in (x.shape, x.shape[:1]):
        raise ShapeError(
            where, "of another shape", expected=f"{x.shape}, or {x.shape[:1]} for rows", got=flags.shape,
            remedy="Give one bool per element or per row",
        )  # fmt: skip
    return _keep(flags, x if flags.shape == x.shape else None)


def _cut(found: tuple[Any, Any]) -> Any:
    return first(found[0], element(found[1]), shared=True)
