"""What operations and functions by name mean for complex numbers, in operations of their parts.

Layer: tensor. A table of rules: a rule takes operands as parts, of which real operands have no imaginary one (a real
factor multiplies both parts, as in C99), and gives parts or a real tensor. Products are (ac - bd, ad + bc), each
operation rounded; quotients and functions are in ``kernels.complexes``. Invariant: what is not in the
table is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from loom.core.dtype import DType
from loom.core.errors import DTypeError
from loom.core.promotion import promote
from loom.kernels.complexes import functions_of
from loom.tensor.ops import elementwise
from loom.tensor.ops.elementwise import apply, cast, constant, split_number, where
from loom.tensor.ops.parts import join, part_of
from loom.tensor.ops.views import broadcast_to, routed
from loom.tensor.record.graph import Node, NodeKind, TensorOp, make, require_tensor

__all__ = ["MOST_FACTORS", "RULES", "Parts", "analytic", "apply_complex", "kernel_map", "power", "rule"]


class Parts(NamedTuple):
    """Real and imaginary parts, of one shape; ``im`` is None of a real operand."""

    re: Any
    im: Any

    def join(self) -> Any:
        """Return them as one complex tensor."""
        return join(self.re, self.im if self.im is not None else _zeros(self.re))


Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}
"""What each operation by name does with ``Parts``."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Make the function below the rule of operations."""

    def register(fn: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, fn))
        return fn

    return register


def _zeros(like: Any) -> Any:
    return broadcast_to(constant(0.0, like.dtype, like), like.shape)


def apply_complex(name: str, operands: Sequence[Any]) -> Any:
    """Return an operation of operands of which at least one is complex, broadcast; DTypeError if it is not for them."""
    found = RULES.get(name)
    if found is None:
        is_order = name in ("lt", "le", "gt", "ge", "max", "min")
        raise DTypeError(name, "complex numbers have no order" if is_order else "not for complex numbers",
                         expected="real numbers", got="complex ones",
                         remedy="Compare abs(x), or tensor.real(x)" if is_order
                         else "Use it on tensor.real(x) and tensor.imag(x)")  # fmt: skip
    condition = operands[:1] if name == "where" else ()
    values = operands[len(condition) :]
    tensors = [o for o in values if isinstance(o, Node)]
    dtype = promote(name, [t.dtype for t in tensors], [o for o in values if not isinstance(o, Node)])
    shape = elementwise.common_shape(name, [o for o in operands if isinstance(o, Node)])
    like = next(o for o in operands if isinstance(o, Node))
    given = [broadcast_to(c, shape) for c in condition] + [_parts(o, dtype, shape, like, name) for o in values]
    result = found(*given)
    return result.join() if isinstance(result, Parts) else result


def _parts(operand: Any, dtype: DType, shape: tuple[int, ...], like: Any, name: str) -> Parts:
    """Return the parts of an operand, repeated to the common shape; a number has no shape until it meets a tensor."""
    if not isinstance(operand, Node):
        re, im = (constant(half, dtype.part, like, name) for half in split_number(operand, name))
        is_complex = isinstance(operand, (complex, np.complexfloating))
        return Parts(broadcast_to(re, shape), broadcast_to(im, shape) if is_complex else None)
    operand = broadcast_to(operand, shape)
    if not operand.dtype.is_complex:
        return Parts(cast(operand, dtype.part), None)
    return Parts(cast(part_of(operand, 0), dtype.part), cast(part_of(operand, 1), dtype.part))


def cast_complex(x: Any, wanted: DType) -> Any:
    """Return ``x`` in another type, of which one is complex; DTypeError for a real type but bool.

    A real number gets the imaginary part +0. A complex number is True if one of its parts is not 0.
    """
    if wanted.is_complex:
        if x.dtype.is_complex:
            return join(cast(part_of(x, 0), wanted.part), cast(part_of(x, 1), wanted.part))
        return Parts(cast(x, wanted.part), None).join()
    if wanted.is_bool:
        return apply("ne", part_of(x, 0), 0) | apply("ne", part_of(x, 1), 0)
    raise DTypeError("astype", "complex numbers do not become real ones", expected="a complex type, or bool",
                     got=wanted, remedy="Take tensor.real(x), or abs(x)")  # fmt: skip


# by kernels' functions


