"""Products whose results are known, which a library has to get right before it is used.

Layer: runtime. All numbers are small and whole, so that any order of sums gives the same bits in every type; sides
differ, and no matrix is symmetric, so that a wrong layout, stride or type is a wrong result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from loom.core.dtype import DType, bf16, f16, f32
from loom.runtime.plans.library import DenseProduct, SparseProduct

__all__ = ["Probe", "dense_probes", "sparse_probe"]

Array = np.ndarray[Any, Any]
Probe = tuple[DenseProduct | SparseProduct, tuple[Array, ...], Array]
"""A call, its operands as they are stored, and its result."""
_M, _N, _K, _BATCHES = 3, 5, 4, 2


def dense_probes() -> Iterator[Probe]:
    """Yield products of every type, stored either way, and of batches of which all share one matrix or none."""
    for element, result in ((f32, f32), (f16, f16), (f16, f32), (bf16, bf16), (bf16, f32)):
        for turned in ((False, False), (True, False), (False, True), (True, True)):
            for batches, a_shared, b_shared in (
                (1, False, False),
                (2, False, False),
                (2, True, False),
                (2, False, True),
            ):
                a = _whole((1 if a_shared else batches, _M, _K), 3)
                b = _whole((1 if b_shared else batches, _K, _N), 5)
                call = DenseProduct(_M, _N, _K, element, result, *turned, batches, a_shared, b_shared)
                stored = [x.swapaxes(1, 2) if flip else x for x, flip in zip((a, b), turned, strict=True)]
                yield call, (_as(stored[0], element), _as(stored[1], element)), _as(a @ b, result)


def sparse_probe() -> Probe:
    """Return a product of a matrix of which one row is empty."""
    heads, columns = np.array([0, 2, 2, 5], np.uint32), np.array([1, 3, 0, 2, 3], np.uint32)
    values, dense = _whole((5,), 7), _whole((_K, _N), 5)
    matrix = np.zeros((_M, _K), np.float32)
    matrix[[0, 0, 2, 2, 2], columns] = values
    return SparseProduct(_M, _N, _K, 5, f32), (heads, columns, values, dense), matrix @ dense


def _whole(shape: tuple[int, ...], step: int) -> Array:
    """Return whole numbers from -5 to 5."""
    count = int(np.prod(shape))
    return ((np.arange(count) * step + 1) % 11 - 5).astype(np.float32).reshape(shape)


def _as(x: Array, dtype: DType) -> Array:
    """Return whole numbers as they are stored; those below 256 are their upper bits as bf16."""
    if dtype == bf16:
        return (np.ascontiguousarray(x, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return np.ascontiguousarray(x, dtype.numpy)
