"""Derivatives of the operations, backwards: what the gradient of a result makes the gradients of its operands.

Layer: tensor. ``vjp(node, g)`` gives a part for each input of ``node``, of which ``g`` is the gradient; None stands for
nothing, and an operation that is not in ``VJPS`` has no derivative. Derivatives are recorded in operations, so that
they have derivatives again. Invariant: none of them scatters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from loom.core.dtype import u32
from loom.core.errors import ArgumentError
from loom.core.numbers import is_symbolic
from loom.kernels.precisions import FULL
from loom.schedules.axis import rows_along
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.handle.assigning import PUT
from loom.tensor.handle.moving import MOVED, copy_to
from loom.tensor.ops import indexing, joining, ordering, products, reductions, views
from loom.tensor.ops.correlating import COLUMNS, ROWS
from loom.tensor.ops.elementwise import CONVERT, MAPS, NUMBER, apply, cast, constant, coordinate, where
from loom.tensor.ops.fast import FAST_MATMUL, multiply_fast
from loom.tensor.ops.parts import JOIN, PAIRS, PART, join, part_of
from loom.tensor.ops.products import MATMUL, multiply
from loom.tensor.ops.views import broadcast_to, permute, reshape, transpose
from loom.tensor.record.graph import SAME, NodeKind, TensorOp, make
from loom.tensor.record.versions import VALUE
from loom.tensor.record.vjps import VJPS, Vjp, derivative

__all__ = ["is_zero", "vjp_of"]

_ELSEWHERE = {
    reductions.PRODUCT: "loom.tensor.selecting.scanning",
    ordering.SCAN: "loom.tensor.selecting.scanning",
    ordering.SORT: "loom.tensor.selecting.ordering",
}
"""Operations whose derivative needs functions that stand above, with the modules that give them theirs."""


def vjp_of(op: TensorOp) -> Vjp | None:
    """Return the derivative of an operation, None if it has none."""
    if op not in VJPS and op in _ELSEWHERE:
        import_module(_ELSEWHERE[op])
    return VJPS.get(op)


# element by element. Of two equal operands of min and max the first has it all; steps have none; abs has 0 at 0


def _chain(slope: Callable[[Any, Any], Any]) -> Vjp:
    """Return the derivative of a function of one operand, of its slope by operand and result."""
    return lambda node, g: [g * slope(node.inputs[0], node)]


_SQRT_PI, _TWO_PI = math.sqrt(math.pi), math.sqrt(2 * math.pi)
_SLOPES: dict[str, Callable[[Any, Any], Any]] = {
    "exp": lambda _x, y: y,
    "exp2": lambda _x, y: y * math.log(2),
    "expm1": lambda _x, y: y + 1,
    "tanh": lambda _x, y: 1 - y * y,
    "sigmoid": lambda _x, y: y * (1 - y),
    "erf": lambda x, _y: apply("exp", -(x * x)) * (2 / _SQRT_PI),
    "erfc": lambda x, _y: apply("exp", -(x * x)) * (-2 / _SQRT_PI),
    "sin": lambda x, _y: apply("cos", x),
    "cos": lambda x, _y: -apply("sin", x),
    "tan": lambda _x, y: y * y + 1,
    "sinh": lambda x, _y: apply("cosh", x),
    "cosh": lambda x, _y: apply("sinh", x),
    "rsqrt": lambda _x, y: y * y * y * -0.5,
    "asinh": lambda x, _y: 1 / apply("hypot", x, 1),
    "acosh": lambda x, _y: apply("rsqrt", x - 1) * apply("rsqrt", x + 1),
    "atanh": lambda x, _y: 1 / ((1 - x) * (x + 1)),
    "j0": lambda x, _y: -apply("j1", x),
    "y0": lambda x, _y: -apply("y1", x),
    "y1": lambda x, y: apply("y0", x) - y / x,
    "lgamma": lambda x, _y: _special("digamma")(x),
    "gamma": lambda x, y: y * _special("digamma")(x),
}
"""Functions of one operand by their slopes, which the gradient is multiplied by."""


def _special(name: str) -> Any:
    """Return a function that is made of tensors itself."""
    return getattr(import_module("loom.tensor.special"), name)


_BY_NAME: dict[str, Vjp] = {
    "add": lambda _node, g: [g, g],
    "sub": lambda _node, g: [g, -g],
    "mul": lambda node, g: [g * node.inputs[1], g * node.inputs[0]],
    "div": lambda node, g: [g / node.inputs[1], -(g / node.inputs[1] * node)],
    "neg": lambda _node, g: [-g],
    "relu": lambda node, g: [where(node > 0, g, 0), None],
    "sqrt": lambda node, g: [g * 0.5 / node],
    "select": lambda node, g: [None, where(node.inputs[0], g, 0), where(node.inputs[0], 0, g)],
    "log": lambda node, g: [g / node.inputs[0]],
    "log1p": lambda node, g: [g / (node.inputs[0] + 1)],
    "log2": lambda node, g: [g / (node.inputs[0] * math.log(2))],
    "log10": lambda node, g: [g / (node.inputs[0] * math.log(10))],
    "asin": lambda node, g: [g / apply("sqrt", 1 - node.inputs[0] * node.inputs[0])],
    "acos": lambda node, g: [-(g / apply("sqrt", 1 - node.inputs[0] * node.inputs[0]))],
    "atan": lambda node, g: [g / (node.inputs[0] * node.inputs[0] + 1)],
    "cbrt": lambda node, g: [g / (node * node * 3)],
    **{name: _chain(slope) for name, slope in _SLOPES.items()},
    **dict.fromkeys(("floor", "ceil", "rint", "trunc"), lambda node, _g: [None] * len(node.inputs)),
}
VJPS.update((MAPS[name], vjp) for name, vjp in _BY_NAME.items())


@derivative(MAPS["min"], MAPS["max"])
def _larger(node: Tensor, g: Tensor) -> list[Tensor]:
    a, b = node.inputs
    first = (a >= b if node.op.name == "max" else a <= b) | apply("ne", a, a)  # a NaN wins
    return [where(first, g, 0), where(first, 0, g)]


@derivative(MAPS["pow"])
def _pow(node: Tensor, g: Tensor) -> list[Tensor]:
    a, b = node.inputs[:2]
    less = where(apply("eq", b, 0), b, b - 1)  # so that x**0 has the derivative 0 at 0 as well
    positive = where(apply("eq", a, 0), 1, a)  # 0**b is 0 for all b nearby
    return [g * b * apply("pow", a, less), g * node * apply("log", positive)]


@derivative(MAPS["atan2"])
def _atan2(node: Tensor, g: Tensor) -> list[Tensor]:
    y, x = node.inputs
    square = x * x + y * y
    square = where(apply("eq", square, 0), 1, square)  # at the origin, where there is none, 0
    return [g * x / square, -(g * y) / square]


@derivative(MAPS["hypot"])
def _hypot(node: Tensor, g: Tensor) -> list[Tensor]:
    size = where(node > 0, node, 1)  # at the origin, where there is none, 0
    return [g * (x / size) for x in node.inputs]


@derivative(MAPS["fmod"])
def _fmod(node: Tensor, g: Tensor) -> list[Tensor]:
    x, y = node.inputs
    return [g, -(g * apply("rint", (x - node) / y))]


@derivative(MAPS["copysign"])
def _copysign(node: Tensor, g: Tensor) -> list[Any]:
    x, y = node.inputs
    return [g * apply("copysign", 1.0, x) * apply("copysign", 1.0, y), None]


@derivative(MAPS["abs"])
def _abs(node: Tensor, g: Tensor) -> list[Tensor]:
    x = node.inputs[0]
    return [where(x > 0, g, where(x < 0, -g, 0))]


@derivative(MAPS["gelu"])
def _gelu(node: Tensor, g: Tensor) -> list[Tensor]:
    x = node.inputs[0]
    density = apply("exp", x * x * -0.5) * (1 / _TWO_PI)
    return [g * (apply("erfc", x * -math.sqrt(0.5)) * 0.5 + x * density)]


@derivative(MAPS["gelu_tanh"])
def _gelu_tanh(node: Tensor, g: Tensor) -> list[Tensor]:
    x = node.inputs[0]
    a, b = math.sqrt(2 / math.pi), 0.044715
    t = apply("tanh", (x + x * x * x * b) * a)
    return [g * ((t + 1) * 0.5 + x * (1 - t * t) * (x * x * (3 * b) + 1) * (0.5 * a))]


@derivative(MAPS["j1"])
def _j1(node: Tensor, g: Tensor) -> list[Tensor]:
    x = node.inputs[0]
    is_zero = apply("eq", x, 0)
    return [g * where(is_zero, 0.5, apply("j0", x) - node / where(is_zero, 1, x))]


@derivative(CONVERT)
def _convert(node: Tensor, g: Tensor) -> list[Any]:
    source = node.inputs[0].dtype
    return [cast(g, source) if source.is_float and node.dtype.is_float else None]


# views

VJPS.update({
    VALUE: lambda _node, g: [g],
    MOVED: lambda node, g: [g if node.inputs[0].device is g.device else copy_to(g, node.inputs[0].home)],
    SAME: lambda _node, g: [g],
    views.DETACH: lambda _node, _g: [None],
    views.ROUTE: lambda node, g: [*node.attributes[0](node, g), None],
    views.RESHAPE: lambda node, g: [reshape(g, node.inputs[0].shape)],
    views.PERMUTE: lambda node, g: [permute(g, np.argsort(node.attributes[0]).tolist())],
    views.REVERSE: lambda node, g: [views.reverse(g, node.attributes[0])],
    views.SLICE: lambda node, g: [joining.place(g, node.inputs[0].shape, *node.attributes)],
})  # fmt: skip


UNBROADCAST = TensorOp("unbroadcast", NodeKind.KERNEL)
"""The sum over what a broadcast repeats, in a template: itself where nothing is repeated, else as recorded below."""


@derivative(views.BROADCAST)
def _broadcast(node: Tensor, g: Tensor) -> list[Tensor]:
    x = node.inputs[0]
    if is_symbolic(g.shape):  # of a template: sizes decide later whether anything was repeated
        return [make(UNBROADCAST, [g], x.shape, g.dtype)]
    new = g.ndim - x.ndim
    axes = [*range(new), *(new + a for a, n in enumerate(x.shape) if n == 1 and g.shape[new + a] != 1)]
    return [reshape(reductions.sum_of(g, tuple(axes)), x.shape)]


@derivative(views.WINDOWS)
def _windows(node: Tensor, g: Tensor) -> list[Tensor]:
    """Add the gradients of every place in the window, the first place first, each where its element was."""
    axes, sizes, steps, dilations = node.attributes
    x = node.inputs[0]
    if steps == sizes and math.prod(sizes) > 1 and max(dilations) == 1:
        return [_side_by_side(g, x, axes, sizes)]
    total: Any = None
    for at in np.ndindex(*sizes):
        part = views.slice_by(g, (..., *(int(p) for p in at)))
        starts, strides = [0] * x.ndim, [1] * x.ndim
        for a, p, step, gap in zip(axes, at, steps, dilations, strict=True):
            starts[a], strides[a] = int(p) * gap, step
        part = joining.place(part, x.shape, starts, strides)
        total = part if total is None else total + part
    return [total]


def _side_by_side(g: Tensor, x: Tensor, axes: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """Return the same for windows that do not meet: each element has one place, and + 0 of the others."""
    inner = dict(zip(axes, range(x.ndim, g.ndim), strict=True))
    order = [axis for a in range(x.ndim) for axis in ((a, inner[a]) if a in inner else (a,))]
    repeats = dict(zip(axes, sizes, strict=True))
    covered = [n * repeats.get(a, 1) for a, n in enumerate(g.shape[: x.ndim])]
    found = reshape(permute(g, order) + 0, covered)
    return joining.pad(found, [(0, n - own) for n, own in zip(x.shape, covered, strict=True)])


# complex numbers: the gradient is that by the real part plus i times that by the imaginary part


def is_zero(x: Any) -> bool:
    """Tell whether a tensor is 0 everywhere by its making."""
    number = x.inputs[0] if x.op is views.BROADCAST else x
    return number.op is NUMBER and number.attributes[0].bits == 0


@derivative(JOIN)
def _join_parts(_node: Tensor, g: Tensor) -> list[Tensor]:
    return [part_of(g, 0), part_of(g, 1)]


@derivative(PART)
def _part(node: Tensor, g: Tensor) -> list[Tensor]:
    none = broadcast_to(constant(0.0, g.dtype, g), g.shape)
    return [join(g, none) if node.attributes[0] == 0 else join(none, g)]


@derivative(PAIRS)
def _pairs(_node: Tensor, g: Tensor) -> list[Tensor]:
    return [join(g[..., 0], g[..., 1])]


# by kernels of their own


@derivative(PUT)
def _put(node: Any, g: Any) -> list[Any]:
    starts, steps = node.attributes
    value = node.inputs[1]
    nothing = broadcast_to(constant(0, value.dtype, value), value.shape)
    return [make(PUT, [g, nothing], node.shape, node.dtype, node.attributes),
            views.take_slices(g, starts, steps, value.shape)]  # fmt: skip


@derivative(joining.PLACE)
def _place(node: Tensor, g: Tensor) -> list[Tensor]:
    starts, steps, _ = node.attributes
    return [views.take_slices(g, starts, steps, node.inputs[0].shape)]


@derivative(joining.CONCAT)
def _concat(node: Tensor, g: Tensor) -> list[Tensor]:
    (axis,) = node.attributes
    return joining.split(g, [x.shape[axis] for x in node.inputs], axis)


@derivative(reductions.SUM)
def _sum(node: Tensor, g: Tensor) -> list[Any]:
    x = node.inputs[0]
    return [cast(broadcast_to(g, x.shape), x.dtype) if x.dtype.is_float else None]


@derivative(*reductions.EXTREME.values())
def _extreme(node: Tensor, g: Tensor) -> list[Tensor]:
    """Give it to the first of the elements that are extreme."""
    x, (first, last, folding) = node.inputs[0], node.attributes
    rows = rows_along(x.shape, first, last)
    flat = reshape(x, (rows.outer, rows.n, rows.inner))
    at = reductions.find_extreme(flat, 1, largest=folding.name == "max")
    here = apply("eq", coordinate(flat.shape, 1, u32, x), broadcast_to(at, flat.shape))
    g = broadcast_to(reshape(g, (rows.outer, 1, rows.inner)), flat.shape)
    return [reshape(where(here, g, 0), x.shape)]


@derivative(FAST_MATMUL)
def _fast_matmul(node: Any, g: Any) -> list[Any]:
    a, b = node.inputs
    g = cast(g, a.dtype)
    return [
        _sum_repeats(multiply_fast(g, transpose(b), a.dtype), a.shape),
        _sum_repeats(multiply_fast(transpose(a), g, a.dtype), b.shape),
    ]


@derivative(MATMUL)
def _matmul(node: Tensor, g: Tensor) -> list[Any]:
    a, b = node.inputs
    if not a.dtype.is_float:
        return [None, None]
    (precision,) = node.attributes
    return [
        _sum_repeats(multiply(g, transpose(b), precision), a.shape),
        _sum_repeats(multiply(transpose(a), g, precision), b.shape),
    ]


def _sum_repeats(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return ``x`` summed over batch axes that ``shape`` repeats."""
    new = x.ndim - len(shape)
    axes = [*range(new), *(new + a for a, n in enumerate(shape[:-2]) if n == 1 and x.shape[new + a] != 1)]
    return reshape(reductions.sum_of(x, tuple(axes)), shape) if axes else x


