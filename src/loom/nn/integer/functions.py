"""Functions of elements in integers, and their derivatives.

Layer: nn. Of the relu family forward and derivative are exact, or a constant of 15 bits (0.1 and 1.1 are 3277 and 36045
over 2^15); of the logistic family they are computed in 30 bits (``fixed``) and rounded once. Invariant: a function that
is not here is refused by its name, with the layer's.
"""

from __future__ import annotations

from collections.abc import Callable

from loom import tensor
from loom.core.dtype import i64
from loom.core.errors import ArgumentError
from loom.nn.integer.fixed import (
    ONE,
    UNIT,
    Exponent,
    align,
    divide_even,
    exp_negative,
    logistic,
    round_even,
)
from loom.nn.integer.record import IntegerPass, Quantity, most_of, storage_type
from loom.nn.spec import Activation
from loom.tensor import Tensor

__all__ = ["NAMES", "apply_function", "is_early", "softmax_of"]

_POINT = 15
_LEAK, _SCALED = 3277, 36045
_EARLY = (Activation.LINEAR, Activation.RELU)
NAMES = (
    "linear", "relu", "scaled_relu", "leaky_relu", "relu2", "sigmoid", "tanh", "swish", "softmax",
)  # fmt: skip


def is_early(function: Activation) -> bool:
    """Tell whether a function is one of the sums themselves, before they are rounded."""
    return function in _EARLY


def apply_function(rec: IntegerPass, function: Activation, x: Quantity, name: str, bits: int) -> Quantity:
    """Record a function of each element (softmax: of the last axis), a quantity of its own, of so many bits."""
    if function is Activation.LINEAR:
        return x
    made = _FUNCTIONS.get(function)
    if made is None:
        raise ArgumentError(f"loom.nn.integer, layer {name!r}", f"{function.value} has no rule in integers",
                            expected=", ".join(NAMES), got=function.value,
                            remedy="Use one of these, or a network of floats")  # fmt: skip
    return made(rec, x, name, bits)


def _relu(rec: IntegerPass, x: Quantity, name: str, bits: int) -> Quantity:
    del name, bits
    out = Quantity(tensor.maximum(x.q, 0), x.e)

    def back(g: Quantity) -> list[Quantity]:
        return [Quantity(tensor.where(out.q > 0, g.q, 0), g.e)]

    return rec.did(out, [x], back)


def _leaky(rec: IntegerPass, x: Quantity, name: str, bits: int) -> Quantity:
    wide = x.q.astype(i64)
    slow = round_even(wide * _LEAK, _POINT)
    out = Quantity(tensor.where(wide >= 0, wide, slow).astype(x.q.dtype), x.e)
    del name, bits

    def back(g: Quantity) -> list[Quantity]:
        v = g.q.astype(i64)
        part = tensor.where(x.q >= 0, v << _POINT, v * _LEAK)
        return [rec.narrow(part, g.e - _POINT)]

    return rec.did(out, [x], back)


def _relu_scaled(rec: IntegerPass, x: Quantity, name: str, bits: int) -> Quantity:
    wide = tensor.maximum(x.q.astype(i64), 0) * _SCALED
    out = rec.place(f"{name}.activation", wide, x.e - _POINT, bits)

    def back(g: Quantity) -> list[Quantity]:
        return [rec.narrow(tensor.where(x.q > 0, g.q.astype(i64) * _SCALED, 0), g.e - _POINT)]

    return rec.did(out, [x], back)


def _relu_squared(rec: IntegerPass, x: Quantity, name: str, bits: int) -> Quantity:
    wide = tensor.maximum(x.q.astype(i64), 0)
    out = rec.place(f"{name}.activation", wide * wide, x.e + x.e, bits)

    def back(g: Quantity) -> list[Quantity]:
        return [rec.narrow(g.q.astype(i64) * wide, g.e + x.e + 1)]

    return rec.did(out, [x], back)


def _chance(v: Tensor, bits: int) -> Tensor:
    """Return units of 2^-30 in units of 2^-bits, rounded; 1 becomes the largest number."""
    return tensor.minimum(round_even(v, UNIT - bits), most_of(bits))


def _sigmoid(rec: IntegerPass, x: Quantity, name: str, bits: int) -> Quantity:
    del name
    wide = logistic(x.q.astype(i64), x.e)
    out = Quantity(_chance(wide, bits).astype(storage_type(bits)), -bits, x)
    out.kind = "sigmoid"

    def back(g: Quantity) -> list[Quantity]:
        slope = round_even(wide * (ONE - wide), 2 * UNIT - 28)
        return [rec.narrow(g.q.astype(i64) * slope, g.e - 28)]

    return rec.did(out, [x], back)


def _tanh(rec: IntegerPass, x: Quantity, name: str, bits: int) -> Quantity:
    del name
    wide = 2 * logistic(x.q.astype(i64), x.e + 1) - ONE
    most = most_of(bits)
    rounded = tensor.maximum(tensor.minimum(round_even(wide, UNIT - bits), most), -most)
    out = Quantity(rounded.astype(storage_type(bits)), -bits)

    def back(g: Quantity) -> list[Quantity]:
        slope = ONE - round_even(wide * wide, UNIT)
        return [rec.narrow(g.q.astype(i64) * slope, g.e - UNIT)]

    return rec.did(out, [x], back)


def _swish(rec: IntegerPass, x: Quantity, name: str, bits: int) -> Quantity:
    wide = x.q.astype(i64)
    chance = logistic(wide, x.e)
    out = rec.place(f"{name}.activation", wide * chance, x.e - UNIT, bits)

    def back(g: Quantity) -> list[Quantity]:
        # s + x s (1 - s), the second term in units of 2^-30 by the exponent of x
        slope = chance + align(wide * round_even(chance * (ONE - chance), UNIT), x.e)
        return [rec.narrow(g.q.astype(i64) * slope, g.e - UNIT)]

    return rec.did(out, [x], back)


def softmax_of(x: Tensor, e: Exponent) -> tuple[Tensor, Tensor, Tensor]:
    """Return e^(x - max) along the last axis in units of 2^-30, their sum, and -log2 of each in units of 2^-16."""
    z = x.max(-1, keepdims=True) - x
    each, power = exp_negative(z, e)
    return each, each.sum(-1, keepdims=True), power


def _softmax(rec: IntegerPass, x: Quantity, name: str, bits: int) -> Quantity:
    del name, bits
    each, total, _ = softmax_of(x.q.astype(i64), x.e)
    wide = divide_even(each << 24, total)
    out = Quantity(tensor.minimum(round_even(wide, 24 - 15), most_of(15)).astype("i16"), -15, x)
    out.kind = "softmax"

    def back(g: Quantity) -> list[Quantity]:
        v = g.q.astype(i64)
        mean = round_even((wide * v).sum(-1, keepdims=True), 8)  # in units of 2^-16 of the gradient's
        part = wide * ((v << 16) - mean)
        return [rec.narrow(round_even(part, 8), g.e - 32)]

    return rec.did(out, [x], back)


_FUNCTIONS: dict[Activation, Callable[[IntegerPass, Quantity, str, int], Quantity]] = {
    Activation.RELU: _relu,
    Activation.SCALED_RELU: _relu_scaled,
    Activation.LEAKY_RELU: _leaky,
    Activation.RELU2: _relu_squared,
    Activation.SIGMOID: _sigmoid,
    Activation.TANH: _tanh,
    Activation.SWISH: _swish,
    Activation.SOFTMAX: _softmax,
}
