"""Element by element: operations, functions, comparisons, choices and conversions.

Layer: tensor. One record each: the name ``kernels.maps.strided`` knows it by, and its derivative. Invariant: operands
are of one shape, numbers among them being repeated, and of one dtype (the condition of ``where`` apart).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core.arrays import read_as
from loom.core.dtype import DType, bool_, dtype_of, f32, lookup
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.ir.ops import OPS, Accepts
from loom.kernels.functions import FUNCTIONS, function
from loom.kernels.maps.strided import Number, number
from loom.tensor.graph import Kind, Node, Op, made, require_tensor
from loom.tensor.ops.views import BROADCAST

if TYPE_CHECKING:
    from loom.tensor.tensor import Tensor

__all__ = ["MAPS", "apply", "cast", "constant", "coordinate", "numbered", "where"]

Vjp = Callable[[Any, Any], Sequence[Any]]

NUMBER = Op("number", Kind.NUMBER)
COORDINATE = Op("coordinate", Kind.NUMBER)


_LEAST_LARGEST = 65504.0
"""The largest number of f16: no float type makes one up to it infinite."""


def numbered(value: Any, dtype: DType, where: str) -> Number:
    """Return a number of a dtype; DTypeError for none, or one that does not fit (``core.arrays``)."""
    if isinstance(value, np.generic):
        value = value.item()
    fits = isinstance(value, bool) if dtype.is_bool else isinstance(value, (int, float) if dtype.is_float else int)
    if not fits:
        raise DTypeError(where, f"{value!r} does not become {dtype}", expected="a tensor, or a number that fits",
                         got=type(value).__name__, remedy="Use tensor.array, or astype on the tensor")  # fmt: skip
    is_plain = dtype.minimum <= value <= dtype.maximum if dtype.is_integer else abs(value) <= _LEAST_LARGEST
    if not is_plain:
        read_as(value, dtype, where)  # says what is wrong
    return number(value, dtype)


def constant(value: float | int | bool, dtype: DType, like: Tensor, where: str = "tensor") -> Tensor:
    """Return a tensor of no dimension that holds a number; DTypeError for one that does not fit."""
    return type(like)(NUMBER, (), (), dtype, (numbered(value, dtype, where),))


def coordinate(shape: tuple[int, ...], axis: int, dtype: DType, like: Tensor) -> Tensor:
    """Return the tensor of every element's index along an axis."""
    return type(like)(COORDINATE, (), shape, dtype, (axis,))


def _no_gradient(node: Tensor, _g: Tensor) -> list[None]:
    return [None] * len(node.inputs)


def _larger_vjp(node: Tensor, g: Tensor) -> list[Tensor]:
    a, b = node.inputs
    first = (a >= b if node.op.name == "max" else a <= b) | apply("ne", a, a)  # a NaN wins
    return [where(first, g, 0), where(first, 0, g)]


def _pow_vjp(node: Tensor, g: Tensor) -> list[Tensor]:
    a, b = node.inputs[:2]
    less = where(apply("eq", b, 0), b, b - 1)  # so that x**0 has the derivative 0 at 0 as well
    positive = where(apply("eq", a, 0), 1, a)  # 0**b is 0 for all b nearby
    return [g * b * apply("pow", a, less), g * node * apply("log", positive)]


def _atan2_vjp(node: Tensor, g: Tensor) -> list[Tensor]:
    y, x = node.inputs
    square = x * x + y * y
    square = where(apply("eq", square, 0), 1, square)  # at the origin, where there is none, 0
    return [g * x / square, -(g * y) / square]


def _abs_vjp(node: Tensor, g: Tensor) -> list[Tensor]:
    x = node.inputs[0]
    return [where(x > 0, g, where(x < 0, -g, 0))]


