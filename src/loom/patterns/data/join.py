"""``join``: which elements of two arrays of keys are equal.

Layer: patterns. The right keys are sorted with their positions, the left ones looked up. Invariant: pairs come in
the order of the left position, then of the right one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from loom.core.dtype import i64, u32, u64
from loom.core.errors import ArgumentError, DTypeError, ShapeError, near_matches
from loom.kernels.types import read_type
from loom.patterns.array_calls import Arrays, element
from loom.patterns.data.sorted_keys import comparable
from loom.patterns.data.texts import is_text, number_together
from loom.patterns.sort import sort_pairs
from loom.runtime.port.device import Device
from loom.schedules.compact import Pairing
from loom.tensor import Tensor
from loom.tensor.run.eager import evaluate

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

    Args:
        left_keys: Array (n,) of any dtype, or texts.
        right_keys: Array (m,) of the same dtype, or texts.
        how: "inner" or "left".
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        ``Pairs``: two arrays (pairs,) of int64.

    Raises:
        ArgumentError: No such join; arrays on several devices.
        DTypeError: Neither numbers nor texts; keys of two dtypes; not a device.
        ShapeError: Not one dimension each; 2^32 pairs or more.

    >>> pairs = join([3, 1, 2], [1, 3, 3])
    >>> pairs.left.tolist(), pairs.right.tolist()
    ([0, 0, 1], [1, 2, 0])
    """
    if not isinstance(how, str) or how not in _HOW:
        raise ArgumentError(
            "data.join, how", f"no join is called {how!r}", expected="'inner' or 'left'",
            remedy=near_matches(str(how), _HOW),
        )  # fmt: skip
    if is_text(left_keys) or is_text(right_keys):
        left_keys, right_keys = number_together(left_keys, right_keys, "data.join")
    call = Arrays("data.join", on, left_keys, right_keys)
    left = call.input(left_keys, "left_keys", ndim=1)
    right = call.input(right_keys, "right_keys", ndim=1, dtype=left.dtype if left.size else None)
    if not left.size and not hasattr(left_keys, "dtype"):
        left = call.lend(np.empty(0, right.dtype.numpy), right.dtype)
    if left.dtype != right.dtype:
        raise DTypeError(
            "data.join", "keys of different types", expected=left.dtype, got=right.dtype, remedy="Convert one of them"
        )
    if not left.size:
        return Pairs(*(call.result(call.lend(np.empty(0, np.int64), i64)) for _ in range(2)))
    return call.result(_pair(call, comparable(left), comparable(right), outer=how == "left"))


def _pair(call: Arrays, left: Tensor, right: Tensor, *, outer: bool) -> Pairs:
    n, m = left.size, right.size
    pairing = Pairing(read_type(left.dtype), n, m, outer)
    if m:
        in_order, positions = sort_pairs(right, None)
        evaluate([in_order, positions])
    else:
        in_order, positions = (
            call.lend(np.empty(1, left.dtype.numpy), left.dtype),
            call.lend(np.empty(1, np.int64), i64),
        )
    kinds = ((n,), u32), ((n,), u32), ((pairing.tiles,), u64), ((1,), u64)
    lows, counts, starts, total = call.run(("find", pairing), pairing.record_matches, [left, in_order], *kinds)
    size = element(total)
    if size > _MOST:
        raise ShapeError("data.join", "too many pairs", expected="less than 2^32", got=size, remedy="Join in parts")
    if not size:
        return Pairs(*(call.lend(np.empty(0, np.int64), i64) for _ in range(2)))
    operands = [lows, counts, positions, starts]
    return Pairs(*call.run(("write", pairing, size), pairing.record_pairs, operands, *[((size,), i64)] * 2))
