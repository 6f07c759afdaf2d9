"""``gpu_sum``, ``gpu_min``, ``gpu_max``, ``gpu_mean``: one number from an array.

Layer: patterns. Sums of floats follow the canonical order (``kernels.reduce``), so they depend on the
elements and their number alone. Invariant: the same array gives the same bits on every device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.dtype import DType, bf16, f32, f64, i64, u8, u64
from loom.core.numerics import REDUCE_TILE
from loom.kernels.reduce import EXTREME_TILE, divide_by_count, extreme_tiles, sum_tiles
from loom.patterns.inputs import as_array, require_elements
from loom.patterns.prepared import prepare
from loom.runtime.chain import Chain
from loom.runtime.device import Device, device
from loom.runtime.storage import HostSlot, Storage

__all__ = ["gpu_max", "gpu_mean", "gpu_min", "gpu_sum"]


def gpu_sum(data: Any, *, on: str | Device | None = None) -> Any:
    """Return the sum of all elements of ``data`` (any shape), in the canonical order.

    Floats keep their dtype (f16 and bf16 are added in f32 and rounded once); integers and bools give
    int64, unsigned ones uint64, wrapping beyond. No elements give 0. Raises DTypeError for anything
    but numbers.

    >>> gpu_sum([1.5, 2.5]).item()
    4.0
    """
    array, dtype = _input(data, "gpu_sum")
    _, _, result = _sum_types(dtype)
    out = np.zeros(1, result.numpy)
    if array.size:
        where = device(on)
        prepare(("gpu_sum", dtype, array.size), where, lambda c: _record_sum(c, dtype, array.size)).run(array, out)
    return _scalar(out, array, result)


def gpu_mean(data: Any, *, on: str | Device | None = None) -> Any:
    """Return the mean of all elements of ``data``: the canonical sum divided by their number.

    Floats keep their dtype; integers and bools give float64, those of 64 bits being added as float64 since
    their sum may have no integer type. EmptyError if there are no elements.

    >>> gpu_mean([1, 2, 4, 5]).item()
    3.0
    """
    array, dtype = _input(data, "gpu_mean")
    require_elements(array, "gpu_mean", "mean")
    *_, result = _mean_types(dtype)
    out = np.zeros(1, result.numpy)
    where = device(on)
    prepare(("gpu_mean", dtype, array.size), where, lambda c: _record_mean(c, dtype, array.size)).run(array, out)
    return _scalar(out, array, result)


def gpu_min(data: Any, *, on: str | Device | None = None) -> Any:
    """Return the smallest element of ``data``, in its dtype; NaN if there is one, and -0 is below +0.

    EmptyError if there are no elements.

    >>> gpu_min([3, 1, 2]).item()
    1
    """
    return _extreme(data, on, largest=False)


def gpu_max(data: Any, *, on: str | Device | None = None) -> Any:
    """Return the largest element of ``data``, in its dtype; NaN if there is one, and +0 is above -0.

    EmptyError if there are no elements.

    >>> gpu_max([3, 1, 2]).item()
    3
    """
    return _extreme(data, on, largest=True)


def _extreme(data: Any, on: str | Device | None, *, largest: bool) -> Any:
    name = "gpu_max" if largest else "gpu_min"
    array, dtype = _input(data, name)
    require_elements(array, name, "maximum" if largest else "minimum")
    out = np.zeros(1, dtype.numpy)
    where = device(on)
    prepare((name, dtype, array.size), where, lambda c: _record_extreme(c, dtype, array.size, largest)).run(array, out)
    return out.view(array.dtype)[0]


def _input(data: Any, where: str) -> tuple[np.ndarray[Any, Any], DType]:
    """Return the array and the type its elements are read as: a bool is a byte that holds 0 or 1."""
    array, dtype = as_array(data, where)
    return array, u8 if dtype.is_bool else dtype


def _scalar(out: np.ndarray[Any, Any], array: np.ndarray[Any, Any], result: DType) -> Any:
    """Return the result; one of bf16 in the dtype of the array, as numpy itself has none."""
    return out.view(array.dtype)[0] if result == bf16 else out[0]


def _sum_types(dtype: DType) -> tuple[DType, DType, DType]:
    """Return the types of elements, accumulators and result of a sum."""
    if dtype.is_integer:
        wide = i64 if dtype.is_signed else u64
        return dtype, wide, wide
    return (dtype, f32, dtype) if dtype.storage_only else (dtype, dtype, dtype)


def _mean_types(dtype: DType) -> tuple[DType, DType, DType]:
    """Return the types of the sum, of the division and of the result of a mean."""
    if dtype.is_integer:
        _, wide, _ = _sum_types(dtype)
        return (f64 if dtype.bits == 64 else wide), f64, f64
    return (f32, f32, dtype) if dtype.storage_only else (dtype, dtype, dtype)


def _fold(
    chain: Chain, source: Storage, size: int, kernels: Sequence[Any], element: DType, result: Storage, tile: int
) -> list[Storage]:
    """Record a reduction to one element; ``kernels`` are for the first, later, and last levels."""
    first, later, last = kernels
    kept: list[Storage] = []
    level = 0
    while True:
        tiles = -(-size // tile)
        is_last = tiles == 1
        target = result if is_last else chain.device.allocate(tiles * element.nbytes)
        kernel = (first if level == 0 else later) if not is_last else last[min(level, 1)]
        chain.dispatch(kernel, [source, target], [size], groups=tiles)
        if is_last:
            return kept
        kept.append(target)
        source, size, level = target, tiles, level + 1


def _record_sum(chain: Chain, dtype: DType, size: int) -> tuple[list[HostSlot], Any]:
    element, wide, result = _sum_types(dtype)
    x, out = HostSlot(size * dtype.nbytes), HostSlot(result.nbytes)
    last = sum_tiles(element, wide, result), sum_tiles(wide, wide, result)
    kernels = sum_tiles(element, wide, wide), sum_tiles(wide, wide, wide), last
    return [x, out], _fold(chain, x, size, kernels, wide, out, REDUCE_TILE)


def _record_mean(chain: Chain, dtype: DType, size: int) -> tuple[list[HostSlot], Any]:
    wide, computed, result = _mean_types(dtype)
    x, out = HostSlot(size * dtype.nbytes), HostSlot(result.nbytes)
    total = chain.device.allocate(wide.nbytes)
    last = sum_tiles(dtype, wide, wide), sum_tiles(wide, wide, wide)
    kept = _fold(chain, x, size, (last[0], last[1], last), wide, total, REDUCE_TILE)
    chain.dispatch(divide_by_count(wide, computed, result), [total, out], [size], groups=1)
    return [x, out], [kept, total]


def _record_extreme(chain: Chain, dtype: DType, size: int, largest: bool) -> tuple[list[HostSlot], Any]:
    x, out = HostSlot(size * dtype.nbytes), HostSlot(dtype.nbytes)
    kernel = extreme_tiles(dtype, largest=largest)
    return [x, out], _fold(chain, x, size, (kernel, kernel, (kernel, kernel)), dtype, out, EXTREME_TILE)
