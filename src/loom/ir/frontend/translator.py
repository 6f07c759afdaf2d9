"""Translates the statements of a Python function to structured IR.

Layer: ir. One ``Translator`` serves one kernel; functions it calls are translated in place, each in its
own ``FunctionNames``. A local typed by a bare constant alone may turn out to need another type; then ``Retype``
is raised and the whole kernel is translated again. Invariant: translation depends on the source and on
the values of outer names only, so equal inputs give equal kernels.
"""

from __future__ import annotations

import ast
import itertools
from typing import Any

from loom.core.dtype import DType, f32
from loom.core.errors import SyntaxNotSupported
from loom.core.given import is_list, is_scalar
from loom.ir.builder import Builder
from loom.ir.constants import constant_value
from loom.ir.frontend.base.values import (
    AxesView,
    Operand,
    RecordPlace,
    Static,
    StructVariable,
    describe,
    expect_static,
    is_number,
    promote,
)
from loom.ir.frontend.calls import Calls
from loom.ir.frontend.data.cells import to_cell
from loom.ir.frontend.data.fields import Fields
from loom.ir.frontend.data.tables import Tables
from loom.ir.frontend.data.views import Views
from loom.ir.frontend.expressions import Expressions
from loom.ir.frontend.host.plain import items as items_of_host
from loom.ir.frontend.names import Names
from loom.ir.kernel import Block, Break, Continue, For, Instr, Loc, Memory, Return, Variable

__all__ = ["Translator"]

_MOST_UNROLLED = 1 << 14
"""Turns of an unrolled loop; more would make kernels that take minutes to compile."""

_STATEMENTS = {
    "functiondef": "nested functions", "asyncfunctiondef": "nested functions", "classdef": "classes",
    "delete": "del statements", "importfrom": "imports", "import": "imports", "asyncfor": "async loops",
}  # fmt: skip
_EXPRESSIONS = {
    "Lambda": "lambdas", "JoinedStr": "f-strings outside print and assert", "Starred": "starred expressions",
    "ListComp": "comprehensions", "SetComp": "comprehensions", "DictComp": "comprehensions",
    "GeneratorExp": "comprehensions", "Dict": "dictionaries", "Set": "sets", "Yield": "generators",
    "YieldFrom": "generators",
}  # fmt: skip
"""Names for people of what kernels lack; others are called after their class."""


