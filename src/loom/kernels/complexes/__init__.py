"""Functions of complex numbers, real and imaginary part apart, in the kernel language. Layer: kernels."""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType
from loom.kernels.complexes.exponentials import exp_of, hyperbolic_of, log_of, tangent_of
from loom.kernels.complexes.inverses import acos_of, asinh_of, atanh_of
from loom.kernels.complexes.magnitude import quotient_of, root_of
from loom.kernels.functions.exact import copysign

__all__ = ["functions_of"]

_FAMILIES = (quotient_of, root_of, exp_of, log_of, hyperbolic_of, tangent_of, asinh_of, acos_of, atanh_of)


def signed(value: Any, of: Any) -> Any:
    """Return the size of ``value`` with the sign bit of ``of``."""
    return copysign(value, of)


@cache
def functions_of(real: DType) -> dict[str, Any]:
    """Return every function of parts, f32 or f64, by name; ``_re`` and ``_im`` are parts of what it gives."""
    found: dict[str, Any] = {"signed": signed}
    for family in _FAMILIES:
        found |= family(real)
    return found