def _gelu_vjp(node: Tensor, g: Tensor) -> list[Tensor]:
    x = node.inputs[0]
    density = apply("exp", x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
    return [g * (apply("erfc", x * -math.sqrt(0.5)) * 0.5 + x * density)]


def _gelu_tanh_vjp(node: Tensor, g: Tensor) -> list[Tensor]:
    x = node.inputs[0]
    a, b = math.sqrt(2 / math.pi), 0.044715
    t = apply("tanh", (x + x * x * x * b) * a)
    return [g * ((t + 1) * 0.5 + x * (1 - t * t) * (x * x * (3 * b) + 1) * (0.5 * a))]


def _y1_vjp(node: Tensor, g: Tensor) -> list[Tensor]:
    x = node.inputs[0]
    return [g * (apply("y0", x) - node / x)]


def _j1_vjp(node: Tensor, g: Tensor) -> list[Tensor]:
    x = node.inputs[0]
    is_zero = apply("eq", x, 0)
    return [g * where(is_zero, 0.5, apply("j0", x) - node / where(is_zero, 1, x))]


def _of(derivative: Callable[[Any, Any], Any]) -> Vjp:
    """Return the vjp of a function of one operand, of its derivative by operand and result."""
    return lambda node, g: [g * derivative(node.inputs[0], node)]


_VJPS: dict[str, Vjp] = {
    "add": lambda _node, g: [g, g],
    "sub": lambda _node, g: [g, -g],
    "mul": lambda node, g: [g * node.inputs[1], g * node.inputs[0]],
    "div": lambda node, g: [g / node.inputs[1], -(g / node.inputs[1] * node)],
    "neg": lambda _node, g: [-g],
    "abs": _abs_vjp,
    "min": _larger_vjp,
    "max": _larger_vjp,
    "relu": lambda node, g: [where(node > 0, g, 0), None],
    "sqrt": lambda node, g: [g * 0.5 / node],
    "select": lambda node, g: [None, where(node.inputs[0], g, 0), where(node.inputs[0], 0, g)],
    "exp": _of(lambda _x, y: y),
    "exp2": _of(lambda _x, y: y * math.log(2)),
    "expm1": _of(lambda _x, y: y + 1),
    "log": lambda node, g: [g / node.inputs[0]],
    "log1p": lambda node, g: [g / (node.inputs[0] + 1)],
    "log2": lambda node, g: [g / (node.inputs[0] * math.log(2))],
    "tanh": _of(lambda _x, y: 1 - y * y),
    "sigmoid": _of(lambda _x, y: y * (1 - y)),
    "erf": _of(lambda x, _y: apply("exp", -(x * x)) * (2 / math.sqrt(math.pi))),
    "erfc": _of(lambda x, _y: apply("exp", -(x * x)) * (-2 / math.sqrt(math.pi))),
    "gelu": _gelu_vjp,
    "gelu_tanh": _gelu_tanh_vjp,
    "sin": _of(lambda x, _y: apply("cos", x)),
    "cos": _of(lambda x, _y: -apply("sin", x)),
    "tan": _of(lambda _x, y: y * y + 1),
    "asin": lambda node, g: [g / apply("sqrt", 1 - node.inputs[0] * node.inputs[0])],
    "acos": lambda node, g: [-(g / apply("sqrt", 1 - node.inputs[0] * node.inputs[0]))],
    "atan": lambda node, g: [g / (node.inputs[0] * node.inputs[0] + 1)],
    "sinh": _of(lambda x, _y: apply("cosh", x)),
    "cosh": _of(lambda x, _y: apply("sinh", x)),
    "rsqrt": _of(lambda _x, y: y * y * y * -0.5),
    "cbrt": lambda node, g: [g / (node * node * 3)],
    "pow": _pow_vjp,
    "atan2": _atan2_vjp,
    "j0": _of(lambda x, _y: -apply("j1", x)),
    "j1": _j1_vjp,
    "y0": _of(lambda x, _y: -apply("y1", x)),
    "y1": _y1_vjp,
    **dict.fromkeys(("floor", "ceil", "rint", "trunc"), _no_gradient),
}
"""Derivatives. Of two equal operands of min and max the first has it all; steps have none; abs has 0 at 0."""

_OPERATIONS = [
    name for name, op in OPS.items()
    if op.is_pure and op.accepts not in (Accepts.NONE, Accepts.SPECIAL, Accepts.ANY)
]  # fmt: skip
MAPS: dict[str, Op] = {
    name: Op(name, Kind.MAP, _VJPS.get(name), operation=name) for name in (*_OPERATIONS, "select", *FUNCTIONS)
}
MAPS["relu"] = Op("relu", Kind.MAP, _VJPS["relu"], operation="max")
"""All operations by name. The derivative of relu is known from its result, so that its operand need not be kept."""
_COMPARISONS = frozenset(("eq", "ne", "lt", "le", "gt", "ge"))


def apply(name: str, *operands: Any) -> Tensor:
    """Return an operation of tensors and numbers, broadcast; ShapeError and DTypeError name it."""
    if len(operands) != _arity(name):
        raise ArgumentError(name, "another number of operands", expected=_arity(name), got=len(operands),
                            remedy="Give each operand once")  # fmt: skip
    typed = _typed(name, operands)
    shape = _common_shape(name, typed)
    first = typed[0].dtype
    _check_dtype(name, first)
    result = bool_ if name in _COMPARISONS else first
    return made(MAPS[name], [_spread(t, shape) for t in typed], shape, result)


def where(condition: Tensor, a: Any, b: Any) -> Tensor:
    """Return ``a`` where the condition holds, else ``b``."""
    require_tensor(condition, "where")
    if condition.dtype != bool_:
        raise DTypeError("where", "the condition is no bool", expected="bool", got=condition.dtype,
                         remedy="Compare, for example x != 0")  # fmt: skip
    typed = [condition, *_typed("where", (a, b), like=condition)]
    shape = _common_shape("where", typed)
    return made(MAPS["select"], [_spread(t, shape) for t in typed], shape, typed[1].dtype)


def _cast_vjp(node: Tensor, g: Tensor) -> list[Any]:
    source = node.inputs[0].dtype
    return [cast(g, source) if source.is_float and node.dtype.is_float else None]


CONVERT = Op("convert", Kind.MAP, _cast_vjp, operation="convert")


def cast(x: Tensor, dtype: Any) -> Tensor:
    """Return the tensor in another dtype: floats to integers truncate and saturate, NaN gives 0."""
    require_tensor(x, "astype")
    wanted = dtype_of(dtype, "astype")
    return x if x.dtype == wanted else made(CONVERT, [x], x.shape, wanted)


def _typed(name: str, operands: Sequence[Any], like: Tensor | None = None) -> list[Tensor]:
    """Return operands as tensors of one dtype, which Python numbers take."""
    tensors: list[Tensor] = [o for o in operands if isinstance(o, Node)]  # type: ignore[misc]
    if not tensors and like is None:
        raise DTypeError(name, "no tensor among the operands", expected="at least one tensor",
                         got=", ".join(type(o).__name__ for o in operands), remedy="Use tensor.array")  # fmt: skip
    dtype = tensors[0].dtype if tensors else _python_dtype(operands)
    for t in tensors:
        if t.dtype != dtype:
            raise DTypeError(
                name,
                "operands of different types",
                expected="one dtype",
                got=" and ".join(str(t.dtype) for t in tensors),
                remedy="Convert one with astype",
            )
    maker: Any = tensors[0] if tensors else like
    return [o if isinstance(o, Node) else constant(o, dtype, maker, name) for o in operands]  # type: ignore[misc]


def _python_dtype(operands: Sequence[Any]) -> DType:
    kinds = {type(o) for o in operands}
    return lookup("bool" if kinds == {bool} else "f32" if float in kinds else "i32")


@cache
@cache
def _arity(name: str) -> int:
    if name in FUNCTIONS:
        return function(name).arity
    return 3 if name == "select" else OPS["max" if name == "relu" else name].arity


def _spread(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return an operand repeated to the common shape."""
    return x if x.shape == shape else made(BROADCAST, [x], shape, x.dtype)


def _common_shape(name: str, typed: Sequence[Tensor]) -> tuple[int, ...]:
    shapes = {t.shape for t in typed} - {()}
    if len(shapes) < 2:
        return shapes.pop() if shapes else ()
    try:
        return np.broadcast_shapes(*(t.shape for t in typed))
    except ValueError:
        raise ShapeError(
            name, "the shapes do not broadcast", expected="equal lengths, or 1, along every axis from the last on",
            got=" and ".join(str(t.shape) for t in typed), remedy="Reshape one, or check which axis is which",
        ) from None  # fmt: skip


@cache
def _check_dtype(name: str, dtype: DType) -> None:
    held = f32 if dtype.storage_only else dtype
    if name in FUNCTIONS:
        known = function(name).definitions
        fits, expected = held in known, " or ".join(map(str, known)) + ", f16, bf16"
    else:
        accepts = OPS["max" if name == "relu" else name].accepts
        fits, expected = accepts.allows(held), accepts.value
    if not fits:
        raise DTypeError(name, "unsupported dtype", expected=expected, got=dtype, remedy="Convert with astype")