@derivative(ROWS)
def _rows(node: Tensor, g: Tensor) -> list[Tensor]:
    rows, weight = node.inputs
    flat, spread = reshape(rows, (-1, weight.shape[0])), reshape(g, (-1, weight.shape[1]))
    _, precision = node.attributes
    by_rows = products.matmul(spread, transpose(weight), precision=precision or FULL)
    return [reshape(by_rows, rows.shape), products.matmul(transpose(flat), spread, precision=precision or FULL)]


@derivative(COLUMNS)
def _columns(node: Tensor, g: Tensor) -> list[Tensor]:
    left, columns = node.inputs
    axes, precision, transposed = node.attributes
    flat, spread = reshape(columns, (math.prod(columns.shape[:axes]), -1)), reshape(g, (left.shape[0], -1))
    told: dict[str, Any] = {"precision": precision or FULL}
    by_left = products.matmul(spread, flat, transpose_b=not transposed, **told)
    pair = (spread, left) if transposed else (left, spread)
    return [by_left, reshape(products.matmul(*pair, transpose_a=True, **told), columns.shape)]


@derivative(indexing.TAKE)
def _take(node: Tensor, g: Tensor) -> list[Any]:
    (x, at), (axis, shared) = node.inputs, node.attributes
    return [indexing.fold_by(g, at, axis, x.shape[axis], shared=shared), None]


@derivative(indexing.FOLD)
def _fold(node: Tensor, g: Tensor) -> list[Any]:
    axis, shared, operation = node.attributes
    if operation != "sum":  # the first derivative of others is recorded beside them
        raise ArgumentError("tensor.grad", f"the gradient of a {operation} by index has no derivative",
                            expected="a first derivative of it", got="a second one",
                            remedy="Write it as a sum, of logarithms for example, or use tensor.detach")  # fmt: skip
    return [cast(indexing.pick(g, node.inputs[1], axis, shared=shared), node.inputs[0].dtype), None]
