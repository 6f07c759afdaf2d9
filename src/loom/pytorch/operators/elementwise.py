"""Operators element by element: arithmetic, comparisons, functions, activations, choices, conversions.

Layer: pytorch. f16 and bf16 are computed in f32 and rounded once for each operator. Invariant: operands meet in the
dtype in which PyTorch's do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from loom import tensor as lt
from loom.core.dtype import DType, lookup
from loom.importers.promotion import cast, match_types, meet, number, wide
from loom.pytorch.registry import Made, OpCall, operator
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.standard.logic import shift_out

__all__: list[str] = []

_Function = Callable[..., Tensor]


def _operands(call: OpCall, *names: str) -> tuple[list[Any], DType]:
    """Return arguments in the dtype in which they meet; at least the first as a tensor."""
    values = [call.value(n) for n in names]
    dtype = meet(values)
    found = match_types(values, dtype)
    if not any(isinstance(v, Tensor) for v in found):
        found[0] = call.full((), found[0], dtype)
    return found, dtype


def _narrow(call: OpCall, found: Tensor) -> Tensor:
    return cast(found, call.out)


# arithmetic


def _scale(call: OpCall, b: Any, dtype: DType) -> Any:
    alpha = call.value("alpha", 1)
    if alpha == 1:
        return b
    return b * number(alpha, dtype)


@operator("add", "sub", "rsub", "subtract")
def _sum(call: OpCall) -> Made:
    (a, b), dtype = _operands(call, "self", "other")
    if dtype.is_bool:
        return lt.logical_or(a, b)
    b, a = (_scale(call, a, dtype), b) if call.base == "rsub" else (_scale(call, b, dtype), a)
    return a + b if call.base == "add" else lt.subtract(a, b)


@operator("mul", "multiply")
def _mul(call: OpCall) -> Made:
    (a, b), dtype = _operands(call, "self", "other")
    return lt.logical_and(a, b) if dtype.is_bool else lt.multiply(a, b)


@operator("div", "true_divide", "divide")
def _div(call: OpCall) -> Made:
    (a, b), dtype = _operands(call, "self", "other")
    mode = call.value("rounding_mode")
    if mode is None:
        if not dtype.is_float:
            a, b = match_types((a, b), call.out)
        return lt.divide(a, b)
    if mode == "floor":
        return lt.floor_divide(a, b)
    return lt.trunc(lt.divide(a, b)) if dtype.is_float else _tensor(call, a, dtype).map("idiv", b)


def _tensor(call: OpCall, x: Any, dtype: DType) -> Tensor:
    return x if isinstance(x, Tensor) else call.full((), x, dtype)


@operator("floor_divide")
def _floor_divide(call: OpCall) -> Made:
    (a, b), _ = _operands(call, "self", "other")
    return lt.floor_divide(a, b)


@operator("remainder", "fmod")
def _remainder(call: OpCall) -> Made:
    (a, b), dtype = _operands(call, "self", "other")
    if call.base == "remainder":
        return lt.remainder(a, b)
    a = _tensor(call, a, dtype)
    return a.map("fmod", b) if dtype.is_float else a - a.map("idiv", b) * b


_POWERS: dict[float, Callable[[Tensor], Tensor]] = {
    1: lambda x: x, 2: lambda x: x * x, 3: lambda x: x * x * x, 0.5: lt.sqrt, -1: lt.reciprocal,
    -0.5: lambda x: x.map("rsqrt"), -2: lambda x: lt.reciprocal(x * x),
}  # fmt: skip


@operator("pow")
def _pow(call: OpCall) -> Made:
    (a, b), dtype = _operands(call, "self", "exponent")
    exponent = call.value("exponent")
    if dtype.is_float and isinstance(exponent, (int, float)) and exponent in _POWERS and isinstance(a, Tensor):
        return cast(_POWERS[exponent](wide(a)), dtype)
    return lt.pow(_tensor(call, a, dtype), b)


@operator("square")
def _square(x: Tensor) -> Made:
    return lt.multiply(x, x)


@operator("addcmul", "addcdiv")
def _addc(call: OpCall) -> Made:
    x, a, b = (wide(call.tensor(n)) for n in ("self", "tensor1", "tensor2"))
    made = a * b if call.base == "addcmul" else a / b
    value = call.value("value", 1)
    return _narrow(call, x + (made if value == 1 else made * value))


@operator("lerp")
def _lerp(call: OpCall, a: Tensor, b: Tensor) -> Made:
    weight = call.value("weight")
    a, b = wide(a), wide(b)
    weight = wide(weight) if isinstance(weight, Tensor) else float(weight)
    return _narrow(call, a + (b - a) * weight)


@operator("maximum", "minimum", "fmax", "fmin")
def _extreme(call: OpCall) -> Made:
    (a, b), _ = _operands(call, "self", "other")
    found = lt.maximum(a, b) if call.base.endswith(("maximum", "max")) else lt.minimum(a, b)
    if call.base in ("maximum", "minimum"):
        return found
    return lt.where(lt.isnan(a), b, lt.where(lt.isnan(b), a, found))


@operator("max.other", "min.other")
def _other(call: OpCall) -> Made:
    (a, b), _ = _operands(call, "self", "other")
    return lt.maximum(a, b) if call.base == "max" else lt.minimum(a, b)


@operator("clamp", "clip", "clamp_min", "clamp_max")
def _clamp(call: OpCall, x: Tensor) -> Made:
    ends = [call.value("min"), call.value("max")]
    dtype = meet([x, *(e for e in ends if e is not None)])
    found = cast(x, dtype)
    for end, name in zip(ends, ("max", "min"), strict=True):
        if end is not None:
            found = found.map(name, match_types([end], dtype)[0])
    return found


# comparisons and logic

_COMPARISONS: dict[str, _Function] = {
    "eq": lt.equal, "ne": lt.not_equal, "lt": lt.less, "le": lt.less_equal, "gt": lt.greater, "ge": lt.greater_equal,
}  # fmt: skip


@operator(*_COMPARISONS)
def _compare(call: OpCall) -> Made:
    (a, b), dtype = _operands(call, "self", "other")
    if dtype.is_bool and call.base in ("lt", "le", "gt", "ge"):
        a, b = match_types((a, b), lookup("u8"))
    return _COMPARISONS[call.base](a, b)


_LOGIC: dict[str, tuple[_Function, _Function]] = {
    "and": (lt.logical_and, lt.bitwise_and), "or": (lt.logical_or, lt.bitwise_or),
    "xor": (lt.logical_xor, lt.bitwise_xor),
}  # fmt: skip


@operator("logical_and", "logical_or", "logical_xor")
def _logical(call: OpCall) -> Made:
    a, b = (cast(call.tensor(n), lookup("bool")) for n in ("self", "other"))
    return _LOGIC[call.base.removeprefix("logical_")][0](a, b)


@operator("bitwise_and", "bitwise_or", "bitwise_xor", "__and__", "__or__", "__xor__")
def _bitwise(call: OpCall) -> Made:
    (a, b), dtype = _operands(call, "self", "other")
    return _LOGIC[call.base.removeprefix("bitwise_").strip("_")][0 if dtype.is_bool else 1](a, b)


@operator("bitwise_left_shift", "bitwise_right_shift", "__lshift__", "__rshift__")
def _shift(call: OpCall) -> Made:
    (a, b), _ = _operands(call, "self", "other")
    return shift_out(a, b, left=call.base.strip("_").removeprefix("bitwise_").startswith("l"))


@operator("logical_not", "bitwise_not")
def _not(call: OpCall, x: Tensor) -> Made:
    if call.base == "logical_not" or x.dtype.is_bool:
        return lt.logical_not(cast(x, lookup("bool")))
    return lt.bitwise_invert(x)


# functions


def _relu(x: Tensor) -> Tensor:
    return x.relu()


def _sign(x: Tensor) -> Tensor:
    """Return -1, 0 or 1; 0 for NaN, as PyTorch."""
    return lt.where(lt.isnan(x), 0, lt.sign(x)) if x.dtype.is_float else lt.sign(x)


_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": lt.abs, "acos": lt.acos, "acosh": lt.acosh, "asin": lt.asin, "asinh": lt.asinh, "atan": lt.atan,
    "atanh": lt.atanh, "ceil": lt.ceil, "cos": lt.cos, "cosh": lt.cosh, "exp": lt.exp, "exp2": lambda x: x.map("exp2"),
    "expm1": lt.expm1, "floor": lt.floor, "log": lt.log, "log2": lt.log2, "log10": lt.log10, "log1p": lt.log1p,
    "neg": lt.negative, "relu": _relu, "rsqrt": lambda x: x.map("rsqrt"), "sigmoid": lt.sigmoid, "sign": _sign,
    "sin": lt.sin, "sinh": lt.sinh, "sqrt": lt.sqrt, "tan": lt.tan, "tanh": lt.tanh, "trunc": lt.trunc,
    "erf": lambda x: x.map("erf"), "erfc": lambda x: x.map("erfc"), "reciprocal": lt.reciprocal,
    "isnan": lt.isnan, "isinf": lt.isinf, "isfinite": lt.isfinite, "erfinv": lt.erfinv, "signbit": lt.signbit,
    "lgamma": lambda x: x.map("lgamma"), "digamma": lt.special.digamma, "frac": lambda x: x - lt.trunc(x),
    "fix": lt.trunc, "logit": lt.special.logit, "sinc": lt.special.sinc, "special_log_ndtr": lt.special.log_ndtr,
    "special_ndtri": lt.special.ndtri, "special_erfinv": lt.erfinv, "special_i0e": lt.special.i0e,
    "special_i1e": lt.special.i1e, "i0": lt.special.i0, "special_i1": lt.special.i1, "special_entr": lt.special.entr,
    "absolute": lt.abs, "negative": lt.negative, "special_expm1": lt.expm1, "sgn": _sign,
}  # fmt: skip
_ANSWERS = ("isnan", "isinf", "isfinite", "signbit")
_KEEPING = ("abs", "absolute", "neg", "negative", "relu", "sign", "sgn", "ceil", "floor", "trunc", "fix", "frac")


@operator(*_UNARY)
def _unary(call: OpCall, x: Tensor) -> Made:
    if call.base == "logit" and call.value("eps") is not None:
        eps = call.real("eps")
        x = lt.clip(x, eps, 1 - eps)
    if call.base in _ANSWERS:
        if not x.dtype.is_float:
            return call.full(x.shape, call.base == "isfinite", call.out) if call.base != "signbit" else lt.less(x, 0)
        return _UNARY[call.base](x)
    if call.base in _KEEPING:
        return _UNARY[call.base](x)
    return _narrow(call, _UNARY[call.base](wide(cast(x, call.out))))


@operator("round")
def _round(call: OpCall, x: Tensor) -> Made:
    return lt.round(x, call.integer("decimals", 0))


@operator(
    "atan2", "hypot", "copysign", "nextafter", "logaddexp", "logaddexp2", "xlogy", "special_xlogy", "special_xlog1py"
)
def _function_of_two(call: OpCall) -> Made:
    (a, b), _ = _operands(call, "self", "other")
    a, b = (wide(cast(v, call.out)) if isinstance(v, Tensor) else float(v) for v in (a, b))
    name = call.base.removeprefix("special_")
    if name in ("xlogy", "xlog1py"):
        return _narrow(call, getattr(lt.special, name)(a, b))
    if name == "logaddexp2":
        return _narrow(call, lt.logaddexp(a * math.log(2), b * math.log(2)) / math.log(2))
    return _narrow(call, getattr(lt, name)(a, b))


# activations


def _softplus(call: OpCall, x: Tensor) -> Tensor:
    beta, border = call.real("beta", 1), call.real("threshold", 20)
    scaled = x if beta == 1 else x * beta
    soft = lt.softplus(scaled)
    return lt.where(scaled > border, x, soft if beta == 1 else soft / beta)


def _elu(call: OpCall, x: Tensor) -> Tensor:
    alpha, scale, inner = call.real("alpha", 1), call.real("scale", 1), call.real("input_scale", 1)
    below = lt.expm1(lt.minimum(x if inner == 1 else x * inner, 0))
    below = below if alpha * scale == 1 else below * (alpha * scale)
    return lt.where(x > 0, x if scale == 1 else x * scale, below)


def _prelu(call: OpCall, x: Tensor) -> Tensor:
    slope = wide(call.tensor("weight"))
    if slope.size > 1 and slope.ndim == 1 and x.ndim > 1:
        slope = lt.reshape(slope, (-1, *(1,) * (x.ndim - 2)))
    return lt.where(x > 0, x, x * (lt.reshape(slope, ()) if slope.size == 1 else slope))


def _hardtanh(call: OpCall, x: Tensor) -> Tensor:
    return _between(x, call.real("min_val", -1), call.real("max_val", 1))


def _between(x: Tensor, low: float, high: float) -> Tensor:
    """Return elements within two ends; at these the derivative is 0, as PyTorch's."""
    return lt.where(lt.less_equal(x, low), low, lt.where(lt.greater_equal(x, high), high, x))


