"""Activations, named as those of ``torch.nn.functional``.

Layer: tensor. f16 and bf16 are computed in f32 and rounded once. Invariant: derivatives are finite wherever the
function is, those of branches not taken included.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from loom.core.dtype import f64
from loom.core.errors import DTypeError, ShapeError
from loom.core.numbers import real
from loom.kernels.types import compute_type
from loom.tensor.arrays.functions import softmax
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.ops.elementwise import apply, cast, where
from loom.tensor.ops.joining import split
from loom.tensor.ops.reductions import max_of, sum_of
from loom.tensor.ops.views import normal_axis, reshape, routed
from loom.tensor.record.graph import require_tensor
from loom.tensor.standard.elementwise import clip, maximum, minimum

__all__ = [
    "celu", "elu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "logsigmoid", "logsumexp", "mish",
    "prelu", "relu6", "selu", "softmin", "softshrink", "softsign", "swiglu", "tanhshrink", "threshold",
]  # fmt: skip

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def wide(x: Any, where_: str) -> Tensor:
    """Return a tensor of floats in the type it is computed in; DTypeError for others."""
    require_tensor(x, where_)
    if not x.dtype.is_float:
        raise DTypeError(where_, "unsupported dtype", expected="floats", got=x.dtype, remedy="Convert with astype")
    return cast(x, compute_type(x.dtype))


def _of(x: Tensor, name: str, fn: Callable[[Tensor], Tensor]) -> Tensor:
    return cast(fn(wide(x, name)), x.dtype)


def _expm1(x: Tensor) -> Tensor:
    """Return e^x - 1 of x where negative; larger ones are cut, so that what is not chosen does not overflow."""
    return apply("expm1", minimum(x, 0))


def _softplus(x: Tensor) -> Tensor:
    """Return log(1 + e^x) without overflow."""
    y = maximum(x, 0) + apply("log1p", apply("exp", -abs(x)))

    def vjp(node: Any, g: Any) -> list[Any]:
        return [g * node.inputs[0].sigmoid()]

    return routed(y, [x], vjp)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Return x where it is positive, else ``alpha`` (e^x - 1).

    Args:
        x: Tensor of floats of any shape.
        alpha: Depth below 0.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: Not a number; an operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused.
    """
    a = real(alpha, "elu, alpha")
    return _of(x, "elu", lambda x: where(x > 0, x, _expm1(x) * a))


def selu(x: Tensor) -> Tensor:
    """Return 1.0507 times ``elu`` with alpha 1.6733.

    Args:
        x: Tensor of floats of any shape.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused.

    Source:
        G. Klambauer and others (2017).
    """
    return _of(x, "selu", lambda x: where(x > 0, x, _expm1(x) * _SELU_ALPHA) * _SELU_SCALE)


