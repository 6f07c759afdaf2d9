"""``join``: which elements of two arrays of keys are equal.

Layer: patterns. The right keys are sorted with their positions, the left ones looked up. Invariant: pairs come in
the order of the left position, then of the right one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from loom.core.dtype import i64, u32, u64
from loom.core.errors import ArgumentError, DTypeError, ShapeError, near_matches
from loom.kernels.sort.keys import Order, Records
from loom.kernels.types import read_type
from loom.patterns.calling.call import Call, Operand
from loom.patterns.data.sorted_keys import comparable
from loom.patterns.data.texts import is_text, number_together
from loom.patterns.sort import run_sort
from loom.runtime.port.device import Device
from loom.schedules.compact import Pairing

__all__ = ["Pairs", "join"]

_HOW = ("inner", "left")
_MOST = 0xFFFF_FFFF


class Pairs(NamedTuple):
    """Positions of equal keys, int64: pair p is ``left[p]`` of the left keys and ``right[p]`` of the right ones."""

    left: Any
    right: Any


def join(left_keys: Any, right_keys: Any, how: str = "inner", *, on: str | Device | None = None) -> Pairs:
    """Return the positions of all pairs of equal keys, in the order of the left position, then of the right one.

    Keys have one dimension and one dtype, any (a list on the right is read as that of the left), or are texts.
    ``how``: "inner", or "left", where a left key without an equal is paired with -1. -0 equals +0, and NaN equals NaN.
    ``gather`` with the positions joins the columns. DTypeError for two dtypes, ArgumentError for another ``how``,
    ShapeError if there are 2^32 pairs or more.

    >>> pairs = join([3, 1, 2], [1, 3, 3])
    >>> pairs.left.tolist(), pairs.right.tolist()
    ([0, 0, 1], [1, 2, 0])
    """
    if not isinstance(how, str) or how not in _HOW:
        raise ArgumentError(
            "data.join, how", f"no join is called {how!r}", expected="'inner' or 'left'",
            remedy=near_matches(str(how), _HOW),
        )  # fmt: skip
    call = Call("data.join", on)
    if is_text(left_keys) or is_text(right_keys):
        left_keys, right_keys = number_together(left_keys, right_keys, "data.join")
    left = call.input(left_keys, "left_keys", ndim=1)
    right = call.input(right_keys, "right_keys", ndim=1, dtype=left.dtype if left.size else None)
    if not left.size and not hasattr(left_keys, "dtype"):
        left = Operand(np.empty(0, right.kind), right.dtype)
    if left.dtype != right.dtype:
        raise DTypeError(
            "data.join", "keys of different types", expected=left.dtype, got=right.dtype, remedy="Convert one of them"
        )
    if not left.size:
        return Pairs(*(call.result(call.output(0, i64)) for _ in range(2)))
    return _pair(call, comparable(call, left), comparable(call, right), outer=how == "left")


def _pair(call: Call, left: Operand, right: Operand, *, outer: bool) -> Pairs:
    n, m = left.size, right.size
    pairing = Pairing(read_type(left.dtype), n, m, outer)
    in_order, positions = call.output(max(m, 1), left.dtype), call.output(max(m, 1), i64)
    if m:
        run_sort(call, Records(Order(right.dtype), "index"), right, 1, keys=in_order, payloads=positions)
    lows, counts = call.output(n, u32), call.output(n, u32)
    starts, total = call.output(pairing.tiles, u64), call.output(1, u64)

    call.run(("data.join", "find", pairing), pairing.record_matches, left, in_order, lows, counts, starts, total)
    size = total.item()
    if size > _MOST:
        raise ShapeError("data.join", "too many pairs", expected="less than 2^32", got=size, remedy="Join in parts")
    lefts, rights = call.output(size, i64), call.output(size, i64)
    if size:
        key = ("data.join", "write", pairing, size)
        call.run(key, pairing.record_pairs, lows, counts, positions, starts, lefts, rights)
    return Pairs(call.result(lefts), call.result(rights))
