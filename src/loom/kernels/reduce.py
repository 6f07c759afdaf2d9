"""Reductions: sums in the canonical order, minima and maxima, and the mean's last step.

Layer: kernels. One workgroup of 64 lanes folds one tile of 4096 elements: lane l takes elements
64 i + l with i ascending, then a halving tree joins the lanes. Applying the kernel to its own results
until one is left reduces any length. Invariant: the order depends on the length alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from loom.core.dtype import DType, f32, i32, i64, u32
from loom.core.numerics import REDUCE_LANES, REDUCE_TILE
from loom.ir.frontend.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, bitcast, group_id, local_id, select, shared, static_range

__all__ = ["divide_by_count", "extreme_tiles", "sum_tiles"]

_ROWS = REDUCE_TILE // REDUCE_LANES
_HALVES = tuple(REDUCE_LANES >> k for k in range(1, REDUCE_LANES.bit_length()))


@cache
def sum_tiles(element: DType, accumulator: DType, result: DType) -> KernelFunction:
    """Return the kernel (x, out, n) that sums tile g of ``x`` into ``out[g]``; one group per tile.

    Elements are converted to ``accumulator`` before they are added, and the tile's sum to ``result``.
    """

    @kernel(workgroup=REDUCE_LANES, trusted=True)
    def tiles(x: In[element], out: Out[result], n: u32):  # type: ignore[valid-type]
        lane = local_id()
        first = group_id() * REDUCE_TILE
        total = accumulator(0)
        if n - first >= REDUCE_TILE:
            for row in range(_ROWS):
                total = total + accumulator(x[first + row * REDUCE_LANES + lane])
        else:
            for at in range(first + lane, n, REDUCE_LANES):
                total = total + accumulator(x[at])
        lanes = shared(accumulator, REDUCE_LANES)
        lanes[lane] = total
        barrier()
        for half in static_range(len(_HALVES)):
            if lane < _HALVES[half]:
                lanes[lane] = lanes[lane] + lanes[lane + _HALVES[half]]
            barrier()
        if lane == 0:
            out[group_id()] = result(lanes[0])

    tiles.name = f"sum_{element}_{accumulator}_{result}"
    return tiles


def _minimum(a: Any, b: Any) -> Any:
    return min(a, b)


def _maximum(a: Any, b: Any) -> Any:
    return max(a, b)


@dataclass(frozen=True)
class _Fold:
    """How a lane folds elements: ``start`` are its first two words, ``enter`` makes them of an element."""

    start: tuple[Any, Any]
    enter: Callable[[Any], Any]
    leave: Callable[[Any, Any], Any]


def _integer_fold(held: DType, *, largest: bool) -> _Fold:
    start = held(held.minimum if largest else held.maximum), u32(0)
    return _Fold(start, enter=lambda v: (v, u32(0)), leave=lambda best, _: best)


def _float_fold(held: DType, *, largest: bool) -> _Fold:
    """Floats as integers of the same order, beside their largest magnitude, which tells of a NaN.

    Two comparisons of integers take less time than one of floats that obeys NaN and the sign of zero.
    Source: the sign-magnitude order of IEEE 754-2019, section 5.10.
    """
    signed, infinity = (i32, 0x7F80_0000) if held == f32 else (i64, 0x7FF << 52)
    magnitude, shift = signed.maximum, signed.bits - 1

    def flipped(bits: Any) -> Any:
        return bits ^ ((bits >> shift) & magnitude)

    def enter(v: Any) -> Any:
        bits = bitcast(signed, v)
        return flipped(bits), bits & magnitude

    def leave(best: Any, greatest: Any) -> Any:
        return select(greatest > infinity, held(float("nan")), bitcast(held, flipped(best)))

    return _Fold((signed(~infinity if largest else infinity), signed(0)), enter, leave)


@cache
def extreme_tiles(element: DType, *, largest: bool) -> KernelFunction:
    """Return the kernel (x, out, n) that finds the extreme of tile g of ``x``; NaN wins, -0 is below +0.

    Every lane starts from the least (or greatest) value, which changes nothing: a tile has an element.
    """
    better = _maximum if largest else _minimum
    held = f32 if element.storage_only else element  # f16 and bf16 are read as f32
    fold = (_float_fold if held.is_float else _integer_fold)(held, largest=largest)
    enter, leave = fold.enter, fold.leave

    @kernel(workgroup=REDUCE_LANES, trusted=True)
    def tiles(x: In[element], out: Out[element], n: u32):  # type: ignore[valid-type]
        lane = local_id()
        first = group_id() * REDUCE_TILE
        best, greatest = fold.start
        if n - first >= REDUCE_TILE:
            for row in range(_ROWS):
                key, size = enter(x[first + row * REDUCE_LANES + lane])
                best, greatest = better(best, key), max(greatest, size)
        else:
            for at in range(first + lane, n, REDUCE_LANES):
                key, size = enter(x[at])
                best, greatest = better(best, key), max(greatest, size)
        lanes = shared(held, REDUCE_LANES)
        lanes[lane] = leave(best, greatest)
        barrier()
        for half in static_range(len(_HALVES)):
            if lane < _HALVES[half]:
                lanes[lane] = better(lanes[lane], lanes[lane + _HALVES[half]])
            barrier()
        if lane == 0:
            out[group_id()] = lanes[0]

    tiles.name = f"{'max' if largest else 'min'}_{element}"
    return tiles


@cache
def divide_by_count(total: DType, computed: DType, result: DType) -> KernelFunction:
    """Return the kernel (total, out, n): ``out[0] = total[0] / n``, divided in ``computed``."""

    @kernel(workgroup=1, trusted=True)
    def divide(total_of: In[total], out: Out[result], n: u32):  # type: ignore[valid-type]
        out[0] = result(computed(total_of[0]) / computed(n))

    divide.name = f"mean_{total}_{computed}_{result}"
    return divide
