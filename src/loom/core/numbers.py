"""Single numbers: those that a caller passes are read, Python's and numpy's alike; templates' know how they were made.

Layer: core. A ``Size`` is an int, a ``Setting`` a float: whoever records computes with their values, and what is
recorded keeps their expressions, so that a template is recorded once for all sizes. Invariant: a bool is no number, a
whole number is never made of a float, and an expression, evaluated in doubles, is the number.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from loom.core.errors import ArgumentError
from loom.core.given import is_array, is_scalar

__all__ = ["Expression", "Setting", "Size", "evaluate", "expression_of", "is_symbolic", "lower", "plain", "real"]
__all__ += ["root", "single", "whole"]


def _plain(value: Any) -> Any:
    """Return numpy's numbers, arrays of one included, as Python's."""
    if (is_array(value) or is_scalar(value)) and np.ndim(value) == 0 and value.dtype.kind in "biuf":
        return value.item()
    return value


def whole(value: Any, where: str, *, least: int | None = None, most: int | None = None, remedy: str = "") -> int:
    """Return an int from ``least`` to ``most``: Python's, numpy's, or whatever is an index; ArgumentError otherwise.

    >>> whole(np.int64(2), "f, epochs", least=1)
    2
    """
    found = _plain(value)
    try:
        number = None if isinstance(found, bool) else found if type(found) is Size else operator.index(found)
    except TypeError:
        number = None
    if number is None:
        raise ArgumentError(where, "not a whole number", expected=f"an int{_range(least, most)}", got=repr(value),
                            remedy=remedy or "Pass an int")  # fmt: skip
    if (least is not None and number < least) or (most is not None and number > most):
        raise ArgumentError(where, "out of range", expected=f"an int{_range(least, most)}", got=number,
                            remedy=remedy or "Pass one within the range")  # fmt: skip
    return number


def real(
    value: Any, where: str, *, least: float | None = None, most: float | None = None, remedy: str = ""
) -> float | int:
    """Return a number that is finite, from ``least`` to ``most``: Python's or numpy's; ArgumentError otherwise.

    >>> real(np.float32(0.5), "f, learning_rate", least=0)
    0.5
    """
    found = _plain(value)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise ArgumentError(where, "not a number", expected=f"a number{_range(least, most)}", got=repr(value),
                            remedy=remedy or "Pass an int or a float")  # fmt: skip
    inside = (least is None or found >= least) and (most is None or found <= most)
    if not inside or (isinstance(found, float) and not math.isfinite(found)):
        raise ArgumentError(where, "out of range", expected=f"a number{_range(least, most)}", got=found,
                            remedy=remedy or "Pass one within the range")  # fmt: skip
    return found


def _range(least: float | None, most: float | None) -> str:
    if least is None:
        return "" if most is None else f" of at most {most}"
    return f" of at least {least}" if most is None else f" from {least} to {most}"


# of templates

Expression = tuple[Any, ...]
"""``("number", value)``, ``("symbol", name)``, or an operation of ``_OPERATIONS`` and its operands' expressions."""


def _divide(a: float, b: float) -> float:
    return a / b


