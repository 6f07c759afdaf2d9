"""Functions element by element.

Layer: tensor. Chapter "Element-wise functions" of the array API standard 2024.12, its special cases included. Operands
are tensors, and Python's numbers beside at least one; they broadcast, and meet in one dtype (``core.promotion``);
integers and bools become f32 where only floats have a result. Invariant: every function is a record of the operations
of ``ops.elementwise``, so that its bits are the same on every device and gradients are theirs.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import DType, bool_, f32, u8
from loom.core.errors import ArgumentError, DTypeError
from loom.core.numbers import whole
from loom.core.promotion import as_float, is_number, promote
from loom.tensor.complexes.functions import sign_of
from loom.tensor.graph import Node, NodeT, require_tensor
from loom.tensor.ops.elementwise import apply, cast, constant, where
from loom.tensor.ops.parts import join, part_of
from loom.tensor.ops.views import broadcast_to

__all__ = [
    "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and", "bitwise_invert",
    "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "ceil", "clip", "copysign", "cos",
    "cosh", "divide", "equal", "exp", "expm1", "floor", "floor_divide", "greater", "greater_equal", "hypot",
    "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log1p", "log2", "log10", "logaddexp", "logical_and",
    "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "multiply", "negative", "nextafter", "not_equal",
    "positive", "pow", "reciprocal", "remainder", "round", "shift_out", "sign", "signbit", "sin", "sinh", "sqrt",
    "square", "subtract", "tan", "tanh", "trunc",
]  # fmt: skip


def _operands(where_: str, *operands: Any) -> tuple[list[Any], DType]:
    """Return operands as tensors, cast to the dtype in which they meet, and it."""
    tensors = [x for x in operands if isinstance(x, Node)]
    if not tensors:
        raise DTypeError(where_, "no tensor among the operands", expected="at least one tensor",
                         got=", ".join(type(x).__name__ for x in operands), remedy="Use tensor.array")  # fmt: skip
    dtype = promote(where_, [x.dtype for x in tensors], [x for x in operands if not isinstance(x, Node)])
    return [
        cast(x, dtype) if isinstance(x, Node) else constant(x, dtype, tensors[0], where_) for x in operands
    ], dtype  # fmt: skip


def _everywhere(value: Any, like: NodeT, dtype: DType) -> NodeT:
    """Return one number in the shape of a tensor."""
    return broadcast_to(constant(value, dtype, like), like.shape)


def _of_one(operation: str, x: Any) -> Any:
    """Return an operation of one tensor."""
    require_tensor(x, operation)
    return apply(operation, x)


# arithmetic


def add(x1: Any, x2: Any, /) -> Any:
    """Return x1 + x2; integers wrap."""
    return apply("add", x1, x2)


def subtract(x1: Any, x2: Any, /) -> Any:
    """Return x1 - x2; integers wrap."""
    return apply("sub", x1, x2)


def multiply(x1: Any, x2: Any, /) -> Any:
    """Return x1 x2; integers wrap."""
    return apply("mul", x1, x2)


def divide(x1: Any, x2: Any, /) -> Any:
    """Return x1 / x2, correctly rounded; of integers as floats, f32."""
    return apply("div", x1, x2)


def floor_divide(x1: Any, x2: Any, /) -> Any:
    """Return the largest whole number that is no more than x1 / x2, exactly, as Python's ``//``.

    By zero and by infinite numbers floats give what x1 / x2 is, as the standard says (Python's -1 // inf is -1), and
    integers by zero give 0.

    >>> from loom import tensor
    >>> floor_divide(tensor.array([7, -7]), 2).tolist()
    [3, -4]
    """
    (a, b), dtype = _operands("floor_divide", x1, x2)
    if dtype.is_integer:
        found = apply("idiv", a, b)
        return found if not dtype.is_signed else apply("sub", found, cast(_is_below(a, b), dtype))
    _require_reals("floor_divide", dtype)
    rest = apply("fmod", a, b)
    below = apply("and", apply("ne", rest, 0), apply("ne", apply("lt", rest, 0), apply("lt", b, 0)))
    near = apply("sub", apply("div", apply("sub", a, rest), b), where(below, 1.0, constant(0.0, dtype, a)))
    whole = apply("rint", near)  # it is one but for the rounding of the quotient
    exact = apply("copysign", whole, apply("div", a, b))
    is_plain = apply("and", isfinite(apply("div", a, b)), isfinite(b))
    return where(is_plain, exact, apply("div", a, b))


def _is_below(a: Any, b: Any) -> Any:
    """Tell where integers' quotient toward zero is above the true one."""
    rest = apply("irem", a, b)
    uneven = apply("and", apply("ne", rest, 0), apply("ne", b, 0))
    return apply("and", uneven, apply("ne", apply("lt", rest, 0), apply("lt", b, 0)))


def remainder(x1: Any, x2: Any, /) -> Any:
    """Return what is left of x1 by ``floor_divide``, with the sign of x2, as Python's ``%``.

    Floats are exact before the sign is right; by zero they give NaN, integers x1.
    """
    (a, b), dtype = _operands("remainder", x1, x2)
    if dtype.is_integer:
        rest = apply("irem", a, b)
        turned = apply("add", rest, b) if dtype.is_signed else rest
        return where(_is_below(a, b), turned, rest) if dtype.is_signed else rest
    _require_reals("remainder", dtype)
    rest = apply("fmod", a, b)
    other = apply("ne", apply("lt", rest, 0), apply("lt", b, 0))
    is_zero = apply("eq", rest, 0)
    return where(is_zero, apply("copysign", rest, b), where(other, apply("add", rest, b), rest))


def _require_reals(name: str, dtype: DType) -> None:
    if not (dtype.is_float or dtype.is_integer):
        raise DTypeError(name, "unsupported dtype", expected="integers or floats", got=dtype,
                         remedy="Convert with astype")  # fmt: skip


def negative(x: Any, /) -> Any:
    """Return -x; integers wrap."""
    return _of_one("neg", x)


def positive(x: Any, /) -> Any:
    """Return x, a tensor of numbers."""
    require_tensor(x, "positive")
    if x.dtype.is_bool:
        raise DTypeError("positive", "unsupported dtype", expected="numbers", got=x.dtype, remedy="Convert with astype")
    return x


def abs(x: Any, /) -> Any:
    """Return the absolute value; the lowest integer of a type wraps. The gradient at 0 is 0."""
    return _of_one("abs", x)


def sign(x: Any, /) -> Any:
    """Return -1, 0 or 1 as x is below, at or above 0; NaN stays. Of complex numbers x / |x|, 0 of 0."""
    if isinstance(x, Node) and x.dtype.is_complex:
        return sign_of(x)
    (a,), dtype = _operands("sign", x)
    if dtype.is_bool:
        raise DTypeError("sign", "unsupported dtype", expected="numbers", got=dtype, remedy="Convert with astype")
    above = where(
        apply("gt", a, 0), constant(1, dtype, a), apply("add", a, 0) if dtype.is_float else constant(0, dtype, a)
    )
    return (
        above if dtype.is_integer and not dtype.is_signed else where(apply("lt", a, 0), constant(-1, dtype, a), above)
    )


def square(x: Any, /) -> Any:
    """Return x x; integers wrap."""
    return apply("mul", x, x)


def reciprocal(x: Any, /) -> Any:
    """Return 1 / x, correctly rounded."""
    return apply("div", 1, x)


def pow(x1: Any, x2: Any, /) -> Any:
    """Return x1 to the power x2. Of integers it wraps; their negative powers are cut to whole numbers: 0, 1 or -1.

    A negative number as the power of integers is refused, as it is in numpy.
    """
    (a, b), dtype = _operands("pow", x1, x2)
    if dtype.is_integer and not isinstance(x2, Node) and x2 < 0:
        raise ArgumentError("pow", "integers to a negative power", expected="a power of at least 0", got=x2,
                            remedy="Write 1 / x**n, or convert with astype")  # fmt: skip
    return apply("ipow" if dtype.is_integer else "pow", a, b)


def sqrt(x: Any, /) -> Any:
    """Return the square root, correctly rounded; NaN below 0."""
    return _of_one("sqrt", x)


def hypot(x1: Any, x2: Any, /) -> Any:
    """Return the root of x1^2 + x2^2 without overflow on the way; infinite if one of them is."""
    return apply("hypot", x1, x2)


def copysign(x1: Any, x2: Any, /) -> Any:
    """Return the size of x1 with the sign of x2, zeros and NaNs included."""
    return apply("copysign", x1, x2)


def signbit(x: Any, /) -> Any:
    """Tell whether the sign of floats is minus, that of zeros and NaNs included."""
    (a,), dtype = _operands("signbit", x)
    if not dtype.is_float:
        raise DTypeError("signbit", "unsupported dtype", expected="floats", got=dtype, remedy="Compare with 0")
    return apply("lt", apply("copysign", 1.0, a), 0)


def nextafter(x1: Any, x2: Any, /) -> Any:
    """Return the float beside x1 in the direction of x2; f32 or f64."""
    return apply("nextafter", x1, x2)


def clip(x: Any, /, min: Any = None, max: Any = None, *, low: Any = None, high: Any = None) -> Any:
    """Return x no smaller than ``min`` and no larger than ``max`` (``low`` and ``high``), either of which may be None.

    The result has the dtype of ``x``; NaN in any of the three gives NaN; the gradient is 0 outside.
    """
    require_tensor(x, "clip")
    for one, other, name in ((min, low, "low"), (max, high, "high")):
        if one is not None and other is not None:
            raise ArgumentError("clip", f"{name} is given twice", expected="one of two words", got=(one, other),
                                remedy="Leave one out")  # fmt: skip
    min, max = (low if min is None else min), (high if max is None else max)
    found = x
    for name, border in (("max", min), ("min", max)):
        if border is not None:
            found = apply(name, found, border)
    return found


def maximum(x1: Any, x2: Any, /) -> Any:
    """Return the larger of two, element by element; NaN wins. Of equal ones the first has the gradient."""
    return apply("max", x1, x2)


def minimum(x1: Any, x2: Any, /) -> Any:
    """Return the smaller of two, element by element; NaN wins. Of equal ones the first has the gradient."""
    return apply("min", x1, x2)


# rounding: integers are whole


def _rounded(name: str, operation: str, x: Any) -> Any:
    require_tensor(x, name)
    if x.dtype.is_complex and name == "round":
        return join(*(apply(operation, part_of(x, half)) for half in (0, 1)))
    return x if x.dtype.is_integer else apply(operation, x)


def ceil(x: Any, /) -> Any:
    """Return the smallest whole number that is no less."""
    return _rounded("ceil", "ceil", x)


def floor(x: Any, /) -> Any:
    """Return the largest whole number that is no more."""
    return _rounded("floor", "floor", x)


def trunc(x: Any, /) -> Any:
    """Return the whole number toward zero."""
    return _rounded("trunc", "trunc", x)


def round(x: Any, /, decimals: int = 0) -> Any:
    """Return the nearest whole number, halves to even; of complex numbers part by part.

    ``decimals``: so many places after the point are kept, or, below 0, so many before it are zeros, as in numpy: floats
    are multiplied by the power of ten, or divided, rounded, and taken back; integers stay exact.
    """
    decimals = whole(decimals, "round, decimals", least=-300, most=300)
    if not decimals:
        return _rounded("round", "rint", x)
    require_tensor(x, "round")
    if x.dtype.is_complex:
        return join(*(round(part_of(x, half), decimals) for half in (0, 1)))
    if not x.dtype.is_float:
        return _rounded_integers(x, decimals)
    if x.dtype.nbytes < f32.nbytes:
        return cast(round(cast(x, f32), decimals), x.dtype)
    there, back = ("mul", "div") if decimals > 0 else ("div", "mul")
    scale = 10.0 ** (decimals if decimals > 0 else -decimals)
    scaled = apply(there, x, scale)
    found = apply(back, apply("rint", scaled), scale)
    return where(isfinite(scaled), found, x) if decimals > 0 else found  # what is beyond is whole


def _rounded_integers(x: Any, decimals: int) -> Any:
    if not x.dtype.is_integer:
        raise DTypeError("round", "bools have no decimals", expected="a tensor of numbers", got=x.dtype,
                         remedy="Convert with astype")  # fmt: skip
    if decimals > 0:
        return x
    unit = 10**-decimals
    if unit > x.dtype.maximum:
        raise ArgumentError("round, decimals", f"10 ** {-decimals} does not fit {x.dtype}", got=decimals,
                            expected=f"at least {1 - len(str(int(x.dtype.maximum)))}",
                            remedy="Convert with astype")  # fmt: skip
    tens = floor_divide(x, unit)
    rest = apply("sub", x, apply("mul", tens, unit))  # 0 to unit - 1
    odd = apply("eq", apply("and", tens, 1), 1)
    up = apply("or", apply("gt", rest, unit // 2), apply("and", apply("eq", rest, unit // 2), odd))
    return apply("mul", apply("add", tens, cast(up, x.dtype)), unit)


# exponentials, logarithms, angles


def exp(x: Any, /) -> Any:
    """Return e to the x."""
    return _of_one("exp", x)


def expm1(x: Any, /) -> Any:
    """Return e to the x, less 1, without cancellation."""
    return _of_one("expm1", x)


def log(x: Any, /) -> Any:
    """Return the natural logarithm; -inf at 0, NaN below."""
    return _of_one("log", x)


def log1p(x: Any, /) -> Any:
    """Return the natural logarithm of 1 + x without cancellation."""
    return _of_one("log1p", x)


def log2(x: Any, /) -> Any:
    """Return the logarithm to base 2."""
    return _of_one("log2", x)


def log10(x: Any, /) -> Any:
    """Return the logarithm to base 10."""
    return _of_one("log10", x)


def logaddexp(x1: Any, x2: Any, /) -> Any:
    """Return log(e^x1 + e^x2) without overflow: the larger one plus log1p(e^-distance)."""
    (a, b), dtype = _operands("logaddexp", x1, x2)
    a, b = (cast(x, as_float(dtype)) for x in (a, b))
    same = apply("eq", a, b)  # infinities among them
    away = where(same, constant(0.0, a.dtype, a), apply("abs", apply("sub", a, b)))
    return apply("add", apply("max", a, b), apply("log1p", apply("exp", apply("neg", away))))


def sin(x: Any, /) -> Any:
    """Return the sine of x in radians."""
    return _of_one("sin", x)


def cos(x: Any, /) -> Any:
    """Return the cosine of x in radians."""
    return _of_one("cos", x)


def tan(x: Any, /) -> Any:
    """Return the tangent of x in radians."""
    return _of_one("tan", x)


def asin(x: Any, /) -> Any:
    """Return the angle from -pi/2 to pi/2 whose sine is x."""
    return _of_one("asin", x)


def acos(x: Any, /) -> Any:
    """Return the angle from 0 to pi whose cosine is x."""
    return _of_one("acos", x)


def atan(x: Any, /) -> Any:
    """Return the angle from -pi/2 to pi/2 whose tangent is x."""
    return _of_one("atan", x)


def atan2(x1: Any, x2: Any, /) -> Any:
    """Return the angle of the point (x2, x1), from -pi to pi."""
    return apply("atan2", x1, x2)


def sinh(x: Any, /) -> Any:
    """Return the hyperbolic sine."""
    return _of_one("sinh", x)


def cosh(x: Any, /) -> Any:
    """Return the hyperbolic cosine."""
    return _of_one("cosh", x)


def tanh(x: Any, /) -> Any:
    """Return the hyperbolic tangent."""
    return _of_one("tanh", x)


def asinh(x: Any, /) -> Any:
    """Return the number whose hyperbolic sine is x."""
    return _of_one("asinh", x)


def acosh(x: Any, /) -> Any:
    """Return the number of at least 0 whose hyperbolic cosine is x; NaN below 1."""
    return _of_one("acosh", x)


def atanh(x: Any, /) -> Any:
    """Return the number whose hyperbolic tangent is x; NaN outside -1 to 1."""
    return _of_one("atanh", x)


# bits


def bitwise_and(x1: Any, x2: Any, /) -> Any:
    """Return the bits that both have, of integers or bools."""
    return apply("and", x1, x2)


def bitwise_or(x1: Any, x2: Any, /) -> Any:
    """Return the bits that one of two has, of integers or bools."""
    return apply("or", x1, x2)


def bitwise_xor(x1: Any, x2: Any, /) -> Any:
    """Return the bits that differ, of integers or bools."""
    return apply("xor", x1, x2)


def bitwise_invert(x: Any, /) -> Any:
    """Return the other bits, of integers or bools."""
    return _of_one("not", x)


def bitwise_left_shift(x1: Any, x2: Any, /) -> Any:
    """Return x1 2^n: bits moved left by n places, x2 modulo the width, as kernels do it."""
    return _shift("bitwise_left_shift", "shl", x1, x2)


def bitwise_right_shift(x1: Any, x2: Any, /) -> Any:
    """Return x1 / 2^n rounded down: bits moved right by n places, x2 modulo the width, as kernels do it."""
    return _shift("bitwise_right_shift", "shr", x1, x2)


def shift_out(x: Any, count: Any, *, left: bool) -> Any:
    """Return bits moved as numpy, PyTorch and ONNX move them: by the width or more, or by less than 0, all are gone."""
    (a, b), dtype = _operands("bitwise shift", x, count)
    top = dtype.bits - 1
    inside = apply("and", apply("le", b, top), apply("ge", b, 0)) if dtype.is_signed else apply("le", b, top)
    if left or not dtype.is_signed:
        return where(inside, _shift("bitwise shift", "shl" if left else "shr", a, b), constant(0, dtype, a))
    return _shift("bitwise shift", "shr", a, where(inside, b, top))


def _shift(name: str, operation: str, x1: Any, x2: Any) -> Any:
    (a, b), dtype = _operands(name, x1, x2)
    if not dtype.is_integer:
        raise DTypeError("bitwise shift", "unsupported dtype", expected="integers", got=dtype,
                         remedy="Convert with astype")  # fmt: skip
    return apply(operation, a, b)


# truths


def _compared(name: str, x1: Any, x2: Any) -> Any:
    """Return a comparison of what has an order; bools are compared as 0 and 1."""
    if all(isinstance(x, bool) or (isinstance(x, Node) and x.dtype.is_bool) for x in (x1, x2)):
        x1, x2 = (cast(x, u8) if isinstance(x, Node) else int(x) for x in (x1, x2))
    return apply(name, x1, x2)


def equal(x1: Any, x2: Any, /) -> Any:
    """Tell where two are equal; NaN equals nothing."""
    return apply("eq", x1, x2)


def not_equal(x1: Any, x2: Any, /) -> Any:
    """Tell where two differ; NaN differs from everything."""
    return apply("ne", x1, x2)


def less(x1: Any, x2: Any, /) -> Any:
    """Tell where x1 < x2."""
    return _compared("lt", x1, x2)


def less_equal(x1: Any, x2: Any, /) -> Any:
    """Tell where x1 <= x2."""
    return _compared("le", x1, x2)


def greater(x1: Any, x2: Any, /) -> Any:
    """Tell where x1 > x2."""
    return _compared("gt", x1, x2)


def greater_equal(x1: Any, x2: Any, /) -> Any:
    """Tell where x1 >= x2."""
    return _compared("ge", x1, x2)


def truth(x: Any, name: str = "truth") -> Any:
    """Return bools as they are, and numbers as whether they are not 0 (NaN is not)."""
    require_tensor(x, name)
    return x if x.dtype.is_bool else apply("ne", x, 0)


def _truths(name: str, operation: str, x1: Any, x2: Any) -> Any:
    if not any(isinstance(x, Node) for x in (x1, x2)):
        require_tensor(x1, name)
    both = [bool(x) if is_number(x) else truth(x, name) for x in (x1, x2)]
    return apply(operation, *both)


def logical_and(x1: Any, x2: Any, /) -> Any:
    """Tell where both are true; numbers are true unless 0."""
    return _truths("logical_and", "and", x1, x2)


def logical_or(x1: Any, x2: Any, /) -> Any:
    """Tell where one of two is true; numbers are true unless 0."""
    return _truths("logical_or", "or", x1, x2)


def logical_xor(x1: Any, x2: Any, /) -> Any:
    """Tell where exactly one of two is true; numbers are true unless 0."""
    return _truths("logical_xor", "xor", x1, x2)


def logical_not(x: Any, /) -> Any:
    """Tell where it is not true; numbers are true unless 0."""
    return apply("not", truth(x, "logical_not"))


def isnan(x: Any, /) -> Any:
    """Tell which are NaN, of complex numbers in one part at least."""
    require_tensor(x, "isnan")
    if x.dtype.is_complex:
        return apply("or", isnan(part_of(x, 0)), isnan(part_of(x, 1)))
    return apply("ne", x, x) if x.dtype.is_float else _everywhere(False, x, bool_)


def isinf(x: Any, /) -> Any:
    """Tell which are infinite, of complex numbers in one part at least."""
    require_tensor(x, "isinf")
    if x.dtype.is_complex:
        return apply("or", isinf(part_of(x, 0)), isinf(part_of(x, 1)))
    return apply("eq", apply("abs", x), math.inf) if x.dtype.is_float else _everywhere(False, x, bool_)


def isfinite(x: Any, /) -> Any:
    """Tell which are neither infinite nor NaN."""
    require_tensor(x, "isfinite")
    if x.dtype.is_complex:
        return apply("and", isfinite(part_of(x, 0)), isfinite(part_of(x, 1)))
    return apply("lt", apply("abs", x), math.inf) if x.dtype.is_float else _everywhere(True, x, bool_)
