"""Checks and encodes what a dispatch is given: kernel, buffers, parameters.

Layer: runtime. Everything wrong is found here, while recording, with the caller's names in the text.
Invariant: a parameter reaches the kernel with the value it was given, for a float type the nearest one it
has, or not at all.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.arrays import plain, read_array
from loom.core.conversions import widen
from loom.core.dtype import DType, of_numpy
from loom.core.errors import ArgumentError, DTypeError, ShapeError, near_matches
from loom.core.given import is_array
from loom.core.late import late
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.kernel import Kernel, Memory, Param
from loom.ir.verified import VerifiedKernel
from loom.runtime.memory.storage import Storage, TypedStorage
from loom.runtime.port.device import Device
from loom.runtime.port.elements import Readable
from loom.runtime.port.known import recall

if TYPE_CHECKING:
    from loom.ir import records
else:
    records = late("loom.ir", "records")

__all__ = ["as_verified", "bound_shape", "check_binding", "encode_params", "on_another_device"]


def as_verified(kernel: Any, where: str) -> VerifiedKernel:
    """Return the verified form of whatever names a kernel, SPIR-V included; DTypeError for anything else."""
    if isinstance(kernel, KernelFunction):
        return recall(kernel)
    if isinstance(kernel, VerifiedKernel):
        return kernel
    if isinstance(kernel, Kernel):
        from loom.ir.verify import verify  # functions are verified when they are translated

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
def encode_params(
    kernel: VerifiedKernel,
    params: Sequence[Any] | Mapping[str, Any],
    repeats: int,
    where: str,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> np.ndarray[Any, Any]:
    """Return parameters as 8-byte slots, one row per repeat; an array gives each repeat its value.

    ``params`` are in order or by name, those left out take their defaults. ``shapes`` are those of the buffers whose
    lengths the kernel asks for.
    """
    given = dict(zip((p.name for p in kernel.given), _in_order(kernel, params, where), strict=True))
    values = [given[p.name] if p.extent is None else (shapes or {})[p.extent[0]][p.extent[1]] for p in kernel.params]
    slots = np.zeros((repeats, len(values)), np.uint64)
    raw = slots.view(np.uint8).reshape(repeats, len(values), 8)
    for position, (param, value) in enumerate(zip(kernel.params, values, strict=True)):
        column = _column(param, value, repeats, f"{where}, parameter {param.name!r}")
        if param in kernel.index_params and column.size and int(column.max()) >> 31:
            raise ArgumentError(
                f"{where}, parameter {param.name!r}",
                "too large for the indexes it meets, which go below zero",
                expected="less than 2^31",
                got=int(column.max()),
                remedy="Take u32(...) or i64(...) of these in the kernel",
            )
        nbytes = param.dtype.bits // 8
        raw[:, position, :nbytes] = column.view(np.uint8).reshape(len(column), nbytes)
    return slots


def _in_order(kernel: VerifiedKernel, params: Any, where: str) -> list[Any]:
    """Return one value for each declared parameter, defaults where none is given."""
    declared = kernel.given
    names = ", ".join(_declaration(p) for p in declared) or "none"
    is_one = isinstance(params, (str, bytes)) or getattr(params, "ndim", 1) == 0
    if is_one or not hasattr(params, "__len__") or not hasattr(params, "__getitem__"):
        raise DTypeError(
            where, "params are neither a sequence nor a mapping", expected=f"values for {names}",
            got=repr(params), remedy="Write params=[value], or params={name: value}",
        )  # fmt: skip
    if isinstance(params, Mapping):
        by_name = cast("Mapping[Any, Any]", params)
    else:
        if len(params) > len(declared):
            raise ArgumentError(
                where, f"kernel {kernel.name!r} takes {len(declared)} parameters", expected=names, got=len(params),
                remedy="Give one value for each, in order",
            )  # fmt: skip
        by_name = dict(zip((p.name for p in declared), params))  # noqa: B905 - those left out take their defaults
    known = [p.name for p in declared]
    stray = next((name for name in by_name if name not in known), None)
    if stray is not None:
        raise ArgumentError(
            where, f"kernel {kernel.name!r} has no parameter {stray!r}", expected=names, got=repr(stray),
            remedy=near_matches(str(stray), known),
        )  # fmt: skip
    missing = [p.name for p in declared if p.name not in by_name and p.default is None]
    if missing:
        raise ArgumentError(
            where, f"kernel {kernel.name!r} takes {len(declared)} parameters, and "
            f"{', '.join(map(repr, missing))} {'is' if len(missing) == 1 else 'are'} not given",
            expected=names, got=len(by_name), remedy="Give one value for each, in order or by name",
        )  # fmt: skip
    return [by_name.get(p.name, p.default) for p in declared]


def _declaration(param: Param) -> str:
    return f"{param.name}: {param.dtype}" + ("" if param.default is None else f" = {param.default!r}")


def _column(param: Param, value: Any, repeats: int, where: str) -> np.ndarray[Any, Any]:
    if type(value) is int and param.dtype.is_integer and param.dtype.minimum <= value <= param.dtype.maximum:
        return np.array([value], param.dtype.numpy)
    if is_array(value):
        value = plain(value, where)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DTypeError(where, f"not a number ({error})", remedy=f"Pass a value of type {param.dtype}") from None
    except TypeError:  # bf16 of torch, which numpy does not know
        array = widen(*read_array(value, where))
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
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
    return _convert(param.dtype, np.atleast_1d(array), where)


def _convert(dtype: DType, array: np.ndarray[Any, Any], where: str) -> np.ndarray[Any, Any]:
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
    if memory.record:
        _check_records(memory, given, where)
    elif isinstance(given, np.ndarray):
        _check_array(memory, given, where)
    elif isinstance(given, (Readable, TypedStorage)):
        if given.dtype != memory.dtype.scalar:
            called = given.called if isinstance(given, Readable) else "array"
            raise DTypeError(
                where, f"the {called} has another type", expected=memory.dtype.scalar, got=given.dtype,
                remedy="Bind tensor.view_as_real(x), whose last axis is (re, im)" if given.dtype.is_complex
                else "Make it of that type",
            )  # fmt: skip
        _check_lanes(memory, math.prod(given.shape), where)
    elements = given.nbytes // memory.dtype.nbytes
    if elements > 0xFFFF_FFFF:
        raise ShapeError(
            where, "too many elements", expected="less than 2^32", got=elements, remedy="Dispatch in parts"
        )
    return elements


def on_another_device(where: str, wanted: Device, home: Device | None) -> ArgumentError:
    """Return the error for an array that is on another device than what uses it."""
    return ArgumentError(
        where, "the array is on another device", expected=wanted.name, got=None if home is None else home.name,
        remedy=f"Copy it with loom.array(x, on={wanted.name!r})",
    )  # fmt: skip


def bound_shape(memory: Memory, given: Any, where: str) -> tuple[int, ...]:
    """Return the lengths along the axes of what is bound to a buffer of ``memory.ndim`` dimensions.

    ShapeError for another number of dimensions (the components of a short vector are a last axis more).
    """
    where = f"{where}, buffer {memory.name!r}"
    shape: tuple[int, ...] | None = getattr(given, "shape", None)
    dimensions = "dimension" if memory.ndim == 1 else "dimensions"
    if shape is None:
        raise ShapeError(
            where, f"the buffer has {memory.ndim} {dimensions}, and what is bound has no shape",
            expected="an array", got=type(given).__name__,
            remedy="Bind a numpy array, a loom.array, or a unit's binding that was made of an array or a shape",
        )  # fmt: skip
    lanes = memory.dtype.lanes
    inner = shape if lanes == 1 else shape[:-1]
    if len(inner) != memory.ndim or (lanes > 1 and shape[-1:] != (lanes,)):
        wanted = f"{memory.ndim} {dimensions}" + (
            f" and a last axis of {lanes} for {memory.dtype}" if lanes > 1 else ""
        )
        axes = ", ".join("yxzw"[: memory.ndim]) if memory.ndim != 2 else "rows, columns"
        raise ShapeError(
            where, "the array has another number of dimensions", expected=wanted, got=f"shape {tuple(shape)}",
            remedy=f"Pass array.reshape({axes}{f', {lanes}' if lanes > 1 else ''}), or declare another number",
        )  # fmt: skip
    return tuple(int(n) for n in inner)


def _check_records(memory: Memory, given: Any, where: str) -> None:
    wanted = records.record_of(memory.record).numpy
    found = given.dtype if is_array(given) else getattr(given, "record", None)
    if found != wanted:
        raise DTypeError(
            where, "the buffer holds records", expected=wanted,
            got=found if is_array(given) else type(given).__name__,
            remedy="Bind numpy.zeros(n, Struct.numpy), Struct being the kernel's class of records",
        )  # fmt: skip
    if is_array(given):
        _check_layout(memory, given, where)


def _check_array(memory: Memory, array: np.ndarray[Any, Any], where: str) -> None:
    wanted = memory.dtype.scalar
    found = of_numpy(array.dtype, where)
    if found != wanted and memory.fixed is not None:
        raise DTypeError(
            where, f"the buffer holds {memory.fixed}", expected="int64 cells", got=array.dtype,
            remedy=f"Bind loom.{memory.fixed}.encode(array), and decode() what comes back",
        )  # fmt: skip
    if found != wanted and not (wanted.name == "bf16" and found.name == "u16"):
        raise DTypeError(
            where, "the array has another type", expected=wanted.numpy, got=array.dtype,
            remedy=f"Convert with array.astype({str(wanted.numpy)!r})",
        )  # fmt: skip
    _check_layout(memory, array, where)
    _check_lanes(memory, array.size, where)


def _check_layout(memory: Memory, array: np.ndarray[Any, Any], where: str) -> None:
    if not array.flags.c_contiguous:
        raise ShapeError(
            where, "the array is not contiguous", expected="C order without gaps", got=f"strides {array.strides}",
            remedy="Pass numpy.ascontiguousarray(array)",
        )  # fmt: skip
    if memory.access.writes and not array.flags.writeable:
        raise ArgumentError(where, "the array is read-only", expected="a writable array", remedy="Pass a copy")


def _check_lanes(memory: Memory, size: int, where: str) -> None:
    if memory.dtype.is_vector and size % memory.dtype.lanes:
        raise ShapeError(
            where, f"not a whole number of {memory.dtype}", expected=f"a multiple of {memory.dtype.lanes}",
            got=size, remedy="Pad the array",
        )  # fmt: skip