def _floor(a: float, b: float) -> float:
    return float(a // b)


def _lower(a: float, b: float) -> float:
    return b if b < a else a


def _round(a: float) -> float:
    return float(round(a))


def _single(a: float) -> float:
    return float(np.float32(a))


_OPERATIONS: dict[str, Callable[..., float]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": _divide, "floordiv": _floor,
    "min": _lower, "round": _round, "single": _single, "root": math.sqrt,
}  # fmt: skip

Symbolic: TypeAlias = Any
"""A size or a setting, which stands wherever an int or a float does."""


class _SymbolicNumber:
    """What sizes and settings have in common: the expression, and the operations that make another."""

    told: Expression

    def __add__(self, other: object, /) -> Symbolic:
        return _combine("add", self, other)

    def __radd__(self, other: object, /) -> Symbolic:
        return _combine("add", other, self)

    def __sub__(self, other: object, /) -> Symbolic:
        return _combine("sub", self, other)

    def __rsub__(self, other: object, /) -> Symbolic:
        return _combine("sub", other, self)

    def __mul__(self, other: object, /) -> Symbolic:
        return _combine("mul", self, other)

    def __rmul__(self, other: object, /) -> Symbolic:
        return _combine("mul", other, self)

    def __truediv__(self, other: object, /) -> Symbolic:
        return _combine("div", self, other)

    def __rtruediv__(self, other: object, /) -> Symbolic:
        return _combine("div", other, self)

    def __floordiv__(self, other: object, /) -> Symbolic:
        return _combine("floordiv", self, other)

    def __rfloordiv__(self, other: object, /) -> Symbolic:
        return _combine("floordiv", other, self)

    def __neg__(self) -> Symbolic:
        return _combine("sub", 0, self)


class Size(_SymbolicNumber, int):
    """A whole number with its expression; beside other numbers it makes sizes, divided it makes a setting.

    >>> batch = Size(5, ("symbol", "batch"))
    >>> evaluate((batch * 3 // 2).told, {"batch": 8})
    12.0
    """

    def __new__(cls, value: int, told: Expression) -> Size:
        """Return the size of a value and its expression."""
        made = int.__new__(cls, value)
        made.told = told
        return made

    def __repr__(self) -> str:
        return f"{int(self)}={_text(self.told)}"

    __hash__ = int.__hash__


class Setting(_SymbolicNumber, float):
    """A float with its expression."""

    def __new__(cls, value: float, told: Expression) -> Setting:
        """Return the setting of a value and its expression."""
        made = float.__new__(cls, value)
        made.told = told
        return made

    def __round__(self, digits: object = None, /) -> Symbolic:
        assert digits is None, "a setting is rounded to a whole number"
        return Size(float.__round__(self), ("round", self.told))

    def __repr__(self) -> str:
        return f"{float(self)!r}={_text(self.told)}"

    __hash__ = float.__hash__


def expression_of(number: float) -> Expression:
    """Return the expression of a number, which is the number itself where it is none of a symbol."""
    return number.told if isinstance(number, _SymbolicNumber) else ("number", number)


def plain(number: Any) -> int:
    """Return a whole number as Python's own; a size stays what it is."""
    return number if type(number) is Size else int(number)


def is_symbolic(shape: Iterable[object]) -> bool:
    """Tell whether a shape has a size that is an expression."""
    return Size in map(type, shape)


def root(value: float) -> float:
    """Return the square root; of a symbol one that keeps its expression."""
    found = math.sqrt(value)
    return Setting(found, ("root", value.told)) if isinstance(value, _SymbolicNumber) else found


def single(value: float) -> float:
    """Return the f32 a number is rounded to, as a float; of a symbol one that keeps its expression."""
    found = float(np.float32(value))
    return Setting(found, ("single", value.told)) if isinstance(value, _SymbolicNumber) else found


def lower(a: int, b: int) -> int:
    """Return the lower of two whole numbers; of symbols one that keeps both expressions."""
    if not isinstance(a, _SymbolicNumber) and not isinstance(b, _SymbolicNumber):
        return min(a, b)
    return Size(min(a, b), ("min", expression_of(a), expression_of(b)))


def evaluate(told: Expression, symbols: Mapping[str, float]) -> float:
    """Return the value of an expression, computed in doubles.

    Args:
        told: Expression.
        symbols: Values of its symbols by name.

    Raises:
        KeyError: A symbol has no value.
    """
    if told[0] == "number":
        return float(told[1])
    if told[0] == "symbol":
        return float(symbols[told[1]])
    return _OPERATIONS[told[0]](*(evaluate(each, symbols) for each in told[1:]))


def _text(told: Expression) -> str:
    return str(told[1]) if told[0] in ("number", "symbol") else f"{told[0]}({', '.join(map(_text, told[1:]))})"


def _combine(name: str, a: object, b: object) -> Symbolic:
    """Return the symbol that an operation makes of two numbers of which one is a symbol."""
    if not isinstance(a, (int, float)) or not isinstance(b, (int, float)):
        return NotImplemented
    x, y = (int(n) if isinstance(n, int) else float(n) for n in (a, b))
    if (name in ("mul", "div", "floordiv") and type(y) is int and y == 1) or (name in ("add", "sub") and y == 0):
        return a if name != "div" or isinstance(a, float) else Setting(float(x), expression_of(a))
    if (name == "mul" and type(x) is int and x == 1) or (name == "add" and x == 0):
        return b
    value = x / y if name == "div" else x // y if name == "floordiv" else _OPERATIONS[name](x, y)
    kind: Any = Size if isinstance(value, int) else Setting
    return kind(value, (name, expression_of(a), expression_of(b)))
