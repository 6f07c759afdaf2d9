"""Translates the statements of a Python function to structured IR.

Layer: ir. One ``Translator`` serves one kernel; functions it calls are translated in place, each in its
own ``Frame``. A local typed by a bare constant alone may turn out to need another type; then ``Retype``
is raised and the whole kernel is translated again. Invariant: translation depends on the source and on
the values of outer names only, so equal inputs give equal kernels.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any

from loom.core.dtype import DType, f32
from loom.core.errors import KernelTypeError, SyntaxNotSupported, VerifyError, near_matches
from loom.ir.builder import Builder
from loom.ir.frontend.calls import Calls
from loom.ir.frontend.expressions import Expressions
from loom.ir.frontend.intrinsics import INTRINSICS
from loom.ir.frontend.source import FunctionSource
from loom.ir.frontend.values import Operand, Retype, Static, Typing, describe, expect_static, is_number
from loom.ir.kernel import Block, Instr, Loc, Memory, Variable

__all__ = ["Frame", "Translator"]

_ESCAPES = (ast.Return, ast.Break, ast.Continue)


@dataclass(slots=True)
class Frame:
    """The names of one function being translated. ``number`` tells inlined calls apart."""

    source: FunctionSource
    outer: dict[str, Any]
    mutable: set[str]
    number: int
    is_kernel: bool
    names: dict[str, Operand | Variable] = field(default_factory=dict)
    loops: int = 0


class Translator:
    """Holds the builder and the stack of frames; statements dispatch on their class."""

    def __init__(self, builder: Builder, retyped: dict[Any, DType]) -> None:
        self.builder = builder
        self.typing = Typing(builder)
        self.retyped = retyped
        self.frames: list[Frame] = []
        self.calls = Calls(self)
        self.expressions = Expressions(self)
        self.inlined = 0
        self.array_name = "array"

    @property
    def frame(self) -> Frame:
        """The function being translated."""
        return self.frames[-1]

    # names

    def key(self, thing: Any) -> Any:
        """Name a local or a node in a way that is the same in the next translation."""
        return self.frame.number, thing if isinstance(thing, str) else (thing.lineno, thing.col_offset)

    def find(self, name: str) -> Operand | Variable:
        """Return what a name stands for; locals first, then the outer names as static values."""
        frame = self.frame
        if name in frame.names:
            return frame.names[name]
        if name in frame.mutable:
            raise VerifyError(
                self.builder.where(), f"{name!r} is read before it is assigned",
                expected="an assignment on every path before", remedy=f"Assign {name} before the branch or loop",
            )  # fmt: skip
        if name in frame.outer:
            return Static(frame.outer[name])
        raise KernelTypeError(
            self.builder.where(), f"name {name!r} is not defined",
            remedy=near_matches(name, [*frame.names, *(n for n in frame.outer if not n.startswith("_"))]),
        )  # fmt: skip

    def assign_name(self, name: str, operand: Operand, dtype: DType | None = None) -> None:
        """Bind a name: to the value itself, or through a variable if the name is mutable."""
        if name not in self.frame.mutable:
            if dtype is not None:
                operand = self.typing.typed(operand, dtype)
            self.frame.names[name] = operand
            if isinstance(operand, Instr) and self.frame.is_kernel:
                self.builder.name_value(operand, name)
            return
        variable = self.frame.names.get(name)
        if variable is None:
            variable = self.frame.names[name] = self.variable_for(name, self.key(name), operand, dtype)
        if not isinstance(variable, Variable):
            raise self.builder.error(
                f"{name!r} cannot be assigned", "a number", describe(variable), "Use another name"
            )
        self.set_variable(variable, operand)

    def variable_for(self, name: str, key: Any, operand: Operand, dtype: DType | None = None) -> Variable:
        """Declare a variable typed by ``dtype`` or its first value; ``key`` lets a weak one be retyped."""
        given = dtype or self.retyped.get(key)
        weak = given is None and (isinstance(operand, Static) or self.is_weak(operand))
        if given is None and isinstance(operand, Static) and is_number(operand.value):
            given = self.typing.default_dtype(operand.value)
        elif given is None:
            given = self.typing.typed(operand).type
        variable = self.builder.variable(name, given)
        if weak:
            self.typing.mark_weak(variable, key)
        return variable

    def is_weak(self, operand: Operand) -> bool:
        """True for a value computed from weak locals alone."""
        return isinstance(operand, Instr) and self.typing.weak_key(operand) is not None

    def set_variable(self, variable: Variable, operand: Operand) -> None:
        """Assign, a bare constant taking the variable's type; retype whichever side is weak."""
        key = self.typing.weak.get(variable)
        if isinstance(operand, Static) and key is not None and isinstance(operand.value, float) and not variable.dtype.is_float:
            raise Retype(key, f32)
        value = self.typing.typed(operand, variable.dtype)
        if value.dtype != variable.dtype:
            self.typing.retype_weak(value, variable.dtype)
            if key is not None:
                raise Retype(key, value.type)
            value = self.typing.widened(value, variable.dtype)
        self.builder.emit("set", value, attr=variable)

    # statements

    def body(self, statements: list[ast.stmt]) -> None:
        """Translate statements up to the first that leaves the block."""
        for statement in statements:
            self.statement(statement)
            if isinstance(statement, _ESCAPES):
                return

    def statement(self, node: ast.stmt) -> None:
        """Translate one statement."""
        self.builder.loc = Loc(self.frame.source.file, node.lineno)
        handler = getattr(self, "on_" + type(node).__name__.lower(), None)
        if handler is None:
            raise self.unsupported(node, f"{type(node).__name__.lower()} statements")
        handler(node)

    def unsupported(self, node: ast.AST, what: str) -> SyntaxNotSupported:
        """Make the error for Python that kernels lack."""
        if hasattr(node, "lineno"):
            self.builder.loc = Loc(self.frame.source.file, node.lineno)
        return SyntaxNotSupported(
            self.builder.where(),
            f"{what} are not part of the kernel language",
            expected="assignments, if, for over range, while, break, continue, return, assert, print and calls",
            remedy="Move it out of the kernel",
        )

    def on_pass(self, _node: ast.Pass) -> None:
        """Nothing."""

    def on_expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring or a bare literal
            self.expressions.evaluate(node.value)

    def on_assign(self, node: ast.Assign) -> None:
        first = node.targets[0]
        self.array_name = first.id if isinstance(first, ast.Name) else "array"
        operand = self.expressions.evaluate(node.value)
        for target in node.targets:
            self.assign(target, operand)

    def on_annassign(self, node: ast.AnnAssign) -> None:
        from loom.ir.frontend.annotations import scalar_type

        annotation = expect_static(self.builder, self.expressions.evaluate(node.annotation), "an annotation", (object,))
        dtype = scalar_type(annotation, self.builder.where())
        if node.value is None or not isinstance(node.target, ast.Name):
            raise self.unsupported(node, "annotations without a value")
        self.assign_name(node.target.id, self.expressions.evaluate(node.value), dtype)

    def on_augassign(self, node: ast.AugAssign) -> None:
        target = ast.copy_location(_as_load(node.target), node.target)
        left = self.expressions.evaluate(target)
        right = self.expressions.evaluate(node.value)
        self.assign(node.target, self.expressions.binary(node.op, left, right))

    def assign(self, target: ast.expr, operand: Operand) -> None:
        """Assign to a name, an element, a component or a tuple of these."""
        if isinstance(target, ast.Name):
            self.assign_name(target.id, operand)
        elif isinstance(target, ast.Subscript):
            self.assign_element(target, operand)
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            self.assign_component(target, target.value.id, operand)
        elif isinstance(target, ast.Tuple):
            self.assign_tuple(target, operand)
        else:
            raise self.unsupported(target, "such targets of an assignment")

    def assign_tuple(self, target: ast.Tuple, operand: Operand) -> None:
        items = [Static(v) for v in operand.value] if isinstance(operand, Static) else operand
        if not isinstance(items, (list, tuple)) or len(items) != len(target.elts):
            raise self.builder.error("cannot unpack", f"{len(target.elts)} values", describe(operand), "Match the numbers")
        for element, item in zip(target.elts, items, strict=True):
            self.assign(element, item)

    def assign_element(self, target: ast.Subscript, operand: Operand) -> None:
        memory = self.expressions.evaluate(target.value)
        if not isinstance(memory, Memory):
            raise self.builder.error(
                "only elements of memory can be assigned", "a buffer, shared or private array", describe(memory),
                "Assign the whole value",
            )  # fmt: skip
        index = self.expressions.index(self.expressions.evaluate(target.slice))
        wanted = memory.dtype
        if wanted.storage_only:
            value = self.typing.typed(operand, f32.vector(wanted.lanes))
            value = value if value.dtype == wanted else self.builder.emit("convert", value, dtype=wanted)
        else:
            value = self.typing.typed(operand, wanted)
            self.typing.retype_weak(value, wanted.scalar)
            value = self.typing.widened(value, wanted)
        self.builder.emit("store", index, value, memory=memory)

    def assign_component(self, target: ast.Attribute, name: str, operand: Operand) -> None:
        variable = self.find(name)
        if not isinstance(variable, Variable) or target.attr not in "xyzw"[: variable.dtype.lanes]:
            raise self.builder.error("no such component", "x, y, z or w of a vector", target.attr, "Check the name")
        old = self.builder.emit("get", attr=variable)
        wanted = "xyzw".index(target.attr)
        parts = [
            self.typing.typed(operand, variable.dtype.scalar) if i == wanted else self.builder.emit("extract", old, attr=i)
            for i in range(variable.dtype.lanes)
        ]
        self.builder.emit("set", self.builder.emit("vector", *parts, dtype=variable.dtype), attr=variable)

    def on_if(self, node: ast.If) -> None:
        test = self.expressions.condition(node.test)
        if isinstance(test, Static):
            self.body(node.body if test.value else node.orelse)
            return
        branch = self.builder.if_(self.typing.typed(test))
        for block, statements in ((branch.then, node.body), (branch.otherwise, node.orelse)):
            with self.builder.into(block):
                self.scoped(statements)

    def scoped(self, statements: list[ast.stmt]) -> None:
        """Translate a nested block; names bound to values there are forgotten after it."""
        before = dict(self.frame.names)
        self.body(statements)
        variables = {n: v for n, v in self.frame.names.items() if isinstance(v, Variable)}
        self.frame.names = {**before, **variables}

    def on_while(self, node: ast.While) -> None:
        self.no_else(node)
        loop = self.builder.while_()
        with self.builder.into(loop.test):
            test = self.expressions.condition(node.test)
            loop.condition = self.typing.typed(test)
        with self.builder.into(loop.body):
            self.looped(node.body)

    def looped(self, statements: list[ast.stmt]) -> None:
        self.frame.loops += 1
        self.scoped(statements)
        self.frame.loops -= 1

    def no_else(self, node: ast.While | ast.For) -> None:
        if node.orelse:
            raise self.unsupported(node, "loops with else")

    def on_for(self, node: ast.For) -> None:
        self.no_else(node)
        if not isinstance(node.target, ast.Name) or not isinstance(node.iter, ast.Call):
            self.static_for(node, self.expressions.evaluate(node.iter))
            return
        callee = self.expressions.evaluate(node.iter.func)
        known = isinstance(callee, Static) and callee.value
        if known is range:
            self.counted_for(node, node.target.id, [self.expressions.evaluate(a) for a in node.iter.args])
        elif callable(known) and INTRINSICS.get(known) == "static_range":
            bounds = [expect_static(self.builder, self.expressions.evaluate(a), "a bound", (int,)) for a in node.iter.args]
            self.static_for(node, Static(range(*bounds)))
        else:
            self.static_for(node, self.expressions.evaluate(node.iter))

    def static_for(self, node: ast.For, items: Operand) -> None:
        """Unroll a loop over compile-time items."""
        if isinstance(items, Static) and isinstance(items.value, (range, tuple, list)):
            values: list[Operand] = [Static(v) for v in items.value]
        elif isinstance(items, tuple):
            values = list(items)
        else:
            raise self.builder.error(
                "for runs over range(...), static_range(...) or a static tuple", "one of these", describe(items),
                "Use for i in range(n)",
            )  # fmt: skip
        if any(isinstance(n, (ast.Break, ast.Continue)) for s in node.body for n in ast.walk(s)):
            raise self.unsupported(node, "break and continue in unrolled loops")
        for value in values:
            self.assign(node.target, value)
            self.body(node.body)

    def counted_for(self, node: ast.For, name: str, bounds: list[Operand]) -> None:
        if not 1 <= len(bounds) <= 3:
            raise self.builder.error("range has the wrong number of bounds", "1 to 3", len(bounds), "Write range(start, stop)")
        start, stop = (Static(0), bounds[0]) if len(bounds) == 1 else (bounds[0], bounds[1])
        step = bounds[2] if len(bounds) == 3 else Static(1)
        key = self.key(node)
        weak = all(isinstance(b, Static) for b in (start, stop, step)) and key not in self.retyped
        if key in self.retyped:
            start, stop, step = (self.typing.typed(b, self.retyped[key]) for b in (start, stop, step))
        down = self.counts_down(step)
        first, last, by = self.typing.unify([start, stop, step])
        loop = self.builder.for_(first, last, by, down=down)
        if weak:
            self.typing.mark_weak(loop, key)
        with self.builder.into(loop.body):
            before = self.frame.names.get(name)
            if name in self.frame.mutable:
                self.assign_name(name, loop.index)
            else:
                self.frame.names[name] = loop.index
                self.builder.name_value(loop.index, name)
            self.looped(node.body)
        if before is not None and name not in self.frame.mutable:
            self.frame.names[name] = before
        elif name not in self.frame.mutable:
            self.frame.names.pop(name, None)

    def counts_down(self, step: Operand) -> bool:
        """Tell the direction of a range; KernelTypeError if it cannot be known."""
        if isinstance(step, Static):
            if not step.value:
                raise self.builder.error("range with step 0", "a step other than 0", 0, "Use a positive step")
            return bool(step.value < 0)
        if isinstance(step, Instr) and step.op.name == "const":
            return step.type.is_signed and bool(step.attr >> (step.type.bits - 1))
        if isinstance(step, Instr) and step.type.is_signed and self.typing.weak_key(step) is None:
            raise self.builder.error(
                "range with a signed step only known at run time", "a constant or an unsigned step", step.dtype,
                "Convert with u32(...)",
            )  # fmt: skip
        return False

    def in_loop(self, node: ast.stmt) -> None:
        if not self.frame.loops:
            raise self.unsupported(node, f"{type(node).__name__.lower()} outside loops")

    def on_break(self, node: ast.Break) -> None:
        self.in_loop(node)
        self.builder.break_()

    def on_continue(self, node: ast.Continue) -> None:
        self.in_loop(node)
        self.builder.continue_()

    def on_return(self, node: ast.Return) -> None:
        if not self.frame.is_kernel:
            raise self.unsupported(node, "returns from inside a loop of a helper function")
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            raise self.builder.error("a kernel returns nothing", "return", ast.unparse(node.value), "Store it in a buffer")
        self.builder.return_()

    def on_assert(self, node: ast.Assert) -> None:
        test = self.typing.typed(self.expressions.condition(node.test))
        text = ast.unparse(node.test)
        pieces, values = self.calls.message([node.msg]) if node.msg is not None else ((text,), [])
        self.builder.emit("assert", test, *values, attr=pieces)

    def splice(self, block: Block) -> None:
        """Append the statements of a scratch block here."""
        for statement in block.statements:
            self.builder.append(statement)


def _as_load(target: ast.expr) -> ast.expr:
    if isinstance(target, ast.Name):
        return ast.Name(target.id, ast.Load())
    if isinstance(target, ast.Subscript):
        return ast.Subscript(target.value, target.slice, ast.Load())
    assert isinstance(target, ast.Attribute)
    return ast.Attribute(target.value, target.attr, ast.Load())
