"""Types by the standard's names, what they hold, and in which one operands meet.

Layer: tensor. Chapters "Data types" and "Data type functions" of the array API standard 2024.12. Invariant: the names
are other names of Loom's own types.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core import dtype as types
from loom.core.dtype import DType, dtype_of, f32, f64
from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import is_list
from loom.core.late.dataclass import dataclass
from loom.core.promotion import is_number, promote
from loom.tensor.record.graph import Node, NodeT, same

__all__ = ["NAMES", "FloatInfo", "IntInfo", "can_cast", "copy_handle", "finfo", "iinfo", "isdtype", "result_type"]

NAMES: dict[str, DType] = {
    "bool": types.bool_, "int8": types.i8, "int16": types.i16, "int32": types.i32, "int64": types.i64,
    "uint8": types.u8, "uint16": types.u16, "uint32": types.u32, "uint64": types.u64, "float16": types.f16,
    "bfloat16": types.bf16, "float32": f32, "float64": f64,
    "complex64": types.c64, "complex128": types.c128,
}  # fmt: skip
"""Types by the names of the standard, numpy and torch."""

_KINDS = {
    "bool": ("bool",), "signed integer": ("signed",), "unsigned integer": ("unsigned",),
    "integral": ("signed", "unsigned"), "real floating": ("float",), "complex floating": ("complex",),
    "numeric": ("signed", "unsigned", "float", "complex"),
}  # fmt: skip


def isdtype(dtype: Any, kind: Any) -> bool:
    """Tell whether a dtype is of a kind, of one of several in a tuple, or is a dtype.

    ``kind``: "bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric".

    Args:
        dtype: Dtype.
        kind: Kind of the array API, a dtype, or a tuple of them.

    Raises:
        ArgumentError: There is no such option.
        DTypeError: There is no such dtype.

    >>> isdtype(f32, "real floating"), isdtype(f32, ("bool", "integral"))
    (True, False)
    """
    given = dtype_of(dtype, "isdtype")
    return any(_is_kind(given, each) for each in (kind if is_list(kind) else (kind,)))


def _is_kind(dtype: DType, kind: Any) -> bool:
    if isinstance(kind, str) and kind in _KINDS:
        return dtype.kind.value in _KINDS[kind]
    if isinstance(kind, str) and kind not in NAMES and kind not in types.SCALARS:
        raise ArgumentError("isdtype, kind", f"{kind!r} is not known", expected=", ".join(map(repr, _KINDS)), got=kind,
                            remedy="Name a kind, or pass a dtype")  # fmt: skip
    return dtype == dtype_of(kind, "isdtype, kind")


@dataclass(frozen=True)
class FloatInfo:
    """What a type of floats holds; numbers are Python's floats. Of complex numbers it tells of their parts."""

    dtype: DType
    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float


@dataclass(frozen=True)
class IntInfo:
    """What a type of integers holds."""

    dtype: DType
    bits: int
    max: int
    min: int


_FLOATS = {"f16": (10, 15), "bf16": (7, 127), "f32": (23, 127), "f64": (52, 1023)}
"""Bits after the leading one, and the largest exponent."""


def finfo(type: Any, /) -> FloatInfo:
    """Return what a type of floats, or that of a tensor, holds; DTypeError for others.

    Args:
        type: Dtype, its name, or a tensor.

    Raises:
        DTypeError: There is no such dtype; not a type of floats.

    >>> finfo(f32).eps == 2.0**-23
    True
    """
    given = _type_of(type, "finfo")
    part = {"c64": f32, "c128": f64}.get(given.name, given)
    if part.name not in _FLOATS:
        raise DTypeError("finfo", "not a type of floats", expected="floats", got=given, remedy="Use iinfo")
    digits, highest = _FLOATS[part.name]
    largest = math.ldexp(2.0 - math.ldexp(1.0, -digits), highest)
    return FloatInfo(part, part.bits, math.ldexp(1.0, -digits), largest, -largest, math.ldexp(1.0, 1 - highest))


def iinfo(type: Any, /) -> IntInfo:
    """Return what a type of integers, or that of a tensor, holds; DTypeError for others.

    Args:
        type: Dtype, its name, or a tensor.

    Raises:
        DTypeError: There is no such dtype; not a type of integers.
    """
    given = _type_of(type, "iinfo")
    if not given.is_integer:
        raise DTypeError("iinfo", "not a type of integers", expected="integers", got=given, remedy="Use finfo")
    return IntInfo(given, given.bits, given.maximum, given.minimum)


def _type_of(given: Any, where: str) -> DType:
    return given.dtype if isinstance(given, Node) else dtype_of(given, where)


def result_type(*arrays_and_dtypes: Any) -> DType:
    """Return the dtype in which tensors, dtypes and Python's numbers meet (``core.promotion``).

    Args:
        *arrays_and_dtypes: Tensors, dtypes and Python numbers.

    Raises:
        ArgumentError: Nothing to join.
        DTypeError: There is no such dtype.

    >>> str(result_type(types.u8, types.i32, 1))
    'i32'
    """
    if not arrays_and_dtypes:
        raise ArgumentError("result_type", "nothing to join", expected="at least 1", got=0, remedy="Pass some")
    numbers = [x for x in arrays_and_dtypes if is_number(x)]
    return promote("result_type", [_type_of(x, "result_type") for x in arrays_and_dtypes if not is_number(x)], numbers)


def can_cast(from_: Any, to: Any, /) -> bool:
    """Tell whether a type, or that of a tensor, becomes another by promotion, or by one of wider kind: losing nothing.

    Args:
        from_: Dtype, or a tensor.
        to: Dtype.

    Raises:
        DTypeError: There is no such dtype.

    >>> can_cast(types.i16, types.i32), can_cast(types.i64, types.f64), can_cast(types.f32, types.u8)
    (True, False, False)
    """
    given, wanted = _type_of(from_, "can_cast"), dtype_of(to, "can_cast")
    if given == wanted or given.is_bool:
        return True
    if given.is_integer:
        if wanted.is_integer:
            return wanted.minimum <= given.minimum and given.maximum <= wanted.maximum
        digits = _FLOATS.get({"c64": "f32", "c128": "f64"}.get(wanted.name, wanted.name))
        return digits is not None and given.bits - given.is_signed <= digits[0] + 1
    if wanted.is_bool or wanted.is_integer:
        return False
    try:
        return promote("can_cast", [given, wanted]) == wanted
    except DTypeError:
        return False


def copy_handle(x: NodeT) -> NodeT:
    """Return another handle of the same elements: neither sees what is assigned to the other."""
    return same(x)
