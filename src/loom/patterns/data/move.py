"""``gather`` and ``scatter``: elements or rows from given places, and to given places.

Layer: patterns. Indices are checked on the device, and the first one outside is told. Invariant: of several
elements for one place the last one gets it, whatever ran first.
"""

from __future__ import annotations

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
from loom.patterns.calling.call import Call, Operand
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device

__all__ = ["gather", "indices_of", "pick", "scatter"]


def gather(data: Any, indices: Any, *, on: str | Device | None = None) -> Any:
    """Return ``data[indices]``: elements of an array, or rows of one with more dimensions.

    ``indices``: integers of any type and shape; negative ones count from the end. The result has the shape of
    ``indices``, then that of a row, and the dtype of ``data`` (any). ArgumentError tells the first index outside.

    >>> gather([10, 20, 30], [2, 0, -1]).tolist()
    [30, 10, 30]
    """
    call = Call("data.gather", on)
    x = call.input(data)
    _require_dimension(call, x, "data")
    return call.result(pick(call, x, indices_of(call, indices)))


def scatter(data: Any, indices: Any, target: Any, *, on: str | Device | None = None) -> Any:
    """Return a copy of ``target`` with ``data[i]`` (an element or row) at place ``indices[i]``.

    ``indices``: integers of the shape that ``data`` begins with; negative ones count from the end. ``target``: an
    array of the dtype of ``data``, or an int, which stands for so many zeros. Of several elements for one place
    the one at the highest position gets it. ArgumentError tells the first index outside, ShapeError and
    DTypeError what does not fit.

    >>> scatter([7, 8, 9], [4, 0, 4], 5).tolist()
    [8, 0, 0, 0, 9]
    """
    call = Call("data.scatter", on)
    x = call.input(data)
    places = indices_of(call, indices)
    row = x.shape[len(places.shape) :]
    if x.shape[: len(places.shape)] != places.shape:
        raise ShapeError(
            f"{call.name}, indices", "of another shape", expected=f"what {x.shape} begins with", got=places.shape,
            remedy="Give one index per element or row",
        )  # fmt: skip
    base = _target(call, target, x, row)
    out = call.output(base.shape, x.dtype, like=x)
    if not out.size:
        _require_inside(call, places, 0 if places.size and not base.shape[0] else NO_FAULT, base.shape[0])
        return call.result(out)
    fault, claims = call.output(1, u32), call.output(base.shape[0], u32)
    fault.write(NO_FAULT)
    key = (call.name, x.dtype, places.dtype, places.size, base.shape[0], out.size)

    def record(chain: Chain, *slots: HostSlot) -> None:
        _record_scatter(chain, slots, x, places, base)

    call.run(key, record, x, places, base, fault, claims, out)
    _require_inside(call, places, fault.item(), base.shape[0])
    return call.result(out)


def _require_dimension(call: Call, x: Operand, what: str) -> None:
    if not x.shape:
        raise ShapeError(
            f"{call.name}, {what}", "has no dimension", expected="at least 1", got=0, remedy="Pass an array"
        )


def indices_of(call: Call, indices: Any) -> Operand:
    """Return indices; a list without any is one of integers."""
    found = call.input(indices, "indices")
    if not found.size and not found.dtype.is_integer and not hasattr(indices, "dtype"):
        return Operand(np.empty(found.shape, np.int64), i64)
    if found.dtype not in INTEGERS:
        raise DTypeError(
            f"{call.name}, indices", "unsupported dtype", expected="one of " + ", ".join(map(str, INTEGERS)),
            got=found.dtype, remedy="Convert first, or use data.filter for a mask",
        )  # fmt: skip
    return found


def pick(call: Call, x: Operand, indices: Operand) -> Operand:
    """Return the elements or rows of ``x`` at checked indices."""
    rows, row = x.shape[0], x.shape[1:]
    out = call.output(indices.shape + row, x.dtype, like=x)
    if not out.size or not rows:
        _require_inside(call, indices, 0 if indices.size and not rows else NO_FAULT, rows)
    if not out.size:
        return out
    fault = call.output(1, u32)
    fault.write(NO_FAULT)
    key = (call.name, "gather", x.dtype, indices.dtype, x.size, rows, indices.size)
    n, width = indices.size, x.size // rows

    def record(chain: Chain, source: HostSlot, places: HostSlot, fault: HostSlot, out: HostSlot) -> None:
        if width == 1:
            kernel, params, groups = gather_elements(x.dtype, indices.dtype), [n, rows], -(-n // MOVE_LANES)
        else:
            kernel, params, groups = gather_rows(x.dtype, indices.dtype), [rows, width], n
        chain.dispatch(kernel, [source, places, out, fault], params, groups=groups)

    call.run(key, record, x, indices, fault, out)
    _require_inside(call, indices, fault.item(), rows)
    return out


def _require_inside(call: Call, indices: Operand, fault: int, rows: int) -> None:
    """Raise for the first index outside, which is at position ``fault``."""
    if fault == NO_FAULT:
        return
    least = -rows if indices.dtype.is_signed else 0
    raise ArgumentError(
        f"{call.name}, indices", f"the index at position {fault} is outside",
        expected=f"{least} to {rows - 1}" if rows else "no indices, as there is nothing",
        got=indices.item(fault), remedy="Check the indices",
    )  # fmt: skip


def _target(call: Call, target: Any, x: Operand, row: tuple[int, ...]) -> Operand:
    """Return what elements are placed into."""
    where = f"{call.name}, target"
    if isinstance(target, (int, np.integer)) and not isinstance(target, bool):
        places = int(cast("int", target))
        if not 0 <= places <= NO_FAULT:
            raise ArgumentError(
                where, "unusable number of places", expected=f"0 to {NO_FAULT}", got=places, remedy="Stay within it"
            )
        base = call.output((places, *row), x.dtype, like=x)
        base.write(0)
        return base
    base = call.input(target, "target", dtype=x.dtype)
    if base.dtype != x.dtype:
        raise DTypeError(where, "of another type than data", expected=x.dtype, got=base.dtype, remedy="Convert one")
    _require_dimension(call, base, "target")
    if base.shape[1:] != row:
        raise ShapeError(
            where, "its rows have another shape", expected=row, got=base.shape[1:], remedy="Match the rows of data"
        )
    return base


def _record_scatter(chain: Chain, slots: Sequence[HostSlot], x: Operand, indices: Operand, base: Operand) -> None:
    rows, width = base.shape[0], base.size // base.shape[0]
    source, places, target, fault, claims, out = slots
    chain.dispatch(clear_words(), [claims], [rows], groups=-(-rows // 64))
    if indices.size:
        groups = -(-indices.size // MOVE_LANES)
        chain.dispatch(claim_places(indices.dtype), [places, claims, fault], [indices.size, rows], groups=groups)
    if width == 1:
        kernel, params, groups = place_elements(x.dtype), [rows], -(-rows // MOVE_LANES)
    else:
        kernel, params, groups = place_rows(x.dtype), [width], rows
    chain.dispatch(kernel, [source, claims, target, out], params, groups=groups)
