"""Functions of complex tensors: their parts, conjugates and angles, joining, pairs for kernels, signs.

Layer: tensor. They take real tensors too, as the array API standard asks. Invariant: parts are views, and what is made
of parts is differentiated through them.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32
from loom.core.errors import DTypeError, ShapeError
from loom.core.promotion import as_float, promote
from loom.tensor.ops.elementwise import apply, cast, common_shape, constant, where
from loom.tensor.ops.parts import as_pairs, join, part_of
from loom.tensor.ops.views import broadcast_to, slice_by
from loom.tensor.record.graph import Node, NodeT, require_tensor

__all__ = ["angle", "complex", "conj", "imag", "real", "sign_of", "view_as_complex", "view_as_real"]


def real(x: NodeT) -> NodeT:
    """Return the real parts, f32 of c64 and f64 of c128, of any shape; a real tensor as it is.

    Args:
        x: Tensor of numbers of any shape.

    Returns:
        Tensor of the shape of ``x``: bools, integers and floats keep their dtype; complex numbers give f32 of c64, f64
            of c128.

    Raises:
        ArgumentError: An operand is no tensor.

    >>> from loom import tensor
    >>> tensor.real(tensor.array([1 + 2j, 3])).tolist()
    [1.0, 3.0]
    """
    require_tensor(x, "real")
    return part_of(x, 0) if x.dtype.is_complex else x


def imag(x: NodeT) -> NodeT:
    """Return the imaginary parts, f32 of c64 and f64 of c128, of any shape; zeros of a real tensor.

    Args:
        x: Tensor of numbers of any shape.

    Returns:
        Tensor of the shape of ``x``: bools, integers and floats keep their dtype; complex numbers give f32 of c64, f64
            of c128.

    Raises:
        ArgumentError: An operand is no tensor.

    >>> from loom import tensor
    >>> tensor.imag(tensor.array([1 + 2j, 3])).tolist()
    [2.0, 0.0]
    """
    require_tensor(x, "imag")
    return part_of(x, 1) if x.dtype.is_complex else broadcast_to(_number(0, x), x.shape)


def _number(value: int, like: NodeT) -> NodeT:
    return constant(bool(value) if like.dtype.is_bool else value, like.dtype, like)


def conj(x: NodeT) -> NodeT:
    """Return the conjugates, the imaginary parts negated; a real tensor as it is.

    Args:
        x: Tensor of numbers of any shape.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.

    >>> from loom import tensor
    >>> tensor.conj(tensor.array([1 + 2j])).tolist()
    [(1-2j)]
    """
    require_tensor(x, "conj")
    return join(part_of(x, 0), apply("neg", part_of(x, 1))) if x.dtype.is_complex else x


def angle(x: NodeT) -> NodeT:
    """Return the angles in radians from -pi to pi, ``atan2(im, re)``, of any shape; of real numbers 0 or pi.

    Args:
        x: Tensor of numbers of any shape.

    Returns:
        Tensor of the shape of ``x``: floats keep their dtype; bools and integers give f32; complex numbers give f32 of
            c64, f64 of c128.

    Raises:
        ArgumentError: An operand is no tensor.

    >>> from loom import tensor
    >>> tensor.angle(tensor.array([1j, -1])).tolist()
    [1.5707963705062866, 3.1415927410125732]
    """
    require_tensor(x, "angle")
    if not x.dtype.is_complex:
        x = cast(x, as_float(x.dtype))
        return apply("atan2", broadcast_to(constant(0, x.dtype, x), x.shape), x)
    return apply("atan2", part_of(x, 1), part_of(x, 0))


def complex(re: NodeT, im: Any) -> NodeT:  # noqa: A001 - torch's name
    """Return the complex tensor of real parts and imaginary parts, broadcast: c64 of f32, c128 of f64.

    Other real types meet in f32, or f64 with f64. ``im`` may be a number. Raises DTypeError for complex parts.

    Args:
        re: Tensor of f32 or f64.
        im: Tensor or number, broadcast.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Parts are real.

    >>> from loom import tensor
    >>> tensor.complex(tensor.array([1.0, 2.0]), 0.5).tolist()
    [(1+0.5j), (2+0.5j)]
    """
    require_tensor(re, "complex")
    if not isinstance(im, Node):
        im = constant(im, promote("complex", [as_float(re.dtype)], [im]), re, "complex")
    dtype = as_float(promote("complex", [re.dtype, im.dtype]))
    if dtype.is_complex:
        raise DTypeError("complex", "parts are real", expected="two real tensors", got=f"{re.dtype} and {im.dtype}",
                         remedy="Add them: a + b * 1j")  # fmt: skip
    dtype = f32 if dtype.bits < 32 else dtype
    shape = common_shape("complex", [re, im])
    both: list[Any] = [broadcast_to(cast(x, dtype), shape) for x in (re, im)]
    return join(*both)


def view_as_real(x: NodeT) -> NodeT:
    """Return complex numbers (..) as pairs (re, im) of f32 or f64 (.., 2), which kernels take; nothing is copied.

    Args:
        x: Tensor of c64 or c128 of any shape.

    Returns:
        Tensor of shape (.., 2): complex numbers give f32 of c64, f64 of c128.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools, integers and floats are refused; real numbers.

    >>> from loom import tensor
    >>> tensor.view_as_real(tensor.array([1 + 2j])).tolist()
    [[1.0, 2.0]]
    """
    require_tensor(x, "view_as_real")
    if not x.dtype.is_complex:
        raise DTypeError("view_as_real", "real numbers", expected="c64 or c128", got=x.dtype,
                         remedy="Use the tensor as it is")  # fmt: skip
    return as_pairs(x)


def view_as_complex(x: NodeT) -> NodeT:
    """Return pairs (re, im) of f32 or f64 (.., 2) as complex numbers (..).

    Args:
        x: Tensor of f32 or f64 (.., 2).

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools, integers and complex numbers are refused; the dtype is not supported.
        ShapeError: Not pairs.

    >>> from loom import tensor
    >>> tensor.view_as_complex(tensor.array([[1.0, 2.0]])).tolist()
    [(1+2j)]
    """
    where_ = "view_as_complex"
    require_tensor(x, where_)
    if x.dtype.name not in ("f32", "f64"):
        raise DTypeError(where_, "unsupported dtype", expected="f32 or f64", got=x.dtype, remedy="Convert with astype")
    if not x.shape or x.shape[-1] != 2:
        raise ShapeError(where_, "not pairs", expected="a last axis of 2", got=x.shape,
                         remedy="Stack the parts along a last axis, or use tensor.complex")  # fmt: skip
    return join(slice_by(x, (..., 0)), slice_by(x, (..., 1)))


def sign_of(x: NodeT) -> NodeT:
    """Return x / |x| of complex numbers, 0 of 0, NaN of infinite ones; the gradient at 0 is 0."""
    size: Any = apply("abs", x)
    none = apply("eq", size, 0)
    return where(none, 0, x / where(none, 1, size))
