"""Exponentials, logarithms and angles, element by element.

Layer: tensor. As ``standard.elementwise``, whose rules hold here.
"""

from __future__ import annotations

from typing import Any

from loom.core.promotion import as_float
from loom.tensor.ops.elementwise import apply, cast, constant, where
from loom.tensor.standard.meeting import of_one, operands_of


def exp(x: Any, /) -> Any:
    """Return e to the x.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("exp", x)


def expm1(x: Any, /) -> Any:
    """Return e to the x, less 1, without cancellation.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("expm1", x)


def log(x: Any, /) -> Any:
    """Return the natural logarithm; -inf at 0, NaN below.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("log", x)


def log1p(x: Any, /) -> Any:
    """Return the natural logarithm of 1 + x without cancellation.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("log1p", x)


def log2(x: Any, /) -> Any:
    """Return the logarithm to base 2.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("log2", x)


def log10(x: Any, /) -> Any:
    """Return the logarithm to base 10.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("log10", x)


def logaddexp(x1: Any, x2: Any, /) -> Any:
    """Return log(e^x1 + e^x2) without overflow: the larger one plus log1p(e^-distance).

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast: floats keep their dtype; bools and integers give f32.

    Raises:
        DTypeError: Complex numbers are refused; no operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    (a, b), dtype = operands_of("logaddexp", x1, x2)
    a, b = (cast(x, as_float(dtype)) for x in (a, b))
    same = apply("eq", a, b)  # infinities among them
    away = where(same, constant(0.0, a.dtype, a), apply("abs", apply("sub", a, b)))
    return apply("add", apply("max", a, b), apply("log1p", apply("exp", apply("neg", away))))


def sin(x: Any, /) -> Any:
    """Return the sine of x in radians.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("sin", x)


def cos(x: Any, /) -> Any:
    """Return the cosine of x in radians.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("cos", x)


def tan(x: Any, /) -> Any:
    """Return the tangent of x in radians.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("tan", x)


def asin(x: Any, /) -> Any:
    """Return the angle from -pi/2 to pi/2 whose sine is x.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("asin", x)


def acos(x: Any, /) -> Any:
    """Return the angle from 0 to pi whose cosine is x.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("acos", x)


def atan(x: Any, /) -> Any:
    """Return the angle from -pi/2 to pi/2 whose tangent is x.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("atan", x)


def atan2(x1: Any, x2: Any, /) -> Any:
    """Return the angle of the point (x2, x1), from -pi to pi.

    Args:
        x1: Tensor of heights, or a number beside one.
        x2: Tensor of widths, or a number beside one.

    Returns:
        Tensor of the shape to which they broadcast: floats keep their dtype; bools and integers give f32.

    Raises:
        DTypeError: Complex numbers are refused; no operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    return apply("atan2", x1, x2)


def sinh(x: Any, /) -> Any:
    """Return the hyperbolic sine.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("sinh", x)


def cosh(x: Any, /) -> Any:
    """Return the hyperbolic cosine.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("cosh", x)


def tanh(x: Any, /) -> Any:
    """Return the hyperbolic tangent.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("tanh", x)


def asinh(x: Any, /) -> Any:
    """Return the number whose hyperbolic sine is x.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("asinh", x)


def acosh(x: Any, /) -> Any:
    """Return the number of at least 0 whose hyperbolic cosine is x; NaN below 1.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("acosh", x)


def atanh(x: Any, /) -> Any:
    """Return the number whose hyperbolic tangent is x; NaN outside -1 to 1.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats and complex numbers keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return of_one("atanh", x)