@cache
def _op(name: str, dtype: DType) -> TensorOp:
    return TensorOp(name, NodeKind.MAP, operation=functions_of(dtype)[name])


def kernel_map(name: str, *operands: Any) -> Any:
    """Return a function of ``kernels.complexes`` of real operands of one shape and dtype, element by element."""
    first = operands[0]
    return make(_op(name, first.dtype), operands, first.shape, first.dtype)


# arithmetic


@rule("add")
def _add(a: Parts, b: Parts) -> Parts:
    if a.im is None or b.im is None:
        return Parts(a.re + b.re, b.im if a.im is None else a.im)
    return Parts(a.re + b.re, a.im + b.im)


@rule("sub")
def _sub(a: Parts, b: Parts) -> Parts:
    if a.im is None or b.im is None:
        return Parts(a.re - b.re, apply("neg", b.im) if a.im is None else a.im)
    return Parts(a.re - b.re, a.im - b.im)


@rule("mul")
def _mul(a: Parts, b: Parts) -> Parts:
    if a.im is None:
        return Parts(a.re * b.re, a.re * b.im)
    if b.im is None:
        return Parts(a.re * b.re, a.im * b.re)
    return Parts(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re)


@rule("div")
def _div(a: Parts, b: Parts) -> Any:
    if b.im is None:
        return Parts(a.re / b.re, a.im / b.re)
    four = (a.re, a.im if a.im is not None else _zeros(a.re), b.re, b.im)
    found = join(kernel_map("quotient_re", *four), kernel_map("quotient_im", *four))

    def vjp(node: Any, g: Any) -> list[Any]:
        by = join(node.inputs[2], -node.inputs[3])
        top = g / by
        bottom = -(top * _conj(node))
        return [part_of(top, 0), part_of(top, 1), part_of(bottom, 0), part_of(bottom, 1)]

    return routed(found, four, vjp)


@rule("neg")
def _neg(a: Parts) -> Parts:
    return Parts(-a.re, -a.im)


@rule("rint")
def _rint(a: Parts) -> Parts:
    return Parts(apply("rint", a.re), apply("rint", a.im))


@rule("where")
def _where(condition: Any, a: Parts, b: Parts) -> Parts:
    parts = [(x.im if x.im is not None else _zeros(x.re)) for x in (a, b)]
    return Parts(where(condition, a.re, b.re), where(condition, *parts))


@rule("eq")
def _eq(a: Parts, b: Parts) -> Any:
    same = apply("eq", a.re, b.re)
    rest = [x.im for x in (a, b) if x.im is not None]
    return same & apply("eq", rest[0], rest[1] if len(rest) > 1 else 0)


@rule("ne")
def _ne(a: Parts, b: Parts) -> Any:
    other = apply("ne", a.re, b.re)
    rest = [x.im for x in (a, b) if x.im is not None]
    return other | apply("ne", rest[0], rest[1] if len(rest) > 1 else 0)


@rule("abs")
def _abs(a: Parts) -> Any:
    return apply("hypot", a.re, a.im)


def _conj(z: Any) -> Any:
    return join(part_of(z, 0), -part_of(z, 1)) if z.dtype.is_complex else z


# functions of one variable, and their derivatives


def _swap(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    return pair[1], pair[0]


def _both(name: str, a: Any, b: Any) -> tuple[Any, Any]:
    return kernel_map(f"{name}_re", a, b), kernel_map(f"{name}_im", a, b)


def _log(a: Any, b: Any) -> tuple[Any, Any]:
    return kernel_map("log_re", a, b), apply("atan2", b, a)


def _acosh(a: Any, b: Any) -> tuple[Any, Any]:
    """arccosh z = i arccos z on the upper side, -i arccos z on the lower."""
    x, y = _both("acos", a, b)
    return abs(y), kernel_map("signed", x, b)


_VALUES: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "exp": lambda a, b: _both("exp", a, b),
    "expm1": lambda a, b: _both("expm1", a, b),
    "log": _log,
    "log1p": lambda a, b: _both("log1p", a, b),
    "log2": lambda a, b: tuple(x * (1 / math.log(2)) for x in _log(a, b)),  # type: ignore[return-value]
    "log10": lambda a, b: tuple(x * (1 / math.log(10)) for x in _log(a, b)),  # type: ignore[return-value]
    "sqrt": lambda a, b: _both("root", a, b),
    "sinh": lambda a, b: _both("sinh", a, b),
    "cosh": lambda a, b: _both("cosh", a, b),
    "tanh": lambda a, b: _both("tanh", a, b),
    "sin": lambda a, b: _swap(_both("sinh", b, a)),
    "cos": lambda a, b: _both("cosh", -b, a),
    "tan": lambda a, b: _swap(_both("tanh", b, a)),
    "asinh": lambda a, b: _both("asinh", a, b),
    "asin": lambda a, b: _swap(_both("asinh", b, a)),
    "acos": lambda a, b: _both("acos", a, b),
    "acosh": _acosh,
    "atanh": lambda a, b: _both("atanh", a, b),
    "atan": lambda a, b: _swap(_both("atanh", b, a)),
}
"""Functions of z by name: their parts of the parts of z. Of i z = -b + i a those of a circular function are odd or even
in b, so that only the cosine sees the sign."""

