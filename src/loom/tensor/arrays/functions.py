"""Functions of tensors made of operations: activations, softmax, norms, losses.

Layer: tensor. Softmax and the norms have derivatives of their own, which keep only the result. Invariant: softmax is
the true maximum, e = exp(x - m), s = the canonical sum of e, r = 1 / s, y = e r.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import i32, i64
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.given import flag
from loom.core.numbers import whole
from loom.kernels.types import compute_type
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.ops.elementwise import apply, cast, coordinate, where
from loom.tensor.ops.reductions import max_of, mean_of, sum_of
from loom.tensor.ops.views import expand_dims, routed
from loom.tensor.record.graph import require_tensor
from loom.tensor.standard.elementwise import maximum

__all__ = [
    "binary_cross_entropy", "gelu", "huber", "is_class", "layer_norm", "leaky_relu", "log_softmax", "mae", "mse",
    "one_hot", "reduce_loss", "relu", "rms_norm", "same_shape", "sigmoid", "silu", "softmax", "softplus",
]  # fmt: skip


def relu(x: Tensor) -> Tensor:
    """Return max(x, 0); the gradient at 0 is 0.

    Args:
        x: Tensor of floats of any shape.

    Returns:
        Tensor of the shape of ``x``: integers and floats keep their dtype; bools give i64.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Complex numbers are refused.
    """
    require_tensor(x, "relu")
    return x.relu()


def leaky_relu(x: Tensor, slope: float = 0.01) -> Tensor:
    """Return x where it is positive, else ``slope`` x.

    Args:
        x: Tensor of floats of any shape.
        slope: Factor below 0.

    Returns:
        Tensor of the shape of ``x``: floats keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Complex numbers are refused; the elements are no numbers; an operand is no number.
        ShapeError: The shapes do not broadcast.
    """
    require_tensor(x, "leaky_relu")
    return where(x > 0, x, x * slope)


def sigmoid(x: Tensor) -> Tensor:
    """Return 1 / (1 + e^-x).

    Args:
        x: Tensor of floats of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    require_tensor(x, "sigmoid")
    return x.sigmoid()


def silu(x: Tensor) -> Tensor:
    """Return x sigmoid(x).

    Args:
        x: Tensor of floats of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    require_tensor(x, "silu")
    return x * x.sigmoid()


def gelu(x: Tensor, *, approximate: bool = False) -> Tensor:
    """Return x times the normal distribution's function of x; ``approximate``: by tanh.

    Args:
        x: Tensor of floats of any shape.
        approximate: Whether tanh stands for the error function.

    Returns:
        Tensor of the shape of ``x``: floats keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: A number is not usable there.
        DTypeError: Complex numbers are refused; no operand is a tensor.
    """
    return apply("gelu_tanh" if flag(approximate, "gelu, approximate") else "gelu", x)


def softplus(x: Tensor) -> Tensor:
    """Return log(1 + e^x), without overflow; the derivative is sigmoid(x), at 0 as well.

    Args:
        x: Tensor of floats of any shape.

    Returns:
        Tensor of the shape of ``x``: floats keep their dtype; integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools and complex numbers are refused.
    """
    require_tensor(x, "softplus")
    y = maximum(x, 0) + apply("log1p", apply("exp", -abs(x)))

    def vjp(node: Any, g: Any) -> list[Any]:
        return [g * node.inputs[0].sigmoid()]

    return routed(y, [x], vjp)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """Return e^(x - max) over its sum along an axis.

    Args:
        x: Tensor of floats of any shape.
        axis: Axis, negative ones counted from the end.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused; an axis is no integer.
        IndexOutside: There is no such axis.

    Source:
        J. S. Bridle (1990); the derivative is y (g - sum(g y)).
    """
    held, x = x, _wide(x, "softmax")
    e = apply("exp", _below_most(x, axis))
    y = e * (1 / sum_of(e, axis, keepdims=True))

    def vjp(node: Any, g: Any) -> list[Any]:
        return [node * (g - sum_of(g * node, axis, keepdims=True))]

    return cast(routed(y, [x], vjp), held.dtype)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """Return x - max - log of the sum of e^(x - max) along an axis; the derivative is g - e^y sum(g).

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
    held, x = x, _wide(x, "log_softmax")
    away = _below_most(x, axis)
    y = away - sum_of(apply("exp", away), axis, keepdims=True).log()

    def vjp(node: Any, g: Any) -> list[Any]:
        return [g - node.exp() * sum_of(g, axis, keepdims=True)]

    return cast(routed(y, [x], vjp), held.dtype)


