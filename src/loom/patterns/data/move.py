"""``gather`` and ``scatter``: elements or rows from given places, and to given places.

Layer: patterns. Indices are checked on the device, and the first one outside is told. Invariant: of several
elements for one place the last one gets it, whatever ran first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.arrays import read_array
from loom.core.dtype import INTEGERS, u32
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.given import is_int, is_list
from loom.kernels.maps.nest import number
from loom.kernels.move.compact import (
    MOVE_LANES,
    NO_FAULT,
    claim_places,
    clear_words,
    gather_elements,
    gather_rows,
    place_elements,
    place_rows,
)
from loom.patterns.array_calls import element
from loom.patterns.given import read_any
from loom.patterns.own_operations import Operation
from loom.patterns.tensor_rows import answer
from loom.runtime.port.device import Device
from loom.tensor import Tensor
from loom.tensor.creation.creation import zeros
from loom.tensor.ops.joining import fill
from loom.tensor.ops.views import reshape
from loom.tensor.record.draft import Draft
from loom.tensor.record.graph import Node

__all__ = ["gather", "pick", "scatter"]


def gather(data: Any, indices: Any, *, on: str | Device | None = None) -> Any:
    """Return ``data[indices]``: elements of an array, or rows of one with more dimensions.

    ``indices``: integers of any type and shape; negative ones count from the end. The result has the shape of
    ``indices``, then that of a row, and the dtype of ``data`` (any). ArgumentError tells the first index outside.

    Args:
        data: Array (n, ...) of any dtype.
        indices: Array of integers of any shape, from -n to n - 1.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Array of the dtype of ``data``, of the shape of ``indices``, then that of a row.

    Raises:
        ArgumentError: An index outside; arrays on several devices.
        DTypeError: Not numbers; indices that are no integers; not a device.
        ShapeError: ``data`` has no dimension.

    >>> gather([10, 20, 30], [2, 0, -1]).tolist()
    [30, 10, 30]
    """
    return pick("data.gather", data, _places(indices), on)


def scatter(data: Any, indices: Any, target: Any, *, on: str | Device | None = None) -> Any:
    """Return a copy of ``target`` with ``data[i]`` (an element or row) at place ``indices[i]``.

    ``indices``: integers of the shape that ``data`` begins with; negative ones count from the end. ``target``: an
    array of the dtype of ``data``, or an int, which stands for so many zeros. Of several elements for one place
    the one at the highest position gets it. ArgumentError tells the first index outside, ShapeError and
    DTypeError what does not fit.

    Args:
        data: Array (*shape, ...) of any dtype.
        indices: Array of integers of a shape that ``data`` begins with, from -m to m - 1.
        target: Array (m, ...) of the dtype of ``data``, or m itself, for zeros.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        Array (m, ...) of the dtype of ``data``.

    Raises:
        ArgumentError: An index outside; a number of places out of range; arrays on several devices.
        DTypeError: Not numbers; indices that are no integers; a target of another dtype; not a device.
        ShapeError: The shapes do not fit.

    >>> scatter([7, 8, 9], [4, 0, 4], 5).tolist()
    [8, 0, 0, 0, 9]
    """
    where, places = "data.scatter", _places(indices)
    options: dict[str, Any] = {"on": on}
    if is_list(target):
        target = read_array(target, f"{where}, target", dtype=read_any(where, data, on)[1])[0]
    operands = [data, places, target]
    if is_int(target):
        if not 0 <= target <= NO_FAULT:
            raise ArgumentError(f"{where}, target", "unusable number of places", expected=f"0 to {NO_FAULT}",
                                got=target, remedy="Stay within it")  # fmt: skip
        operands, options = [data, places], {"on": on, "rows": int(target)}
    out, fault = answer(where, _scatter, operands, options, ("data", "indices", "target"), apart=(1, 2))
    _require_inside(where, places, element(fault), out.shape[0])
    return out


def pick(where: str, data: Any, indices: Any, on: str | Device | None) -> Any:
    """Return the elements or rows of an array at checked indices."""
    out, fault = answer(where, _gather, [data, indices], {"on": on}, ("data", "indices"), apart=(1,))
    _require_inside(where, indices, element(fault), len(data))
    return out


def _places(indices: Any) -> Any:
    """Return indices; a list without any is one of integers."""
    if not is_list(indices):
        return indices
    try:
        found = np.asarray(indices)
    except ValueError:  # ragged: the reader says so
        return indices
    return indices if found.size else np.empty(found.shape, np.int64)


def _require_inside(where: str, indices: Any, fault: int, rows: int) -> None:
    """Raise for the first index outside, which is at position ``fault``."""
    if fault == NO_FAULT:
        return
    memory, dtype = read_any(where, indices)
    least = -rows if dtype.is_signed else 0
    raise ArgumentError(
        f"{where}, indices", f"the index at position {fault} is outside",
        expected=f"{least} to {rows - 1}" if rows else "no indices, as there is nothing",
        got=element(memory, fault), remedy="Check the indices",
    )  # fmt: skip


def _require_indices(where: str, x: Tensor, indices: Tensor) -> None:
    _require_dimension(f"{where}, data", x)
    if indices.dtype not in INTEGERS:
        raise DTypeError(
            f"{where}, indices", "unsupported dtype", expected="one of " + ", ".join(map(str, INTEGERS)),
            got=indices.dtype, remedy="Convert first, or use data.filter for a mask",
        )  # fmt: skip


def _require_dimension(where: str, x: Tensor) -> None:
    if not x.ndim:
        raise ShapeError(where, "has no dimension", expected="at least 1", got=0, remedy="Pass an array")


def _gather(x: Tensor, indices: Tensor) -> tuple[Tensor, ...]:
    _require_indices("data.gather", x, indices)
    return tuple(_GATHER.several([x, indices], [(indices.shape + x.shape[1:], x.dtype), ((1,), u32)]))


def _scatter(x: Tensor, places: Tensor, target: Tensor | None = None, *, rows: int = 0) -> tuple[Tensor, ...]:
    where = "data.scatter"
    row = x.shape[places.ndim :]
    _require_indices(where, reshape(x, (1,)) if x.size == 1 else x, places)
    if x.shape[: places.ndim] != places.shape:
        raise ShapeError(
            f"{where}, indices", "of another shape", expected=f"what {x.shape} begins with", got=places.shape,
            remedy="Give one index per element or row",
        )  # fmt: skip
    if target is None:
        target = zeros((rows, *row), x.dtype, on=x.device)
    if target.dtype != x.dtype:
        raise DTypeError(f"{where}, target", "of another type than data", expected=x.dtype, got=target.dtype,
                         remedy="Convert one")  # fmt: skip
    _require_dimension(f"{where}, target", target)
    if target.shape[1:] != row:
        raise ShapeError(f"{where}, target", "its rows have another shape", expected=row, got=target.shape[1:],
                         remedy="Match the rows of data")  # fmt: skip
    return tuple(_SCATTER.several([x, places, target], [(target.shape, x.dtype), ((1,), u32)]))


def _no_fault(draft: Draft, node: Node, rows: int, fault: Any) -> None:
    """Record that no index is outside; or that the first one is, where there is nothing."""
    n = node.inputs[1].size
    fill(draft, fault, 1, number(0 if n and not rows else NO_FAULT, u32))


def _record_gather(draft: Draft, node: Node, source: Any, places: Any, out: Any, fault: Any) -> None:
    x, indices = node.inputs
    rows, n = x.shape[0], indices.size
    _no_fault(draft, node, rows, fault)
    if x.size and n:
        width = x.size // rows
        if width == 1:
            kernel, params, groups = gather_elements(x.dtype, indices.dtype), [n, rows], -(-n // MOVE_LANES)
        else:
            kernel, params, groups = gather_rows(x.dtype, indices.dtype), [rows, width], n
        draft.dispatch(kernel, [source, places, out, fault], params, groups=groups)


def _record_scatter(draft: Draft, node: Node, source: Any, places: Any, target: Any, out: Any, fault: Any) -> None:
    x, indices, base = node.inputs
    rows = base.shape[0]
    _no_fault(draft, node, rows, fault)
    if not base.size:
        return
    width, claims = base.size // rows, draft.device.allocate(rows * u32.nbytes)
    draft.dispatch(clear_words(), [claims], [rows], groups=-(-rows // 64))
    if indices.size:
        groups = -(-indices.size // MOVE_LANES)
        draft.dispatch(claim_places(indices.dtype), [places, claims, fault], [indices.size, rows], groups=groups)
    if width == 1:
        kernel, params, groups = place_elements(x.dtype), [rows], -(-rows // MOVE_LANES)
    else:
        kernel, params, groups = place_rows(x.dtype), [width], rows
    draft.dispatch(kernel, [source, claims, target, out], params, groups=groups)


_GATHER, _SCATTER = Operation("data.gather", _record_gather), Operation("data.scatter", _record_scatter)
