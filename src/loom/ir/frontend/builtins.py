"""Python's builtins on operands: min, sum, divmod, enumerate, int; and functions of numpy made of a few operations.

Layer: ir. Invariant: what is added up or compared is taken from the first to the last.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from loom.core.dtype import DType, f32, f64, i32, i64
from loom.core.given import is_int
from loom.ir.builder import Builder
from loom.ir.frontend.base.values import AxesView, Operand, Static, describe, expect_static, is_typed
from loom.ir.frontend.elementary import Elementary
from loom.ir.kernel import Instr, Memory

if TYPE_CHECKING:
    from loom.ir.frontend.base.indexes import IndexTyping

__all__ = ["Builtins"]

_MOST_POWER = 64
"""The largest exponent of ``**`` that is made of products."""
_OF_ONE = ("square", "negative", "reciprocal", "isnan", "isinf", "isfinite")
_Handler = Callable[["list[Operand]"], Operand]


class _Translation(Protocol):
    """What builtins are made of."""

    def count(self, name: str, args: list[Operand], wanted: int) -> list[Operand]: ...
    def binary(self, op: ast.operator, left: Operand, right: Operand) -> Operand: ...
    def items_of(self, operand: Operand) -> list[Operand] | None: ...
    def truth(self, operand: Operand) -> Instr: ...
    def static(self, on_host: Callable[..., Any], *values: Any) -> Static: ...
    def convert(self, target: DType, args: list[Operand]) -> Operand: ...
    def function(self, fn: Any, args: list[Operand]) -> Operand: ...


class Builtins:
    """``handlers`` by Python's function, ``of_numpy`` by name."""

    def __init__(self, builder: Builder, typing: IndexTyping, calls: _Translation) -> None:
        self.b = builder
        self.typing = typing
        self.calls = calls
        self.handlers: dict[Any, _Handler] = {
            min: lambda args: self.fold("min", args),
            max: lambda args: self.fold("max", args),
            abs: self.absolute,
            int: lambda args: self.number(args, is_float=False),
            float: lambda args: self.number(args, is_float=True),
            bool: self.boolean,
            round: self.round,
            pow: self.power,
            divmod: self.divmod,
            sum: self.sum,
            any: lambda args: self.some("any", args),
            all: lambda args: self.some("all", args),
            enumerate: self.enumerate,
            zip: self.zip,
            reversed: self.reversed,
            tuple: self.tuple,
            list: self.tuple,
        }
        self.of_numpy: dict[str, _Handler] = {
            "min": lambda args: self.fold("min", self.calls.count("minimum", args, 2)),
            "max": lambda args: self.fold("max", self.calls.count("maximum", args, 2)),
            "abs": self.absolute,
            "clip": self.clip,
            **{name: self.of_name(name) for name in _OF_ONE},
        }

    def of_name(self, name: str) -> _Handler:
        """Return the handler of a function of one number."""
        return lambda args: self.of_one(name, self.calls.count(name, args, 1)[0])

    def clip(self, args: list[Operand]) -> Operand:
        value, low, high = self.calls.count("clip", args, 3)
        return self.fold("min", [self.fold("max", [value, low]), high])

    def number(self, args: list[Operand], *, is_float: bool) -> Operand:
        """``int(x)`` and ``float(x)``: a number of the kind as it is, another one as 32 bits, or 64 if it has them."""
        (operand,) = self.calls.count("float" if is_float else "int", args, 1)
        value = self.typing.as_value(operand)
        if value.type.is_float if is_float else value.type.is_integer:
            return value
        wide = value.type.bits == 64
        wanted = (f64 if wide else f32) if is_float else (i64 if wide else i32)
        return self.calls.convert(wanted, [value])

    def boolean(self, args: list[Operand]) -> Operand:
        """``bool(x)``: whether a number is not 0."""
        (operand,) = self.calls.count("bool", args, 1)
        value = self.typing.as_value(operand)
        return value if value.type.is_bool else self.b.emit("ne", value, self.typing.constant(0, value.type))

    def items(self, name: str, operand: Operand) -> list[Operand]:
        """Return the items of an operand that must have a number of them known at compile time."""
        found = self.calls.items_of(operand)
        if found is None:
            raise self.b.error(f"{name} of no tuple", "a tuple, a list, a range or rows of constants",
                               describe(operand), "Write a loop over range(n)")  # fmt: skip
        return found

    def round(self, args: list[Operand]) -> Operand:
        """``round(x)``: to the nearest whole number, halves to even; it stays a float."""
        if len(args) > 1:
            raise self.b.error("round takes one value inside a kernel", "round(x)", f"{len(args)} values",
                               "Write loom.rint(x * 100.0) / 100.0")  # fmt: skip
        (value,) = [self.typing.as_value(a) for a in self.calls.count("round", args, 1)]
        return value if value.type.is_integer else self.typing.emit("rint", value)

    def divmod(self, args: list[Operand]) -> Operand:
        a, b = self.calls.count("divmod", args, 2)
        binary = self.calls.binary
        return binary(ast.FloorDiv(), a, b), binary(ast.Mod(), a, b)

    def power(self, args: list[Operand]) -> Operand:
        """``pow(x, n)`` and ``x ** n``: products for a constant whole n, else ``loom.pow`` of floats."""
        if len(args) != 2:
            raise self.b.error("pow takes two values inside a kernel", 2, len(args), "Take the remainder yourself")
        base, exponent = args
        n = exponent.value if isinstance(exponent, Static) else None
        if is_int(n) and 0 <= n <= _MOST_POWER:
            return self.product(self.typing.as_value(base), int(n))
        if isinstance(base, Static) and isinstance(exponent, Instr) and exponent.type.is_integer:
            raise self.b.error("** takes a constant whole exponent, or floats", "x ** 2, or f32 ** f32", exponent.dtype,
                               "Shift for powers of two, 1 << n, or convert with f32(...)")  # fmt: skip
        whole = isinstance(base, Instr) and base.type.is_integer
        if whole or (isinstance(base, Static) and is_typed(base) and is_int(base.value)):
            raise self.b.error("** of an integer takes a constant exponent", f"0 to {_MOST_POWER}", describe(exponent),
                               "Write a loop, or convert with f32(...)")  # fmt: skip
        assert Elementary.find is not None, "the library is there when kernels are"
        if is_int(n):
            exponent = Static(float(n))
        return self.calls.function(Elementary.find("pow"), [base, exponent])

    def product(self, base: Instr, n: int) -> Operand:
        """Return the n-th power by squaring, from the highest bit of n on."""
        if n == 0:
            return self.typing.constant(1, base.type)
        found = base
        for bit in bin(n)[3:]:
            found = self.typing.emit("mul", found, found)
            if bit == "1":
                found = self.typing.emit("mul", found, base)
        return found

    def sum(self, args: list[Operand]) -> Operand:
        """``sum(items, start)``: from the first to the last."""
        if len(args) == 1 and isinstance(args[0], (Memory, AxesView)) and self.calls.items_of(args[0]) is None:
            raise self.b.error("sum of memory", "a tuple", describe(args[0]),
                               "Add up in a loop, or call loom.gpu_sum outside the kernel")  # fmt: skip
        first, *rest = [*args[1:2], *self.items("sum", args[0])] or [Static(0)]
        for item in rest:
            first = self.calls.binary(ast.Add(), first, item)
        return first

    def some(self, name: str, args: list[Operand]) -> Operand:
        """``any`` and ``all`` of conditions, each of them computed."""
        (given,) = self.calls.count(name, args, 1)
        found: Operand = Static(name == "all")
        for item in self.items(name, given):
            truth = Static(bool(item.value)) if isinstance(item, Static) else self.calls.truth(item)
            if isinstance(found, Static) and isinstance(truth, Static):
                found = Static(any((found.value, truth.value)) if name == "any" else all((found.value, truth.value)))
            else:
                found = self.b.emit("or" if name == "any" else "and", *self.typing.unify([found, truth]))
        return found

    def enumerate(self, args: list[Operand]) -> Operand:
        start = expect_static(self.b, args[1], "where enumerate starts", (int,)) if len(args) > 1 else 0
        return tuple((Static(start + n), item) for n, item in enumerate(self.items("enumerate", args[0])))

    def zip(self, args: list[Operand]) -> Operand:
        return tuple(tuple(items) for items in zip(*(self.items("zip", a) for a in args), strict=False))

    def reversed(self, args: list[Operand]) -> Operand:
        return tuple(self.items("reversed", self.calls.count("reversed", args, 1)[0])[::-1])

    def tuple(self, args: list[Operand]) -> Operand:
        return tuple(self.items("tuple", self.calls.count("tuple", args, 1)[0]))

    def of_one(self, name: str, operand: Operand) -> Operand:
        """Translate a function of one number that is a few operations."""
        x, emit = self.typing.as_value(operand), self.typing.emit
        if name == "square":
            return emit("mul", x, x)
        if name == "negative":
            return emit("neg", x)
        if not x.type.is_float:
            raise self.b.error(f"{name} takes floats", "f32 or f64", x.dtype, "Convert with f32(...)")
        if name == "reciprocal":
            return emit("div", self.typing.constant(1.0, x.type), x)
        if name == "isnan":
            return self.b.emit("ne", x, x)
        infinite = self.typing.constant(float("inf"), x.type)
        return self.b.emit("eq" if name == "isinf" else "lt", emit("abs", x), infinite)

    def fold(self, name: str, args: list[Operand]) -> Operand:
        items = list(args[0]) if len(args) == 1 and isinstance(args[0], tuple) else args
        if not items or (len(items) == 1 and items is args):
            got = describe(args[0])
            raise self.b.error(f"{name} of one value", "two or more values, or a tuple of some", got, "Add the others")
        result = items[0]
        for operand in items[1:]:
            if isinstance(result, Static) and isinstance(operand, Static) and not is_typed(result) | is_typed(operand):
                result = self.calls.static(min if name == "min" else max, result.value, operand.value)
            else:
                result = self.typing.extreme(name, result, operand)
        return result

    def absolute(self, args: list[Operand]) -> Operand:
        (value,) = self.calls.count("abs", args, 1)
        found = self.typing.emit("abs", self.typing.as_value(value))
        return self.typing.as_natural(found) if self.typing.is_index(found) else found