def _below_most(x: Tensor, axis: int) -> Tensor:
    """Return x - max along an axis; of no elements x, as there is nothing to subtract from."""
    return x - max_of(x, axis, keepdims=True) if x.size else x


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, epsilon: float = 1e-5) -> Tensor:
    """Return (x - mean) / sqrt(variance + epsilon) along the last axis, times ``weight``, plus ``bias``.

    Args:
        x: Tensor of floats of any shape.
        weight: Tensor of factors, of the last axis; None: ones.
        bias: Tensor that is added, of the last axis; None: nothing.
        epsilon: Number that keeps a divisor from 0.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused; an operand is no number; the elements are no
            numbers.
        ShapeError: The shapes do not broadcast.

    Source:
        J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer Normalization" (2016).
    """
    held, x = x, _wide(x, "layer_norm")
    away = x - mean_of(x, -1, keepdims=True)
    scale = apply("rsqrt", mean_of(away * away, -1, keepdims=True) + epsilon)
    inner = away * scale

    def vjp(node: Any, g: Any) -> list[Any]:
        along = mean_of(g * node, -1, keepdims=True)
        return [(g - mean_of(g, -1, keepdims=True) - node * along) * scale]

    return cast(_affine(routed(inner, [x], vjp), weight, bias), held.dtype)


def rms_norm(x: Tensor, weight: Tensor | None = None, epsilon: float = 1e-6) -> Tensor:
    """Return x / sqrt(mean of x^2 + epsilon) along the last axis, times ``weight``.

    Args:
        x: Tensor of floats of any shape.
        weight: Tensor of factors, of the last axis; None: ones.
        epsilon: Number that keeps a divisor from 0.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused; an operand is no number; the elements are no
            numbers.
        ShapeError: The shapes do not broadcast.

    Source:
        B. Zhang and R. Sennrich, "Root Mean Square Layer Normalization" (2019).
    """
    held, x = x, _wide(x, "rms_norm")
    scale = apply("rsqrt", mean_of(x * x, -1, keepdims=True) + epsilon)

    def vjp(node: Any, g: Any) -> list[Any]:
        return [(g - node * mean_of(g * node, -1, keepdims=True)) * scale]

    return cast(_affine(routed(x * scale, [x], vjp), weight, None), held.dtype)


def _wide(x: Tensor, where: str) -> Tensor:
    """Return a tensor of floats in the type it is computed in: f16 and bf16 in f32, to be rounded once."""
    require_tensor(x, where)
    if not x.dtype.is_float:
        raise DTypeError(where, "unsupported dtype", expected="floats", got=x.dtype, remedy="Convert with astype")
    return cast(x, compute_type(x.dtype))


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    for given in (weight, bias):
        if given is not None:
            require_tensor(given, "norm, weight and bias")
    y = x if weight is None else x * cast(weight, compute_type(weight.dtype))
    return y if bias is None else y + cast(bias, compute_type(bias.dtype))


# losses


def one_hot(indices: Tensor, classes: int, dtype: Any = "f32") -> Tensor:
    """Return 1 where the last axis, of ``classes``, equals the index, else 0: all 0 for an index outside.

    Args:
        indices: Tensor of integers, or nested lists of them.
        classes: Length of the last axis of the result.
        dtype: Dtype of the result.

    Raises:
        ArgumentError: An operand is no tensor; not a whole number.
        DTypeError: There is no such dtype; the dtype is not supported; indices are no integers.
    """
    require_tensor(indices, "one_hot")
    if not indices.dtype.is_integer:
        raise DTypeError("one_hot", "indices are no integers", expected="an integer type", got=indices.dtype,
                         remedy="Convert with astype")  # fmt: skip
    return cast(is_class(indices, whole(classes, "one_hot, classes", least=0)), dtype)


