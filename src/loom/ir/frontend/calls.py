"""Translates calls: type conversions, the functions of ``intrinsics``, some builtins, helper functions.

Layer: ir. A helper is any Python function whose source can be read; it is translated in place, so it
costs nothing and may be generic over the types of its arguments. Invariant: recursion is refused.
"""

from __future__ import annotations

import ast
import types
from typing import TYPE_CHECKING, Any

from loom.core.dtype import DType, f32
from loom.ir.frontend.annotations import BufferType, resolve_annotations, scalar_type
from loom.ir.frontend.intrinsics import INTRINSICS
from loom.ir.frontend.scope import mutable_names
from loom.ir.frontend.source import function_source, names_of
from loom.ir.frontend.values import Operand, Static, describe, expect_static, is_number
from loom.ir.kernel import Instr, Memory, Variable

if TYPE_CHECKING:
    from loom.ir.frontend.translator import Translator

__all__ = ["Calls"]

_UNARY = ("floor", "ceil", "rint", "trunc", "sqrt", "popcount", "clz")
_BINARY = ("mulhi", "idiv", "irem")
_IDS = ("global_id", "local_id", "group_id", "num_groups")
_MAX_DEPTH = 32


class Calls:
    """``call`` looks at what is called; each family has a method."""

    def __init__(self, translator: Translator) -> None:
        self.t = translator
        self.b = translator.builder
        self.typing = translator.typing
        self.builtins: dict[Any, Any] = {
            len: self.length,
            min: lambda args: self.fold("min", args),
            max: lambda args: self.fold("max", args),
            abs: self.absolute,
            print: self.print,
            breakpoint: lambda _args: self.b.emit("breakpoint"),
        }

    def call(self, node: ast.Call) -> Operand:
        """Translate a call."""
        callee = self.t.expressions.evaluate(node.func)
        if not isinstance(callee, Static):
            raise self.b.error("not a function", "a function", describe(callee), "Check the name")
        target = callee.value
        if target is print:
            return self.print(node.args)
        args = [self.t.expressions.evaluate(a) for a in node.args if not isinstance(a, ast.Starred)]
        if len(args) != len(node.args):
            raise self.t.unsupported(node, "starred arguments")
        keywords = {k.arg: self.t.expressions.evaluate(k.value) for k in node.keywords if k.arg}
        if isinstance(target, DType):
            return self.convert(target, args)
        if isinstance(target, types.FunctionType) and target in INTRINSICS:
            return self.intrinsic(INTRINSICS[target], [*args, *keywords.values()])
        if isinstance(target, types.BuiltinFunctionType) or target in self.builtins:
            return self.builtin(target, args)
        if isinstance(target, types.FunctionType):
            return self.inline(target, args, keywords)
        return self.on_host(target, args)

    def on_host(self, target: Any, args: list[Operand]) -> Operand:
        """Evaluate a call of anything else, if all of it is known at compile time."""
        if callable(target) and all(isinstance(a, Static) for a in args):
            return Static(target(*(a.value for a in args if isinstance(a, Static))))
        name = getattr(target, "__name__", repr(target))
        raise self.b.error(
            f"{name} cannot be called inside a kernel", "a Loom function or one written in Python", name,
            "Convert with a dtype such as f32(x)" if target in (int, float, bool) else "Compute it before the kernel",
        )  # fmt: skip

    def builtin(self, target: Any, args: list[Operand]) -> Operand:
        if target in self.builtins and not all(isinstance(a, Static) for a in args):
            return self.builtins[target](args)
        if target is breakpoint:
            return self.builtins[target](args)
        return self.on_host(target, args)

    # types

    def convert(self, target: DType, args: list[Operand]) -> Operand:
        """``f32(x)``, or ``f32x4(a, b, c, d)`` and ``f32x4(a)`` for short vectors."""
        if target.is_vector and len(args) == target.lanes:
            parts = [self.to_scalar(target.scalar, a) for a in args]
            return self.b.emit("vector", *parts, dtype=target)
        if len(args) != 1:
            raise self.b.error(f"{target} takes one value", 1, len(args), f"Write {target}(x)")
        value = self.to_scalar(target, args[0])
        return self.typing.widened(value, target)

    def to_scalar(self, target: DType, operand: Operand) -> Instr:
        if isinstance(operand, Static) and is_number(operand.value):
            return self.static_conversion(target.scalar, operand.value)
        value = self.typing.typed(operand)
        if value.dtype in (target, target.scalar):
            self.typing.weak.pop(value, None)
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
        if isinstance(number, float) and number != int(number):
            raise self.b.error("constant is not whole", target, number, "Round it first")
        return self.b.const(int(number), target)

    # families of intrinsics

    def intrinsic(self, name: str, args: list[Operand]) -> Operand:
        """Emit the operation of an intrinsic."""
        if name in _IDS:
            return self.b.emit(name, attr=self.dimension(args))
        if name == "workgroup_size":
            return Static(self.b.workgroup[self.dimension(args)])
        if name in _UNARY:
            (value,) = self.count(name, args, 1)
            return self.typing.emit(name, self.typing.typed(value))
        if name in _BINARY:
            return self.typing.emit(name, *self.typing.unify(self.count(name, args, 2)))
        if name.startswith("atomic_"):
            return self.atomic(name, args)
        return getattr(self, name)(args)

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

    def select(self, args: list[Operand]) -> Operand:
        condition, a, b = self.count("select", args, 3)
        return self.typing.emit("select", self.typing.typed(condition), *self.typing.unify([a, b]))

    def bitcast(self, args: list[Operand]) -> Operand:
        target, value = self.count("bitcast", args, 2)
        dtype = expect_static(self.b, target, "the type of a bitcast", (DType,))
        return self.b.emit("bitcast", self.typing.typed(value), dtype=dtype)

    def shared(self, args: list[Operand]) -> Operand:
        return self.array("shared", args)

    def private(self, args: list[Operand]) -> Operand:
        return self.array("private", args)

    def array(self, space: str, args: list[Operand]) -> Memory:
        dtype_operand, size_operand = self.count(space, args, 2)
        dtype = expect_static(self.b, dtype_operand, f"the type of a {space} array", (DType,))
        size = expect_static(self.b, size_operand, f"the size of a {space} array", (int,))
        declare = self.b.shared if space == "shared" else self.b.private
        return declare(self.t.array_name, dtype, size)

    def static_range(self, args: list[Operand]) -> Operand:
        return Static(range(*(expect_static(self.b, a, "a bound", (int,)) for a in args)))

    def atomic(self, name: str, args: list[Operand]) -> Operand:
        memory, index, *values = self.count(name, args, 4 if name.endswith("compare_exchange") else 3)
        if not isinstance(memory, Memory):
            raise self.b.error(f"{name} needs memory", "a buffer or shared array", describe(memory), "Pass the array")
        typed = [self.typing.typed(v, memory.dtype) for v in values]
        return self.b.emit(name, self.t.expressions.index(index), *typed, memory=memory)

    # builtins

    def length(self, args: list[Operand]) -> Operand:
        (memory,) = self.count("len", args, 1)
        if isinstance(memory, Memory) and memory.size is not None:
            return Static(memory.size)
        if isinstance(memory, Memory):
            return self.b.emit("length", memory=memory)
        raise self.b.error("len of no memory", "a buffer or array", describe(memory), "Pass the buffer")

    def fold(self, name: str, args: list[Operand]) -> Operand:
        result, *rest = args
        for operand in rest:
            if isinstance(result, Static) and isinstance(operand, Static):
                result = Static(min(result.value, operand.value) if name == "min" else max(result.value, operand.value))
            else:
                result = self.typing.emit(name, *self.typing.unify([result, operand]))
        return result

    def absolute(self, args: list[Operand]) -> Operand:
        (value,) = self.count("abs", args, 1)
        return self.typing.emit("abs", self.typing.typed(value))

    def print(self, nodes: list[ast.expr]) -> Operand:
        pieces, values = self.message(nodes)
        self.b.emit("print", *values, attr=pieces)
        return Static(None)

    def message(self, nodes: list[ast.expr]) -> tuple[tuple[str, ...], list[Instr]]:
        """Return the text pieces and the values between them, arguments set apart by spaces."""
        pieces, values = [""], []
        for position, node in enumerate(nodes):
            pieces[-1] += " " if position else ""
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            for part in parts:
                if isinstance(part, ast.FormattedValue):
                    if part.format_spec is not None or part.conversion != -1:
                        raise self.t.unsupported(node, "format specifications")
                    part = part.value
                operand = self.t.expressions.evaluate(part)
                if isinstance(operand, Static):
                    pieces[-1] += str(operand.value)
                else:
                    values.append(self.typing.typed(operand))
                    pieces.append("")
        return tuple(pieces), values

    # helper functions

    def inline(self, fn: types.FunctionType, args: list[Operand], keywords: dict[str, Operand]) -> Operand:
        """Translate a Python function at the place of its call."""
        source = function_source(fn)
        if len(self.t.frames) > _MAX_DEPTH or any(f.source is source for f in self.t.frames):
            raise self.b.error(f"{fn.__name__} calls itself", "no recursion", "a recursive call", "Write a loop")
        bound = self.bind(fn, args, keywords)
        caller_loc = self.b.loc
        result = self.run(fn, source, bound)
        self.b.loc = caller_loc
        return result

    def run(self, fn: types.FunctionType, source: Any, bound: dict[str, Operand]) -> Operand:
        from loom.ir.frontend.translator import Frame

        self.t.inlined += 1
        outer = names_of(fn)
        frame = Frame(source, outer, mutable_names(source.body, set(bound)), self.t.inlined, is_kernel=False)
        self.t.frames.append(frame)
        try:
            for name, operand in bound.items():
                self.t.assign_name(name, operand)
            return self.tail(list(source.body))
        finally:
            self.t.frames.pop()

    def bind(self, fn: types.FunctionType, args: list[Operand], keywords: dict[str, Operand]) -> dict[str, Operand]:
        import inspect

        signature = inspect.signature(fn)
        try:
            found = signature.bind(*args, **keywords)
        except TypeError as error:
            raise self.b.error(f"{fn.__name__} is called wrongly ({error})", signature, len(args), "Match its parameters") from None
        annotations = resolve_annotations(fn, names_of(fn))
        bound: dict[str, Operand] = {}
        for name, parameter in signature.parameters.items():
            operand = found.arguments.get(name, Static(parameter.default))
            bound[name] = self.annotated(fn, name, operand, annotations.get(name))
        return bound

    def annotated(self, fn: types.FunctionType, name: str, operand: Operand, annotation: Any) -> Operand:
        """Check an argument against the helper's annotation; a constant takes its type."""
        if not isinstance(annotation, (DType, type)) or isinstance(annotation, BufferType) or isinstance(operand, Memory):
            return operand
        if isinstance(annotation, type) and annotation not in (int, float, bool):
            return operand
        wanted = scalar_type(annotation, self.b.where())
        value = self.typing.typed(operand, wanted)
        self.typing.retype_weak(value, wanted)
        if value.dtype != wanted:
            raise self.b.error(f"argument {name!r} of {fn.__name__}", wanted, value.dtype, f"Convert with {wanted}(...)")
        return value

    def tail(self, statements: list[ast.stmt]) -> Operand:
        """Translate a function body whose returns end it; give what it returns."""
        for position, statement in enumerate(statements):
            if isinstance(statement, ast.Return):
                self.t.builder.loc = self.loc_of(statement)
                return self.t.expressions.evaluate(statement.value) if statement.value is not None else Static(None)
            if isinstance(statement, ast.If) and _returns(statement):
                return self.tail_if(statement, statements[position + 1 :])
            self.t.statement(statement)
        return Static(None)

    def tail_if(self, node: ast.If, rest: list[ast.stmt]) -> Operand:
        """An ``if`` with returns: what follows it belongs to the branches that go on."""
        branches = [_with_rest(node.body, rest), _with_rest(node.orelse, rest)]
        self.b.loc = self.loc_of(node)
        test = self.t.expressions.condition(node.test)
        if isinstance(test, Static):
            return self.tail(branches[0] if test.value else branches[1])
        branch = self.b.if_(self.typing.typed(test))
        result: list[Variable] | None = None
        is_tuple = False
        for block, statements in zip((branch.then, branch.otherwise), branches, strict=True):
            with self.b.into(block):
                names = dict(self.t.frame.names)
                operand = self.tail(statements)
                is_tuple = isinstance(operand, tuple)
                result = self.store_result(operand, result, node)
                self.t.frame.names = names
        values = tuple(self.b.emit("get", attr=v) for v in result or [])
        return values if is_tuple else values[0] if values else Static(None)

    def store_result(self, operand: Operand, result: list[Variable] | None, node: ast.If) -> list[Variable]:
        """Keep a branch's result in variables shared by both branches."""
        if isinstance(operand, Static) and operand.value is None:
            return result or []
        items = operand if isinstance(operand, tuple) else (operand,)
        if result is None:
            keys = [(*self.t.key(f"result {i}"), node.lineno) for i in range(len(items))]
            result = [self.t.variable_for("result", k, o) for k, o in zip(keys, items, strict=True)]
        if len(result) != len(items):
            raise self.b.error("returns of different length", len(result), len(items), "Return as many values everywhere")
        for variable, item in zip(result, items, strict=True):
            self.t.set_variable(variable, item)
        return result

    def loc_of(self, node: ast.stmt) -> Any:
        from loom.ir.kernel import Loc

        return Loc(self.t.frame.source.file, node.lineno)


def _returns(node: ast.If) -> bool:
    """True when a return is in a branch, loops aside (those are refused when met)."""
    def inside(statements: list[ast.stmt]) -> bool:
        return any(isinstance(s, ast.Return) or (isinstance(s, ast.If) and _returns(s)) for s in statements)

    return inside(node.body) or inside(node.orelse)


def _with_rest(branch: list[ast.stmt], rest: list[ast.stmt]) -> list[ast.stmt]:
    return branch if branch and isinstance(branch[-1], ast.Return) else [*branch, *rest]
