"""Translates calls: type conversions, the functions of ``intrinsics``, some builtins.

Layer: ir. Python functions are translated in place by ``inlining``; anything else is called at compile
time, if all its arguments are known then. Invariant: no argument given is ever left out.
"""

from __future__ import annotations

import ast
import inspect
import math
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from loom.core.dtype import DType, f32, i64, of_numpy, u32
from loom.core.fixed import Fixed
from loom.core.given import is_tuple
from loom.ir.frontend.base.values import AxesView, Method, Operand, Static, describe, expect_static, is_number, is_typed
from loom.ir.frontend.builtins import Builtins
from loom.ir.frontend.data.cells import add_to_cell
from loom.ir.frontend.data.structs import info_of, is_struct
from loom.ir.frontend.elementary import Elementary
from loom.ir.frontend.host.plain import Impure, name_of, text
from loom.ir.frontend.inlining import Inlining
from loom.ir.frontend.instead import instead_of, is_pattern, same_as
from loom.ir.frontend.intrinsics import INTRINSICS
from loom.ir.frontend.lanecalls import operands_of
from loom.ir.frontend.lanefunctions import LaneFunction
from loom.ir.kernel import Instr, Memory
from loom.ir.ops import OPS, Effect, Op

if TYPE_CHECKING:
    from loom.ir.frontend.translator import Translator

__all__ = ["Calls"]

_IDS = ("global_id", "local_id", "group_id", "num_groups")
_OF_LANES = {
    **dict.fromkeys((*_IDS, "workgroup_size"), "Pass the positions as an array of their own, for example np.arange(n)"),
    **dict.fromkeys(
        ("shared", "barrier", "near_barrier"), "Use loom.private for an array of the element, or write a kernel"
    ),
}
"""What depends on how a device cuts work into lanes and workgroups, and what to do instead."""


