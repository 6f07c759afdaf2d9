"""Normalisations, named as torch's, of channels that are the last axis.

Layer: tensor. f16 and bf16 are computed in f32 and rounded once. Invariant: variances are of two passes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from loom.core.errors import ShapeError
from loom.core.given import flag
from loom.core.numbers import real, whole
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.neural.activations import wide
from loom.tensor.ops.elementwise import apply, cast
from loom.tensor.ops.joining import pad
from loom.tensor.ops.reductions import max_of, mean_of, sum_of
from loom.tensor.ops.views import detach, normal_axis, reshape, routed, windows
from loom.tensor.record.graph import require_tensor
from loom.tensor.standard.elementwise import maximum

__all__ = ["batch_norm", "group_norm", "instance_norm", "local_response_norm", "normalize"]


def _standardize(x: Tensor, axes: Sequence[int], epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return x less its mean over axes, over its deviation; the mean and the variance."""
    mean = mean_of(x, axes, keepdims=True)
    away = x - mean
    variance = mean_of(away * away, axes, keepdims=True)
    scale = apply("rsqrt", variance + epsilon)

    def vjp(node: Any, g: Any) -> list[Any]:
        along = mean_of(g * node, axes, keepdims=True)
        return [(g - mean_of(g, axes, keepdims=True) - node * along) * scale]

    return routed(away * scale, [x], vjp), mean, variance


def _affine(x: Tensor, weight: Any, bias: Any, name: str) -> Tensor:
    """Return x times a weight and plus a bias for each channel."""
    for part, what in ((weight, "weight"), (bias, "bias")):
        if part is not None:
            require_tensor(part, f"{name}, {what}")
            if part.shape != x.shape[-1:]:
                raise ShapeError(f"{name}, {what}", "not one for each channel", expected=x.shape[-1:], got=part.shape,
                                 remedy="Channels come last")  # fmt: skip
    y = x if weight is None else x * cast(weight, x.dtype)
    return y if bias is None else y + cast(bias, x.dtype)


def _images(x: Tensor, name: str, least: int = 2) -> None:
    require_tensor(x, name)
    if x.ndim < least:
        raise ShapeError(name, "no channels", expected="(batch, *size, channels)", got=x.shape, remedy="Reshape it")


