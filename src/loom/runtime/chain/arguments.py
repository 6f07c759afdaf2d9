"""Checks and encodes what a dispatch is given: kernel, buffers, parameters.

Layer: runtime. Everything wrong is found here, while recording, with the caller's names in the text.
Invariant: a parameter reaches the kernel with the value it was given, for a float type the nearest one it
has, or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.arrays import plain
from loom.core.dtype import DType, of_numpy
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.given import is_array
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.kernel import Kernel, Memory, Param
from loom.ir.verify import VerifiedKernel, verify
from loom.runtime.elements import Readable
from loom.runtime.known import recalled
from loom.runtime.storage import Storage

__all__ = ["check_binding", "encode_params", "verified_kernel"]


def verified_kernel(kernel: Any, where: str) -> VerifiedKernel:
    """Return the verified form of whatever names a kernel, SPIR-V included; DTypeError for anything else."""
    if isinstance(kernel, KernelFunction):
        return recalled(kernel)
    if isinstance(kernel, VerifiedKernel):
        return kernel
    if isinstance(kernel, Kernel):
        return verify(kernel)
    if isinstance(kernel, (bytes, str, os.PathLike)):
        from loom.runtime.plans.foreign import foreign_kernel

        return foreign_kernel(cast("bytes | str | os.PathLike[str]", kernel), where)
    raise DTypeError(
        where, "not a kernel", expected="a function decorated with @loom.kernel, or a built kernel",
        got=type(kernel).__name__, remedy="Decorate it with @loom.kernel",
    )  # fmt: skip


# parameters


@ordinary_arithmetic()
def encode_params(kernel: VerifiedKernel, params: Sequence[Any], repeats: int, where: str) -> np.ndarray[Any, Any]:
    """Return parameters as 8-byte slots, one row per repeat; an array gives each repeat its value."""
    declared = kernel.params
    is_one = isinstance(params, (str, bytes, Mapping)) or getattr(params, "ndim", 1) == 0
    if is_one or not hasattr(params, "__len__") or not hasattr(params, "__getitem__"):
        raise DTypeError(
            where, "params are not a sequence", expected="a list with one value for each parameter",
            got=repr(params), remedy="Write params=[value]",
        )  # fmt: skip
    if len(params) != len(declared):
        names = ", ".join(f"{p.name}: {p.dtype}" for p in declared) or "none"
        raise ArgumentError(
            where, f"kernel {kernel.name!r} takes {len(declared)} parameters", expected=names, got=len(params),
            remedy="Give one value for each, in order",
        )  # fmt: skip
    slots = np.zeros((repeats, len(declared)), np.uint64)
    raw = slots.view(np.uint8).reshape(repeats, len(declared), 8)
    for position, (param, value) in enumerate(zip(declared, params, strict=True)):
        column = _column(param, value, repeats, f"{where}, parameter {param.name!r}")
        nbytes = param.dtype.bits // 8
        raw[:, position, :nbytes] = column.view(np.uint8).reshape(len(column), nbytes)
    return slots


def _column(param: Param, value: Any, repeats: int, where: str) -> np.ndarray[Any, Any]:
    if type(value) is int and param.dtype.is_integer and param.dtype.minimum <= value <= param.dtype.maximum:
        return np.array([value], param.dtype.numpy)
    if is_array(value):
        value = plain(value, where)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DTypeError(where, f"not a number ({error})", remedy=f"Pass a value of type {param.dtype}") from None
    if array.ndim and array.shape != (repeats,):
        raise ShapeError(
            where, "an array of values must have one per repeat", expected=f"({repeats},)", got=array.shape,
            remedy="Pass a single number, or use chain.repeat(n)",
        )  # fmt: skip
    if not array.size:
        return np.zeros(0, param.dtype.numpy)
    _check_kind(param.dtype, array, where)
    if param.dtype.is_integer:
        lowest, highest = int(array.min()), int(array.max())
        if lowest < param.dtype.minimum or highest > param.dtype.maximum:
            raise ArgumentError(
                where, f"does not fit {param.dtype}", expected=f"{param.dtype.minimum} to {param.dtype.maximum}",
                got=lowest if lowest < param.dtype.minimum else highest, remedy="Declare a wider type",
            )  # fmt: skip
    return _converted(param.dtype, np.atleast_1d(array), where)


def _converted(dtype: DType, array: np.ndarray[Any, Any], where: str) -> np.ndarray[Any, Any]:
    """Return values of a kind that fits as ``dtype``; a finite number must stay finite."""
    if not dtype.is_float:
        return array.astype(dtype.numpy)
    try:
        with np.errstate(over="ignore"):
            result = array.astype(dtype.numpy)
        lost = np.isinf(result) & ~np.isinf(array.astype(np.float64))
    except OverflowError:  # an int that no float can hold
        result, lost = array, np.ones(1, np.bool_)
    if lost.any():
        raise ArgumentError(
            where, f"does not fit {dtype}", expected=f"at most {np.finfo(dtype.numpy).max} in size",
            got=array[int(np.argmax(lost))], remedy="Declare a wider type",
        )  # fmt: skip
    return result


def _check_kind(dtype: DType, array: np.ndarray[Any, Any], where: str) -> None:
    kind = array.dtype.kind
    if array.dtype == object and all(isinstance(v, int) for v in array.flat):
        kind = "i"  # whole numbers beyond 64 bits: the range check refuses them
    wanted = "b" if dtype.is_bool else "iu" if dtype.is_integer else "iuf"
    if kind not in wanted:
        kinds = {"b": "True or False", "iu": "a whole number (int)", "iuf": "a number"}
        raise DTypeError(
            where, f"does not fit {dtype}", expected=kinds[wanted],
            got=repr(array.item()) if array.ndim == 0 else array.dtype, remedy=f"Pass a value of type {dtype}",
        )  # fmt: skip


# buffers


def check_binding(memory: Memory, given: Storage | np.ndarray[Any, Any] | Readable, where: str) -> int:
    """Return how many elements a binding holds for ``memory``; DTypeError or ShapeError if it cannot."""
    where = f"{where}, buffer {memory.name!r}"
    if isinstance(given, np.ndarray):
        _check_array(memory, given, where)
    elif isinstance(given, Readable):
        if given.dtype != memory.dtype.scalar:
            raise DTypeError(
                where, f"the {given.called} has another type", expected=memory.dtype.scalar, got=given.dtype,
                remedy="Bind tensor.view_as_real(x), whose last axis is (re, im)" if given.dtype.is_complex
                else "Make it of that type",
            )  # fmt: skip
        _check_lanes(memory, given.size, where)
    elements = given.nbytes // memory.dtype.nbytes
    if elements > 0xFFFF_FFFF:
        raise ShapeError(
            where, "too many elements", expected="less than 2^32", got=elements, remedy="Dispatch in parts"
        )
    return elements


def _check_array(memory: Memory, array: np.ndarray[Any, Any], where: str) -> None:
    wanted = memory.dtype.scalar
    found = of_numpy(array.dtype, where)
    if found != wanted and not (wanted.name == "bf16" and found.name == "u16"):
        raise DTypeError(
            where, "the array has another type", expected=wanted.numpy, got=array.dtype,
            remedy=f"Convert with array.astype({str(wanted.numpy)!r})",
        )  # fmt: skip
    if not array.flags.c_contiguous:
        raise ShapeError(
            where, "the array is not contiguous", expected="C order without gaps", got=f"strides {array.strides}",
            remedy="Pass numpy.ascontiguousarray(array)",
        )  # fmt: skip
    if memory.access.writes and not array.flags.writeable:
        raise ArgumentError(where, "the array is read-only", expected="a writable array", remedy="Pass a copy")
    _check_lanes(memory, array.size, where)


def _check_lanes(memory: Memory, size: int, where: str) -> None:
    if memory.dtype.is_vector and size % memory.dtype.lanes:
        raise ShapeError(
            where, f"not a whole number of {memory.dtype}", expected=f"a multiple of {memory.dtype.lanes}",
            got=size, remedy="Pad the array",
        )  # fmt: skip
