"""What to write in a kernel instead of a function that only the host has: ``loom.sqrt`` for ``math.sqrt``.

Layer: ir. Invariant: a remedy that names a function of Loom's names one that kernels can call.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as np

from loom.core.dtype import of_numpy
from loom.core.errors import DTypeError
from loom.ir.frontend.elementary import Elementary
from loom.ir.frontend.intrinsics import INTRINSICS

__all__ = ["instead_of", "is_pattern"]

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
_BUILTINS = {
    "fabs": "abs", "absolute": "abs", "minimum": "min", "fmin": "min", "amin": "min", "maximum": "max", "fmax": "max",
    "amax": "max",
}  # fmt: skip
"""Functions that Python's own stand for."""


def is_pattern(fn: FunctionType) -> bool:
    """Tell whether ``fn`` is one of Loom's functions of whole arrays, which kernels cannot call."""
    return fn.__name__.startswith("gpu_") and (fn.__module__ or "").startswith("loom.")


def instead_of(target: Any, name: str, outer: dict[str, Any]) -> str:
    """Return the remedy for a call of ``target``, called ``name``; ``outer`` are the names the kernel sees."""
    if target is bool:
        return "Compare, for example x != 0"
    if isinstance(target, type) and issubclass(target, np.generic):
        try:
            return f"Write loom.{of_numpy(target, name)}(x)"
        except DTypeError:
            return "Convert with a dtype such as f32(x)"
    if target in (int, float):
        return "Convert with a dtype such as f32(x)"
    known = _OTHER_NAMES.get(name, name)
    if known in INTRINSICS.values() or known in _ELEMENTARY:
        own = outer.get(known)
        bare = isinstance(own, Elementary) or (callable(own) and own in INTRINSICS)
        return f"Write {known if bare else f'loom.{known}'}(x)" if known != "barrier" else "Write loom.barrier()"
    if name in _BUILTINS:
        return f"Write {_BUILTINS[name]}(x)" if _BUILTINS[name] == "abs" else f"Write {_BUILTINS[name]}(x, y)"
    if name == "sum":
        return "Add up in a loop, or call loom.gpu_sum outside the kernel"
    return "Compute it before the kernel"
