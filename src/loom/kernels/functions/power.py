"""Roots and powers.

Layer: kernels. Invariant: only correctly rounded operations and integer operations are used.
"""

from __future__ import annotations

from typing import Any

from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import sqrt

__all__ = ["rsqrt"]


def _rsqrt(x: Any) -> Any:
    return 1.0 / sqrt(x)


@elementary(f32=(_rsqrt, 1.5), f64=(_rsqrt, 1.5))
def rsqrt(x: Any) -> Any:  # type: ignore[empty-body]
    """``1 / sqrt(x)``, two correctly rounded operations: at most 1.5 ulp; -0 gives -inf, below 0 NaN."""
