"""Products with logarithms, and ``sinc``: functions with a limit where a formula has none.

Layer: tensor. Invariant: 0 times a logarithm is 0, but for NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from loom.core.errors import DTypeError
from loom.core.promotion import as_float, promote
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.ops.elementwise import apply, cast, common_shape, constant, where
from loom.tensor.ops.views import broadcast_to, routed
from loom.tensor.record.graph import Node
from loom.tensor.special.given import horner, ready, with_slope

__all__ = ["entr", "logit", "sinc", "xlog1py", "xlogy"]


def xlogy(x: Any, y: Any) -> Tensor:
    """Return x log(y), 0 where x is 0 and y is not NaN; one of them may be a number.

    >>> from loom import tensor
    >>> xlogy(tensor.array([0.0, 2.0]), tensor.array([0.0, 1.0])).tolist()
    [0.0, 0.0]
    """
    return _product(x, y, "xlogy", lambda v: apply("log", v), lambda v: v)


def xlog1py(x: Any, y: Any) -> Tensor:
    """Return x log(1 + y), 0 where x is 0 and y is not NaN; one of them may be a number."""
    return _product(x, y, "xlog1py", lambda v: apply("log1p", v), lambda v: v + 1)


def _product(x: Any, y: Any, name: str, log: Callable[[Any], Any], inner: Callable[[Any], Any]) -> Any:
    tensors = [v for v in (x, y) if isinstance(v, Node)]
    if not tensors:
        raise DTypeError(name, "no tensor among the operands", expected="at least one tensor",
                         got=f"{type(x).__name__}, {type(y).__name__}", remedy="Use tensor.array")  # fmt: skip
    dtype = as_float(promote(name, [t.dtype for t in tensors], [v for v in (x, y) if not isinstance(v, Node)]))
    both = [v if isinstance(v, Node) else constant(v, dtype, tensors[0], name) for v in (x, y)]
    a, b = (ready(cast(v, dtype), name) for v in both)
    shape = common_shape(name, [a, b])
    a, b = (v if v.shape == shape else broadcast_to(v, shape) for v in (a, b))

    def vjp(node: Any, g: Any) -> list[Any]:
        a, b = node.inputs[:2]
        nothing = apply("eq", a, 0)
        slope = where(nothing & (inner(b) <= 0), 0, log(b))
        return [g * slope, g * where(nothing, where(apply("eq", b, b), 0, b), a / inner(b))]

    logs = log(b)
    found = where(apply("eq", a, 0) & apply("eq", b, b), 0, a * logs)
    return cast(routed(found, [a, b], vjp), dtype)


def entr(x: Tensor) -> Tensor:
    """Return -x log(x): 0 for 0, -inf below."""

    def value(x: Any) -> Any:
        found = -(x * apply("log", where(x > 0, x, 1)))
        return where(x < 0, -math.inf, where(apply("eq", x, 0), 0, found))

    return with_slope(x, "entr", value, lambda x, _y: -apply("log", x) - 1)


def logit(x: Tensor) -> Tensor:
    """Return log(x / (1 - x)), the inverse of sigmoid: NaN outside of 0 to 1."""

    def value(x: Any) -> Any:
        middle = (x > 0.25) & (x < 0.75)
        near = where(middle, 2 * x - 1, 0)  # exact; log((1 + s) / (1 - s)) = 2 atanh(s)
        return where(middle, apply("atanh", near) * 2, apply("log", x) - apply("log1p", -x))

    return with_slope(x, "logit", value, lambda x, _y: 1 / (x * (1 - x)))


_SINC_SLOPE = (-1 / 3, 1 / 30, -1 / 840, 1 / 45360, -1 / 3991680, 1 / 518918400, -1 / 93405312000)


def sinc(x: Tensor) -> Tensor:
    """Return sin(pi x) / (pi x), 1 for 0."""

    def value(x: Any) -> Any:
        is_zero = apply("eq", x, 0)
        size = abs(x)  # the quotient of two odd functions is even, in signs of zeros too
        return where(is_zero, 1, _sine(size) / (where(is_zero, 1, size) * math.pi))

    def slope(x: Any, y: Any) -> Any:
        near = abs(x) < 0.4
        z = where(near, x, 0) * math.pi
        far = (apply("cos", _turn_part(x)) - y) / where(near, 1, x)
        return where(near, z * horner(z * z, _SINC_SLOPE) * math.pi, far)

    return with_slope(x, "sinc", value, slope)


def _turn_part(x: Any) -> Any:
    """Return pi x less whole turns."""
    return (x - apply("rint", x * 0.5) * 2) * math.pi


def _sine(x: Any) -> Any:
    """Return sin(pi x), exactly 0 for whole numbers."""
    turn = x - apply("rint", x)
    odd = apply("ne", apply("rint", x) * 0.5, apply("rint", apply("rint", x) * 0.5))
    found = apply("sin", turn * math.pi)
    return where(odd, -found, found)