class Translator(Names):
    """Holds the builder and the stack of frames; statements dispatch on their class."""

    def __init__(self, builder: Builder, retyped: dict[Any, DType], *, of_elements: str | None = None) -> None:
        """``of_elements`` names what takes a function of elements, which may not know of lanes."""
        super().__init__(builder, retyped)
        self.of_elements = of_elements
        self.calls = Calls(self)
        self.expressions = Expressions(self)
        self.fields = Fields(builder, self.typing, self.calls.convert)
        self.views = Views(builder, self.typing, self.expressions.index, self.expressions.load_element)
        self.tables = Tables(
            builder, self.typing, self.views, lambda key: retyped.get(key) or retyped.get((key, "weak"))
        )
        self.inlined = 0
        self.array_name = "array"

    # statements

    def body(self, statements: list[ast.stmt]) -> None:
        """Translate statements up to the first that leaves the block."""
        for statement in statements:
            self.statement(statement)
            if self.has_left():
                return

    def has_left(self) -> bool:
        """Tell whether what follows here never runs."""
        done = self.builder.block.statements
        return bool(done) and isinstance(done[-1], (Return, Break, Continue))

    def statement(self, node: ast.stmt) -> None:
        """Translate one statement."""
        self.builder.loc = self.loc_of(node)
        handler = getattr(self, "on_" + type(node).__name__.lower(), None)
        if handler is None:
            name = type(node).__name__.lower()
            raise self.refuse(node, _STATEMENTS.get(name, f"{name} statements"))
        handler(node)

    def loc_of(self, node: ast.stmt | ast.expr) -> Loc:
        """Return the line of ``node``, or that of the call of the library's function it stands in."""
        return self.frame.at or Loc(self.frame.source.file, node.lineno)

    def refuse_expression(self, node: ast.AST) -> SyntaxNotSupported:
        """Make the error for a kind of expression that kernels lack."""
        name = type(node).__name__
        return self.refuse(node, _EXPRESSIONS.get(name, f"{name} expressions"))

    def refuse(self, node: ast.AST, what: str, remedy: str = "Move it out of the kernel") -> SyntaxNotSupported:
        """Make the error for Python that kernels lack."""
        if isinstance(node, (ast.expr, ast.stmt)):
            self.builder.loc = self.loc_of(node)
        return SyntaxNotSupported(
            self.builder.where(),
            f"{what} are not part of the kernel language",
            expected="assignments, if, for over range, while, break, continue, return, assert, print and calls",
            remedy=remedy,
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
        from loom.ir.frontend.base.annotations import scalar_type

        annotation = expect_static(self.builder, self.expressions.evaluate(node.annotation), "an annotation", (object,))
        dtype = scalar_type(annotation, self.builder.where())
        if node.value is None or not isinstance(node.target, ast.Name):
            raise self.refuse(node, "annotations without a value")
        self.assign_name(node.target.id, self.expressions.evaluate(node.value), dtype)

    def on_augassign(self, node: ast.AugAssign) -> None:
        memory = self.expressions.evaluate(node.target.value) if isinstance(node.target, ast.Subscript) else None
        left: Operand
        if isinstance(node.target, ast.Subscript) and isinstance(memory, (Memory, AxesView)):
            memory, index = self.element(memory, node.target.slice)  # once, as in Python
            left = self.expressions.load_element(memory, index)
            self.store(memory, index, self.expressions.binary(node.op, left, self.expressions.evaluate(node.value)))
            return
        owner = self.expressions.owner(node.target.value) if isinstance(node.target, ast.Attribute) else None
        if isinstance(node.target, ast.Attribute) and isinstance(owner, RecordPlace):
            part = self.fields.attribute(owner, node.target.attr)
            assert not isinstance(part, StructVariable)
            left = self.fields.load(part) if isinstance(part, RecordPlace) else part
            right = self.expressions.evaluate(node.value)
            self.fields.assign(owner, node.target.attr, self.expressions.binary(node.op, left, right))
            return
        left = self.expressions.evaluate(ast.copy_location(_as_load(node.target), node.target))
        right = self.expressions.evaluate(node.value)
        self.assign(node.target, self.expressions.binary(node.op, left, right))

    def assign(self, target: ast.expr, operand: Operand) -> None:
        """Assign to a name, an element, a component or a tuple of these."""
        if isinstance(target, ast.Name):
            self.assign_name(target.id, operand)
        elif isinstance(target, ast.Subscript):
            self.assign_element(target, operand)
        elif isinstance(target, ast.Attribute):
            self.assign_attribute(target, operand)
        elif isinstance(target, (ast.Tuple, ast.List)):
            self.assign_tuple(target, operand)
        else:
            raise self.refuse(target, "such targets of an assignment")

    def assign_tuple(self, target: ast.Tuple | ast.List, operand: Operand) -> None:
        items: Any = self.expressions.items_of(operand)
        starred = next((e for e in target.elts if isinstance(e, ast.Starred)), None)
        if starred is not None:
            raise self.refuse(starred, "starred targets")
        if not is_list(items) or len(items) != len(target.elts):
            raise self.builder.error(
                "cannot unpack", f"{len(target.elts)} values", describe(operand), "Match the numbers"
            )
        for element, item in zip(target.elts, items, strict=True):
            self.assign(element, item)

    def assign_element(self, target: ast.Subscript, operand: Operand) -> None:
        memory = self.expressions.evaluate(target.value)
        if isinstance(memory, AxesView) and memory.kind is not None:
            place = self.views.item(memory, self.expressions.evaluate(target.slice))
            if isinstance(place, RecordPlace):
                self.fields.store(place, self.fields.as_struct(operand, place.kind, "what is stored"))
                return
        if not isinstance(memory, (Memory, AxesView)):
            remedy = "Assign the whole value"
            if self.tables.is_table(memory):
                remedy = "A table is constant: copy it to loom.private(...) to change it"
            raise self.builder.error(
                "only elements of memory can be assigned", "a buffer, shared or private array", describe(memory), remedy
            )
        memory, index = self.element(memory, target.slice)
        self.store(memory, index, operand)

    def element(self, memory: Memory | AxesView, index: ast.expr) -> tuple[Memory, Instr]:
        """Return the memory and the number of an element that is assigned."""
        given = self.expressions.evaluate(index)
        return (
            self.views.element(memory, given)
            if isinstance(memory, AxesView)
            else (memory, self.expressions.index(given))
        )

    def assign_attribute(self, target: ast.Attribute, operand: Operand) -> None:
        """Assign a field of a record, or a component of a short vector."""
        root: ast.expr = target
        while isinstance(root, ast.Attribute):
            root = root.value
        name = root.id if isinstance(root, ast.Name) else None
        if name is not None and name in self.frame.records:
            raise self.builder.error(
                f"{name!r} is an argument, and a record is a value: its caller would not see the assignment",
                "a local of its own", ast.unparse(target), f"Return the changed record, or copy it: mine = {name}",
            )  # fmt: skip
        owner = self.expressions.owner(target.value)
        if isinstance(owner, (StructVariable, RecordPlace)):
            self.fields.assign(owner, target.attr, operand)
        elif isinstance(target.value, ast.Attribute):  # a component of a vector that is a field
            whole = self.expressions.owner(target.value.value)
            vector = self.typing.as_value(owner) if not isinstance(owner, StructVariable) else None
            if not isinstance(whole, (StructVariable, RecordPlace)) or vector is None:
                raise self.refuse(target, "such targets of an assignment")
            self.fields.assign(whole, target.value.attr, self.with_component(vector, target.attr, operand))
        elif isinstance(target.value, ast.Name):
            self.assign_component(target, target.value.id, operand)
        else:
            raise self.refuse(target, "such targets of an assignment")

    def store(self, memory: Memory, index: Instr, operand: Operand) -> None:
        """Store an operand, which a constant or weak local fits to the memory's type."""
        wanted = memory.dtype
        if memory.fixed is not None:
            value = to_cell(self.typing, memory, operand)
        elif wanted.storage_only:
            value = self.typing.as_value(operand, f32.vector(wanted.lanes))
            value = value if value.dtype == wanted else self.builder.emit("convert", value, dtype=wanted)
        else:
            value = self.typing.as_value(operand, wanted)
            self.typing.retype_weak(value, wanted.scalar)
            value = self.typing.widen(self.typing.fit(value, wanted), wanted)
        self.builder.emit("store", index, value, memory=memory)

    def assign_component(self, target: ast.Attribute, name: str, operand: Operand) -> None:
        variable = self.find(name)
        if not isinstance(variable, Variable) or target.attr not in tuple("xyzw"[: variable.dtype.lanes]):
            raise self.builder.error("no such component", "x, y, z or w of a vector", target.attr, "Check the name")
        whole = self.with_component(self.builder.emit("get", attr=variable), target.attr, operand)
        self.builder.emit("set", whole, attr=variable)

    def with_component(self, vector: Instr, name: str, operand: Operand) -> Instr:
        """Return a short vector of which one component is another."""
        dtype = vector.type
        if name not in tuple("xyzw"[: dtype.lanes]) or not dtype.is_vector:
            raise self.builder.error("no such component", "x, y, z or w of a vector", name, "Check the name")
        value = self.typing.as_value(operand, dtype.scalar)
        self.typing.retype_weak(value, dtype.scalar)
        wanted = "xyzw".index(name)
        parts = [value if i == wanted else self.builder.emit("extract", vector, attr=i) for i in range(dtype.lanes)]
        return self.builder.emit("vector", *parts, dtype=dtype)

    def on_if(self, node: ast.If) -> None:
        test = self.expressions.condition(node.test)
        if isinstance(test, Static):
            self.body(node.body if test.value else node.orelse)
            return
        branch = self.builder.if_(self.typing.as_value(test))
        for block, statements in ((branch.then, node.body), (branch.otherwise, node.orelse)):
            with self.builder.into(block):
                self.translate_scope(statements)

    def translate_scope(self, statements: list[ast.stmt]) -> None:
        """Translate a nested block; names bound to values there are forgotten after it."""
        before = dict(self.frame.names)
        self.body(statements)
        variables = {n: v for n, v in self.frame.names.items() if isinstance(v, (Variable, StructVariable))}
        self.frame.names = {**before, **variables}

    def on_while(self, node: ast.While) -> None:
        self.no_else(node)
        loop = self.builder.while_()
        with self.builder.into(loop.test):
            self.frame.loops += 1  # what a function that is asked declares is declared each turn
            test = self.expressions.condition(node.test)
            self.frame.loops -= 1
            loop.condition = self.typing.as_value(test)
        with self.builder.into(loop.body):
            self.translate_loop(node.body)

    def translate_loop(self, statements: list[ast.stmt]) -> None:
        self.frame.loops += 1
        self.translate_scope(statements)
        self.frame.loops -= 1

    def no_else(self, node: ast.While | ast.For) -> None:
        if node.orelse:
            raise self.refuse(node, "loops with else")

    def on_for(self, node: ast.For) -> None:
        self.no_else(node)
        callee = self.expressions.evaluate(node.iter.func) if isinstance(node.iter, ast.Call) else None
        if isinstance(node.target, ast.Name) and isinstance(callee, Static) and callee.value is range:
            assert isinstance(node.iter, ast.Call)
            self.count_loop(node, node.target.id, self.calls.arguments(node.iter, "range"))
        else:
            self.static_for(node, self.expressions.evaluate(node.iter))

    def static_for(self, node: ast.For, items: Operand) -> None:
        """Unroll a loop over compile-time items."""
        if isinstance(items, tuple):
            values = list(items)
        elif isinstance(items, Static) and (found := self.expressions.pure(items_of_host, items.value)) is not None:
            values = [Static(v) for v in itertools.islice(found, _MOST_UNROLLED + 1)]
        else:
            raise self.builder.error(
                "for runs over range(...), static_range(...) or a static tuple", "one of these", describe(items),
                "Use for i in range(n)",
            )  # fmt: skip
        if len(values) > _MOST_UNROLLED:
            raise self.builder.error(
                "too many turns to unroll",
                f"at most {_MOST_UNROLLED}",
                "more",
                "Use for i in range(n), a loop at run time",
            )
        if _escapes_own(node.body):
            raise self.refuse(node, "break and continue in unrolled loops")
        for value in values:
            self.assign(node.target, value)
            self.body(node.body)
            if self.has_left():
                return

    def count_loop(self, node: ast.For, name: str, bounds: list[Operand]) -> None:
        bounds = [
            Static(int(b.value)) if isinstance(b, Static) and is_scalar(b.value) and b.value.dtype.kind in "iu" else b
            for b in bounds
        ]
        if not 1 <= len(bounds) <= 3:
            raise self.builder.error(
                "range has the wrong number of bounds", "1 to 3", len(bounds), "Write range(start, stop)"
            )
        start, stop = (Static(0), bounds[0]) if len(bounds) == 1 else (bounds[0], bounds[1])
        step = bounds[2] if len(bounds) == 3 else Static(1)
        key = self.key(node)
        known = [b.value for b in (start, stop, step) if isinstance(b, Static) and isinstance(b.value, int)]
        dtype = self.retyped.get(key) or self.retyped.get((key, "weak"))
        dtype = self.typing.settle(key, dtype, known)
        down = self.counts_down(step)
        if len(known) == 3 and name in self.frame.mutable:
            self.assign_first(name, range(*known))
        if dtype is None and len(known) == 3:
            widest = promote([self.typing.default_dtype(n) for n in known])  # the step 1 of bounds beyond 32 bits
            dtype = widest if widest.bits > 32 else None
        if dtype is not None:
            start, stop, step = (self.typing.as_value(b, dtype) for b in (start, stop, step))
        first, last, by = self.typing.unify([start, stop, step])
        if by.op.name != "const" and isinstance(step, Instr) and step.type.is_signed:
            raise self.builder.error(
                "range with a signed step only known at run time", "a constant or an unsigned step", by.dtype,
                "Convert with u32(...)",
            )  # fmt: skip
        loop = self.builder.for_(first, last, by, down=down)
        if len(known) == 3 and key not in self.retyped:
            self.typing.mark_weak(loop, key)
        is_index = any(map(self.typing.is_index, (start, stop, step))) or self.typing.has_met(key)
        self.loop_body(node, name, loop, is_natural=self.typing.count(loop, start, is_index))

    def assign_first(self, name: str, counts: range) -> None:
        """Tell that a counter used after its loop has a value there, as the loop runs at least once."""
        if counts:
            self.assign_name(name, Static(counts[0]))

    def loop_body(self, node: ast.For, name: str, loop: For, *, is_natural: bool) -> None:
        """Translate the body of a counted loop, ``name`` standing for its counter; ``is_natural``: not below zero."""
        before = self.frame.names.get(name)
        with self.builder.into(loop.body):
            counter = self.typing.as_natural(loop.index) if is_natural else loop.index
            if name in self.frame.mutable:
                self.assign_name(name, counter)
            else:
                self.frame.names[name] = counter
                self.builder.name_value(counter, name)
            self.translate_loop(node.body)
        if name in self.frame.mutable:
            return
        if before is not None:
            self.frame.names[name] = before
        else:
            self.frame.names.pop(name, None)

    def counts_down(self, step: Operand) -> bool:
        """Tell the direction of a range with a constant step; any other step must be unsigned."""
        if isinstance(step, Static) and is_number(step.value):
            by = step.value
        elif isinstance(step, Instr) and step.op.name == "const" and step.type.is_integer:
            by = constant_value(step.attr, step.type)
        else:
            return False
        if not by:
            raise self.builder.error("range with step 0", "a step other than 0", 0, "Use a positive step")
        return bool(by < 0)

    def in_loop(self, node: ast.stmt) -> None:
        if not self.frame.loops:
            raise self.refuse(node, f"{type(node).__name__.lower()} outside loops")

    def on_break(self, node: ast.Break) -> None:
        self.in_loop(node)
        self.builder.break_()

    def on_continue(self, node: ast.Continue) -> None:
        self.in_loop(node)
        self.builder.continue_()

    def on_return(self, node: ast.Return) -> None:
        if not self.frame.is_kernel:
            remedy = "Keep the result in a variable, leave the loop by break, and return the variable after it"
            raise self.refuse(node, "returns from inside a loop of a helper function", remedy)
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            raise self.builder.error(
                "a kernel returns nothing", "return", ast.unparse(node.value), "Store it in a buffer"
            )
        self.builder.return_()

    def on_assert(self, node: ast.Assert) -> None:
        test = self.typing.as_value(self.expressions.condition(node.test))
        text = ast.unparse(node.test)
        pieces, values = self.calls.message([node.msg]) if node.msg is not None else ((text,), [])
        self.builder.emit("assert", test, *values, attr=pieces)

    def splice(self, block: Block) -> None:
        """Append the statements of a scratch block here."""
        for statement in block.statements:
            self.builder.append(statement)


def _escapes_own(body: list[ast.stmt]) -> bool:
    """True when a break or continue in ``body`` leaves the loop whose body it is."""
    for statement in body:
        if isinstance(statement, (ast.Break, ast.Continue)):
            return True
        if isinstance(statement, ast.If) and (_escapes_own(statement.body) or _escapes_own(statement.orelse)):
            return True
    return False


def _as_load(target: ast.expr) -> ast.expr:
    if isinstance(target, ast.Name):
        return ast.Name(target.id, ast.Load())
    if isinstance(target, ast.Subscript):
        return ast.Subscript(target.value, target.slice, ast.Load())
    assert isinstance(target, ast.Attribute), "what an augmented assignment has for targets"
    return ast.Attribute(target.value, target.attr, ast.Load())
