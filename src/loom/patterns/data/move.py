"""``gather`` and ``scatter``: elements or rows from given places, and to given places.

Layer: patterns. Indices are checked on the device, and the first one outside is told. Invariant: of several
elements for one place the last one gets it, whatever ran first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from loom.core.dtype import INTEGERS, i64, u32
from loom.core.errors import ArgumentError, DTypeError, ShapeError
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
from loom.patterns.arrays import Arrays, element
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device
from loom.tensor import Tensor

__all__ = ["gather", "pick", "scatter"]


def gather(data: Any, indices: Any, *, on: str | Device | None = None) -> Any:
    """Return ``data[indices]``: elements of an array, or rows of one with more dimensions.

    ``indices``: integers of any type and shape; negative ones count from the end. The result has the shape of
    ``indices``, then that of a row, and the dtype of ``data`` (any). ArgumentError tells the first index outside.

    >>> gather([10, 20, 30], [2, 0, -1]).tolist()
    [30, 10, 30]
    """
    call = Arrays("data.gather", on, data, indices)
    x = call.input(data)
    _require_dimension(call, x, "data")
    return call.result(pick(call, x, _indices_of(call, indices)))


def scatter(data: Any, indices: Any, target: Any, *, on: str | Device | None = None) -> Any:
    """Return a copy of ``target`` with ``data[i]`` (an element or row) at place ``indices[i]``.

    ``indices``: integers of the shape that ``data`` begins with; negative ones count from the end. ``target``: an
    array of the dtype of ``data``, or an int, which stands for so many zeros. Of several elements for one place
    the one at the highest position gets it. ArgumentError tells the first index outside, ShapeError and
    DTypeError what does not fit.

    >>> scatter([7, 8, 9], [4, 0, 4], 5).tolist()
    [8, 0, 0, 0, 9]
    """
    call = Arrays("data.scatter", on, data, indices, target)
    x = call.input(data)
    places = _indices_of(call, indices)
    row = x.shape[places.ndim :]
    if x.shape[: places.ndim] != places.shape:
        raise ShapeError(
            f"{call.name}, indices", "of another shape", expected=f"what {x.shape} begins with", got=places.shape,
            remedy="Give one index per element or row",
        )  # fmt: skip
    base = _target(call, target, x, row)
    rows = base.shape[0]
    if not base.size:
        _require_inside(call, places, 0 if places.size and not rows else NO_FAULT, rows)
        return call.result(call.made(np.empty(base.shape, x.dtype.numpy), x.dtype))

    def record(chain: Chain, *slots: HostSlot) -> None:
        _record_scatter(chain, slots, x, places, base)

    fault, key = _no_fault(call), (x.dtype, places.dtype, places.size, rows, base.size)
    (out,) = call.run(key, record, [x, places, base, fault], (base.shape, x.dtype))
    _require_inside(call, places, element(fault), rows)
    return call.result(out)


def _no_fault(call: Arrays) -> Tensor:
    """Return where kernels tell the position of the first index outside."""
    return call.made(np.array([NO_FAULT], np.uint32), u32)


def _require_dimension(call: Arrays, x: Tensor, what: str) -> None:
    if not x.ndim:
        raise ShapeError(
            f"{call.name}, {what}", "has no dimension", expected="at least 1", got=0, remedy="Pass an array"
        )


def _indices_of(call: Arrays, indices: Any) -> Tensor:
    """Return indices; a list without any is one of integers."""
    found = call.input(indices, "indices")
    if not found.size and not found.dtype.is_integer and not hasattr(indices, "dtype"):
        return call.made(np.empty(found.shape, np.int64), i64)
    if found.dtype not in INTEGERS:
        raise DTypeError(
            f"{call.name}, indices", "unsupported dtype", expected="one of " + ", ".join(map(str, INTEGERS)),
            got=found.dtype, remedy="Convert first, or use data.filter for a mask",
        )  # fmt: skip
    return found


def pick(call: Arrays, x: Tensor, indices: Tensor) -> Tensor:
    """Return the elements or rows of ``x`` at checked indices."""
    rows, shape, n = x.shape[0], indices.shape + x.shape[1:], indices.size
    if not rows or not math.prod(shape):
        _require_inside(call, indices, 0 if n and not rows else NO_FAULT, rows)
        return call.made(np.empty(shape, x.dtype.numpy), x.dtype)
    width = x.size // rows

    def record(chain: Chain, source: HostSlot, places: HostSlot, fault: HostSlot, out: HostSlot) -> None:
        if width == 1:
            kernel, params, groups = gather_elements(x.dtype, indices.dtype), [n, rows], -(-n // MOVE_LANES)
        else:
            kernel, params, groups = gather_rows(x.dtype, indices.dtype), [rows, width], n
        chain.dispatch(kernel, [source, places, out, fault], params, groups=groups)

    fault, key = _no_fault(call), ("gather", x.dtype, indices.dtype, x.size, rows, n)
    (out,) = call.run(key, record, [x, indices, fault], (shape, x.dtype))
    _require_inside(call, indices, element(fault), rows)
    return out


def _require_inside(call: Arrays, indices: Tensor, fault: int, rows: int) -> None:
    """Raise for the first index outside, which is at position ``fault``."""
    if fault == NO_FAULT:
        return
    least = -rows if indices.dtype.is_signed else 0
    raise ArgumentError(
        f"{call.name}, indices", f"the index at position {fault} is outside",
        expected=f"{least} to {rows - 1}" if rows else "no indices, as there is nothing",
        got=element(indices, fault), remedy="Check the indices",
    )  # fmt: skip


def _target(call: Arrays, target: Any, x: Tensor, row: tuple[int, ...]) -> Tensor:
    """Return what elements are placed into."""
    where = f"{call.name}, target"
    if isinstance(target, (int, np.integer)) and not isinstance(target, bool):
        places = int(cast("int", target))
        if not 0 <= places <= NO_FAULT:
            raise ArgumentError(
                where, "unusable number of places", expected=f"0 to {NO_FAULT}", got=places, remedy="Stay within it"
            )
        return call.made(np.zeros((places, *row), x.dtype.numpy), x.dtype)
    base = call.input(target, "target", dtype=x.dtype)
    if base.dtype != x.dtype:
        raise DTypeError(where, "of another type than data", expected=x.dtype, got=base.dtype, remedy="Convert one")
    _require_dimension(call, base, "target")
    if base.shape[1:] != row:
        raise ShapeError(
            where, "its rows have another shape", expected=row, got=base.shape[1:], remedy="Match the rows of data"
        )
    return base


def _record_scatter(chain: Chain, slots: Sequence[HostSlot], x: Tensor, indices: Tensor, base: Tensor) -> None:
    rows, width = base.shape[0], base.size // base.shape[0]
    source, places, target, fault, out = slots
    claims = chain.device.allocate(rows * u32.nbytes)
    chain.dispatch(clear_words(), [claims], [rows], groups=-(-rows // 64))
    if indices.size:
        groups = -(-indices.size // MOVE_LANES)
        chain.dispatch(claim_places(indices.dtype), [places, claims, fault], [indices.size, rows], groups=groups)
    if width == 1:
        kernel, params, groups = place_elements(x.dtype), [rows], -(-rows // MOVE_LANES)
    else:
        kernel, params, groups = place_rows(x.dtype), [width], rows
    chain.dispatch(kernel, [source, claims, target, out], params, groups=groups)
