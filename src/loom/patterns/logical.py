"""``gpu_any``, ``gpu_all``, ``gpu_count``: which elements are not zero.

Layer: patterns. Of floats both zeros are zero and NaN is not, as in numpy. Invariant: no order can be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.core.dtype import DType, bool_, i64, u8, u32
from loom.core.given import flag
from loom.kernels.types import read_type
from loom.patterns.axis import along, rows_of, shape_of_results
from loom.patterns.own_operations import Operation
from loom.patterns.tensor_rows import row
from loom.runtime.port.device import Device
from loom.schedules.fold import Folding, record_fold
from loom.tensor import Tensor
from loom.tensor.ops.views import expand_dims, reshape
from loom.tensor.record.draft import Draft
from loom.tensor.record.graph import Node

__all__ = ["gpu_all", "gpu_any", "gpu_count"]


def _record(draft: Draft, node: Node, x: Any, out: Any) -> None:
    rows, folding = node.attributes[0]
    record_fold(draft, x, rows, folding, out)


_FOLD = Operation("logical", _record)


def _as_fold(twin: str, name: str, accumulator: DType, result: DType) -> Callable[..., Tensor]:
    """Return the function of tensors called ``twin`` as one fold, where there is something to fold."""

    def one(x: Tensor, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
        rows = rows_of(x.shape, axis, twin)
        if not rows.n or not rows.results:
            return along(twin)(x, axis, keepdims=keepdims)
        folding = Folding(name, read_type(x.dtype), accumulator, read_type(result))
        found = _FOLD([x], shape_of_results(x.shape, axis, twin), result, rows, folding)
        if not flag(keepdims, f"{twin}, keepdims"):
            return found
        return reshape(found, (1,) * x.ndim) if axis is None else expand_dims(found, axis)

    return one


@row(_as_fold("any", "any", u8, bool_))
def gpu_any(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return whether any element of ``data`` (any dtype and shape), or of each row along ``axis``, is not zero.

    NaN is not zero. No elements give False. Bools. Raises DTypeError for anything but numbers, ArgumentError for
    an axis there is not.

    >>> bool(gpu_any([0, 0, 3]))
    True
    """


@row(_as_fold("all", "all", u8, bool_))
def gpu_all(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return whether all elements of ``data`` (any dtype and shape), or of each row along ``axis``, are not zero.

    NaN is not zero. No elements give True. Bools; errors as ``gpu_any``.

    >>> gpu_all([[1, 0], [2, 3]], axis=1).tolist()
    [False, True]
    """


@row(_as_fold("count_nonzero", "count", u32, i64))
def gpu_count(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return how many elements of ``data`` (any dtype and shape), or of each row along ``axis``, are not zero.

    NaN is not zero. No elements give 0. int64; errors as ``gpu_any``.

    >>> gpu_count([0.0, 2.5, -1.0]).item()
    2
    """