def _threshold(call: OpCall, x: Tensor) -> Tensor:
    """Return a value for elements up to a border; NaN stays, as PyTorch's."""
    return lt.where(lt.less_equal(x, call.real("threshold")), call.real("value"), x)


def _glu(call: OpCall, x: Tensor) -> Tensor:
    return lt.glu(x, call.axis("dim", x.ndim, -1))


def _rrelu(call: OpCall, x: Tensor) -> Tensor:
    if call.flag("training"):
        raise call.refusal("slopes are drawn in training", expected="the module in eval mode", got="training")
    return lt.leaky_relu(x, (call.real("lower", 0.125) + call.real("upper", 1 / 3)) / 2)


_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": lt.silu, "mish": lt.mish, "selu": lt.selu, "relu6": lambda x: _between(x, 0.0, 6.0),
    "hardswish": lt.hardswish, "hardsigmoid": lt.hardsigmoid, "log_sigmoid": lt.logsigmoid,
}  # fmt: skip
_ACTIVATIONS: dict[str, Callable[[OpCall, Tensor], Tensor]] = {
    "celu": lambda call, x: lt.celu(x, call.real("alpha", 1)), "elu": _elu, "softplus": _softplus, "glu": _glu,
    "gelu": lambda call, x: lt.gelu(x, approximate=call.value("approximate", "none") == "tanh"),
    "leaky_relu": lambda call, x: lt.leaky_relu(x, call.real("negative_slope", 0.01)), "prelu": _prelu,
    "_prelu_kernel": _prelu, "hardtanh": _hardtanh, "rrelu": _rrelu,
    "softshrink": lambda call, x: lt.softshrink(x, call.real("lambd", 0.5)),
    "hardshrink": lambda call, x: lt.hardshrink(x, call.real("lambd", 0.5)),
    "threshold": _threshold,
}  # fmt: skip


