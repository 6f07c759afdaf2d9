"""Checks and encodes what a dispatch is given: kernel, buffers, parameters, group counts.

Layer: runtime. Everything wrong is found here, while recording, with the caller's names in the text.
Invariant: a parameter reaches the kernel with exactly the value it was given, or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.dtype import DType, of_numpy
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.kernel import Kernel, Memory, Param
from loom.ir.verify import VerifiedKernel, verify
from loom.runtime.storage import Storage

__all__ = ["check_binding", "encode_groups", "encode_params", "verified_kernel"]

MAX_GROUPS = 0xFFFF_FFFF


def verified_kernel(kernel: Any, where: str) -> VerifiedKernel:
    """Return the verified form of whatever names a kernel; DTypeError for anything else."""
    if isinstance(kernel, KernelFunction):
        return kernel.verified
    if isinstance(kernel, VerifiedKernel):
        return kernel
    if isinstance(kernel, Kernel):
        return verify(kernel)
    raise DTypeError(
        where, "not a kernel", expected="a function decorated with @loom.kernel, or a built kernel",
        got=type(kernel).__name__, remedy="Decorate it with @loom.kernel",
    )  # fmt: skip


# parameters


def encode_params(kernel: VerifiedKernel, params: Sequence[Any], repeats: int, where: str) -> np.ndarray[Any, Any]:
    """Return parameters as 8-byte slots, one row per repeat; an array gives each repeat its value."""
    declared = kernel.kernel.params
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
        raw[:, position, : param.dtype.bits // 8] = column.view(np.uint8).reshape(len(column), -1)
    return slots


def _column(param: Param, value: Any, repeats: int, where: str) -> np.ndarray[Any, Any]:
    array = np.asarray(value)
    if array.ndim and array.shape != (repeats,):
        raise ShapeError(
            where, "an array of values must have one per repeat", expected=f"({repeats},)", got=array.shape,
            remedy="Pass a single number, or use chain.repeat(n)",
        )  # fmt: skip
    _check_kind(param.dtype, array, where)
    if param.dtype.is_integer and array.size:
        lowest, highest = int(array.min()), int(array.max())
        if lowest < param.dtype.minimum or highest > param.dtype.maximum:
            raise ArgumentError(
                where, f"does not fit {param.dtype}", expected=f"{param.dtype.minimum} to {param.dtype.maximum}",
                got=lowest if lowest < param.dtype.minimum else highest, remedy="Declare a wider type",
            )  # fmt: skip
    with np.errstate(over="ignore"):
        return np.atleast_1d(array).astype(param.dtype.numpy)


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


# group counts


def encode_groups(kernel: VerifiedKernel, groups: Any, repeats: int, where: str) -> np.ndarray[Any, Any]:
    """Return group counts as one row of three per repeat."""
    array = np.asarray(groups)
    if array.dtype.kind not in "iu":
        raise DTypeError(
            where, "groups must be whole numbers", expected="an int or up to three", got=repr(groups),
            remedy="Use integer division to count groups: (n + lanes - 1) // lanes",
        )  # fmt: skip
    if array.ndim == 0:
        array = array.reshape(1, 1)
    elif array.ndim == 1:
        per_repeat = repeats > 1 and array.shape == (repeats,)
        array = array.reshape(-1, 1) if per_repeat else array.reshape(1, -1)
    if array.ndim > 2 or not 1 <= array.shape[1] <= 3 or array.shape[0] not in (1, repeats):
        raise ShapeError(
            where, "groups have a wrong shape", expected="an int, up to three, or one row per repeat",
            got=np.shape(groups), remedy="Write groups=(x, y, z)",
        )  # fmt: skip
    full = np.ones((repeats, 3), np.int64)
    full[:, : array.shape[1]] = array
    _check_group_limits(kernel, full, where)
    return full.astype(np.uint32)


def _check_group_limits(kernel: VerifiedKernel, groups: np.ndarray[Any, Any], where: str) -> None:
    lanes = groups * np.array(kernel.kernel.workgroup)
    totals = groups.astype(np.float64).prod(axis=1)
    if (groups < 0).any() or (lanes > 1 << 32).any() or (totals > MAX_GROUPS).any():
        row = groups[int(np.argmax((groups < 0).any(1) | (lanes > 1 << 32).any(1) | (totals > MAX_GROUPS)))]
        raise ArgumentError(
            where, "unusable number of workgroups",
            expected=f"at least 0, at most 2^32 lanes along a dimension and {MAX_GROUPS} groups",
            got=tuple(int(g) for g in row), remedy="Let each lane do more, or dispatch in parts",
        )  # fmt: skip


# buffers


def check_binding(memory: Memory, given: Storage | np.ndarray[Any, Any], where: str) -> int:
    """Return how many elements a binding holds for ``memory``; DTypeError or ShapeError if it cannot."""
    where = f"{where}, buffer {memory.name!r}"
    if isinstance(given, np.ndarray):
        _check_array(memory, given, where)
        nbytes = given.nbytes
    else:
        nbytes = given.nbytes
    elements = nbytes // memory.dtype.nbytes
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
    if memory.dtype.is_vector and array.size % memory.dtype.lanes:
        raise ShapeError(
            where, f"not a whole number of {memory.dtype}", expected=f"a multiple of {memory.dtype.lanes}",
            got=array.size, remedy="Pad the array",
        )  # fmt: skip