def is_class(indices: Tensor, classes: int) -> Tensor:
    """Return whether the last axis, a new one of ``classes``, equals the index, in a type that holds both."""
    kind = next(t for t in (indices.dtype, i32, i64) if t.maximum >= classes - 1)
    shape = (*indices.shape, classes)
    return apply("eq", coordinate(shape, len(shape) - 1, kind, indices), expand_dims(cast(indices, kind), -1))


def reduce_loss(x: Tensor, reduction: str) -> Tensor:
    """Return a loss of elements as it is asked for: "mean", "sum" or "none"."""
    if not isinstance(reduction, str) or reduction not in ("mean", "sum", "none"):
        raise ArgumentError("loss, reduction", "unknown", expected="'mean', 'sum' or 'none'", got=repr(reduction),
                            remedy="Choose one")  # fmt: skip
    return x if reduction == "none" else sum_of(x) if reduction == "sum" else mean_of(x)


def same_shape(name: str, x: Tensor, target: Tensor) -> None:
    """See that a prediction and its target are tensors of one shape."""
    for each in (x, target):
        require_tensor(each, name)
    if x.shape != target.shape:
        raise ShapeError(name, "prediction and target differ in shape", expected=x.shape, got=target.shape,
                         remedy="Reshape the target")  # fmt: skip


def mse(x: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Return the squared error.

    Args:
        x: Tensor of floats of any shape.
        target: Tensor that is wanted, of the shape of the first.
        reduction: "mean", "sum" or "none": of the losses of all elements, or each by itself.

    Raises:
        ArgumentError: An operand is no tensor.
        ShapeError: The shapes do not broadcast.
    """
    same_shape("mse", x, target)
    away = x - target
    return reduce_loss(away * away, reduction)


def mae(x: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Return the absolute error.

    Args:
        x: Tensor of floats of any shape.
        target: Tensor that is wanted, of the shape of the first.
        reduction: "mean", "sum" or "none": of the losses of all elements, or each by itself.

    Raises:
        ArgumentError: An operand is no tensor; there is no such option.
        ShapeError: The shapes do not broadcast.
    """
    same_shape("mae", x, target)
    return reduce_loss(abs(x - target), reduction)


def huber(x: Tensor, target: Tensor, delta: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """Return half the squared error up to ``delta``, beyond it ``delta`` (|error| - delta / 2).

    Args:
        x: Tensor of floats of any shape.
        target: Tensor that is wanted, of the shape of the first.
        delta: Error from which on it counts linearly.
        reduction: "mean", "sum" or "none": of the losses of all elements, or each by itself.

    Raises:
        ArgumentError: An operand is no tensor; there is no such option.
        DTypeError: An operand is no number; the elements are no numbers.
        ShapeError: Prediction and target differ in shape; the shapes do not broadcast.
    """
    same_shape("huber", x, target)
    away = abs(x - target)
    return reduce_loss(where(away <= delta, away * away * 0.5, (away - delta * 0.5) * delta), reduction)


def binary_cross_entropy(logits: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Return the cross-entropy of sigmoid(logits) and ``target``, both of one shape.

    Args:
        logits: Tensor of logits, floats of any shape.
        target: Tensor that is wanted, of the shape of the first.
        reduction: "mean", "sum" or "none": of the losses of all elements, or each by itself.

    Raises:
        ArgumentError: An operand is no tensor.
        ShapeError: Prediction and target differ in shape.
    """
    same_shape("binary_cross_entropy", logits, target)
    each = maximum(logits, 0) - logits * target + apply("log1p", apply("exp", -abs(logits)))

    def vjp(node: Any, g: Any) -> list[Any]:
        x, wanted = node.inputs[:2]
        return [g * (x.sigmoid() - wanted), -(g * x)]

    return reduce_loss(routed(each, [logits, target], vjp), reduction)
