"""What special functions are given, and polynomials.

Layer: tensor. Invariant: functions compute in f32 or f64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from loom.core.dtype import f64
from loom.core.errors import DTypeError
from loom.core.promotion import as_float
from loom.kernels.types import compute_type
from loom.tensor.ops.elementwise import cast
from loom.tensor.ops.views import routed
from loom.tensor.record.graph import require_tensor

__all__ = ["horner", "is_double", "ready", "with_slope"]


def ready(x: Any, name: str) -> Any:
    """Return a real tensor in the type that functions compute in."""
    require_tensor(x, name)
    if x.dtype.is_complex:
        raise DTypeError(name, "unsupported dtype", expected="real numbers", got=x.dtype,
                         remedy="Take real and imaginary parts")  # fmt: skip
    return cast(x, compute_type(as_float(x.dtype)))


def with_slope(x: Any, name: str, value: Callable[[Any], Any], slope: Callable[[Any, Any], Any]) -> Any:
    """Return a function of one operand, whose derivative ``slope`` tells from the operand and the result."""
    held = ready(x, name)

    def vjp(node: Any, g: Any) -> list[Any]:
        return [g * slope(node.inputs[0], node)]

    return cast(routed(value(held), [held], vjp), as_float(x.dtype))


def is_double(x: Any) -> bool:
    """Tell whether a tensor has 53 bits rather than 24."""
    return x.dtype == f64


def horner(x: Any, coefficients: Sequence[float]) -> Any:
    """Return the polynomial whose coefficients these are, the constant first."""
    found = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        found = x * found + c
    return found
