"""Numbers that know what they were computed of: sizes and settings of a template, which is recorded once for all.

Layer: core. A ``Size`` is an int, a ``Setting`` a float: whoever records computes with their values, and what is
recorded keeps their expressions. Invariant: an expression, evaluated in doubles at the symbols' values, is the number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

__all__ = ["Expression", "Setting", "Size", "evaluate", "expression_of", "is_symbolic", "lower", "plain", "root", "single"]

Expression = tuple[Any, ...]
"""``("number", value)``, ``("symbol", name)``, or an operation of ``_OPERATIONS`` and its operands' expressions."""

_OPERATIONS: dict[str, Callable[..., float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "floordiv": lambda a, b: float(a // b),
    "min": lambda a, b: b if b < a else a,
    "round": lambda a: float(round(a)),
    "single": lambda a: float(np.float32(a)),
    "root": math.sqrt,
}


class _Symbol:
    """What sizes and settings have in common: the expression, and the operations that make another."""

    told: Expression


class Size(int, _Symbol):
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


class Setting(float, _Symbol):
    """A float with its expression."""

    def __new__(cls, value: float, told: Expression) -> Setting:
        """Return the setting of a value and its expression."""
        made = float.__new__(cls, value)
        made.told = told
        return made

    def __round__(self, digits: Any = None) -> Any:
        assert digits is None, "a setting is rounded to a whole number"
        return Size(float.__round__(self), ("round", self.told))

    def __repr__(self) -> str:
        return f"{float(self)!r}={_text(self.told)}"

    __hash__ = float.__hash__


def expression_of(number: float) -> Expression:
    """Return the expression of a number, which is the number itself where it is none of a symbol."""
    return number.told if isinstance(number, _Symbol) else ("number", number)


def plain(number: Any) -> Any:
    """Return a whole number as Python's own; a size stays what it is."""
    return number if type(number) is Size else int(number)


def is_symbolic(shape: Iterable[object]) -> bool:
    """Tell whether a shape has a size that is an expression."""
    return Size in map(type, shape)


def root(value: float) -> float:
    """Return the square root; of a symbol one that keeps its expression."""
    found = math.sqrt(value)
    return Setting(found, ("root", value.told)) if isinstance(value, _Symbol) else found


def single(value: float) -> float:
    """Return the f32 a number is rounded to, as a float; of a symbol one that keeps its expression."""
    found = float(np.float32(value))
    return Setting(found, ("single", value.told)) if isinstance(value, _Symbol) else found


def lower(a: int, b: int) -> int:
    """Return the lower of two whole numbers; of symbols one that keeps both expressions."""
    if not isinstance(a, _Symbol) and not isinstance(b, _Symbol):
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


def _combine(name: str, a: Any, b: Any) -> Any:
    """Return the symbol that an operation makes of two numbers of which one is a symbol."""
    x, y = (int(n) if isinstance(n, int) else float(n) for n in (a, b))
    if (name in ("mul", "div", "floordiv") and type(y) is int and y == 1) or (name in ("add", "sub") and y == 0):
        return a if name != "div" or isinstance(a, float) else Setting(float(x), a.told)
    if (name == "mul" and type(x) is int and x == 1) or (name == "add" and x == 0):
        return b
    value = x / y if name == "div" else x // y if name == "floordiv" else _OPERATIONS[name](x, y)
    kind: Any = Size if isinstance(value, int) else Setting
    return kind(value, (name, expression_of(a), expression_of(b)))


def _give_operations() -> None:
    """Let both classes have Python's operators, which keep expressions."""
    operators = {"add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "floordiv": "floordiv"}

    def forward(name: str) -> Any:
        return lambda a, b: _combine(name, a, b) if isinstance(b, (int, float)) else NotImplemented

    def backward(name: str) -> Any:
        return lambda b, a: _combine(name, a, b) if isinstance(a, (int, float)) else NotImplemented

    for kind in (Size, Setting):
        for operator, name in operators.items():
            setattr(kind, f"__{operator}__", forward(name))
            setattr(kind, f"__r{operator}__", backward(name))
        setattr(kind, "__neg__", lambda a: _combine("sub", 0, a))


_give_operations()
