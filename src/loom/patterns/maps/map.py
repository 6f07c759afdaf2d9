"""``gpu_map`` and its short names: the same operation on every element.

Layer: patterns. Over numpy arrays a map runs at once; over tensors it is recorded, computed when its result
is needed, and maps of maps become one kernel (``recorded``). Invariant: the result has the shape of ``data``,
and its element i depends on the operands' elements i alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, cast

import numpy as np

from loom import tensor
from loom.core.arithmetic import ordinary_arithmetic
from loom.core.arrays import read_array as as_array
from loom.core.arrays import read_as
from loom.core.conversions import host_type, show, widen
from loom.core.dtype import DType, of_numpy
from loom.core.errors import ArgumentError, DTypeError, LoomError, ShapeError, near_matches
from loom.core.late.dataclass import dataclass
from loom.core.promotion import NO_INTEGER_TYPE
from loom.core.tracebacks import brief
from loom.ir.frontend.elementary import Elementary
from loom.ir.frontend.intrinsics import INTRINSICS
from loom.kernels.maps.nest import ELEMENTWISE
from loom.patterns.kept_functions import RecordedFunction
from loom.patterns.maps.fusion import Scalar, kernel_of, map_host
from loom.patterns.maps.recorded import compute_shared, record_map
from loom.patterns.tensor_rows import RENAMED, answer, finish
from loom.runtime.port.device import Device
from loom.runtime.registry import device
from loom.tensor import Tensor
from loom.tensor.arrays.tensor import array
from loom.tensor.ops.elementwise import apply as record

__all__ = ["apply", "as_operation", "gpu_map", "is_number", "map_elements", "offer_map"]


@brief
def gpu_map(
    data: Any,
    op: str | Callable[[Any], Any] | Callable[[Any, Any], Any] | Callable[[Any, Any, Any], Any],
    *args: Any,
    out: np.ndarray[Any, Any] | None = None,
    on: str | Device | None = None,
) -> Any:
    """Return ``op`` applied to every element of ``data`` and the elements (or scalars) of ``args``.

    ``op`` is the name of an operation or elementary function (``"mul"``, ``"sqrt"``, ``"exp"``, ...) or a
    Python function of one element and ``args``, compiled like a kernel. Array arguments have the shape and
    dtype of ``data``; scalars are rounded to its dtype. The result keeps shape and dtype; comparisons
    give bool, and a function may return another type. Of other dtypes and shapes an operation by name is that of
    ``loom.tensor``: operands broadcast, and meet in one dtype. ``out`` is an array of the result's shape and
    dtype to write to, in one piece and apart from the operands; without it a new one is made. If an operand is a
    tensor the result is one too, computed when it is needed, together with the maps it is made of.
    Raises DTypeError, ShapeError or ArgumentError, and KernelError for a function outside the kernel language.

    >>> gpu_map([1.0, 2.0], "mul", 2.0).tolist()
    [2.0, 4.0]
    >>> gpu_map([1.0, 2.0], lambda x: x * 2 + 1).tolist()
    [3.0, 5.0]
    """
    given = (data, *args)
    return map_elements(
        "gpu_map", as_operation(op), given, out, on, offer=lambda what: offer_map(what, gpu_map, given, {"op": op}, on)
    )


def map_elements(
    where: str, operation: str | FunctionType, given: Sequence[Any], out: Any, on: str | Device | None,
    offer: Callable[[RecordedFunction], None] | None = None,
) -> object:  # fmt: skip
    """Return an operation applied to every element of operands, as ``gpu_map``.

    ``where``: its name in errors; ``offer``: as of ``answer``.
    """
    if out is not None or not isinstance(operation, str):
        return apply(where, operation, given, out=out, on=on)
    for each in given:
        compute_shared(each)
    try:
        return answer(where, _twin(operation), given, {"on": on}, _NAMES, complexes=True, whole=True, offer=offer)
    except (*RENAMED, TypeError) as error:
        return _refuse(where, error, operation, given, on)


_OTHERS = ("operand 1", "operand 2")
"""How the native door knows operands that have no name."""


def offer_map(
    what: RecordedFunction, function: object, given: Sequence[object], told: dict[str, object], on: str | Device | None
) -> None:
    """Let calls of ``gpu_map``, or of a map that is told nothing, like one before be answered without Python."""
    operands = ("data", *_OTHERS[: len(given) - 1])
    arguments = {**dict(zip(operands, given, strict=False)), **told, **({} if on is None else {"on": on})}
    what.offer(function, ("data", *told, *_OTHERS, "out", "on"), operands, arguments, partial(finish, "gpu_map", what))


_NAMES = tuple(f"argument {n}" for n in range(8))


def _refuse(where: str, error: Exception, operation: str, given: Sequence[Any], on: str | Device | None) -> Any:
    """Raise what is said of operands that tensors refuse: of data that all are arrays of one kind, what kernels say."""
    try:
        return apply(where, operation, given, on=on)
    except LoomError as own:
        met = isinstance(error, DTypeError) and error.what == NO_INTEGER_TYPE  # kernels ask for one type, tensors join
        raise own if not met and type(error) in (type(own), TypeError) else error from None


@cache
def _twin(operation: str) -> Callable[..., Any]:
    """Return the function of tensors that is an operation."""
    name = _TWINS.get(operation, operation)
    return getattr(tensor, name) if name in tensor.__all__ else partial(record, operation)


_OTHER_NAMES = (
    "eq=equal ge=greater_equal gt=greater le=less_equal lt=less ne=not_equal div=divide max=maximum min=minimum "
    "mul=multiply neg=negative rint=round sub=subtract"
)
_TWINS = {own: other for own, _, other in (pair.partition("=") for pair in _OTHER_NAMES.split())}
"""Names of functions of tensors that are not those of the operations."""


def apply(
    where: str,
    op: Any,
    given: Sequence[Any],
    *,
    typed_by: int = 0,
    out: np.ndarray[Any, Any] | None = None,
    on: str | Device | None = None,
) -> Any:
    """Return ``op`` over operands, of which those from number ``typed_by`` on have the dtype of that one."""
    if any(isinstance(g, Tensor) for g in given):
        if out is not None:
            raise ArgumentError(
                f"{where}, out", "the operands are on a device", expected="no out", got=type(out).__name__,
                remedy="Leave out= away: the result is a tensor",
            )  # fmt: skip
        return record_map(where, op, _on_device(where, given, typed_by, on))
    operands = _operands(where, given, typed_by)
    arrays = [o.memory for o in operands if isinstance(o, HostArray)]
    where_to = device(on)
    kernel, result = kernel_of(op, [(o.dtype, isinstance(o, HostArray)) for o in operands], where_to)
    made = host_type(result)
    given_out = out
    if out is None:
        out = np.empty(arrays[0].shape, made)
    else:
        _check_out(where, out, arrays[0].shape, made, arrays)
    map_host(kernel, arrays, [o for o in operands if isinstance(o, Scalar)], out, where_to)
    return show(out, result) if given_out is None else out


@dataclass(frozen=True, slots=True)
class HostArray:
    """An array of the host among the operands."""

    memory: np.ndarray[Any, Any]
    dtype: DType


def _operands(where: str, given: Sequence[Any], typed_by: int) -> list[HostArray | Scalar]:
    """Return operands of the host: arrays, of one shape and (from ``typed_by`` on) dtype, and scalars."""
    data, dtype = as_array(given[typed_by], _place(where, typed_by))
    operands: list[HostArray | Scalar] = []
    for position, value in enumerate(given):
        if position == typed_by:
            operands.append(HostArray(data, dtype))
        elif position > typed_by and is_number(value):
            operands.append(Scalar(_number(value, dtype, _place(where, position)), dtype))
        else:
            found, kind = as_array(value, _place(where, position), dtype=dtype)
            _check_alike(where, position, (found.shape, kind, found.dtype), (data.shape, dtype, data.dtype), typed_by)
            operands.append(HostArray(found, kind))
    return operands


def _on_device(where: str, given: Sequence[Any], typed_by: int, on: str | Device | None) -> list[Tensor | Scalar]:
    """Return operands as arrays of the device those given are on (numpy arrays are copied there) and scalars."""
    homes = [g.device for g in given if isinstance(g, Tensor) and g.device is not None]
    home = device(on) if on is not None or not homes else homes[0]
    lead = given[typed_by]
    lead = lead if isinstance(lead, Tensor) else array(lead, on=home)
    operands: list[Tensor | Scalar] = []
    for position, value in enumerate(given):
        if position > typed_by and is_number(value):
            operands.append(Scalar(_number(value, lead.dtype, _place(where, position)), lead.dtype))
            continue
        found = lead if position == typed_by else value
        found = found if isinstance(found, Tensor) else array(found, dtype=lead.dtype, on=home)
        if found.device is not None and found.device is not home:
            raise ArgumentError(
                _place(where, position), "the array is on another device", expected=home.name, got=found.device.name,
                remedy=f"Copy it with loom.array(x, on={home.name!r})",
            )  # fmt: skip
        alike = (found.shape, found.dtype, found.dtype), (lead.shape, lead.dtype, lead.dtype)
        _check_alike(where, position, *alike, typed_by)
        operands.append(found)
    return operands


def _place(where: str, position: int) -> str:
    return where if position == 0 else f"{where}, argument {position}"


def _check_alike(where: str, position: int, found: Any, wanted: Any, typed_by: int) -> None:
    """Raise unless two (shape, dtype, dtype to name) go together."""
    if position > typed_by and found[1] != wanted[1]:
        raise DTypeError(
            _place(where, position), "operands of different types", expected=wanted[2], got=found[2],
            remedy="Convert one",
        )  # fmt: skip
    if found[0] != wanted[0]:
        raise ShapeError(
            _place(where, position), "operands of different shapes", expected=wanted[0], got=found[0],
            remedy="Match the shape of data",
        )  # fmt: skip


def _check_out(
    where: str, out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], operands: list[np.ndarray[Any, Any]]
) -> None:
    """Raise unless ``out`` is an array that results of this shape and dtype can be written to directly."""
    where = f"{where}, out"
    is_array, found = isinstance(out, np.ndarray), cast("np.ndarray[Any, Any]", out)
    if not is_array or found.dtype != dtype:
        raise DTypeError(
            where, "cannot take the result", expected=f"a numpy array of {dtype}",
            got=found.dtype if is_array else type(found).__name__,
            remedy="Leave out= away, or pass numpy.empty_like of the result",
        )  # fmt: skip
    if found.shape != shape:
        raise ShapeError(where, "another shape", expected=shape, got=found.shape, remedy="Match the shape of data")
    if not (found.flags.c_contiguous and found.flags.aligned and found.flags.writeable):
        raise ArgumentError(
            where, "cannot be written to directly", expected="a writable, contiguous, aligned array",
            got="another", remedy="Pass a fresh numpy.empty(...)",
        )  # fmt: skip
    if any(np.may_share_memory(found, operand) for operand in operands):
        raise ArgumentError(
            where, "shares memory with an operand", expected="memory of its own", got="an overlap",
            remedy="Pass another array",
        )  # fmt: skip


def as_operation(op: Any, where: str = "gpu_map") -> str | FunctionType:
    """Return an operation: its name, also for a function of Loom's such as ``loom.sin``, or a Python function.

    ArgumentError for a name of none, DTypeError for what is neither.
    """
    if isinstance(op, Elementary):
        return op.__name__
    if isinstance(op, FunctionType) and INTRINSICS.get(op) in ELEMENTWISE:
        return INTRINSICS[op]
    if isinstance(op, str):
        if op not in ELEMENTWISE:
            remedy = f"Use tensor.{op}" if op in tensor.__all__ else near_matches(op, list(ELEMENTWISE))
            raise ArgumentError(where, f"no operation is called {op!r}", remedy=remedy)
    elif not isinstance(op, FunctionType) or op in INTRINSICS:
        name = getattr(op, "__name__", None) or getattr(getattr(op, "func", None), "__name__", "")
        known = "abs" if name == "absolute" else name
        raise DTypeError(
            where, "not an operation", expected="a name or a Python function", got=_describe(op),
            remedy=f"Pass {known!r}" if known in ELEMENTWISE and isinstance(op, (np.ufunc, BuiltinFunctionType))
            else "Pass a def or a lambda" + (f", such as lambda v: {name}(v)" if name else ""),
        )  # fmt: skip
    return op


def _describe(op: Any) -> str:
    """Return what something callable is, for people."""
    return "a bound method" if isinstance(op, MethodType) else type(op).__name__


def is_number(value: Any) -> bool:
    """Tell whether a value is one number of Python's or numpy's."""
    return isinstance(value, (bool, int, float, np.generic))


@ordinary_arithmetic()
def _number(value: Any, dtype: DType, where: str) -> Any:
    """Return a scalar operand; a whole float may stand for an integer (docs/guide/flow.md, "Numbers")."""
    number = value
    if isinstance(value, np.generic):
        scalar: Any = cast("Any", value)
        number = scalar.item()
        of_numpy(scalar.dtype, where)
    if dtype.is_integer and isinstance(number, float) and number.is_integer():
        return int(number)
    if dtype.storage_only and isinstance(number, (int, float)) and not isinstance(number, bool):
        return float(widen(read_as(number, dtype, where), dtype))  # it has the type of the elements, as in a tensor
    return number
