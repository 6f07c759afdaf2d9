"""``filter`` and ``compact``: the elements that are kept, in their order.

Layer: patterns. Invariant: the elements kept are those of the input, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.dtype import bool_, i64, u32
from loom.core.errors import DTypeError, ShapeError
from loom.core.given import flag
from loom.patterns.arrays import Arrays, element, first, seen_as
from loom.patterns.data.move import pick
from loom.patterns.maps.map import gpu_map
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device
from loom.schedules.compact import record_kept
from loom.tensor import Tensor

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
    is_asked = callable(mask)
    if is_asked:
        Arrays("data.filter", on, data).input(data)
        mask = gpu_map(data, mask, on=on)
    call = Arrays("data.filter", on, data, mask)
    x, flags = call.input(data), call.input(mask, "mask")
    if flags.dtype != bool_ and (flags.size or isinstance(mask, np.ndarray)):
        raise DTypeError(
            f"{call.name}, mask", "not a mask", expected="bool", got=flags.dtype,
            remedy="Return a comparison" if is_asked else "Compare, for example mask != 0",
        )  # fmt: skip
    if flags.shape == x.shape:
        return call.result(_keep(call, x, flags))
    if flags.shape != x.shape[:1]:
        raise ShapeError(
            f"{call.name}, mask", "of another shape", expected=f"{x.shape}, or {x.shape[:1]} for rows",
            got=flags.shape, remedy="Give one bool per element or per row",
        )  # fmt: skip
    return call.result(pick(call, x, _keep(call, None, flags)))


def compact(data: Any, *, indices: bool = False, on: str | Device | None = None) -> Any:
    """Return the elements of ``data`` that are not zero (or False), in their order, in one dimension.

    -0 is a zero, NaN is none. With ``indices`` the result is (elements, positions): int64 positions in ``data``,
    read row by row. Every dtype is taken.

    >>> compact([0, 7, 0, 9]).tolist()
    [7, 9]
    >>> compact([0, 7, 0, 9], indices=True)[1].tolist()
    [1, 3]
    """
    call, indices = Arrays("data.compact", on, data), flag(indices, "data.compact, indices")
    x = call.input(data)
    found = _keep(call, x, x)
    return call.result((found, _keep(call, None, x)) if indices else found)


def _keep(call: Arrays, x: Tensor | None, flags: Tensor) -> Tensor:
    """Return the elements of ``x`` (None: their positions) whose flag is not zero."""
    n, dtype = flags.size, i64 if x is None else x.dtype
    if not n:
        return call.made(np.empty(0, dtype.numpy), dtype)

    def record(chain: Chain, mask: HostSlot, *slots: HostSlot) -> None:
        *source, out, count = slots
        elements = None if x is None else (x.dtype, source[0] if source else mask)
        record_kept(chain, flags.dtype, n, mask, out, count, elements)

    operands = [flags] if x is None or x is flags else [flags, x]
    key = "keep", None if x is None else x.dtype, flags.dtype, n, len(operands)
    room, count = call.run(key, record, operands, ((n,), dtype), ((1,), u32))
    size = element(count)
    return seen_as(room, (size,), dtype) if size > n // 2 else first(room, size)
