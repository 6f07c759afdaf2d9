"""Operators element by element: arithmetic, comparisons, functions, activations, casts.

Layer: onnx. Invariant: integer division truncates as in C, and floats become integers by truncation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from loom import tensor as lt
from loom.core.dtype import lookup
from loom.importers.promotion import cast
from loom.onnx.registry import Made, NodeCall, operator
from loom.onnx.values import Value, dtype_of_element, element_of_dtype, numpy_of_element
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.standard.logic import shift_out

__all__: list[str] = []

_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": lt.abs, "Acos": lt.acos, "Acosh": lt.acosh, "Asin": lt.asin, "Asinh": lt.asinh, "Atan": lt.atan,
    "Atanh": lt.atanh, "BitwiseNot": lt.bitwise_invert, "Ceil": lt.ceil, "Cos": lt.cos, "Cosh": lt.cosh,
    "Exp": lt.exp, "Floor": lt.floor, "IsNaN": lt.isnan, "Log": lt.log, "Neg": lt.negative, "Not": lt.logical_not,
    "Reciprocal": lambda x: 1 / x, "Relu": lambda x: lt.maximum(x, 0), "Round": lt.round, "Sigmoid": lt.sigmoid,
    "Sign": lt.sign, "Sin": lt.sin, "Sinh": lt.sinh, "Softsign": lambda x: x / (lt.abs(x) + 1), "Sqrt": lt.sqrt,
    "Tan": lt.tan, "Tanh": lt.tanh, "Mish": lt.mish, "Softplus": lt.softplus, "Erf": lambda x: x.map("erf"),
    "HardSwish": lt.hardswish,
}  # fmt: skip
_BINARY: dict[str, Callable[[Any, Any], Tensor]] = {
    "And": lt.logical_and, "Or": lt.logical_or, "Xor": lt.logical_xor, "BitwiseAnd": lt.bitwise_and,
    "BitwiseOr": lt.bitwise_or, "BitwiseXor": lt.bitwise_xor, "Equal": lt.equal, "Greater": lt.greater,
    "GreaterOrEqual": lt.greater_equal, "Less": lt.less, "LessOrEqual": lt.less_equal, "Add": lt.add,
    "Sub": lt.subtract, "Mul": lt.multiply, "PRelu": lambda x, slope: lt.where(x < 0, x * slope, x),
}  # fmt: skip
_MANY: dict[str, Callable[[Any, Any], Tensor]] = {"Max": lt.maximum, "Min": lt.minimum, "Sum": lt.add, "Mean": lt.add}


@operator(*_UNARY, ignores=("consumed_inputs",))
def _unary(call: NodeCall) -> Made:
    return _UNARY[call.name](call.tensor(0))


def _operands(call: NodeCall) -> tuple[Tensor, Tensor]:
    """Return two tensors that go together; before opset 7 the second lies along axes of the first, if it is told."""
    a, b = call.tensor(0), call.tensor(1)
    if call.opset >= 7:
        return a, b
    axis = call.integer("axis")
    spreads = call.name == "PRelu" or call.flag("broadcast")
    if call.name == "PRelu" and b.ndim == 1:
        axis = 1 if a.ndim > 1 and b.size > 1 else None
    if a.shape != b.shape and not spreads:
        raise call.refusal("the shapes differ", expected=a.shape, got=b.shape)
    if axis is None or not b.ndim:
        return a, b
    axis = call.axis(axis, a.ndim)
    if any(m not in (1, n) for n, m in zip(a.shape[axis:], b.shape, strict=False)) or axis + b.ndim > a.ndim:
        raise call.refusal("the shapes do not fit", expected=a.shape[axis:], got=b.shape)
    return a, lt.reshape(b, (*b.shape, *(1,) * (a.ndim - axis - b.ndim)))


@operator(*_BINARY, ignores=("consumed_inputs",))
def _binary(call: NodeCall) -> Made:
    return _BINARY[call.name](*_operands(call))


@operator(*_MANY, ignores=("consumed_inputs",))
def _many(call: NodeCall) -> Made:
    found = reduce(_MANY[call.name], call.tensors())
    return found / len(call.inputs) if call.name == "Mean" else found


@operator("Div", ignores=("consumed_inputs",))
def _div(call: NodeCall) -> Made:
    a, b = _operands(call)
    return quotient_to_zero(a, b) if a.dtype.is_integer else a / b


def quotient_to_zero(a: Tensor, b: Tensor) -> Tensor:
    """Return the quotient of integers, rounded towards 0."""
    return a.map("idiv", b)


@operator("Mod", since=10)
def _mod(call: NodeCall, a: Tensor, b: Tensor) -> Made:
    if not call.flag("fmod"):
        return lt.remainder(a, b)
    if a.dtype.is_float:
        return a.map("fmod", b)
    return a - quotient_to_zero(a, b) * b


@operator("Pow")
def _pow(call: NodeCall) -> Made:
    a, b = _operands(call)
    if a.dtype == b.dtype:
        return lt.pow(a, b)
    if a.dtype.is_integer and b.dtype.is_integer:
        wide = lookup("i64")
        return lt.cast(lt.pow(lt.cast(a, wide), lt.cast(b, wide)), a.dtype)
    wide = lookup("f64") if "f64" in (a.dtype.name, b.dtype.name) or a.dtype.is_integer else lookup("f32")
    return lt.cast(lt.pow(lt.cast(a, wide), lt.cast(b, wide)), a.dtype)


@operator("BitShift", since=11)
def _bit_shift(call: NodeCall) -> Made:
    left = call.text("direction", "", ("LEFT", "RIGHT")) == "LEFT"
    return shift_out(call.tensor(0), call.tensor(1), left=left)


operator("Where", since=9)(lt.where)


@operator("IsInf", since=10)
def _is_inf(call: NodeCall, x: Tensor) -> Made:
    up, down = call.flag("detect_positive", 1), call.flag("detect_negative", 1)
    found = lt.isinf(x)
    if up and down:
        return found
    if not up and not down:
        return lt.logical_and(found, lt.logical_not(found))
    return lt.logical_and(found, x > 0 if up else x < 0)


@operator("Clip", since=6)
def _clip(call: NodeCall, x: Tensor) -> Made:
    if call.opset < 11:
        low, high = call.real("min"), call.real("max")
    else:
        low, high = call.maybe(1), call.maybe(2)
    found = x if low is None else lt.maximum(x, low)
    return found if high is None else lt.minimum(found, high)


@operator("Elu", "Celu", "LeakyRelu", "ThresholdedRelu", "Selu", "HardSigmoid", "Shrink", "Swish", "Gelu")
def _activation(call: NodeCall) -> Made:
    return _PARTS[call.name](call, call.tensor(0))


def _selu(call: NodeCall, x: Tensor) -> Tensor:
    alpha, gamma = call.real("alpha", 1.6732632423543772), call.real("gamma", 1.0507009873554805)
    return lt.where(x > 0, x * gamma, (lt.expm1(x)) * alpha * gamma)


def _shrink(call: NodeCall, x: Tensor) -> Tensor:
    bias, bound = call.real("bias", 0.0), call.real("lambd", 0.5)
    wide = x if x.dtype.is_float else lt.cast(x, "f32")
    zero = lt.zeros_like(wide)
    found = lt.where(wide < -bound, wide + bias, lt.where(wide > bound, wide - bias, zero))
    return lt.cast(found, x.dtype)


def _hard_sigmoid(call: NodeCall, x: Tensor) -> Tensor:
    return lt.clip(x * call.real("alpha", 0.2) + call.real("beta", 0.5), 0, 1)


def _threshold(call: NodeCall, x: Tensor) -> Tensor:
    return lt.where(x > call.real("alpha", 1.0), x, lt.zeros_like(x))


def _gelu(call: NodeCall, x: Tensor) -> Tensor:
    return lt.gelu(x, approximate=call.text("approximate", "none", ("none", "tanh")) == "tanh")


_PARTS: dict[str, Callable[[NodeCall, Tensor], Tensor]] = {
    "Elu": lambda call, x: lt.where(x > 0, x, lt.expm1(x) * call.real("alpha", 1.0)),
    "Celu": lambda call, x: lt.celu(x, call.real("alpha", 1.0)),
    "LeakyRelu": lambda call, x: lt.leaky_relu(x, call.real("alpha", 0.01)),
    "Swish": lambda call, x: x * lt.sigmoid(x * call.real("alpha", 1.0)),
    "ThresholdedRelu": _threshold, "Selu": _selu, "HardSigmoid": _hard_sigmoid, "Shrink": _shrink, "Gelu": _gelu,
}  # fmt: skip


@operator("Identity", since=1)
def _identity(call: NodeCall) -> Made:
    return call.operand(0)


@operator("Cast", since=6, ignores=("saturate", "round_mode"))
def _cast(call: NodeCall) -> Made:
    return _convert(call, call.value(0), call.integer("to"))


@operator("CastLike", since=15, ignores=("saturate", "round_mode"))
def _cast_like(call: NodeCall) -> Made:
    return _convert(call, call.value(0), element_of_dtype(call.tensor(1).dtype))


def _convert(call: NodeCall, value: Value, element: int) -> Value:
    wanted = dtype_of_element(element, call.where)
    if isinstance(value, np.ndarray) and value.dtype.kind in "iub" and wanted.name in ("i32", "i64", "bool"):
        return value.astype(numpy_of_element(element, call.where))
    return cast(call.scope.tensor(value), wanted)


@operator("BitCast", since=26)
def _bit_cast(call: NodeCall) -> Made:
    wanted = numpy_of_element(call.integer("to"), call.where)
    found = call.host(0)
    if found.dtype.itemsize != wanted.itemsize:
        raise call.refusal("the widths differ", expected=found.dtype, got=wanted)
    seen: np.ndarray[Any, Any] = np.ascontiguousarray(found).reshape(-1).view(wanted)
    return seen.reshape(found.shape)


@operator("Dropout", since=7)
def _dropout(call: NodeCall, x: Tensor) -> Made:
    training = call.opset >= 12 and call.has_input(2) and bool(call.scalar(2))
    ratio = float(call.scalar(1)) if training and call.has_input(1) else 0.5
    call.integer("seed")
    if call.opset < 12:
        call.real("ratio")
    if training and ratio != 0 and call.scope.run is not None:
        return list(call.drop(x, ratio if call.scope.run.training else 0))
    if training and ratio != 0:
        raise call.refusal("dropout in training draws numbers that ONNX does not define", expected="training_mode 0",
                           got="1")  # fmt: skip
    return [x, lt.full(x.shape, True, "bool", on=call.scope.device)]