def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Return ``x`` (batch, *size, channels) with each group of channels of each example normalised.

    Args:
        x: Tensor of floats (batch, *size, channels).
        num_groups: Number of groups that the channels are cut into.
        weight: Tensor (channels,) of factors; None: ones.
        bias: Tensor (channels,) that is added; None: zeros.
        eps: Number that keeps a divisor from 0.

    Raises:
        ArgumentError: An operand is no tensor; not a whole number; not a number.
        ShapeError: No groups of one size.

    Source:
        Y. Wu and K. He, "Group normalization" (2018).
    """
    _images(x, "group_norm")
    count, small = whole(num_groups, "group_norm, num_groups", least=1), real(eps, "group_norm, eps", least=0)
    if x.shape[-1] % count:
        raise ShapeError("group_norm", "no groups of one size", expected=f"a multiple of {count} channels", got=x.shape,
                         remedy="Channels come last")  # fmt: skip
    held = wide(x, "group_norm")
    split = reshape(held, (x.shape[0], math.prod(x.shape[1:-1]), count, x.shape[-1] // count))
    y = reshape(_standardize(split, (1, 3), small)[0], x.shape)
    return cast(_affine(y, weight, bias, "group_norm"), x.dtype)


def instance_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Return ``x`` (batch, *size, channels) with each channel of each example normalised.

    Args:
        x: Tensor of floats (batch, *size, channels).
        weight: Tensor (channels,) of factors; None: ones.
        bias: Tensor (channels,) that is added; None: zeros.
        eps: Number that keeps a divisor from 0.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    _images(x, "instance_norm", 3)
    y = _standardize(wide(x, "instance_norm"), tuple(range(1, x.ndim - 1)), real(eps, "instance_norm, eps", least=0))[0]
    return cast(_affine(y, weight, bias, "instance_norm"), x.dtype)


def batch_norm(
    x: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None, weight: Tensor | None = None,
    bias: Tensor | None = None, *, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return ``x`` (batch, *size, channels) with each channel normalised, and the new running mean and variance.

    In ``training``, or without running statistics, by those of the batch; the new running ones are the old ones times
    1 - ``momentum`` plus the batch's (variance without bias) times ``momentum``: updates for ``compile``. Else by the
    running ones, which are returned as they are.

    Args:
        x: Tensor of floats (batch, *size, channels).
        running_mean: Tensor (channels,); None: the batch's.
        running_var: Tensor (channels,); None: the batch's.
        weight: Tensor (channels,) of factors; None: ones.
        bias: Tensor (channels,) that is added; None: zeros.
        training: Whether the batch's statistics count.
        momentum: Share of the batch in the new running ones.
        eps: Number that keeps a divisor from 0.

    Raises:
        ArgumentError: Not a number; an operand is no tensor; a number is not usable there.
        DTypeError: Bools, integers and complex numbers are refused.
        ShapeError: One running statistic.

    Source:
        S. Ioffe and C. Szegedy, "Batch normalization" (2015).
    """
    _images(x, "batch_norm")
    small, moved = real(eps, "batch_norm, eps", least=0), real(momentum, "batch_norm, momentum", least=0, most=1)
    held = wide(x, "batch_norm")
    if (running_mean is None) != (running_var is None):
        raise ShapeError("batch_norm", "one running statistic", expected="both, or none", got="one", remedy="Pass both")
    if not flag(training, "batch_norm, training") and running_mean is not None and running_var is not None:
        mean, var = (cast(t, held.dtype) for t in (running_mean, running_var))
        y = (held - mean) * apply("rsqrt", var + small)
        return cast(_affine(y, weight, bias, "batch_norm"), x.dtype), running_mean, running_var
    y, mean, var = _standardize(held, tuple(range(x.ndim - 1)), small)
    count = math.prod(x.shape[:-1])
    batch = detach(reshape(mean, x.shape[-1:])), detach(reshape(var, x.shape[-1:])) * (count / max(1, count - 1))
    new = [b if old is None else cast(cast(old, held.dtype) * (1 - moved) + b * moved, old.dtype)
           for old, b in zip((running_mean, running_var), batch, strict=True)]  # fmt: skip
    return cast(_affine(y, weight, bias, "batch_norm"), x.dtype), new[0], new[1]


def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Return ``x`` over (k + alpha mean of x^2)^beta, the mean over ``size`` neighbouring channels, zeros beyond.

    Args:
        x: Tensor (batch, *size, channels).
        size: Number of neighbouring channels.
        alpha: Factor of the sum of squares.
        beta: Exponent.
        k: Number that is added.

    Raises:
        ArgumentError: Not a number; not a whole number; an operand is no tensor.

    Source:
        A. Krizhevsky and others (2012), as torch computes it.
    """
    _images(x, "local_response_norm")
    n = whole(size, "local_response_norm, size", least=1)
    a, b, c = (real(v, "local_response_norm") for v in (alpha, beta, k))
    held = wide(x, "local_response_norm")
    around = [(0, 0)] * (x.ndim - 1) + [(n // 2, (n - 1) // 2)]
    near = windows(pad(held * held, around), (x.ndim - 1,), (n,), (1,))
    return cast(held / apply("pow", mean_of(near, -1) * a + c, b), x.dtype)


def normalize(x: Tensor, p: float = 2.0, axis: int = -1, eps: float = 1e-12) -> Tensor:
    """Return ``x`` over its p-norm along an axis, ``eps`` at least.

    Args:
        x: Tensor of floats (batch, *size, channels).
        p: Exponent of the norm.
        axis: Axis, negative ones counted from the end.
        eps: Number that keeps a divisor from 0.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: Not a number; an operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused; an axis is no integer; a number does not fit the
            dtype.
        IndexOutside: There is no such axis.
    """
    held, at = wide(x, "normalize"), normal_axis(x, axis, "normalize")
    power, least = (
        (p if isinstance(p, float) and p == math.inf else real(p, "normalize, p", least=1)),
        real(eps, "normalize, eps", least=0),
    )
    size = abs(held)
    if power == math.inf:
        length = max_of(size, at, keepdims=True)
    elif power == 1:
        length = sum_of(size, at, keepdims=True)
    elif power == 2:
        length = maximum(sum_of(held * held, at, keepdims=True), least * least).sqrt()
    else:
        length = apply("pow", maximum(sum_of(apply("pow", size, power), at, keepdims=True), least**power), 1 / power)
    return cast(held / maximum(length, least), x.dtype)
