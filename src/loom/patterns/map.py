"""``gpu_map``: the same operation on every element.

Layer: patterns. Invariant: the result has the shape of ``data``, and its element i depends on the operands'
elements i alone.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.dtype import DType, bf16, of_numpy
from loom.core.errors import ArgumentError, DTypeError, ShapeError, near_matches
from loom.ir.frontend.meaning import function_meaning
from loom.kernels.elementwise import ELEMENTWISE, MAP_LANES, map_kernel
from loom.patterns.inputs import as_array
from loom.patterns.prepared import prepare
from loom.runtime.chain import Chain
from loom.runtime.chain.arguments import encode_params
from loom.runtime.device import Device, device
from loom.runtime.storage import HostSlot

__all__ = ["gpu_map"]

_MOST_KEPT = 256


def gpu_map(
    data: Any,
    op: str | Callable[..., Any],
    *args: Any,
    out: np.ndarray[Any, Any] | None = None,
    on: str | Device | None = None,
) -> Any:
    """Return ``op`` applied to every element of ``data`` and the elements (or scalars) of ``args``.

    ``op`` is the name of an operation (``"mul"``, ``"sqrt"``, ``"min"``, ...) or a Python function of one
    element and ``args``, compiled like a kernel. Array arguments have the shape and dtype of ``data``;
    scalars are taken exactly in its dtype. The result keeps shape and dtype; comparisons give bool, and
    a function may return another type. ``out`` is an array of the result's shape and dtype to write to, in
    one piece and apart from the operands; without it a new one is made. Raises DTypeError, ShapeError or
    ArgumentError, and KernelError for a function outside the kernel language.

    >>> gpu_map([1.0, 2.0], "mul", 2.0).tolist()
    [2.0, 4.0]
    >>> gpu_map([1.0, 2.0], lambda x: x * 2 + 1).tolist()
    [3.0, 5.0]
    """
    array, dtype = as_array(data, "gpu_map")
    _check_operation(op)
    operands, scalars, is_array = _operands(array, dtype, args)
    kernel, result = _kernel(op, dtype, (True, *is_array))
    made = bf16_like(array) if result == bf16 else result.numpy
    if out is None:
        out = np.empty(array.shape, made)
    else:
        _check_out(out, array.shape, made, [array, *operands])
    if array.size:
        params = [*scalars, array.size]
        key = ("gpu_map", kernel.hash, array.size, encode_params(kernel, params, 1, "gpu_map").tobytes())
        sizes = [array.nbytes, *(a.nbytes for a in operands), out.nbytes]
        prepare(key, device(on), lambda c: _record(c, kernel, sizes, params)).run(array, *operands, out)
    return out


def _check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], operands: list[np.ndarray[Any, Any]]) -> None:
    """Raise unless ``out`` is an array that results of this shape and dtype can be written to directly."""
    where = "gpu_map, out"
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        raise DTypeError(
            where, "cannot take the result", expected=f"a numpy array of {dtype}",
            got=out.dtype if isinstance(out, np.ndarray) else type(out).__name__,
            remedy="Leave out= away, or pass numpy.empty_like of the result",
        )  # fmt: skip
    if out.shape != shape:
        raise ShapeError(where, "another shape", expected=shape, got=out.shape, remedy="Match the shape of data")
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise ArgumentError(
            where, "cannot be written to directly", expected="a writable, contiguous, aligned array",
            got="another", remedy="Pass a fresh numpy.empty(...)",
        )  # fmt: skip
    if any(np.may_share_memory(out, operand) for operand in operands):
        raise ArgumentError(
            where, "shares memory with an operand", expected="memory of its own", got="an overlap",
            remedy="Pass another array",
        )  # fmt: skip


def bf16_like(array: np.ndarray[Any, Any]) -> Any:
    """Return the dtype of a bf16 result: that of a bf16 operand, else its raw 16 bits."""
    return array.dtype if array.dtype.name == "bfloat16" else bf16.numpy


def _check_operation(op: str | Callable[..., Any]) -> None:
    if isinstance(op, str):
        if op not in ELEMENTWISE:
            raise ArgumentError("gpu_map", f"no operation is called {op!r}", remedy=near_matches(op, list(ELEMENTWISE)))
    elif not isinstance(op, FunctionType):
        raise DTypeError(
            "gpu_map", "not an operation", expected="a name or a Python function", got=type(op).__name__,
            remedy="Pass a def or a lambda",
        )  # fmt: skip


def _operands(
    array: np.ndarray[Any, Any], dtype: DType, args: tuple[Any, ...]
) -> tuple[list[np.ndarray[Any, Any]], list[Any], tuple[bool, ...]]:
    """Sort the further operands into arrays and scalars, checked against ``data``."""
    arrays: list[np.ndarray[Any, Any]] = []
    scalars: list[Any] = []
    kinds = []
    for position, arg in enumerate(args, start=1):
        where = f"gpu_map, argument {position}"
        if isinstance(arg, (bool, int, float, np.generic)):
            scalars.append(_scalar(arg, dtype, where))
            kinds.append(False)
            continue
        operand, found = as_array(arg, where, dtype=dtype)
        if found != dtype:
            raise DTypeError(
                where, "operands of different types", expected=array.dtype, got=operand.dtype, remedy="Convert one"
            )
        if operand.shape != array.shape:
            raise ShapeError(
                where, "operands of different shapes", expected=array.shape, got=operand.shape,
                remedy="Match the shape of data",
            )  # fmt: skip
        arrays.append(operand)
        kinds.append(True)
    return arrays, scalars, tuple(kinds)


@ordinary_arithmetic()
def _scalar(value: Any, dtype: DType, where: str) -> Any:
    """Return a scalar operand; a whole float may stand for an integer (the seeds write 2.0)."""
    number = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, np.generic):
        of_numpy(value.dtype, where)
    if dtype.is_integer and isinstance(number, float) and number.is_integer():
        return int(number)
    return number


_kernels: dict[Any, tuple[Any, Any]] = {}
"""Kernel and result type by what they depend on, with the operation, so that its code stays alive."""


def _kernel(op: str | Callable[..., Any], dtype: DType, is_array: tuple[bool, ...]) -> Any:
    """Return the kernel and result type, translated once per function, outer values and types."""
    meaning = op if isinstance(op, str) else function_meaning(op)
    if meaning is None:
        return map_kernel(op, dtype, is_array)
    key = (meaning, dtype, is_array)
    found = _kernels.get(key)
    if found is None:
        found = map_kernel(op, dtype, is_array), op
        if len(_kernels) >= _MOST_KEPT:
            _kernels.clear()
        _kernels[key] = found
    return found[0]


def _record(chain: Chain, kernel: Any, sizes: list[int], params: list[Any]) -> tuple[list[HostSlot], Any]:
    slots = [HostSlot(nbytes) for nbytes in sizes]
    chain.dispatch(kernel, slots, params, groups=-(-params[-1] // MAP_LANES))
    return slots, None
