"""``filter`` and ``compact``: the elements that are kept, in their order.

Layer: patterns. Invariant: the elements kept are those of the input, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.dtype import DType, bool_, i64, u32
from loom.core.errors import DTypeError, ShapeError
from loom.core.given import flag
from loom.kernels.move import compact as one_lane
from loom.kernels.move import compact_threads as many_lanes
from loom.kernels.move.compact import KEEP_TILE
from loom.patterns.calling.call import Call, Operand
from loom.patterns.data.move import gathered
from loom.patterns.maps.map import gpu_map
from loom.runtime.chain import Chain
from loom.runtime.device import Device
from loom.runtime.storage import HostSlot

__all__ = ["compact", "filter"]


def filter(data: Any, mask: Any, *, on: str | Device | None = None) -> Any:  # noqa: A001
    """Return the elements of ``data`` whose mask is true, in their order, in one dimension.

    ``mask`` is an array of bools of the shape of ``data``, one bool per row of it (the rows are kept whole), or a
    Python function of one element, compiled as for ``gpu_map``. Every dtype is taken; elements keep their bits.
    ShapeError for other shapes, DTypeError for a mask that is not of bools.

    >>> filter([3, 1, 4, 1, 5], lambda x: x > 2).tolist()
    [3, 4, 5]
    >>> filter([3, 1, 4], [True, False, True]).tolist()
    [3, 4]
    """
    call = Call("data.filter", on)
    x = call.input(data)
    flags = call.input(gpu_map(data, mask, on=on) if callable(mask) else mask, "mask")
    if flags.dtype != bool_ and (flags.size or isinstance(mask, np.ndarray)):
        raise DTypeError(
            f"{call.name}, mask", "not a mask", expected="bool", got=flags.dtype,
            remedy="Compare, for example mask != 0" if not callable(mask) else "Return a comparison",
        )  # fmt: skip
    if flags.shape == x.shape:
        return call.result(kept(call, x, flags))
    if flags.shape != x.shape[:1]:
        raise ShapeError(
            f"{call.name}, mask", "of another shape", expected=f"{x.shape}, or {x.shape[:1]} for rows",
            got=flags.shape, remedy="Give one bool per element or per row",
        )  # fmt: skip
    return call.result(gathered(call, x, kept(call, None, flags)))


def compact(data: Any, *, indices: bool = False, on: str | Device | None = None) -> Any:
    """Return the elements of ``data`` that are not zero (or False), in their order, in one dimension.

    -0 is a zero, NaN is none. With ``indices`` the result is (elements, positions): int64 positions in ``data``,
    read row by row. Every dtype is taken.

    >>> compact([0, 7, 0, 9]).tolist()
    [7, 9]
    >>> compact([0, 7, 0, 9], indices=True)[1].tolist()
    [1, 3]
    """
    call, indices = Call("data.compact", on), flag(indices, "data.compact, indices")
    x = call.input(data)
    found = call.result(kept(call, x, x))
    return (found, call.result(kept(call, None, x))) if indices else found


def kept(call: Call, x: Operand | None, flags: Operand) -> Operand:
    """Return the elements of ``x`` (None: their positions) whose flag is not zero."""
    n, dtype = flags.size, i64 if x is None else x.dtype
    room = call.output(n, dtype, like=x)
    found = call.output(1, u32)
    if not n:
        return room
    key = (call.name, "keep", None if x is None else x.dtype, flags.dtype, n, x is flags)
    operands = [flags, room, found] if x is None or x is flags else [x, flags, room, found]
    call.run(key, lambda chain: _record(chain, None if x is None else x.dtype, flags, x is flags), *operands)
    size = found.item()
    if size > n // 2:
        return room.first(size)
    fitting = call.output(size, dtype, like=x)  # so that what is left out of a large array takes no memory
    fitting.take(room)
    return fitting


def _record(chain: Chain, element: DType | None, flags: Operand, is_one: bool) -> tuple[list[HostSlot], Any]:
    n, tiles = flags.size, -(-flags.size // KEEP_TILE)
    mask, out, found = (
        HostSlot(flags.nbytes), HostSlot(n * (i64 if element is None else element).nbytes), HostSlot(u32.nbytes),
    )  # fmt: skip
    x = [] if element is None else [mask if is_one else HostSlot(n * element.nbytes)]
    counts, starts = (chain.device.allocate(tiles * u32.nbytes) for _ in range(2))
    if chain.device.caps.threads:
        count, add = many_lanes.lane_count_kept(flags.dtype), many_lanes.lane_add_counts(u32)
        positions, elements = many_lanes.lane_keep_positions, many_lanes.lane_keep_elements
    else:
        count, add = one_lane.count_kept(flags.dtype), one_lane.add_counts(u32)
        positions, elements = one_lane.keep_positions, one_lane.keep_elements
    chain.dispatch(count, [mask, counts], [n], groups=tiles)
    chain.dispatch(add, [counts, starts, found], [tiles], groups=1)
    move = positions(flags.dtype) if element is None else elements(element, flags.dtype)
    chain.dispatch(move, [*x, mask, starts, out], [n], groups=tiles)
    slots = [mask, out, found] if is_one or element is None else [*x, mask, out, found]
    return slots, [counts, starts]
