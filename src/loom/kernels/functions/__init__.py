"""Elementary functions written in the kernel language: one fixed sequence of exactly rounded operations each.

Layer: kernels. No C library and no native GPU function takes part. Invariant: every name in ``FUNCTIONS``
is an ``Elementary`` of that name in the module given (tested).
"""

from __future__ import annotations

from importlib import import_module

from loom.ir.frontend.elementary import Elementary

__all__ = ["FUNCTIONS", "function"]

FUNCTIONS: dict[str, str] = {
    "acos": "inverse",
    "asin": "inverse",
    "atan": "inverse",
    "atan2": "inverse",
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
    "j0": "bessel",
    "j1": "bessel",
    "lgamma": "gamma",
    "log": "logarithm",
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


def function(name: str) -> Elementary:
    """Return the elementary function called ``name``.

    >>> function("rsqrt")
    <loom.rsqrt>
    """
    return getattr(import_module(f"loom.kernels.functions.{FUNCTIONS[name]}"), name)