_SLOPES: dict[str, Callable[[Any, Any], Any]] = {
    "exp": lambda _z, y: y,
    "expm1": lambda _z, y: y + 1,
    "log": lambda z, _y: 1 / z,
    "log1p": lambda z, _y: 1 / (z + 1),
    "log2": lambda z, _y: (1 / math.log(2)) / z,
    "log10": lambda z, _y: (1 / math.log(10)) / z,
    "sqrt": lambda _z, y: 0.5 / y,
    "sinh": lambda z, _y: analytic("cosh", z),
    "cosh": lambda z, _y: analytic("sinh", z),
    "tanh": lambda _z, y: 1 - y * y,
    "sin": lambda z, _y: analytic("cos", z),
    "cos": lambda z, _y: -analytic("sin", z),
    "tan": lambda _z, y: y * y + 1,
    "asinh": lambda z, _y: 1 / analytic("sqrt", z * z + 1),
    "asin": lambda z, _y: 1 / analytic("sqrt", 1 - z * z),
    "acos": lambda z, _y: -1 / analytic("sqrt", 1 - z * z),
    "acosh": lambda z, _y: 1 / (analytic("sqrt", z - 1) * analytic("sqrt", z + 1)),
    "atanh": lambda z, _y: 1 / (1 - z * z),
    "atan": lambda z, _y: 1 / (z * z + 1),
}


def analytic(name: str, z: Any) -> Any:
    """Return a function of one complex variable by name; its gradient is g times the conjugate of its derivative."""
    require_tensor(z, name)
    found = join(*_VALUES[name](part_of(z, 0), part_of(z, 1)))
    slope = _SLOPES[name]

    def vjp(node: Any, g: Any) -> list[Any]:
        return [g * _conj(slope(node.inputs[0], node))]

    return routed(found, [z], vjp)


def _rule_of(name: str) -> Rule:
    def apply(a: Parts) -> Any:
        return analytic(name, a.join())

    return apply


RULES.update({name: _rule_of(name) for name in _VALUES})


@rule("rsqrt")
def _rsqrt(a: Parts) -> Any:
    return 1 / analytic("sqrt", a.join())


@rule("sigmoid")
def _sigmoid(a: Parts) -> Any:
    return 1 / (analytic("exp", -a.join()) + 1)


@rule("pow")
def _pow(a: Parts, b: Parts) -> Any:
    """e^(b log a); 0 to the power 0 is 1, to one with a positive real part 0, to another NaN."""
    z, w = a.join(), b.join()
    none = apply("eq", z, 0)
    found = analytic("exp", w * analytic("log", where(none, 1, z)))
    at_zero = where(apply("eq", w, 0), 1.0, where(part_of(w, 0) > 0, 0.0, math.nan))
    return where(none, at_zero, found)


MOST_FACTORS = 64
"""Whole powers up to it are products."""


def power(z: Any, n: int) -> Any:
    """Return z to a whole power by repeated squaring, the lowest bit first; of a negative one the reciprocal."""
    found, square, left = None, z, abs(n)
    while left:
        if left & 1:
            found = square if found is None else found * square
        left >>= 1
        square = square * square if left else square
    if found is None:
        return broadcast_to(constant(1, z.dtype, z), z.shape)
    return found if n > 0 else 1 / found
