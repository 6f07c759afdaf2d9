"""``gpu_sum``, ``gpu_product``, ``gpu_min``, ``gpu_max``, ``gpu_mean``: one number from an array or from each row.

Layer: patterns. Sums and products of floats follow the canonical order (``kernels.fold.tiles``), so they depend on the
elements and their number alone; along an axis each row has the bits it has as an array of its own. Invariant: the
same array gives the same bits on every device.
"""

from __future__ import annotations

from typing import Any

from loom.kernels.types import extreme_type, kinds, read_type, wide_type
from loom.patterns.axis import reduced_shape, rows_of
from loom.patterns.calling.call import Call, Operand
from loom.patterns.calling.inputs import require_elements
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device
from loom.schedules.fold import Folding, record_fold, record_means

__all__ = ["folded", "gpu_max", "gpu_mean", "gpu_min", "gpu_product", "gpu_sum", "mean_of"]


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
    call = Call("gpu_sum", on)
    x = call.input(data)
    wide, result = wide_type(x.dtype)
    return folded(call, x, Folding("sum", read_type(x.dtype), wide, result), axis, keepdims, empty=0)


def gpu_product(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return the product of all elements of ``data``, or of each row along ``axis``, in the order of ``gpu_sum``.

    Dtypes as for ``gpu_sum``; integers wrap in 64 bits. No elements give 1; a NaN gives NaN. The bits are the same
    everywhere, the error is not small for every input: where all factors are within a few ulp of 1, the short products
    of a tile round off what the factors differ from it in second order.

    >>> gpu_product([2.0, 3.0, 4.0]).item()
    24.0
    """
    call = Call("gpu_product", on)
    x = call.input(data)
    wide, result = wide_type(x.dtype)
    return folded(call, x, Folding("product", read_type(x.dtype), wide, result), axis, keepdims, empty=1)


def gpu_min(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return the smallest element of ``data``, or of each row along ``axis``, in its dtype.

    NaN if there is one, and -0 is below +0. EmptyError if there are no elements to choose from.

    >>> gpu_min([3, 1, 2]).item()
    1
    """
    return _extreme("min", data, axis, keepdims, on)


def gpu_max(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return the largest element of ``data``, or of each row along ``axis``, in its dtype.

    NaN if there is one, and +0 is above -0. EmptyError if there are no elements to choose from.

    >>> gpu_max([3, 1, 2]).item()
    3
    """
    return _extreme("max", data, axis, keepdims, on)


def gpu_mean(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return the mean of all elements of ``data``, or of each row along ``axis``: the sum divided by their number.

    Floats keep their dtype; integers and bools give float64, those of 64 bits being added as float64 since
    their sum may have no integer type. EmptyError if there are no elements.

    >>> gpu_mean([1, 2, 4, 5]).item()
    3.0
    """
    call = Call("gpu_mean", on)
    x = call.input(data)
    return mean_of(call, x, axis, keepdims=keepdims)


def _extreme(name: str, data: Any, axis: int | None, keepdims: bool, on: str | Device | None) -> Any:
    call = Call(f"gpu_{name}", on)
    x = call.input(data)
    return folded(call, x, Folding(name, read_type(x.dtype), extreme_type(x.dtype), x.dtype), axis, keepdims)


def folded(call: Call, x: Operand, folding: Folding, axis: Any, keepdims: bool, *, empty: Any = None) -> Any:
    """Return a fold of ``x`` along ``axis``; ``empty`` is that of no elements, EmptyError if None."""
    shape = rows_of(x.shape, axis, call.name)
    out = call.output(reduced_shape(x.shape, axis, call.name, keepdims=keepdims), folding.result, like=x)
    if shape.n == 0 and shape.results:
        if empty is None:
            require_elements(x, call.name, "minimum" if folding.name == "min" else "maximum")
        out.write(empty)
    elif shape.results:
        written = Folding(folding.name, folding.element, folding.accumulator, read_type(folding.result))
        key = (call.name, folding.name, x.dtype, shape)

        def record(chain: Chain, data: HostSlot, out: HostSlot) -> None:
            record_fold(chain, data, shape, written, out)

        call.run(key, record, x, out)
    return call.result(out)


def mean_of(call: Call, x: Operand, axis: Any, *, keepdims: bool = False) -> Any:
    """Return the means of ``x`` along ``axis``; EmptyError if there are no elements."""
    shape, types = rows_of(x.shape, axis, call.name), kinds(x.dtype)
    out = call.output(reduced_shape(x.shape, axis, call.name, keepdims=keepdims), types.result, like=x)

    def record(chain: Chain, data: HostSlot, out: HostSlot) -> None:
        record_means(chain, data, shape, types, types.result, out)

    if shape.results:
        require_elements(x, call.name, "mean")
        call.run((call.name, x.dtype, shape), record, x, out)
    return call.result(out)
