"""Operators of onnxruntime (``com.microsoft``): what its tools make of a model that they optimise or quantise.

Layer: onnx. Invariant: quantised ones are dequantised, computed, rounded half to even and saturated; products of whole
numbers are exact. Joined ones have the bits of their parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import zip_longest

from loom import tensor as lt
from loom.onnx.registry import OPERATORS, Made, NodeCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []

_DOMAIN = "com.microsoft"


@operator("FusedConv", "FusedGemm", domain=_DOMAIN)
def _activation(call: NodeCall) -> Made:
    found = OPERATORS["", call.name.removeprefix("Fused")].record(call)
    assert isinstance(found, Tensor)
    if call.name == "FusedConv":
        found = found + call.tensor(3) if call.has_input(3) else found
        numbers = call.reals("activation_params", [])
    else:
        numbers = [call.real(f"activation_{n}") for n in ("alpha", "beta", "gamma")]
    kind = call.text("activation", "", ("", *_PLAIN, *_ALPHAS))
    a, b = [given if given is not None else own for given, own in zip_longest(numbers[:2], _ALPHAS.get(kind, (0, 0)))]
    match kind:
        case "LeakyRelu":
            return lt.where(found < 0, found * a, found)
        case "Clip":
            return lt.clip(found, a, b)
        case "HardSigmoid":
            return lt.clip(found * a + b, 0.0, 1.0)
        case _:
            return _PLAIN[kind](found) if kind else found


_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {"Relu": lt.relu, "Tanh": lt.tanh, "Sigmoid": lt.sigmoid}
_ALPHAS = {"LeakyRelu": (0.01, 0.0), "HardSigmoid": (0.2, 0.5), "Clip": (-math.inf, math.inf)}
"""Activations with numbers, and these where none are told."""


@operator("FusedMatMul", domain=_DOMAIN)
def _matmul(call: NodeCall, a: Tensor, b: Tensor) -> Made:
    alpha = call.real("alpha", 1.0)
    if call.flag("transBatchA") or call.flag("transBatchB"):
        raise call.refusal("a batch axis that is transposed", expected="transBatchA and transBatchB of 0", got=1)
    turn_a, turn_b = call.flag("transA") and a.ndim > 1, call.flag("transB") and b.ndim > 1
    found = lt.matmul(a, b, transpose_a=turn_a, transpose_b=turn_b)
    return found if alpha == 1 else found * alpha


def _real(call: NodeCall, i: int) -> Tensor:
    """Return an input as floats: its scale and its zero point, if there is one, are the inputs after it."""
    whole, zero = lt.cast(call.tensor(i), "i32"), call.maybe(i + 2)
    whole = whole if zero is None else whole - lt.cast(zero, "i32")
    return lt.cast(whole, "f32") * call.tensor(i + 1)


def _quantise(call: NodeCall, x: Tensor, i: int, like: Tensor) -> Tensor:
    """Return floats as whole numbers: their scale is input ``i``, their zero point, if there is one, the next."""
    zero = call.maybe(i + 1)
    dtype = like.dtype if zero is None else zero.dtype
    whole = lt.round(x / call.tensor(i))
    whole = whole if zero is None else whole + lt.cast(zero, "f32")
    return lt.cast(lt.clip(whole, dtype.minimum, dtype.maximum), dtype)


@operator("QLinearAdd", "QLinearMul", domain=_DOMAIN)
def _join(call: NodeCall) -> Made:
    a, b = _real(call, 0), _real(call, 3)
    return _quantise(call, a + b if call.name == "QLinearAdd" else a * b, 6, call.tensor(0))


_OF_ONE: dict[str, Callable[[NodeCall, Tensor], Tensor]] = {
    "QLinearSigmoid": lambda _, x: lt.sigmoid(x),
    "QLinearLeakyRelu": lambda call, x: lt.where(x < 0, x * call.real("alpha", 0.01), x),
}


@operator(*_OF_ONE, domain=_DOMAIN)
def _of_one(call: NodeCall) -> Made:
    return _quantise(call, _OF_ONE[call.name](call, _real(call, 0)), 3, call.tensor(0))


@operator("QLinearSoftmax", domain=_DOMAIN)
def _softmax(call: NodeCall) -> Made:
    x, opset = _real(call, 0), call.integer("opset", 13)
    axis = call.axis(call.integer("axis", -1), x.ndim)
    if opset >= 13:
        return _quantise(call, lt.softmax(x, axis), 3, call.tensor(0))
    rows = lt.reshape(x, (*x.shape[:axis], -1))  # the older softmax is of all axes from this one on
    return _quantise(call, lt.reshape(lt.softmax(rows, axis), x.shape), 3, call.tensor(0))


@operator("QLinearGlobalAveragePool", domain=_DOMAIN)
def _global_average(call: NodeCall) -> Made:
    x, is_last = _real(call, 0), call.flag("channels_last")
    axes = tuple(range(1, x.ndim - 1) if is_last else range(2, x.ndim))
    return _quantise(call, lt.mean(x, axis=axes, keepdims=True), 3, call.tensor(0))


@operator("QGemm", domain=_DOMAIN)
def _gemm(call: NodeCall, a: Tensor) -> Made:
    """Record alpha * a @ b + c; c has whole numbers of the products' scale. Without a scale of y, it gives floats."""
    b = call.tensor(3)
    left, right = (
        lt.cast(x, "i32") if zero is None else lt.cast(x, "i32") - lt.cast(zero, "i32")
        for x, zero in ((a, call.maybe(2)), (b, call.maybe(5) if not call.flag("transB") else _column(call.maybe(5))))
    )
    whole = lt.matmul(left, right, transpose_a=call.flag("transA"), transpose_b=call.flag("transB"), out_dtype="i32")
    whole = whole + call.tensor(6) if call.has_input(6) else whole
    found = lt.cast(whole, "f32") * (call.tensor(1) * call.tensor(4) * call.real("alpha", 1.0))
    return _quantise(call, found, 7, a) if call.has_input(7) else found


def _column(zero: Tensor | None) -> Tensor | None:
    """Return zero points of the rows that a transposed matrix has for its columns."""
    return zero if zero is None or zero.ndim == 0 or zero.size == 1 else lt.reshape(zero, (-1, 1))
