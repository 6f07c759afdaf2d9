"""``gpu_dot`` and ``gpu_norm``: sums of products in the canonical order of sums.

Layer: patterns. Every product is rounded, then added (no fused multiply-add). Invariant: the bits depend on the
elements and their number alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from loom.core.dtype import DType, f32, f64
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.numerics import REDUCE_TILE
from loom.core.promotion import is_number
from loom.kernels.fold.lanes import dot_tiles, square_root
from loom.kernels.types import read_type, wide_type
from loom.patterns.operand_kinds import require_ndim
from loom.patterns.own_operations import Operation
from loom.patterns.tensor_rows import row
from loom.runtime.port.device import Device
from loom.schedules.axis import Rows
from loom.schedules.fold import Folding, record_fold
from loom.tensor import Tensor
from loom.tensor.ops.elementwise import cast
from loom.tensor.ops.reductions import sum_of
from loom.tensor.record.draft import Draft
from loom.tensor.record.graph import Node

__all__ = ["gpu_dot", "gpu_norm"]

_NORMS = {1: "magnitudes", 2: "squares", math.inf: "largest"}


def _record_dot(draft: Draft, node: Node, a: Any, b: Any, out: Any) -> None:
    n, dtype = node.inputs[0].size, node.inputs[0].dtype
    (wide, result), element, tiles = wide_type(dtype), read_type(dtype), -(-n // REDUCE_TILE)
    sums = out if tiles == 1 else draft.device.allocate(tiles * wide.nbytes)
    draft.dispatch(dot_tiles(element, wide, result if tiles == 1 else wide), [a, b, sums], [n], groups=tiles)
    if tiles > 1:
        record_fold(draft, sums, Rows(1, tiles), Folding("sum", wide, wide, result), out)


def _record_norm(draft: Draft, node: Node, data: Any, out: Any) -> None:
    kind, wide = node.attributes[0]
    x, rows = node.inputs[0], Rows(1, node.inputs[0].size)
    if kind != "squares":
        record_fold(draft, data, rows, Folding(kind, read_type(x.dtype), wide, read_type(node.dtype)), out)
        return
    total = draft.device.allocate(wide.nbytes)
    record_fold(draft, data, rows, Folding(kind, read_type(x.dtype), wide, wide), total)
    draft.dispatch(square_root(wide, node.dtype), [total, out], [], groups=1)


_DOT, _NORM = Operation("gpu_dot", _record_dot), Operation("gpu_norm", _record_norm)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    require_ndim(x, 1, "gpu_dot, a")
    require_ndim(y, 1, "gpu_dot, b")
    if y.dtype != x.dtype:
        raise DTypeError("gpu_dot, b", "vectors of different dtypes", expected=x.dtype, got=y.dtype,
                         remedy="Convert one")  # fmt: skip
    if y.shape != x.shape:
        raise ShapeError("gpu_dot, b", "vectors of different lengths", expected=x.size, got=y.size,
                         remedy="Match the lengths")  # fmt: skip
    return _DOT([x, y], (), wide_type(x.dtype)[1]) if x.size else sum_of(x)


def _norm(x: Tensor, ord: float = 2) -> Tensor:  # noqa: A002 - numpy's name
    kind = _NORMS.get(ord) if is_number(ord) and not isinstance(ord, (bool, np.bool_)) else None
    if kind is None:
        raise ArgumentError("gpu_norm, ord", "no such norm", expected="1, 2 or inf", got=repr(ord),
                            remedy="Use one of them")  # fmt: skip
    result: DType = x.dtype if x.dtype.is_float else f64
    wide = f32 if result.storage_only else result
    return _NORM([x], (), result, kind, wide) if x.size else sum_of(cast(x, result))


@row(_dot, 2)
def gpu_dot(a: Any, b: Any, *, on: str | Device | None = None) -> Any:
    """Return the dot product of two vectors of the same length and dtype.

    Floats keep their dtype: products are rounded, then added in the canonical order of ``gpu_sum`` (f16 and bf16
    in f32, rounded once). Integers and bools give int64, unsigned ones uint64, wrapping beyond. No elements give 0; a
    NaN gives NaN. Raises ShapeError for other shapes, DTypeError for different dtypes.

    >>> gpu_dot([1.0, 2.0], [3.0, 4.0]).item()
    11.0
    """


@row(_norm)
def gpu_norm(data: Any, ord: float = 2, *, on: str | Device | None = None) -> Any:  # noqa: A002 - numpy's name
    """Return the norm of all elements of ``data`` (any shape): ``ord`` 2 (Euclidean), 1 (sum of magnitudes) or inf.

    2: the root of the canonical sum of the rounded squares, nothing scaled: above about 1.8e19 (f32) or 1.3e154
    (f64) squares overflow to inf, and below 1e-23 or 1e-162 they vanish. 1: the canonical sum of magnitudes;
    inf: the largest one. Floats keep their dtype (f16 and bf16 are computed in f32); integers and bools are taken as
    float64. No elements give 0; a NaN gives NaN. ArgumentError for another ``ord``.

    >>> gpu_norm([3.0, 4.0]).item()
    5.0
    """
