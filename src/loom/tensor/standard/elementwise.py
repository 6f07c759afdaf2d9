"""Functions element by element.

Layer: tensor. Chapter "Element-wise functions" of the array API standard 2024.12, its special cases included. Operands
are tensors, and Python's numbers beside at least one; they broadcast, and meet in one dtype (``core.promotion``);
integers and bools become f32 where only floats have a result. Invariant: every function is a record of the operations
of ``ops.elementwise``, so that its bits are the same on every device and gradients are theirs.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import DType, bf16, f16, f32, f64
from loom.core.errors import ArgumentError, DTypeError
from loom.core.numbers import whole
from loom.tensor.complexes.functions import sign_of
from loom.tensor.ops.elementwise import apply, cast, constant, where
from loom.tensor.ops.parts import join, part_of
from loom.tensor.record.graph import Node, require_tensor
from loom.tensor.standard.logic import isfinite
from loom.tensor.standard.meeting import of_one, operands_of

__all__ = [
    "abs", "add", "ceil", "clip", "copysign", "divide", "floor", "floor_divide", "hypot", "maximum", "minimum",
    "multiply", "negative", "nextafter", "positive", "pow", "reciprocal", "remainder", "round", "sign", "signbit",
    "sqrt", "square", "subtract", "trunc",
]  # fmt: skip


_ALL_WHOLE: dict[DType, float] = {bf16: 2.0**8, f16: 2.0**11, f32: 2.0**24, f64: 2.0**53}
"""From where on numbers of a type are whole."""


# arithmetic


def add(x1: Any, x2: Any, /) -> Any:
    """Return x1 + x2; integers wrap.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, in the dtype in which they meet.

    Raises:
        DTypeError: Bools are refused; no operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    return apply("add", x1, x2)


def subtract(x1: Any, x2: Any, /) -> Any:
    """Return x1 - x2; integers wrap.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, in the dtype in which they meet.

    Raises:
        DTypeError: Bools are refused; no operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    return apply("sub", x1, x2)


def multiply(x1: Any, x2: Any, /) -> Any:
    """Return x1 x2; integers wrap.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, in the dtype in which they meet.

    Raises:
        DTypeError: Bools are refused; no operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    return apply("mul", x1, x2)


