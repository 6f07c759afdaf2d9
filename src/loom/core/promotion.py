"""In which type operands of several types meet, and which types Python's numbers have.

Layer: core. Source: the tables of the Python array API standard 2024.12 ("Type Promotion Rules") inside a kind; across
kinds bool < integers < floats < complex numbers, and the higher kind alone says the type, as in torch. Invariant: the
order of operands changes nothing, and Python's numbers never make a type of their own kind wider.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, cast

import numpy as np

from loom.core.dtype import SCALARS, DType, bool_, c64, complex_of, f32, i64, u64
from loom.core.errors import DTypeError
from loom.core.given import is_scalar

__all__ = ["NO_INTEGER_TYPE", "as_float", "default_dtype", "is_number", "promote"]

NO_INTEGER_TYPE = "no integer type holds all numbers of both"
"""How the error of two integer types that do not meet begins."""

_LEVELS = {"bool": 0, "unsigned": 1, "signed": 1, "float": 2, "complex": 3}
_PYTHON: dict[type, int] = {bool: 0, int: 1, float: 2, complex: 3}


def is_number(value: Any) -> bool:
    """Tell whether a value is a number of Python's or numpy's, which takes the type of what it meets."""
    return isinstance(value, (bool, int, float, complex, np.generic)) and np.ndim(cast("Any", value)) == 0


def default_dtype(kind: type) -> DType:
    """Return the type that numbers of ``bool``, ``int``, ``float`` or ``complex`` have by themselves.

    >>> str(default_dtype(int)), str(default_dtype(float))
    ('i64', 'f32')
    """
    return (bool_, i64, f32, c64)[_PYTHON[kind]]


def as_float(dtype: DType) -> DType:
    """Return a type of floats or complex numbers as it is; integers and bools become f32, the default one."""
    return dtype if _level(dtype) > 1 else f32


def promote(where: str, dtypes: Iterable[DType], numbers: Iterable[Any] = ()) -> DType:
    """Return the type of what is computed of operands of ``dtypes`` and of Python's ``numbers``.

    DTypeError for u64 with signed integers, whose numbers no integer type holds, and for what is no number.

    >>> from loom.core.dtype import f16, i32, i64, u8
    >>> str(promote("add", [u8, i32])), str(promote("add", [i64, f16])), str(promote("add", [u8], [0.5]))
    ('i32', 'f16', 'f32')
    """
    return _promote(where, tuple(dtypes), tuple(_python_type(where, n) for n in numbers))


def _python_type(where: str, number: Any) -> type:
    if is_number(number):
        value = number.item() if is_scalar(number) else number
        for kind in _PYTHON:
            if isinstance(value, kind):
                return kind
    raise DTypeError(where, f"{number!r} is no number", expected="a tensor, or a number", got=type(number).__name__,
                     remedy="Use tensor.array, or astype on the tensor")  # fmt: skip


@cache
def _promote(where: str, dtypes: tuple[DType, ...], kinds: tuple[type, ...]) -> DType:
    level = max(map(_level, dtypes), default=-1)
    found: DType | None = None
    for dtype in dtypes:
        if _level(dtype) == level:
            found = dtype if found is None else _join(where, found, dtype)
    least = max((_PYTHON[kind] for kind in kinds), default=-1)
    if found is None or least > level:
        own = default_dtype(next(kind for kind, at in _PYTHON.items() if at == least))
        return complex_of(found) if found is not None and least > 2 else own
    if level == _LEVELS["complex"]:  # f64 with c64 are numbers of 64 bits each
        for dtype in dtypes:
            if complex_of(dtype).bits > found.bits:
                found = complex_of(dtype)
    return found


def _level(dtype: DType) -> int:
    return _LEVELS[dtype.kind.value]


def _join(where: str, a: DType, b: DType) -> DType:
    """Return the least type of the same kind that holds the numbers of both."""
    if a.kind is not b.kind:  # integers
        signed, unsigned = (a, b) if a.is_signed else (b, a)
        if unsigned == u64:
            raise DTypeError(
                where, NO_INTEGER_TYPE, expected="u64 alone, or signed integers",
                got=f"{a} and {b}", remedy="Convert one with astype, u64 to i64 for example",
            )  # fmt: skip
        return SCALARS[f"i{max(signed.bits, 2 * unsigned.bits)}"]
    if a.bits == b.bits and a != b:  # f16 and bf16
        return f32
    return a if a.bits >= b.bits else b
