"""``gpu_argmin`` and ``gpu_argmax``: where the extreme of an array, or of each row, is.

Layer: patterns. Invariant: the index is that of the element ``gpu_min`` or ``gpu_max`` returns, the first of several.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import DType, i64, u32
from loom.kernels.arg_reduce import ARG_TILE, arg_columns, arg_rows, arg_rows_again, copy_indices
from loom.kernels.fold_record import SHORT_ROW, read_type
from loom.patterns.axis import Geometry, geometry
from loom.patterns.call import Call
from loom.patterns.inputs import require_elements
from loom.runtime.chain import Chain
from loom.runtime.device import Device
from loom.runtime.storage import HostSlot, Storage

__all__ = ["gpu_argmax", "gpu_argmin"]

_LANES = 64


def gpu_argmin(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return the index of the smallest element of ``data`` (of its elements in row-major order), or of each row.

    The order is that of ``gpu_min``: NaN first of all, -0 below +0 (numpy takes them for equal); of equal
    elements the lowest index. int64, along ``axis`` the index within the row. EmptyError if there are no
    elements, DTypeError for anything but numbers, ArgumentError for an axis there is not.

    >>> gpu_argmin([3, 1, 2, 1]).item()
    1
    """
    return _arg("gpu_argmin", data, axis, keepdims, on, largest=False)


def gpu_argmax(data: Any, *, axis: int | None = None, keepdims: bool = False, on: str | Device | None = None) -> Any:
    """Return the index of the largest element of ``data`` (of its elements in row-major order), or of each row.

    The order is that of ``gpu_max``: NaN first of all, +0 above -0 (numpy takes them for equal); of equal
    elements the lowest index. Result and errors as ``gpu_argmin``.

    >>> gpu_argmax([[3, 1], [4, 5]], axis=1).tolist()
    [0, 1]
    """
    return _arg("gpu_argmax", data, axis, keepdims, on, largest=True)


def _arg(name: str, data: Any, axis: int | None, keepdims: bool, on: str | Device | None, *, largest: bool) -> Any:
    call = Call(name, on)
    x = call.input(data)
    shape = geometry(x.shape, axis, name, keepdims=keepdims)
    out = call.output(shape.shape, i64)
    if shape.results:
        require_elements(x, name, "maximum" if largest else "minimum")
        element = read_type(x.dtype)
        call.run((name, x.dtype, shape), lambda c: _record(c, x.nbytes, element, shape, largest), x, out)
    return call.result(out)


def _record(chain: Chain, nbytes: int, element: DType, shape: Geometry, largest: bool) -> tuple[list[HostSlot], Any]:
    x, out = HostSlot(nbytes), HostSlot(shape.results * i64.nbytes)
    found = chain.device.allocate(shape.results * u32.nbytes)
    kept: list[Storage] = [found]
    if shape.inner == 1 and (shape.outer == 1 or shape.n > SHORT_ROW):
        kept += _record_rows(chain, x, element, shape, largest, found)
    else:
        short_rows = shape.inner == 1
        outer, inner = (1, shape.outer) if short_rows else (shape.outer, shape.inner)
        kernel = arg_columns(element, largest=largest, short_rows=short_rows)
        chain.dispatch(kernel, [x, found], [shape.n, inner], groups=outer * -(-inner // _LANES))
    chain.dispatch(copy_indices(), [found, out], [], groups=-(-shape.results // _LANES))
    return [x, out], kept


def _record_rows(
    chain: Chain, x: Storage, element: DType, shape: Geometry, largest: bool, found: Storage
) -> list[Storage]:
    """Record the levels of tiles of each row; return the memory in between."""
    rows, count = shape.outer, -(-shape.n // ARG_TILE)
    at = found if count == 1 else chain.device.allocate(rows * count * u32.nbytes)
    chain.dispatch(arg_rows(element, largest=largest), [x, at], [shape.n, count], groups=rows * count)
    kept = []
    while count > 1:
        tiles = -(-count // ARG_TILE)
        target = found if tiles == 1 else chain.device.allocate(rows * tiles * u32.nbytes)
        again = arg_rows_again(element, largest=largest)
        chain.dispatch(again, [x, at, target], [shape.n, count, tiles], groups=rows * tiles)
        kept.append(at)
        at, count = target, tiles
    return kept