def divide(x1: Any, x2: Any, /) -> Any:
    """Return x1 / x2, correctly rounded; of integers as floats, f32.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast: floats and complex numbers keep their dtype; bools and integers
            give f32.

    Raises:
        DTypeError: No operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    return apply("div", x1, x2)


def floor_divide(x1: Any, x2: Any, /) -> Any:
    """Return the largest whole number that is no more than x1 / x2, as Python's ``//``.

    Of integers it is exact, and of floats where it is below 2^24 in size (f64 2^53, f16 2^11, bf16 2^8), where numpy
    and Python are off by one in places. From there on all floats are whole, and it is x1 / x2 rounded to nearest.
    By zero and by infinite numbers floats give what x1 / x2 is, as the standard says (Python's -1 // inf is -1), and
    integers by zero give 0.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, in the dtype in which they meet.

    Raises:
        DTypeError: Bools and complex numbers are refused; no operand is a tensor.
        ShapeError: The shapes do not broadcast.

    >>> from loom import tensor
    >>> floor_divide(tensor.array([7, -7]), 2).tolist()
    [3, -4]
    """
    (a, b), dtype = operands_of("floor_divide", x1, x2)
    if dtype.is_integer:
        found = apply("idiv", a, b)
        return found if not dtype.is_signed else apply("sub", found, cast(_is_below(a, b), dtype))
    _require_reals("floor_divide", dtype)
    quotient = apply("div", a, b)
    is_plain = apply("and", isfinite(quotient), isfinite(b))
    return where(is_plain, apply("copysign", _whole_size(a, b, quotient), quotient), quotient)


def _whole_size(a: Node, b: Node, quotient: Node) -> Node:
    """Return the size of the floor of a / b, of floats: the rounded quotient's, put right by what is left exactly.

    The size of a / b and the whole number next to its rounding are less than 1 apart. So one is below the other as
    the remainder by 2 b, which has no error, says beside the parity of that number.
    """
    near, size = apply("rint", apply("abs", quotient)), apply("abs", b)
    rest = apply("fmod", apply("abs", a), apply("mul", size, 2.0))  # of twice b beyond all numbers it is a
    half = apply("mul", near, 0.5)
    is_odd = apply("ne", half, apply("rint", half))
    is_uneven = apply("and", apply("ne", rest, 0), apply("ne", rest, size))
    is_above = apply("and", is_uneven, apply("ne", is_odd, apply("gt", rest, size)))
    is_negative = apply("ne", apply("lt", a, 0), apply("lt", b, 0))
    toward_zero = apply("sub", near, cast(is_above, a.dtype))
    exact = apply("add", toward_zero, cast(apply("and", is_uneven, is_negative), a.dtype))
    return where(apply("le", near, _ALL_WHOLE[a.dtype]), exact, near)


def _is_below(a: Any, b: Any) -> Any:
    """Tell where integers' quotient toward zero is above the true one."""
    rest = apply("irem", a, b)
    uneven = apply("and", apply("ne", rest, 0), apply("ne", b, 0))
    return apply("and", uneven, apply("ne", apply("lt", rest, 0), apply("lt", b, 0)))


def remainder(x1: Any, x2: Any, /) -> Any:
    """Return what is left of x1 by ``floor_divide``, with the sign of x2, as Python's ``%``.

    Floats are exact before the sign is right; by zero they give NaN, integers x1.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, in the dtype in which they meet.

    Raises:
        DTypeError: Bools and complex numbers are refused; an operand is no number; no operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    (a, b), dtype = operands_of("remainder", x1, x2)
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
    """Return -x; integers wrap.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools are refused; the dtype is not supported.
    """
    return of_one("neg", x)


def positive(x: Any, /) -> Any:
    """Return x, a tensor of numbers.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools are refused; the dtype is not supported.
    """
    require_tensor(x, "positive")
    if x.dtype.is_bool:
        raise DTypeError("positive", "unsupported dtype", expected="numbers", got=x.dtype, remedy="Convert with astype")
    return x


def abs(x: Any, /) -> Any:
    """Return the absolute value; the lowest integer of a type wraps. The gradient at 0 is 0.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: integers and floats keep their dtype; complex numbers give f32 of c64, f64 of
            c128.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools are refused.
    """
    return of_one("abs", x)


def sign(x: Any, /) -> Any:
    """Return -1, 0 or 1 as x is below, at or above 0; NaN stays. Of complex numbers x / |x|, 0 of 0.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        DTypeError: Bools are refused; no operand is a tensor; the dtype is not supported.
    """
    if isinstance(x, Node) and x.dtype.is_complex:
        return sign_of(x)
    (a,), dtype = operands_of("sign", x)
    if dtype.is_bool:
        raise DTypeError("sign", "unsupported dtype", expected="numbers", got=dtype, remedy="Convert with astype")
    above = where(
        apply("gt", a, 0), constant(1, dtype, a), apply("add", a, 0) if dtype.is_float else constant(0, dtype, a)
    )
    return (
        above if dtype.is_integer and not dtype.is_signed else where(apply("lt", a, 0), constant(-1, dtype, a), above)
    )


def square(x: Any, /) -> Any:
    """Return x x; integers wrap.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        DTypeError: Bools are refused; no operand is a tensor.
    """
    return apply("mul", x, x)


def reciprocal(x: Any, /) -> Any:
    """Return 1 / x, correctly rounded.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        DTypeError: No operand is a tensor.
    """
    return apply("div", 1, x)


def pow(x1: Any, x2: Any, /) -> Any:
    """Return x1 to the power x2. Of integers it wraps; their negative powers are cut to whole numbers: 0, 1 or -1.

    A negative number as the power of integers is refused, as it is in numpy.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast: integers, floats and complex numbers keep their dtype; bools give
            f32.

    Raises:
        ArgumentError: Integers to a negative power.
        DTypeError: No operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    (a, b), dtype = operands_of("pow", x1, x2)
    if dtype.is_integer and not isinstance(x2, Node) and x2 < 0:
        raise ArgumentError("pow", "integers to a negative power", expected="a power of at least 0", got=x2,
                            remedy="Write 1 / x**n, or convert with astype")  # fmt: skip
    return apply("ipow" if dtype.is_integer else "pow", a, b)


def sqrt(x: Any, /) -> Any:
    """Return the square root, correctly rounded; NaN below 0.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("sqrt", x)


def hypot(x1: Any, x2: Any, /) -> Any:
    """Return the root of x1^2 + x2^2 without overflow on the way; infinite if one of them is.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast: floats keep their dtype; bools and integers give f32.

    Raises:
        DTypeError: Complex numbers are refused; no operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    return apply("hypot", x1, x2)


def copysign(x1: Any, x2: Any, /) -> Any:
    """Return the size of x1 with the sign of x2, zeros and NaNs included.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast: floats keep their dtype; bools and integers give f32.

    Raises:
        DTypeError: Complex numbers are refused; no operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    return apply("copysign", x1, x2)


def signbit(x: Any, /) -> Any:
    """Tell whether the sign of floats is minus, that of zeros and NaNs included.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``, bools.

    Raises:
        DTypeError: Bools, integers and complex numbers are refused; no operand is a tensor; the dtype is not supported.
    """
    (a,), dtype = operands_of("signbit", x)
    if not dtype.is_float:
        raise DTypeError("signbit", "unsupported dtype", expected="floats", got=dtype, remedy="Compare with 0")
    return apply("lt", apply("copysign", 1.0, a), 0)


def nextafter(x1: Any, x2: Any, /) -> Any:
    """Return the float beside x1 in the direction of x2; f32 or f64.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast: floats keep their dtype; bools and integers give f32.

    Raises:
        DTypeError: Complex numbers are refused; no operand is a tensor; the dtype is not supported.
        ShapeError: The shapes do not broadcast.
    """
    return apply("nextafter", x1, x2)


def clip(x: Any, /, min: Any = None, max: Any = None, *, low: Any = None, high: Any = None) -> Any:
    """Return x no smaller than ``min`` and no larger than ``max`` (``low`` and ``high``), either of which may be None.

    The result has the dtype of ``x``; NaN in any of the three gives NaN; the gradient is 0 outside.

    Args:
        x: Tensor of any shape.
        min: Least result, number or tensor; None: none.
        max: Largest result, number or tensor; None: none.
        low: Another name of ``min``.
        high: Another name of ``max``.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor; one value has two names.
        DTypeError: A number does not fit the dtype; an operand is no number.
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
    """Return the larger of two, element by element; NaN wins. Of equal ones the first has the gradient.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, in the dtype in which they meet.

    Raises:
        DTypeError: Bools and complex numbers are refused; no operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    return apply("max", x1, x2)


def minimum(x1: Any, x2: Any, /) -> Any:
    """Return the smaller of two, element by element; NaN wins. Of equal ones the first has the gradient.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, in the dtype in which they meet.

    Raises:
        DTypeError: Bools and complex numbers are refused; no operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    return apply("min", x1, x2)


# rounding: integers are whole


def _round(name: str, operation: str, x: Any) -> Any:
    require_tensor(x, name)
    if x.dtype.is_complex and name == "round":
        return join(*(apply(operation, part_of(x, half)) for half in (0, 1)))
    return x if x.dtype.is_integer else apply(operation, x)


def ceil(x: Any, /) -> Any:
    """Return the smallest whole number that is no less.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: integers and floats keep their dtype; bools give f32.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Complex numbers are refused.
    """
    return _round("ceil", "ceil", x)


def floor(x: Any, /) -> Any:
    """Return the largest whole number that is no more.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: integers and floats keep their dtype; bools give f32.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Complex numbers are refused.
    """
    return _round("floor", "floor", x)


def trunc(x: Any, /) -> Any:
    """Return the whole number toward zero.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: integers and floats keep their dtype; bools give f32.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Complex numbers are refused.
    """
    return _round("trunc", "trunc", x)


def round(x: Any, /, decimals: int = 0) -> Any:
    """Return the nearest whole number, halves to even; of complex numbers part by part.

    ``decimals``: so many places after the point are kept, or, below 0, so many before it are zeros, as in numpy: floats
    are multiplied by the power of ten, or divided, rounded, and taken back; integers stay exact.

    Args:
        x: Tensor of any shape.
        decimals: Digits behind the point; below 0: before it.

    Returns:
        Tensor of the shape of ``x``: integers, floats and complex numbers keep their dtype; bools give f32.

    Raises:
        ArgumentError: Not a whole number; an operand is no tensor.
    """
    decimals = whole(decimals, "round, decimals", least=-300, most=300)
    if not decimals:
        return _round("round", "rint", x)
    require_tensor(x, "round")
    if x.dtype.is_complex:
        return join(*(round(part_of(x, half), decimals) for half in (0, 1)))
    if not x.dtype.is_float:
        return _round_integers(x, decimals)
    if x.dtype.nbytes < f32.nbytes:
        return cast(round(cast(x, f32), decimals), x.dtype)
    there, back = ("mul", "div") if decimals > 0 else ("div", "mul")
    scale = 10.0 ** (decimals if decimals > 0 else -decimals)
    scaled = apply(there, x, scale)
    found = apply(back, apply("rint", scaled), scale)
    return where(isfinite(scaled), found, x) if decimals > 0 else found  # what is beyond is whole


def _round_integers(x: Any, decimals: int) -> Any:
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
