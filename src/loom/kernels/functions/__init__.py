"""Elementary functions written in the kernel language: one fixed sequence of exactly rounded operations each.

Layer: kernels. No C library and no native GPU function takes part. Invariant: every name in ``FUNCTIONS``
is an ``Elementary`` of that name in the module given (tested).
"""

from __future__ import annotations

from importlib import import_module

from loom.ir.frontend.elementary import Elementary

__all__ = ["FUNCTIONS", "function"]

FUNCTIONS: dict[str, str] = {
    "rsqrt": "power",
}
"""Every elementary function and the module of this package that defines it, loaded when first used."""


def function(name: str) -> Elementary:
    """Return the elementary function called ``name``.

    >>> function("rsqrt")
    <loom.rsqrt>
    """
    return getattr(import_module(f"loom.kernels.functions.{FUNCTIONS[name]}"), name)
