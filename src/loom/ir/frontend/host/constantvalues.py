"""Elementary functions of constants, by the definitions that kernels have, never by a C library or numpy.

Layer: ir. Python's numbers are computed as f64 and stay numbers without a type; numpy's keep theirs. Invariant: a
result is a matter of the definition and its arguments, the same on every machine that compiles.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Union

import numpy as np

from loom.core.dtype import DType, f32, f64
from loom.ir.frontend.host.plain import Impure, bare, is_plain

__all__ = ["elementary_of", "power", "value_of"]

_MOST_EXACT = 2048
"""Exponents whose exact powers are computed: more go beyond any float, but for bases beside 1."""
_MOST_PRODUCTS = 64
_OTHER_NAMES = {
    "arccos": "acos",
    "arcsin": "asin",
    "arctan": "atan",
    "arctan2": "atan2",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
    "power": "pow",
    "float_power": "pow",
}
_NAMES = (
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cbrt",
    "cos",
    "cosh",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "gamma",
    "hypot",
    "lgamma",
    "log",
    "log10",
    "log1p",
    "log2",
    "pow",
    "sin",
    "sinh",
    "tan",
    "tanh",
)


def elementary_of(target: Any) -> str | None:
    """Return the name of the elementary function that one of ``math`` or ``numpy`` is; None if it is none.

    >>> elementary_of(math.exp), elementary_of(np.arctan2), elementary_of(math.floor)
    ('exp', 'atan2', None)
    """
    for module in (math, np):
        if type(target) in (type(math.exp), np.ufunc):
            name = target.__name__
            if getattr(module, name, None) is target:
                known = _OTHER_NAMES.get(name, name)
                return known if known in _NAMES else None
    return None


Finder = Union[Callable[[str], Any], None]
"""Gives the elementary function that has a name: its ``arity``, and ``apply``, which computes it by name and type."""


def value_of(find: Finder, name: str, given: Sequence[Any], *, strict: bool) -> object:
    """Return an elementary function of constants: a float of Python's, a number or an array of numpy's.

    ``strict``: where Python's own function raises ValueError or OverflowError, this does.
    """
    assert find is not None, "the library is there when kernels are"
    function = find(name)
    if len(given) != function.arity:
        raise TypeError(f"{name} takes {function.arity} arguments, got {len(given)}")
    for value in given:
        if not is_plain(value) or np.asarray(value).dtype.kind not in "biuf":
            raise Impure(f"{name} takes numbers", "Convert with float(x)")
    dtype = _dtype(given)
    arrays = np.broadcast_arrays(*(np.asarray(bare(v), dtype.numpy) for v in given))
    shape = arrays[0].shape
    apply = function.apply
    assert apply is not None
    found = np.asarray(apply(name, dtype, [np.array(a).reshape(-1) for a in arrays]))
    if any(isinstance(v, np.ndarray) for v in given):
        return found.reshape(shape)
    if any(isinstance(v, np.generic) for v in given):
        return found[0]
    number = float(found[0])
    if strict:
        _check(number, [float(v) for v in given])
    return number


def _check(number: float, given: Sequence[float]) -> None:
    """Raise what Python raises for a function that has no value there, or too large a one."""
    if all(map(math.isfinite, given)) and not math.isfinite(number):
        if math.isnan(number) or 0.0 in given:
            raise ValueError("math domain error")
        raise OverflowError("math range error")


def power(find: Finder, base: Any, exponent: Any) -> object:
    """Return ``base ** exponent`` of constants.

    A whole power of a number of Python's is the exact one, rounded once; of numpy's floats it is made of products, as
    in a kernel; any other power is ``loom.pow``.
    """
    base, exponent = bare(base), bare(exponent)
    if not is_plain(base) or not is_plain(exponent):
        raise Impure("** of what is no number would run its code")
    if isinstance(base, complex) or isinstance(exponent, complex):
        raise Impure("** of complex numbers is the C library's", "Compute it outside, and name its parts")
    python = not any(isinstance(v, (np.ndarray, np.generic)) for v in (base, exponent))
    if python and float(exponent).is_integer() and abs(exponent) <= _MOST_EXACT and math.isfinite(base):
        whole = isinstance(base, int) and isinstance(exponent, int) and exponent >= 0
        return base**exponent if whole else _exact(float(base), int(exponent))
    if {np.asarray(v).dtype.kind for v in (base, exponent)} <= set("biu"):
        return base**exponent
    if not python and isinstance(exponent, (int, np.integer)) and 0 <= exponent <= _MOST_PRODUCTS:
        return _product(base, int(exponent))
    if python and base < 0 and math.isfinite(exponent) and not float(exponent).is_integer():
        raise Impure("a negative number to a broken power is complex", "Take abs(x), or a whole power")
    return value_of(find, "pow", [base, exponent], strict=python)


def _exact(base: float, exponent: int) -> float:
    """Return a whole power, rounded once."""
    if base == 0.0:
        if exponent < 0:
            raise ZeroDivisionError("0.0 cannot be raised to a negative power")
        return 1.0 if exponent == 0 else base if exponent % 2 else 0.0
    over, under = base.as_integer_ratio()
    if exponent < 0:
        over, under = (under, over) if over > 0 else (-under, -over)
    return over ** abs(exponent) / under ** abs(exponent)


def _product(base: Any, exponent: int) -> object:
    """Return a power of numpy's floats by squaring, from the highest bit of the exponent on."""
    if exponent == 0:
        return np.ones_like(base)[()]
    found = base
    for bit in bin(exponent)[3:]:
        found = found * found
        if bit == "1":
            found = found * base
    return found


def _dtype(given: Sequence[Any]) -> DType:
    """Return the type that typed floats have; f64 where all numbers are Python's, or whole."""
    kinds = {np.asarray(v).dtype for v in given if isinstance(v, (np.ndarray, np.generic))}
    floats = {f32 if k.itemsize <= f32.nbytes else f64 for k in kinds if k.kind == "f"}
    if len(floats) > 1 or any(k.itemsize > f64.nbytes for k in kinds):
        raise Impure("the numbers have different types", "Convert one, for example np.float32(x)")
    return floats.pop() if floats else f64
