"""``gpu_argmin`` and ``gpu_argmax``: where the extreme of an array, or of each row, is.

Layer: patterns. Invariant: the index is that of the element ``gpu_min`` or ``gpu_max`` returns, the first of several.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import i64, u32
from loom.kernels.fold.arg import copy_indices
from loom.kernels.types import read_type
from loom.patterns.axis import reduced_shape, rows_of
from loom.patterns.calling.call import Call
from loom.patterns.calling.inputs import require_elements
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device
from loom.schedules.arg import record_arg

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
    shape = rows_of(x.shape, axis, name)
    out = call.output(reduced_shape(x.shape, axis, name, keepdims=keepdims), i64)
    if shape.results:
        require_elements(x, name, "maximum" if largest else "minimum")
        element = read_type(x.dtype)

        def record(chain: Chain, data: HostSlot, out: HostSlot) -> None:
            found = chain.device.allocate(shape.results * u32.nbytes)
            record_arg(chain, data, shape, element, found, largest=largest)
            chain.dispatch(copy_indices(), [found, out], [], groups=-(-shape.results // _LANES))

        call.run((name, x.dtype, shape), record, x, out)
    return call.result(out)
