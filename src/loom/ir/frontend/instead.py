"""What functions of ``math`` and ``numpy`` are in a kernel, and what to write instead of those that only the host has.

Layer: ir. Invariant: a function that is taken for one of Loom's means the same, but for the last bits of its result; a
remedy that names a function of Loom's names one that kernels can call.
"""

from __future__ import annotations

import math
from types import BuiltinFunctionType, FunctionType
from typing import Any, cast

import numpy as np

from loom.ir.frontend.elementary import Elementary
from loom.ir.frontend.intrinsics import INTRINSICS

__all__ = ["instead_of", "is_pattern", "same_as"]

_ELEMENTARY = (
    "acos", "asin", "atan", "atan2", "cbrt", "cos", "cosh", "erf", "erfc", "exp", "exp2", "expm1", "gamma", "lgamma",
    "log", "log1p", "log2", "pow", "sin", "sinh", "tan", "tanh",
)  # fmt: skip
_OTHER_NAMES = {
    "round": "rint", "arccos": "acos", "arcsin": "asin", "arctan": "atan", "arctan2": "atan2", "power": "pow",
    "float_power": "pow", "bit_count": "popcount", "bitwise_count": "popcount", "where": "select",
    "syncthreads": "barrier",
}  # fmt: skip
"""Names that Loom has for functions of ``math``, ``numpy`` and others."""
_WRITTEN = {
    "hypot": "Write loom.sqrt(x * x + y * y)",
    "sign": "Write T(x > 0) - T(x < 0), T the type of x, as f32(x > 0) - f32(x < 0)",
    "log10": "Write loom.log2(x) * 0.30102999566398120", "isclose": "Compare abs(x - y) with a bound",
    "radians": "Write x * (math.pi / 180)", "degrees": "Write x * (180 / math.pi)",
    "matmul": "Write the loop over k", "dot": "Add up in a loop", "exp10": "Write loom.exp2(x * 3.3219280948873623)",
    "zeros": "Use loom.private(f32, n), which starts as zero", "empty": "Use loom.private(f32, n)",
    "array": "Use loom.private(f32, n), or write a tuple",
}  # fmt: skip
"""What to write where one name is not enough."""
_BUILTINS = {
    "fabs": "abs", "absolute": "abs", "minimum": "min", "fmin": "min", "amin": "min", "maximum": "max", "fmax": "max",
    "amax": "max",
}  # fmt: skip
"""Functions that Python's own stand for."""


_SAME = {
    **{name: name for name in _ELEMENTARY if name not in ("gamma", "lgamma", "erf", "erfc", "pow", "atan2")},
    **{name: name for name in ("sqrt", "floor", "ceil", "trunc", "rint", "isnan", "isinf", "isfinite")},
    "arccos": "acos", "arcsin": "asin", "arctan": "atan", "arctan2": "atan2", "power": "pow", "float_power": "pow",
    "absolute": "abs", "fabs": "abs", "minimum": "min", "maximum": "max", "where": "select", "clip": "clip",
    "fmod": "fmod", "copysign": "copysign", "nextafter": "nextafter",
    "bitwise_count": "popcount", "square": "square", "negative": "negative", "reciprocal": "reciprocal",
}  # fmt: skip
"""Of ``numpy``, and by the same names of ``math``."""
_SAME_IN_MATH = {name: name for name in ("atan2", "erf", "erfc", "gamma", "lgamma", "pow")}


_FUNCTIONS: tuple[type, ...] = (
    FunctionType,
    BuiltinFunctionType,
    np.ufunc,
    cast("Any", type(np.where)),
    cast("Any", type(np.clip)),
)
"""What functions of ``math`` and ``numpy`` are: nothing else is asked for its name."""


def same_as(target: Any) -> str | None:
    """Return what a function of ``math`` or ``numpy`` is called in kernels, None if they have nothing that means it."""
    if not isinstance(target, _FUNCTIONS):
        return None
    name = target.__name__
    if getattr(math, name, None) is target:
        return _SAME_IN_MATH.get(name) or _SAME.get(name)
    return _SAME.get(name) if getattr(np, name, None) is target else None


def is_pattern(fn: FunctionType) -> bool:
    """Tell whether ``fn`` is one of Loom's functions of whole arrays, which kernels cannot call."""
    return fn.__name__.startswith("gpu_") and (fn.__module__ or "").startswith("loom.")


def instead_of(target: Any, name: str, outer: dict[str, Any]) -> str:
    """Return the remedy for a call of ``target``, called ``name``; ``outer`` are the names the kernel sees."""
    if isinstance(target, type) and issubclass(target, np.generic):
        return "Convert with a dtype such as f32(x)"
    if name in _WRITTEN:
        return _WRITTEN[name]
    known = _OTHER_NAMES.get(name, name)
    if known in INTRINSICS.values() or known in _ELEMENTARY:
        own = outer.get(known)
        bare = isinstance(own, Elementary) or (isinstance(own, FunctionType) and own in INTRINSICS)
        return f"Write {known if bare else f'loom.{known}'}(x)" if known != "barrier" else "Write loom.barrier()"
    if name in _BUILTINS:
        return f"Write {_BUILTINS[name]}(x)" if _BUILTINS[name] == "abs" else f"Write {_BUILTINS[name]}(x, y)"
    if name == "sum":
        return "Add up in a loop, or call loom.gpu_sum outside the kernel"
    return "Compute it before the kernel"
