"""Takes the arguments of a dispatch and refuses those that do not fit the kernel.

Layer: ir. Invariant: a bound array is the caller's own memory, never a copy.
"""

from __future__ import annotations

from collections.abc import Sequence

from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.ir.constants import constant_bits
from loom.ir.interp.cells import Cells, buffer_cells
from loom.ir.interp.masks import Array
from loom.ir.interp.operations import from_bits
from loom.ir.kernel import Kernel, Memory, Param

__all__ = ["bind_buffers", "bind_params"]


def bind_buffers(kernel: Kernel, arrays: Sequence[Array]) -> dict[Memory, Cells]:
    """Return the cells of each buffer; ArgumentError, ShapeError or DTypeError if an array does not fit."""
    if len(arrays) != len(kernel.buffers):
        raise ArgumentError(
            kernel.where(None), "wrong number of buffers", expected=len(kernel.buffers), got=len(arrays),
            remedy="Bind " + (", ".join(m.name for m in kernel.buffers) or "none"),
        )  # fmt: skip
    return {m: _bind_buffer(kernel, m, a) for m, a in zip(kernel.buffers, arrays, strict=True)}


def _bind_buffer(kernel: Kernel, memory: Memory, array: Array) -> Cells:
    where, lanes = f"{kernel.where(None)} buffer {memory.name!r}", memory.dtype.lanes
    if array.dtype != memory.dtype.numpy:
        raise DTypeError(where, "wrong dtype", expected=memory.dtype.numpy, got=array.dtype, remedy="Convert it first")
    if array.ndim != 1 or not array.flags.c_contiguous or array.size % lanes:
        expected = "a contiguous 1-D array" + (f" of a multiple of {lanes} components" if lanes > 1 else "")
        got = f"shape {array.shape}, strides {array.strides}"
        raise ShapeError(where, "wrong layout", expected=expected, got=got, remedy="Use numpy.ravel, then copy back")
    if memory.access.writes and not array.flags.writeable:
        raise ArgumentError(where, "the array is read-only", expected="a writable array", remedy="Copy it first")
    return buffer_cells(memory, array)


def bind_params(kernel: Kernel, values: Sequence[int | float | bool]) -> dict[Param, Array]:
    """Return each parameter as one row; ArgumentError if a number does not fit its type."""
    if len(values) != len(kernel.params):
        raise ArgumentError(
            kernel.where(None), "wrong number of parameters", expected=len(kernel.params), got=len(values),
            remedy="Give " + (", ".join(p.name for p in kernel.params) or "none"),
        )  # fmt: skip
    return {p: _bind_param(kernel, p, v) for p, v in zip(kernel.params, values, strict=True)}


def _bind_param(kernel: Kernel, param: Param, value: int | float | bool) -> Array:
    try:
        return from_bits(constant_bits(value, param.dtype), param.dtype)
    except (OverflowError, TypeError, ValueError) as error:
        raise ArgumentError(
            f"{kernel.where(None)} parameter {param.name!r}", str(error),
            expected=f"a value of {param.dtype}", got=repr(value), remedy="Give a number that fits exactly",
        ) from None  # fmt: skip
