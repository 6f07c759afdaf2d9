"""Losses in integers: the gradient of an output, and the loss itself, in units of 2^-16.

Layer: nn. ``cross_entropy`` is of logits, also of those that a softmax was made of; ``binary_cross_entropy`` likewise
of a sigmoid's; ``mse`` of numbers. Losses of entropy are sums of log2, which reports multiply by ln 2. Invariant: a
gradient is that of the sum over samples (over elements): what a mean divides by is part of the rate.
"""

from __future__ import annotations

from loom import tensor
from loom.core.dtype import i64
from loom.core.errors import ArgumentError
from loom.nn.integer.fixed import (
    FRACTION,
    ONE,
    UNIT,
    align,
    divide_even,
    exp2_negative,
    exp_negative,
    log2_of,
    logistic,
    round_even,
    saturate,
)
from loom.nn.integer.functions import softmax_of
from loom.nn.integer.record import IntegerPass, Quantity
from loom.tensor import Tensor

__all__ = ["LOSSES", "TARGET_BITS", "record_loss"]

LOSSES = ("cross_entropy", "binary_cross_entropy", "mse")
TARGET_BITS = 16
"""Fraction bits of targets that are numbers, which are i32."""
_CHANCE = 24
"""Fraction bits of chances."""
_MOST_DIFFERENCE = 1 << 40
_MOST_LOG = 1 << 30
"""The largest -log2 of a chance in a loss, in units of 2^-16; also the largest difference that is squared."""


def record_loss(rec: IntegerPass, name: str, output: Quantity, y: Tensor) -> tuple[Tensor, Quantity, Quantity]:
    """Return the loss, i64 of no dimension, where the way back begins, and the gradient there.

    ``y``: classes, or i32 in units of 2^-16 of the output's shape.
    """
    if name == "cross_entropy":
        start = output.logits if output.kind == "softmax" and output.logits is not None else output
        loss, v = _cross_entropy(start, y)
        return loss, start, rec.narrow(v, -_CHANCE)
    if name == "binary_cross_entropy":
        start = output.logits if output.kind == "sigmoid" and output.logits is not None else output
        loss, v = _binary(start, y)
        return loss, start, rec.narrow(v, -_CHANCE)
    if name != "mse":
        raise ArgumentError("loom.nn.integer, loss", f"{name!r} has no rule in integers", expected=", ".join(LOSSES),
                            got=name, remedy="Use one of these")  # fmt: skip
    away = align(output.q.astype(i64), output.e + TARGET_BITS) - y.astype(i64)
    near = saturate(away, _MOST_DIFFERENCE)
    square = round_even(saturate(near, _MOST_LOG) * saturate(near, _MOST_LOG), TARGET_BITS)
    return square.sum(), output, rec.narrow(near, -TARGET_BITS)


def _cross_entropy(x: Quantity, y: Tensor) -> tuple[Tensor, Tensor]:
    each, total, power = softmax_of(x.q.astype(i64), x.e)
    chances = divide_even(each << _CHANCE, total)
    if y.dtype.is_integer and y.ndim == x.q.ndim - 1:
        true = tensor.one_hot(y, x.q.shape[-1], i64)
        wanted = true << _CHANCE
        of_true = (tensor.minimum(power, _MOST_LOG) * true).sum()
    else:
        wanted = y.astype(i64) << (_CHANCE - TARGET_BITS)
        of_true = round_even(tensor.minimum(power, _MOST_LOG) * y.astype(i64), TARGET_BITS).sum()
    logs = log2_of(total) - (UNIT << FRACTION)
    return logs.sum() + of_true, chances - wanted


def _binary(x: Quantity, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return log2(1 + e^-|x|) + max(x, 0) log2 e - x y log2 e, and the chance less the truth."""
    wide = x.q.astype(i64)
    truth = y.astype(i64)  # in units of 2^-16
    _, power = exp_negative(wide.abs(), x.e)
    logs = log2_of(exp2_negative(power) + ONE) - (UNIT << FRACTION)
    signed = tensor.where(wide >= 0, power, -power)
    far = tensor.minimum(power, _MOST_LOG)
    loss = logs + tensor.where(wide >= 0, far, 0) - round_even(saturate(signed, _MOST_LOG) * truth, TARGET_BITS)
    chance = round_even(logistic(wide, x.e), UNIT - _CHANCE)
    return loss.sum(), chance - (truth << (_CHANCE - TARGET_BITS))
