"""Elementary functions written in the kernel language: one fixed sequence of exactly rounded operations each.

Layer: kernels. No C library and no native GPU function takes part. Invariant: every name in ``FUNCTIONS``
and ``EXACT`` is an ``Elementary`` of that name in the module given (tested).
"""

from __future__ import annotations

from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from loom.core.dtype import DType
from loom.ir.frontend.elementary import Elementary

__all__ = ["EXACT", "FUNCTIONS", "apply", "function"]

FUNCTIONS: dict[str, str] = {
    "acos": "inverse",
    "acosh": "inverse_hyperbolic",
    "asin": "inverse",
    "asinh": "inverse_hyperbolic",
    "atan": "inverse",
    "atan2": "inverse",
    "atanh": "inverse_hyperbolic",
    "cbrt": "power",
    "cos": "trigonometric",
    "cosh": "hyperbolic",
    "erf": "error",
    "erfc": "error",
    "exp": "exponential",
    "exp2": "exponential",
    "expm1": "exponential",
    "gamma": "gamma",
    "gelu": "error",
    "gelu_tanh": "error",
    "hypot": "power",
    "j0": "bessel",
    "j1": "bessel",
    "lgamma": "gamma",
    "log": "logarithm",
    "log10": "logarithm",
    "log1p": "logarithm",
    "log2": "logarithm",
    "pow": "power",
    "rsqrt": "power",
    "sigmoid": "exponential",
    "sin": "trigonometric",
    "sinh": "hyperbolic",
    "tan": "trigonometric",
    "tanh": "hyperbolic",
    "y0": "bessel",
    "y1": "bessel",
}
"""Every elementary function and the module of this package that defines it, loaded when first used."""

EXACT: dict[str, str] = {"copysign": "exact", "fmod": "exact", "ipow": "exact", "nextafter": "exact"}
"""Functions without an error, and their module; ``ipow`` is one of integers."""


def function(name: str) -> Elementary:
    """Return the elementary function called ``name``.

    >>> function("rsqrt")
    <loom.rsqrt>
    """
    return getattr(import_module(f"loom.kernels.functions.{(FUNCTIONS | EXACT)[name]}"), name)


def apply(name: str, dtype: DType, arrays: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Return the values of an elementary function for arrays of constants, as the interpreter computes them.

    >>> from loom.core.dtype import f64
    >>> apply("exp", f64, [np.zeros(2)]).tolist()
    [1.0, 1.0]
    """
    from loom.ir.interp import interpret
    from loom.kernels.functions.applying import mapper

    found = np.zeros(len(arrays[0]), dtype.numpy)
    kernel = mapper(function(name), dtype).verified
    interpret(kernel.kernel, [*arrays, found], [], (-(-len(found) // kernel.workgroup[0]), 1, 1))
    return found


Elementary.find = staticmethod(function)
Elementary.apply = staticmethod(apply)