@operator(*_PLAIN)
def _plain(call: OpCall, x: Tensor) -> Made:
    return cast(_PLAIN[call.base](wide(x)), x.dtype)


@operator(*_ACTIVATIONS)
def _activation(call: OpCall, x: Tensor) -> Made:
    return cast(_ACTIVATIONS[call.base](call, wide(x)), x.dtype)


@operator("log_sigmoid_forward")
def _log_sigmoid_forward(x: Tensor) -> Made:
    return [cast(lt.logsigmoid(wide(x)), x.dtype), lt.zeros((0,), x.dtype)]


# choices


@operator("where")
def _where(call: OpCall) -> Made:
    condition = cast(call.tensor("condition"), lookup("bool"))
    (a, b), _ = _operands(call, "self", "other")
    return lt.where(condition, a, b)


@operator("masked_fill")
def _fill_masked(call: OpCall, x: Tensor) -> Made:
    mask, value = cast(call.tensor("mask"), lookup("bool")), call.value("value")
    return lt.where(mask, match_types([value], x.dtype)[0], x)


@operator("nan_to_num")
def _nan_to_num(call: OpCall, x: Tensor) -> Made:
    nan, high, low = call.value("nan"), call.value("posinf"), call.value("neginf")
    if not x.dtype.is_float:
        return x
    info = lt.finfo(x.dtype)
    high, low = float(info.max) if high is None else float(high), float(info.min) if low is None else float(low)
    found = lt.where(x == math.inf, high, lt.where(x == -math.inf, low, x))
    return lt.where(lt.isnan(x), 0.0 if nan is None else float(nan), found)


@operator("heaviside")
def _heaviside(x: Tensor, at_zero: Tensor) -> Made:
    return lt.where(lt.equal(x, 0), at_zero, cast(lt.greater(x, 0), x.dtype))


# conversions


@operator("to.dtype", "to.dtype_layout", "to.device", "to.other", "_to_copy", "type_as", "_autocast_to_full_precision",
          "_autocast_to_reduced_precision", "prims.convert_element_type",
          ignores=("other", "cuda_enabled", "cpu_enabled", "cuda_dtype", "cpu_dtype"))  # fmt: skip
def _to(call: OpCall, x: Tensor) -> Made:
    return cast(x, call.out)
