"""``gpu_sum``, ``gpu_product``, ``gpu_min``, ``gpu_max``, ``gpu_mean``: one number from an array or from each row.

Layer: patterns. Sums and products of floats follow the canonical order (``kernels.fold.tiles``), so they depend on the
elements and their number alone; along an axis each row has the bits it has as an array of its own. Invariant: the
same array gives the same bits on every device.
"""

from __future__ import annotations

from typing import Any

from loom.patterns.axis import along, normal_axis, require_elements
from loom.patterns.tensor_rows import row
from loom.runtime.port.device import Device
from loom.tensor import Tensor
from loom.tensor.ops.reductions import mean_of, sum_of

__all__ = ["gpu_max", "gpu_mean", "gpu_min", "gpu_product", "gpu_sum", "mean_of_some"]


def _sum(x: Tensor, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
    return sum_of(x, None if axis is None else normal_axis(x.shape, axis, "gpu_sum"), keepdims=keepdims)


def mean_of_some(x: Tensor, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
    """Return means; EmptyError of none, for which tensors have NaN."""
    require_elements(x, axis, "gpu_mean", "mean")
    return mean_of(x, axis, keepdims=keepdims)


@row(_sum)
def gpu_sum(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return the sum of all elements of ``data`` (any shape), or of each row along ``axis``, in the canonical order.

    Floats keep their dtype (f16 and bf16 are added in f32 and rounded once); integers and bools give int64,
    unsigned ones uint64, wrapping beyond. No elements give 0; a NaN gives NaN. ``keepdims`` keeps the
    axis with length 1. Raises DTypeError for anything but numbers, ArgumentError for an axis there is not.

    >>> gpu_sum([1.5, 2.5]).item()
    4.0
    >>> gpu_sum([[1, 2], [3, 4]], axis=0).tolist()
    [4, 6]
    """


@row(along("prod"))
def gpu_product(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return the product of all elements of ``data``, or of each row along ``axis``, in the order of ``gpu_sum``.

    Dtypes as for ``gpu_sum``; integers wrap in 64 bits. No elements give 1; a NaN gives NaN. The bits are the same
    everywhere, the error is not small for every input: where all factors are within a few ulp of 1, the short products
    of a tile round off what the factors differ from it in second order.

    >>> gpu_product([2.0, 3.0, 4.0]).item()
    24.0
    """


@row(along("min", "minimum"))
def gpu_min(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return the smallest element of ``data``, or of each row along ``axis``, in its dtype.

    NaN if there is one, and -0 is below +0. EmptyError if there are no elements to choose from.

    >>> gpu_min([3, 1, 2]).item()
    1
    """


@row(along("max", "maximum"))
def gpu_max(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return the largest element of ``data``, or of each row along ``axis``, in its dtype.

    NaN if there is one, and +0 is above -0. EmptyError if there are no elements to choose from.

    >>> gpu_max([3, 1, 2]).item()
    3
    """


@row(mean_of_some)
def gpu_mean(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return the mean of all elements of ``data``, or of each row along ``axis``: the sum divided by their number.

    Floats keep their dtype; integers and bools give float64, those of 64 bits being added as float64 since
    their sum may have no integer type. EmptyError if there are no elements.

    >>> gpu_mean([1, 2, 4, 5]).item()
    3.0
    """