def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Return x where it is positive, else ``alpha`` (e^(x / alpha) - 1).

    Args:
        x: Tensor of floats of any shape.
        alpha: Depth below 0, not 0.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: Not a number; an operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused.

    Source:
        J. T. Barron (2017).
    """
    a = real(alpha, "celu, alpha")
    return _of(x, "celu", lambda x: where(x > 0, x, _expm1(x / a) * a if a > 0 else apply("expm1", x / a) * a))


def mish(x: Tensor) -> Tensor:
    """Return x tanh(log(1 + e^x)).

    Args:
        x: Tensor of floats of any shape.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused; the dtype is not supported.

    Source:
        D. Misra (2019).
    """
    return _of(x, "mish", lambda x: x * _softplus(x).tanh())


def relu6(x: Tensor) -> Tensor:
    """Return x between 0 and 6.

    Args:
        x: Tensor of floats of any shape.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused.
    """
    return hardtanh(x, 0.0, 6.0)


def hardtanh(x: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """Return x between two numbers; the gradient is 0 beyond them, and at them.

    Args:
        x: Tensor of floats of any shape.
        min_val: Least result.
        max_val: Largest result.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor; not a number.
        DTypeError: Bools, integers and complex numbers are refused; a number does not fit the dtype.
    """
    low, high = real(min_val, "hardtanh, min_val"), real(max_val, "hardtanh, max_val")
    return _of(x, "hardtanh", lambda x: where((x > low) & (x < high), x, clip(x, low, high) * 1).astype(x.dtype))


def hardsigmoid(x: Tensor) -> Tensor:
    """Return (x + 3) / 6 between 0 and 1.

    Args:
        x: Tensor of floats of any shape.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused; the dtype is not supported.
    """
    return _of(x, "hardsigmoid", lambda x: clip(x + 3, 0, 6) / 6)


def hardswish(x: Tensor) -> Tensor:
    """Return x (x + 3) / 6, 0 below -3 and x above 3.

    Args:
        x: Tensor of floats of any shape.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused; the dtype is not supported.

    Source:
        A. Howard and others (2019).
    """
    return _of(x, "hardswish", lambda x: x * (clip(x + 3, 0, 6) / 6))


def softsign(x: Tensor) -> Tensor:
    """Return x / (1 + abs(x)).

    Args:
        x: Tensor of floats of any shape.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused.
    """
    return _of(x, "softsign", lambda x: x / (abs(x) + 1))


def tanhshrink(x: Tensor) -> Tensor:
    """Return x - tanh(x).

    Args:
        x: Tensor of floats of any shape.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused.
    """
    return _of(x, "tanhshrink", lambda x: x - x.tanh())


def softshrink(x: Tensor, lambd: float = 0.5) -> Tensor:
    """Return x nearer to 0 by ``lambd``, 0 within it.

    Args:
        x: Tensor of floats of any shape.
        lambd: Width of what is shrunk, at least 0.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: Not a number; an operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused; the dtype is not supported.
    """
    by = real(lambd, "softshrink, lambd", least=0)
    return _of(x, "softshrink", lambda x: where(x > by, x - by, where(x < -by, x + by, x * 0)))


def hardshrink(x: Tensor, lambd: float = 0.5) -> Tensor:
    """Return x where its magnitude is above ``lambd``, else 0.

    Args:
        x: Tensor of floats of any shape.
        lambd: Width of what is shrunk, at least 0.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: A number is out of range; not a number.
        DTypeError: Bools are refused; the dtype is not supported.
    """
    by = real(lambd, "hardshrink, lambd", least=0)
    require_tensor(x, "hardshrink")
    return where(abs(x) <= by, 0, x)


def threshold(x: Tensor, threshold: float, value: float) -> Tensor:
    """Return x where it is above ``threshold``, else ``value``.

    Args:
        x: Tensor of floats of any shape.
        threshold: Number above which ``x`` stays.
        value: Number that stands for the others.

    Raises:
        ArgumentError: An operand is no tensor; not a number.
        DTypeError: A number does not fit the dtype.
    """
    require_tensor(x, "threshold")
    return where(x > real(threshold, "threshold"), x, real(value, "threshold, value"))


def logsigmoid(x: Tensor) -> Tensor:
    """Return log(1 / (1 + e^-x)), without overflow.

    Args:
        x: Tensor of floats of any shape.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused.
    """
    return _of(x, "logsigmoid", lambda x: -_softplus(-x))


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """Return x where it is positive, else ``weight`` x; a weight for all, or for each of the last axis (channels).

    Args:
        x: Tensor of floats of any shape.
        weight: Tensor of one factor, or of one for each of the last axis.

    Raises:
        ArgumentError: An operand is no tensor.
        ShapeError: Not one for each channel.
    """
    require_tensor(x, "prelu")
    require_tensor(weight, "prelu, weight")
    if weight.size not in (1, x.shape[-1] if x.ndim else 1):
        raise ShapeError("prelu, weight", "not one for each channel", expected=f"1 or {x.shape[-1:]}", got=weight.shape,
                         remedy="Channels come last")  # fmt: skip
    flat = reshape(weight, () if weight.size == 1 else (weight.size,))
    return where(x > 0, x, x * flat)


def glu(x: Tensor, axis: int = -1) -> Tensor:
    """Return the first half along an axis times the sigmoid of the second.

    Args:
        x: Tensor of floats of any shape.
        axis: Axis of an even length, which is halved.

    Returns:
        Tensor of half the axis, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused; an axis is no integer.
        IndexOutside: There is no such axis.

    Source:
        Y. Dauphin and others (2016).
    """
    a, b = _halves(x, axis, "glu")
    return cast(wide(a, "glu") * wide(b, "glu").sigmoid(), x.dtype)


def swiglu(x: Tensor, axis: int = -1) -> Tensor:
    """Return ``silu`` of the first half along an axis times the second.

    Args:
        x: Tensor of floats of any shape.
        axis: Axis of an even length, which is halved.

    Returns:
        Tensor of half the axis, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused; an axis is no integer.
        IndexOutside: There is no such axis.

    Source:
        N. Shazeer (2020).
    """
    a, b = (wide(half, "swiglu") for half in _halves(x, axis, "swiglu"))
    return cast(a * a.sigmoid() * b, x.dtype)


def _halves(x: Tensor, axis: int, name: str) -> list[Tensor]:
    at = normal_axis(x, axis, name)
    if x.shape[at] % 2:
        raise ShapeError(name, "no two halves", expected=f"an even length of axis {at}", got=x.shape, remedy="Pad it")
    return split(x, 2, at)


def softmin(x: Tensor, axis: int = -1) -> Tensor:
    """Return ``softmax`` of -x.

    Args:
        x: Tensor of floats of any shape.
        axis: Axis, negative ones counted from the end.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused; an axis is no integer.
        IndexOutside: There is no such axis.
    """
    require_tensor(x, "softmin")
    return softmax(-x, axis)


def logsumexp(x: Tensor, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """Return the logarithm of the sum of e^x along an axis, several, or all, without overflow; -inf for none.

    Args:
        x: Tensor of bools, integers or floats of any shape.
        axis: Axis, or several in a tuple; None: all.
        keepdims: Whether axes that are reduced stay, with length 1.

    Returns:
        Tensor of what is left without the axes: floats keep their dtype, integers and bools give f64.

    Raises:
        ArgumentError: An operand is no tensor; a number is not usable there.
        DTypeError: Complex numbers are refused; an axis is no integer; the dtype is not supported.
    """
    require_tensor(x, "logsumexp")
    x = x if x.dtype.is_float or x.dtype.is_complex else cast(x, f64)
    held = wide(x, "logsumexp")
    if not x.size and sum_of(held, axis).size:
        return cast(sum_of(held, axis, keepdims=keepdims) - math.inf, x.dtype)
    top = max_of(held, axis, keepdims=True) if x.size else sum_of(held, axis, keepdims=True)
    top = where(abs(top) < math.inf, top, 0)
    y = sum_of(apply("exp", held - top), axis, keepdims=True).log() + top

    def vjp(node: Any, g: Any) -> list[Any]:
        return [g * where(apply("eq", node, -math.inf), 0, apply("exp", node.inputs[0] - node))]

    found = routed(y, [held], vjp)
    shape = sum_of(held, axis, keepdims=keepdims).shape
    return cast(reshape(found, shape), x.dtype)
