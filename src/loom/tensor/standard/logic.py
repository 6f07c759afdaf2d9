"""Bits, comparisons and truths, element by element.

Layer: tensor. As ``standard.elementwise``, whose rules hold here.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import bool_, u8
from loom.core.errors import DTypeError
from loom.core.promotion import is_number
from loom.tensor.ops.elementwise import apply, cast, constant, where
from loom.tensor.ops.parts import part_of
from loom.tensor.record.graph import Node, require_tensor
from loom.tensor.standard.meeting import everywhere, of_one, operands_of

# bits


def bitwise_and(x1: Any, x2: Any, /) -> Any:
    """Return the bits that both have, of integers or bools.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, in the dtype in which they meet.

    Raises:
        DTypeError: Floats and complex numbers are refused; no operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    return apply("and", x1, x2)


def bitwise_or(x1: Any, x2: Any, /) -> Any:
    """Return the bits that one of two has, of integers or bools.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, in the dtype in which they meet.

    Raises:
        DTypeError: Floats and complex numbers are refused; no operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    return apply("or", x1, x2)


def bitwise_xor(x1: Any, x2: Any, /) -> Any:
    """Return the bits that differ, of integers or bools.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, in the dtype in which they meet.

    Raises:
        DTypeError: Floats and complex numbers are refused; no operand is a tensor; an operand is no number.
        ShapeError: The shapes do not broadcast.
    """
    return apply("xor", x1, x2)


def bitwise_invert(x: Any, /) -> Any:
    """Return the other bits, of integers or bools.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Floats and complex numbers are refused; the dtype is not supported.
    """
    return of_one("not", x)


def bitwise_left_shift(x1: Any, x2: Any, /) -> Any:
    """Return x1 2^n: bits moved left by n places, x2 modulo the width, as kernels do it.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor of places, or a number; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, in the dtype in which they meet.

    Raises:
        DTypeError: Bools, floats and complex numbers are refused; no operand is a tensor; an operand is no number.
        ShapeError: The shapes do not broadcast.
    """
    return _shift("bitwise_left_shift", "shl", x1, x2)


def bitwise_right_shift(x1: Any, x2: Any, /) -> Any:
    """Return x1 / 2^n rounded down: bits moved right by n places, x2 modulo the width, as kernels do it.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor of places, or a number; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, in the dtype in which they meet.

    Raises:
        DTypeError: Bools, floats and complex numbers are refused; no operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    return _shift("bitwise_right_shift", "shr", x1, x2)


def shift_out(x: Any, count: Any, *, left: bool) -> Any:
    """Return bits moved as numpy, PyTorch and ONNX move them: by the width or more, or by less than 0, all are gone."""
    (a, b), dtype = operands_of("bitwise shift", x, count)
    top = dtype.bits - 1
    inside = apply("and", apply("le", b, top), apply("ge", b, 0)) if dtype.is_signed else apply("le", b, top)
    if left or not dtype.is_signed:
        return where(inside, _shift("bitwise shift", "shl" if left else "shr", a, b), constant(0, dtype, a))
    return _shift("bitwise shift", "shr", a, where(inside, b, top))


def _shift(name: str, operation: str, x1: Any, x2: Any) -> Any:
    (a, b), dtype = operands_of(name, x1, x2)
    if not dtype.is_integer:
        raise DTypeError("bitwise shift", "unsupported dtype", expected="integers", got=dtype,
                         remedy="Convert with astype")  # fmt: skip
    return apply(operation, a, b)


# truths


def _compare(name: str, x1: Any, x2: Any) -> Any:
    """Return a comparison of what has an order; bools are compared as 0 and 1."""
    if all(isinstance(x, bool) or (isinstance(x, Node) and x.dtype.is_bool) for x in (x1, x2)):
        x1, x2 = (cast(x, u8) if isinstance(x, Node) else int(x) for x in (x1, x2))
    return apply(name, x1, x2)


def equal(x1: Any, x2: Any, /) -> Any:
    """Tell where two are equal; NaN equals nothing.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, bools.

    Raises:
        DTypeError: No operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    return apply("eq", x1, x2)


def not_equal(x1: Any, x2: Any, /) -> Any:
    """Tell where two differ; NaN differs from everything.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, bools.

    Raises:
        DTypeError: No operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    return apply("ne", x1, x2)


def less(x1: Any, x2: Any, /) -> Any:
    """Tell where x1 < x2.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, bools.

    Raises:
        DTypeError: Complex numbers are refused; no operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    return _compare("lt", x1, x2)


def less_equal(x1: Any, x2: Any, /) -> Any:
    """Tell where x1 <= x2.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, bools.

    Raises:
        DTypeError: Complex numbers are refused; no operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    return _compare("le", x1, x2)


def greater(x1: Any, x2: Any, /) -> Any:
    """Tell where x1 > x2.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, bools.

    Raises:
        DTypeError: Complex numbers are refused; no operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    return _compare("gt", x1, x2)


def greater_equal(x1: Any, x2: Any, /) -> Any:
    """Tell where x1 >= x2.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, bools.

    Raises:
        DTypeError: Complex numbers are refused; no operand is a tensor.
        ShapeError: The shapes do not broadcast.
    """
    return _compare("ge", x1, x2)


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
    """Tell where both are true; numbers are true unless 0.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, bools.

    Raises:
        ArgumentError: An operand is no tensor.
        ShapeError: The shapes do not broadcast.
    """
    return _truths("logical_and", "and", x1, x2)


def logical_or(x1: Any, x2: Any, /) -> Any:
    """Tell where one of two is true; numbers are true unless 0.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, bools.

    Raises:
        ArgumentError: An operand is no tensor.
        ShapeError: The shapes do not broadcast.
    """
    return _truths("logical_or", "or", x1, x2)


def logical_xor(x1: Any, x2: Any, /) -> Any:
    """Tell where exactly one of two is true; numbers are true unless 0.

    Args:
        x1: Tensor, or a Python number beside one.
        x2: Tensor, or a Python number beside one; the shapes broadcast.

    Returns:
        Tensor of the shape to which they broadcast, bools.

    Raises:
        ArgumentError: An operand is no tensor.
        ShapeError: The shapes do not broadcast.
    """
    return _truths("logical_xor", "xor", x1, x2)


def logical_not(x: Any, /) -> Any:
    """Tell where it is not true; numbers are true unless 0.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``, bools.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    return apply("not", truth(x, "logical_not"))


def isnan(x: Any, /) -> Any:
    """Tell which are NaN, of complex numbers in one part at least.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``, bools.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    require_tensor(x, "isnan")
    if x.dtype.is_complex:
        return apply("or", isnan(part_of(x, 0)), isnan(part_of(x, 1)))
    return apply("ne", x, x) if x.dtype.is_float else everywhere(False, x, bool_)


def isinf(x: Any, /) -> Any:
    """Tell which are infinite, of complex numbers in one part at least.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``, bools.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    require_tensor(x, "isinf")
    if x.dtype.is_complex:
        return apply("or", isinf(part_of(x, 0)), isinf(part_of(x, 1)))
    return apply("eq", apply("abs", x), math.inf) if x.dtype.is_float else everywhere(False, x, bool_)


def isfinite(x: Any, /) -> Any:
    """Tell which are neither infinite nor NaN.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``, bools.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    require_tensor(x, "isfinite")
    if x.dtype.is_complex:
        return apply("and", isfinite(part_of(x, 0)), isfinite(part_of(x, 1)))
    return apply("lt", apply("abs", x), math.inf) if x.dtype.is_float else everywhere(True, x, bool_)