class Calls:
    """``call`` looks at what is called; each family has a method."""

    def __init__(self, translator: Translator) -> None:
        self.t = translator
        self.b = translator.builder
        self.typing = translator.typing
        self.inlining = Inlining(translator)
        self.numbers = Builtins(self.b, self.typing, self)
        self.builtins: dict[Any, Callable[[list[Operand]], Operand]] = {
            len: self.length,
            breakpoint: lambda _args: self.b.emit("breakpoint"),
            **self.numbers.handlers,
        }

    def call(self, node: ast.Call) -> Operand:
        """Translate a call."""
        from loom.ir.frontend.host.allowed import is_allowed, translatable  # kernels that are recalled need no list

        callee = self.t.expressions.evaluate(node.func)
        if isinstance(callee, Method):
            method = cast("types.FunctionType", callee.function)  # a field, which nothing binds
            return self.inlining.inline(method, [callee.owner, *self.positional(node)], self.keywords(node))
        if isinstance(callee, Static) and is_struct(callee.value):
            return self.t.fields.construct(callee.value, self.positional(node), self.keywords(node))
        if not isinstance(callee, Static):
            raise self.b.error("not a function", "a function", describe(callee), "Check the name")
        target = callee.value
        if target is print:
            self.keywords(node, "print")
            return self.print(node.args)
        if isinstance(target, DType):
            return self.convert(target, self.arguments(node, str(target)))
        if is_allowed(target):
            return self.builtin(target, node)
        if isinstance(target, types.FunctionType) and target in INTRINSICS:
            return self.intrinsic(INTRINSICS[target], self.order(target, node), node)
        if isinstance(target, types.FunctionType) and is_pattern(target):
            raise self.b.error(
                f"{target.__name__} cannot be called inside a kernel", "a function for lanes", ast.unparse(node.func),
                "It takes whole arrays: call it before the kernel, and pass what it gives",
            )  # fmt: skip
        if isinstance(target, (Elementary, LaneFunction)):
            return self.of_library(target, node)
        own = translatable(target)
        if own is not None:
            fn, first, named = own
            args = [*map(Static, first), *self.positional(node)]
            keywords = {**{n: Static(v) for n, v in named.items()}, **self.keywords(node)}
            return self.inlining.inline(fn, args, keywords)
        return self.builtin(target, node)

    def of_library(self, target: Elementary | LaneFunction, node: ast.Call) -> Operand:
        """Translate a call of one of the library's functions for lanes."""
        if isinstance(target, LaneFunction):
            if self.t.of_elements is not None and target.room is not None:
                raise self.b.error(
                    f"loom.{target.__name__} in a function given to {self.t.of_elements}, which knows no workgroups",
                    "a value computed from its arguments alone", ast.unparse(node), "Write a kernel",
                )  # fmt: skip
            args, keywords = self.positional(node), self.keywords(node)
            operands = operands_of(target, args, keywords, ast.unparse(node), self.typing)
            return self.inlining.inline(target.definition, operands, {}, at_call=True)
        return self.function(target, self.arguments(node, target.__name__))

    def function(self, fn: types.FunctionType | Elementary, args: list[Operand]) -> Operand:
        """Translate a Python or elementary function of ``args`` in place."""
        if isinstance(fn, types.FunctionType):
            return self.inlining.inline(fn, args, {})
        if fn.__name__ == "pow" and isinstance(args[0], Instr) and args[0].type.is_integer:
            return self.numbers.power(args)  # as x ** n, of which integers have no other
        definition, values = self.define(fn, args)
        return self.inlining.inline(definition, values, {})

    def arguments(self, node: ast.Call, name: str) -> list[Operand]:
        """Evaluate the arguments of something that takes no keywords."""
        args = self.positional(node)
        self.keywords(node, name)
        return args

    def positional(self, node: ast.Call) -> list[Operand]:
        """Evaluate the arguments given by position, starred tuples spread out."""
        args: list[Operand] = []
        for argument in node.args:
            if not isinstance(argument, ast.Starred):
                args.append(self.t.expressions.evaluate(argument))
                continue
            given = self.t.expressions.evaluate(argument.value)
            items = self.items_of(given)
            if items is None:
                raise self.b.error("* needs a tuple", "a tuple", describe(given), "Write the arguments one by one")
            args += items
        return args

    def keywords(self, node: ast.Call, refusing: str | None = None) -> dict[str, Operand]:
        """Evaluate the arguments given by name; ``refusing`` names a function that takes none."""
        for keyword in node.keywords:
            if keyword.arg is None:
                raise self.t.refuse(keyword.value, "double-starred arguments")
            if refusing is not None:
                raise self.b.error(
                    f"{refusing} takes no keywords inside a kernel", "arguments by position", f"{keyword.arg}=",
                    "Leave the keyword out",
                )  # fmt: skip
        return {k.arg: self.t.expressions.evaluate(k.value) for k in node.keywords if k.arg is not None}

    def order(self, target: types.FunctionType, node: ast.Call) -> list[Operand]:
        """Return the arguments of an intrinsic in the order of its parameters."""
        args, keywords = self.positional(node), self.keywords(node)
        if not keywords:
            return args
        try:
            return list(inspect.signature(target).bind(*args, **keywords).args)
        except TypeError as error:
            raise self.b.error(
                f"{target.__name__} is called wrongly ({error})", inspect.signature(target), ast.unparse(node),
                f"See help(loom.{target.__name__})",
            ) from None  # fmt: skip

    def define(self, fn: Elementary, args: list[Operand]) -> tuple[types.FunctionType, list[Operand]]:
        """Return the definition of ``fn`` for the type of its arguments, and these as values of that type."""
        values = self.typing.unify(self.count(fn.__name__, args, fn.arity))
        for value in values:
            self.typing.retype_weak(value, value.dtype if value.type.is_float else f32)
        definition = fn.definitions.get(values[0].type)
        if definition is None:
            known = " or ".join(str(dtype) for dtype in fn.definitions)
            raise self.b.error(
                f"{fn.__name__} has no definition for {values[0].dtype}", known, values[0].dtype,
                f"Convert with {next(iter(fn.definitions))}(...)",
            )  # fmt: skip
        return definition, list(values)

    def on_host(self, target: Any, node: ast.Call, args: list[Operand], keywords: dict[str, Operand]) -> Operand:
        """Evaluate a call of anything else: a pure function of constants, by Loom's definition if it is elementary."""
        from loom.ir.frontend.host.allowed import is_random

        given = [a.value for a in args if isinstance(a, Static)]
        named = {k: v.value for k, v in keywords.items() if isinstance(v, Static)}
        is_known = len(given) + len(named) == len(args) + len(keywords)
        if is_random(target):
            what, remedy = (
                "random numbers by seed and index",
                "Write loom.random_f32(seed, i), the same on every device",
            )
            told = f"{name_of(target)} gives other numbers in each process"
            raise self.b.error(told, what, ast.unparse(node), remedy)
        if is_known:
            return self.evaluate_now(node, name_of(target), lambda: self.constant(target, given, named))
        name = name_of(target).rpartition(".")[2]
        raise self.b.error(
            f"{name} cannot be called inside a kernel", "a Loom function or one written in Python", name,
            instead_of(target, name, self.t.frame.outer),
        )  # fmt: skip

    def constant(self, target: object, given: list[object], named: dict[str, object]) -> object:
        """Return what a function of the host gives for constants, as Loom computes it."""
        from loom.ir.frontend.host.allowed import call_pure
        from loom.ir.frontend.host.constantvalues import elementary_of, power, value_of

        if (target is pow or target is np.power) and len(given) == 2 and not named:
            return power(Elementary.find, *given)
        elementary = None if named else elementary_of(target)
        if elementary is not None:
            return value_of(Elementary.find, elementary, given, strict=not isinstance(target, np.ufunc))
        return call_pure(target, given, named)

    def evaluate_now(self, node: ast.expr, name: str, evaluate: Callable[[], object]) -> Static:
        """Return what is evaluated now; what is not known to be pure, or fails, is an error of the kernel."""
        try:
            return Static(evaluate())
        except Impure as error:
            raise self.b.error(
                error.what, "a function that gives the same everywhere", ast.unparse(node), error.remedy
            ) from None
        except Exception as error:
            raise self.b.error(
                f"compile-time call of {name} fails ({type(error).__name__}: {error})", "a value",
                ast.unparse(node), "Compute it before the kernel",
            ) from error  # fmt: skip

    def builtin(self, target: Any, node: ast.Call) -> Operand:
        """Call a builtin, or anything that only the host can run."""
        args = self.positional(node)
        known = next((handler for fn, handler in self.builtins.items() if fn is target), None)
        if known is not None and (
            target is breakpoint or target is sum or not all(isinstance(a, Static) for a in args)
        ):
            self.keywords(node, target.__name__)
            return known(args)
        if (
            isinstance(target, type)
            and issubclass(target, np.generic)
            and len(args) == 1
            and not isinstance(args[0], Static)
        ):
            self.keywords(node, target.__name__)
            return self.convert(of_numpy(target, self.b.where()), args)
        same = None if all(isinstance(a, Static) for a in args) else same_as(target)
        if same is not None:
            self.keywords(node, target.__name__)
            return self.same(same, args, node)
        if any(target is fn for fn in (min, max, abs)) and any(is_typed(a) for a in args):
            self.keywords(node, target.__name__)
            return self.t.expressions.fold(lambda: self.builtins[target](args))
        return self.on_host(target, node, args, self.keywords(node))

    def same(self, name: str, args: list[Operand], node: ast.Call) -> Operand:
        """Translate a function of math or numpy that kernels have, as ``name``."""
        if name in INTRINSICS.values():
            return self.intrinsic(name, args, node)
        known = self.numbers.of_numpy.get(name)
        if known is not None:
            return known(args)
        assert Elementary.find is not None, "the library is there when kernels are"
        return self.function(Elementary.find(name), args)

    # types

    def convert(self, target: DType, args: list[Operand]) -> Operand:
        """``f32(x)``, or ``f32x4(a, b, c, d)`` and ``f32x4(a)`` for short vectors."""
        if target.is_vector and len(args) == target.lanes:
            parts = [self.to_scalar(target.scalar, a) for a in args]
            return self.b.emit("vector", *parts, dtype=target)
        if len(args) != 1:
            if target.is_vector:
                names = ", ".join("abcd"[: target.lanes])
                raise self.b.error(
                    f"{target} takes one number, or one for each component", f"1 or {target.lanes}", len(args),
                    f"Write {target}(a) or {target}({names})",
                )  # fmt: skip
            raise self.b.error(f"{target} takes one value", 1, len(args), f"Write {target}(x)")
        value = self.to_scalar(target, args[0])
        return self.typing.widen(value, target)

    def to_scalar(self, target: DType, operand: Operand) -> Instr:
        if isinstance(operand, Static) and is_number(operand.value):
            return self.static_conversion(target.scalar, operand.value)
        value = self.typing.as_value(operand)
        if value.dtype in (target, target.scalar):
            self.typing.weak.pop(value, None)
            if self.typing.is_index(value):
                return self.typing.plain(value)
            return value if self.typing.weak_key(value) is None else self.b.emit("bitcast", value, dtype=value.type)
        return self.b.emit("convert", value, dtype=target if value.type.is_vector else target.scalar)

    def static_conversion(self, target: DType, value: Any) -> Instr:
        number = value.item() if hasattr(value, "item") else value
        if target.is_bool:
            return self.b.const(bool(number), target)
        if target.storage_only:
            wide = self.typing.constant(float(number), f32)
            return self.b.emit("convert", wide, dtype=target)
        if target.is_float:
            return self.b.const(float(number) if not isinstance(number, int) else number, target)
        if isinstance(number, float) and not number.is_integer():
            raise self.b.error("constant is not whole", target, number, "Round it first")
        return self.b.const(int(number), target)

    # families of intrinsics

    def intrinsic(self, name: str, args: list[Operand], node: ast.Call) -> Operand:
        """Emit the operation of an intrinsic."""
        if self.t.of_elements is not None and name in _OF_LANES:
            raise self.b.error(
                f"loom.{name} in a function given to {self.t.of_elements}, which knows elements and no lanes",
                "a value computed from its arguments alone", f"{name}()", _OF_LANES[name],
            )  # fmt: skip
        if name == "select":
            return self.select(args, node)
        if name in _IDS:
            return self.typing.index(self.b.emit(name, attr=self.dimension(args)))
        if name == "workgroup_size":
            return Static(self.b.workgroup[self.dimension(args)])
        op = OPS.get(name)
        if op is None or not op.named:
            return getattr(self, name)(args)
        if op.effect is Effect.ATOMIC:
            return self.atomic(op, args)
        values = self.count(name, args, op.arity)
        if name == "abs":
            return self.numbers.absolute(values)
        typed = [self.typing.as_value(values[0])] if op.arity == 1 else self.typing.unify(values)
        return self.typing.emit(name, *typed)

    def count(self, name: str, args: list[Operand], wanted: int) -> list[Operand]:
        if len(args) != wanted:
            raise self.b.error(f"{name} takes {wanted} arguments", wanted, len(args), f"See help(loom.{name})")
        return args

    def dimension(self, args: list[Operand]) -> int:
        which = expect_static(self.b, args[0], "a dimension", (int,)) if args else 0
        if not 0 <= which <= 2:
            raise self.b.error("no such dimension", "0, 1 or 2", which, "Workgroups have three dimensions")
        return which

    def barrier(self, args: list[Operand]) -> Operand:
        self.count("barrier", args, 0)
        self.b.emit("barrier")
        return Static(None)

    def near_barrier(self, args: list[Operand]) -> Operand:
        self.count("near_barrier", args, 0)
        self.b.emit("near_barrier")
        return Static(None)

    def select(self, args: list[Operand], node: ast.Call) -> Operand:
        condition, *results = self.count("select", args, 3)
        return self.t.expressions.select(condition, results, node)

    def bitcast(self, args: list[Operand]) -> Operand:
        target, value = self.count("bitcast", args, 2)
        if isinstance(value, Static) and isinstance(value.value, DType):
            raise self.b.error(
                "the type of a bitcast comes first", "a type and a value", f"{describe(target)} and {value.value}",
                f"Write bitcast({value.value}, x)",
            )  # fmt: skip
        dtype = expect_static(self.b, target, "the type of a bitcast", (DType,))
        return self.b.emit("bitcast", self.typing.as_value(value), dtype=dtype)

    def shared(self, args: list[Operand]) -> Operand:
        return self.array("shared", args)

    def private(self, args: list[Operand]) -> Operand:
        return self.array("private", args)

    def array(self, space: str, args: list[Operand]) -> Memory | AxesView:
        dtype_operand, size_operand = self.count(space, args, 2)
        declare = self.b.shared if space == "shared" else self.b.private
        kind = dtype_operand.value if isinstance(dtype_operand, Static) and is_struct(dtype_operand.value) else None
        given = u32 if kind else expect_static(self.b, dtype_operand, f"the type of a {space} array", (DType, Fixed))
        dtype, fixed = (i64, given) if isinstance(given, Fixed) else (given, None)
        size = expect_static(self.b, size_operand, f"the size of a {space} array", (int, tuple, np.integer))
        shape = size if is_tuple(size) else (size,)
        if not shape or any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) for n in shape):
            raise self.b.error(
                f"the size of a {space} array", "a number, or one for each axis", size, "Write 64 or (8, 8)"
            )
        words = info_of(kind).record.words if kind else 1
        is_again = not self.typing.is_own() and any(frame.loops for frame in self.t.frames)
        if is_again and space == "shared":
            raise self.b.error(
                "a shared array is declared in a loop",
                "one before the loop",
                f"loom.shared({dtype}, ...)",
                "Declare it before the loop, and hand it to a function that uses it; it keeps what it holds",
            )
        memory = declare(self.t.array_name, dtype, math.prod(int(n) for n in shape) * words, fixed=fixed)
        if is_again:  # it starts as zero each time that a lane gets here
            self.b.clear(memory)
        if kind is None and not is_tuple(size):
            return memory
        return AxesView(memory, tuple(Static(int(n)) for n in shape), kind)

    def static_range(self, args: list[Operand]) -> Operand:
        bounds = [expect_static(self.b, a, "a bound", (int,)) for a in args]
        try:
            return Static(range(*bounds))
        except (TypeError, ValueError) as error:
            what = f"static_range is called wrongly ({error})"
            raise self.b.error(
                what, "1 to 3 bounds and a step other than 0", tuple(bounds), "Write static_range(n)"
            ) from None

    def atomic(self, op: Op, args: list[Operand]) -> Operand:
        name = op.name
        memory, index, *values = self.count(name, args, 1 + op.arity)
        if isinstance(memory, AxesView) and memory.kind is None:
            memory, at = self.t.views.element(memory, index)
        elif isinstance(memory, Memory):
            at = self.t.expressions.index(index)
        else:
            raise self.b.error(f"{name} needs memory", "a buffer or shared array", describe(memory), "Pass the array")
        if memory.fixed is not None:
            if name != "atomic_add":
                raise self.b.error(f"{name} on {memory.fixed} cells", "atomic_add", name, "Add to them, read and store")
            return add_to_cell(self.typing, memory, at, values[0])
        typed = [self.typing.fit(self.typing.as_value(v, memory.dtype), memory.dtype) for v in values]
        return self.b.emit(name, at, *typed, memory=memory)

    def tile_product(self, args: list[Operand]) -> Operand:
        memory, a_at, b_at, sums, *sizes = self.count("tile_product", args, 6)
        if not isinstance(memory, Memory):
            raise self.b.error("tile_product needs memory", "a shared array", describe(memory), "Pass the array")
        at = [self.typing.as_value(place, u32) for place in (a_at, b_at)]
        words, pitch = (expect_static(self.b, n, "the size of a row", (int,)) for n in sizes)
        return self.b.emit("tile_product", *at, self.typing.as_value(sums), attr=(words, pitch), memory=memory)

    def wide_product(self, args: list[Operand]) -> Operand:
        sums, memory, a_at, b_at, rows, keeps = self.count("wide_product", args, 6)
        into, of = self.array_of("wide_product", sums), self.array_of("wide_product", memory)
        at = [self.typing.as_value(place, u32) for place in (a_at, b_at)]
        attr = (
            of.name,
            expect_static(self.b, rows, "rows", (int,)),
            int(expect_static(self.b, keeps, "keeps", (bool,))),
        )
        return self.b.emit("wide_product", *at, attr=attr, memory=into)

    def fetch(self, args: list[Operand]) -> Operand:
        ticket, memory, at, buffer, first, *sizes = self.count("fetch", args, 8)
        into, of = self.array_of("fetch", memory), self.array_of("fetch", buffer)
        places = [self.typing.as_value(place, u32) for place in (ticket, at, first)]
        attr = (into.name, *(expect_static(self.b, n, "a number of words, tickets or pieces", (int,)) for n in sizes))
        return self.b.emit("fetch", *places, attr=attr, memory=of)

    def fetched(self, args: list[Operand]) -> Operand:
        return self.ticket("fetched", args)

    def release(self, args: list[Operand]) -> Operand:
        return self.ticket("release", args)

    def ticket(self, name: str, args: list[Operand]) -> Operand:
        """Emit an operation of a ticket, of which there are so many at a time, of so many pieces."""
        ticket, *sizes = self.count(name, args, 3)
        attr = tuple(expect_static(self.b, n, "a number of tickets or pieces", (int,)) for n in sizes)
        return self.b.emit(name, self.typing.as_value(ticket, u32), attr=attr)

    def array_of(self, name: str, operand: Operand) -> Memory:
        """Return an operand that is memory."""
        if not isinstance(operand, Memory):
            raise self.b.error(f"{name} needs memory", "an array", describe(operand), "Pass the array")
        return operand

    # builtins

    def length(self, args: list[Operand]) -> Operand:
        (memory,) = self.count("len", args, 1)
        if isinstance(memory, tuple):
            return Static(len(memory))
        if isinstance(memory, AxesView):
            return self.t.views.length(memory)
        if isinstance(memory, Memory) and memory.size is not None:
            return Static(memory.size)
        if isinstance(memory, Memory):
            return self.typing.index(self.b.emit("length", memory=memory))
        raise self.b.error("len of no memory", "a buffer, an array or a tuple", describe(memory), "Pass the buffer")

    def binary(self, op: ast.operator, left: Operand, right: Operand) -> Operand:
        """Apply an operator, for the builtins made of some."""
        return self.t.expressions.binary(op, left, right)

    def items_of(self, operand: Operand) -> list[Operand] | None:
        """Return the items of what has a number of them known at compile time."""
        return self.t.expressions.items_of(operand)

    def truth(self, operand: Operand) -> Instr:
        """Return a condition."""
        return self.t.expressions.truth(operand)

    def static(self, on_host: Callable[..., Any], *values: Any) -> Static:
        """Call a function of the host at compile time."""
        return self.t.expressions.static(on_host, *values)

    def print(self, nodes: list[ast.expr]) -> Operand:
        pieces, values = self.message(nodes)
        self.b.emit("print", *values, attr=pieces)
        return Static(None)

    def message(self, nodes: list[ast.expr]) -> tuple[tuple[str, ...], list[Instr]]:
        """Return the text pieces and the values between them, arguments set apart by spaces."""
        pieces: list[str] = [""]
        values: list[Instr] = []
        for position, node in enumerate(nodes):
            pieces[-1] += " " if position else ""
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            for part in parts:
                if isinstance(part, ast.FormattedValue):
                    if part.format_spec is not None or part.conversion != -1:
                        raise self.t.refuse(node, "format specifications")
                    part = part.value
                operand = self.t.expressions.evaluate(part)
                if isinstance(operand, Static):
                    pieces[-1] += self.t.expressions.pure(text, operand.value)
                else:
                    values.append(self.typing.as_value(operand))
                    pieces.append("")
        return tuple(pieces), values
