"""Python's operators for tensors, with numbers, lists and arrays of numpy as the other operand, on either side.

Layer: tensor. An operator is an operation of ``ops``, or a function of ``loom.tensor`` by its name in the array API.
Invariant: ``a + b`` is the same tensor whichever side the tensor stands on, and never one of the operands.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

from loom.core.errors import DTypeError, ShapeError
from loom.core.given import is_array, is_list
from loom.core.late import late
from loom.core.promotion import is_number
from loom.core.tracebacks import brief_class
from loom.tensor.ops import elementwise as maps
from loom.tensor.record.graph import Node, same

__all__ = ["Operators", "as_operand", "function", "in_place"]

_UFUNCS = {
    "absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan",
    "arctan2": "atan2", "arctanh": "atanh", "invert": "bitwise_invert", "left_shift": "bitwise_left_shift",
    "power": "pow", "right_shift": "bitwise_right_shift", "rint": "round", "true_divide": "divide",
}  # fmt: skip
"""Names that numpy has for functions that the array API calls otherwise."""


def function(name: str) -> Callable[..., Any]:
    """Return a function of ``loom.tensor``."""
    return getattr(_door(), name)


@cache
def _door() -> Any:
    return import_module("loom.tensor")


def as_operand(value: Any, like: Any) -> Any:
    """Return what stands beside a tensor: a tensor or number as it is, a list or array as a tensor on its device."""
    if isinstance(value, Node) or is_number(value):
        return value
    if is_array(value) or is_list(value) or hasattr(value, "__dlpack__"):
        return function("array")(value, on=like.device)
    return value


def _binary(name: str) -> tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]:
    """Return an operator and its reflection, of an operation by name."""
    apply = maps.apply

    def forward(self: Any, other: Any) -> Any:
        return apply(name, self, other if isinstance(other, Node) else as_operand(other, self))

    def reflect(self: Any, other: Any) -> Any:
        return apply(name, as_operand(other, self), self)

    return forward, reflect


def _by_function(name: str) -> tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]:
    """Return the same of a function of ``loom.tensor``."""

    def forward(self: Any, other: Any) -> Any:
        return function(name)(self, as_operand(other, self))

    def reflect(self: Any, other: Any) -> Any:
        return function(name)(as_operand(other, self), self)

    return forward, reflect


def _comparison(name: str, otherwise: str) -> Callable[[Any, Any], Any]:
    """Return a comparison; ``otherwise`` is the one with its operands exchanged, which Python asks for."""
    apply = maps.apply

    def compare(self: Any, other: Any) -> Any:
        given = as_operand(other, self)
        if name in ("eq", "ne") and not (isinstance(given, Node) or is_number(given)):
            return NotImplemented  # a text, None: not equal
        return apply(name, self, given)

    compare.__name__ = f"__{name}__"
    compare.__doc__ = f"Return where it holds, as bools; ``{otherwise}`` with the operands exchanged."
    return compare


@brief_class
class Operators:
    """What ``Tensor`` has of Python's operators."""

    __slots__ = ()
    __array_priority__ = 200.0

    __add__, __radd__ = _binary("add")
    __sub__, __rsub__ = _binary("sub")
    __mul__, __rmul__ = _binary("mul")
    __truediv__, __rtruediv__ = _binary("div")
    __and__, __rand__ = _binary("and")
    __or__, __ror__ = _binary("or")
    __xor__, __rxor__ = _binary("xor")
    __floordiv__, __rfloordiv__ = _by_function("floor_divide")
    __mod__, __rmod__ = _by_function("remainder")
    __lshift__, __rlshift__ = _by_function("bitwise_left_shift")
    __rshift__, __rrshift__ = _by_function("bitwise_right_shift")
    __matmul__, __rmatmul__ = _by_function("matmul")
    __lt__, __gt__ = _comparison("lt", ">"), _comparison("gt", "<")
    __le__, __ge__ = _comparison("le", ">="), _comparison("ge", "<=")
    __eq__: ClassVar[Callable[[Any, Any], Any]] = _comparison("eq", "==")  # declared: object's is of bools
    __ne__: ClassVar[Callable[[Any, Any], Any]] = _comparison("ne", "!=")
    __hash__ = object.__hash__

    def __divmod__(self, other: Any) -> tuple[Any, Any]:
        other = as_operand(other, self)
        return function("floor_divide")(self, other), function("remainder")(self, other)

    def __rdivmod__(self, other: Any) -> tuple[Any, Any]:
        other = as_operand(other, self)
        return function("floor_divide")(other, self), function("remainder")(other, self)

    def __neg__(self) -> Any:
        return maps.apply("neg", self)

    def __pos__(self) -> Any:
        return same(self)  # type: ignore[type-var]

    def __abs__(self) -> Any:
        return maps.apply("abs", self)

    def __invert__(self) -> Any:
        return maps.apply("not", self)

    def __index__(self: Any) -> int:
        if not self.dtype.is_integer:
            raise DTypeError("index of a tensor", "not a whole number", expected="an integer type", got=self.dtype,
                             remedy="Convert with astype")  # fmt: skip
        return int(self.item())

    def __complex__(self: Any) -> complex:
        return complex(self.item())

    def __contains__(self: Any, value: Any) -> bool:
        found = self == value
        return bool(_plain(found).any()) if isinstance(found, Node) else False

    def __round__(self, digits: int | None = None) -> Any:
        return function("round")(self) if digits is None else function("round")(self, digits)

    def __format__(self: Any, spec: str) -> str:
        return format(self.item(), spec) if spec and self.size == 1 else format(str(self), spec)

    def __array_ufunc__(self: Any, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Let numpy's functions of elements be Loom's, of tensors; what Loom lacks is numpy's, of copies."""
        called: str = ufunc.__name__
        name = _UFUNCS.get(called, called)
        known = import_module("loom.tensor")
        if method == "__call__" and not options and name in known.__all__ and callable(getattr(known, name)):
            like = next(i for i in inputs if isinstance(i, Node))
            return getattr(known, name)(*(as_operand(i, like) for i in inputs))
        plain = [i.numpy() if isinstance(i, Node) else i for i in inputs]  # type: ignore[attr-defined]
        if any(isinstance(o, Node) for o in options.get("out", ())):
            return NotImplemented
        return getattr(ufunc, method)(*plain, **{k: _plain(v) for k, v in options.items()})


def _plain(value: Any) -> Any:
    return value.numpy() if isinstance(value, Node) else value  # type: ignore[attr-defined]


def in_place(where: str, x: Any, found: Any) -> Any:
    """Return what an operator made of a tensor, in its dtype and shape, to take its place; errors where it cannot."""
    if found.dtype != x.dtype:
        kinds = [(d.is_complex, d.is_float, d.is_integer) for d in (x.dtype, found.dtype)]
        if kinds[0] < kinds[1]:
            raise DTypeError(where, f"{found.dtype} does not become {x.dtype}", expected=x.dtype, got=found.dtype,
                             remedy="Write x = x + y, or convert with astype")  # fmt: skip
        found = maps.cast(found, x.dtype)
    if found.shape != x.shape:
        raise ShapeError(where, "the result has another shape", expected=x.shape, got=found.shape,
                         remedy="Write x = x + y")  # fmt: skip
    return found


ASSIGNING = late("loom.tensor.handle", "assigning")
"""``replace``, which evaluates."""


def _assignment(operator: str) -> Callable[[Any, Any], Any]:
    """Return the operator that assigns what another one makes."""
    plain: Callable[[Any, Any], Any] = getattr(Operators, operator)
    where = f"tensor.{operator.replace('__', '__i', 1)}"

    def assign(self: Any, other: Any) -> Any:
        ASSIGNING.replace(self, in_place(where, self, plain(self, other)))
        return self

    return assign


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "and", "or", "xor", "lshift", "rshift", "matmul"):
    setattr(Operators, f"__i{_name}__", _assignment(f"__{_name}__"))
