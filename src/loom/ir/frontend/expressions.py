"""Translates Python expressions to operations.

Layer: ir. Arithmetic follows Python on types that Python has (``//`` and ``%`` round down, ``/`` is true
division, ``and``/``or`` stop early) and wraps like the hardware where integers are bounded. Invariant:
an expression known at compile time is evaluated by Python itself and emits nothing.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from loom.core.dtype import DType, bool_, f32, u32
from loom.core.errors import LoomError, near_matches
from loom.core.given import is_array, is_list
from loom.ir.frontend.base.values import (
    AxesView,
    Operand,
    RecordPlace,
    Static,
    StructValue,
    StructVariable,
    describe,
    is_number,
    is_typed,
    promote,
)
from loom.ir.frontend.data.cells import from_cell
from loom.ir.frontend.data.fields import is_record, leaves, rebuilt
from loom.ir.frontend.elementary import Elementary
from loom.ir.frontend.host.plain import (
    Getter,
    Impure,
    attribute,
    contains,
    item,
    items,
    name_of,
    names_of_attributes,
    operate,
    truth,
)
from loom.ir.kernel import Block, Instr, Memory, Variable
from loom.ir.ops import OPS, Effect

if TYPE_CHECKING:
    from loom.ir.frontend.translator import Translator

__all__ = ["Expressions"]

_python: Any = operator  # of whose functions some have no types
_BINARY: dict[type, tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("add", _python.add),
    ast.Sub: ("sub", _python.sub),
    ast.Mult: ("mul", _python.mul),
    ast.Div: ("div", _python.truediv),
    ast.FloorDiv: ("floordiv", _python.floordiv),
    ast.Mod: ("mod", _python.mod),
    ast.Pow: ("pow", _python.pow),
    ast.LShift: ("shl", _python.lshift),
    ast.RShift: ("shr", _python.rshift),
    ast.BitAnd: ("and", _python.and_),
    ast.BitOr: ("or", _python.or_),
    ast.BitXor: ("xor", _python.xor),
}
_COMPARE: dict[type, tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Eq: ("eq", _python.eq),
    ast.NotEq: ("ne", _python.ne),
    ast.Lt: ("lt", _python.lt),
    ast.LtE: ("le", _python.le),
    ast.Gt: ("gt", _python.gt),
    ast.GtE: ("ge", _python.ge),
    ast.Is: ("is", _python.is_),
    ast.IsNot: ("is not", operator.is_not),
    ast.In: ("in", lambda a, b: contains(b, a)),
    ast.NotIn: ("not in", lambda a, b: not contains(b, a)),
}
_UNARY: dict[type, Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
}
_COMPONENTS = "xyzw"


class Expressions:
    """One method per kind of expression; ``evaluate`` chooses by the node's class."""

    def __init__(self, translator: Translator) -> None:
        self.t = translator
        self.b = translator.builder
        self.typing = translator.typing

    def evaluate(self, node: ast.expr) -> Operand:
        """Return what ``node`` stands for, emitting the operations it needs; records are loaded whole."""
        found = self.refer(node)
        return self.t.fields.load(found) if isinstance(found, RecordPlace) else found

    def refer(self, node: ast.expr) -> Operand:
        """Return what ``node`` stands for, of a record in memory its place."""
        handler = getattr(self, type(node).__name__.lower(), None)
        if handler is None:
            raise self.t.refuse_expression(node)
        return handler(node)

    def value(self, node: ast.expr, dtype: DType | None = None) -> Instr:
        """Evaluate to a typed value, a bare constant taking ``dtype``."""
        return self.typing.as_value(self.evaluate(node), dtype)

    def condition(self, node: ast.expr) -> Operand:
        """Evaluate to a bool value or a static truth."""
        result = self.evaluate(node)
        return Static(self.pure(truth, result.value)) if isinstance(result, Static) else self.truth(result)

    def truth(self, operand: Operand) -> Instr:
        """Return a computed operand that must be a bool."""
        value = self.typing.as_value(operand)
        if value.dtype != bool_:
            raise self.b.error("a condition must be a bool", "bool", value.dtype, "Compare, for example x != 0")
        return value

    # leaves

    def constant(self, node: ast.Constant) -> Operand:
        return Static(node.value)

    def name(self, node: ast.Name) -> Operand:
        found = self.t.find(node.id)
        if isinstance(found, Variable):
            return self.b.emit("get", attr=found)
        return self.t.fields.values_of(found) if isinstance(found, StructVariable) else found

    def tuple(self, node: ast.Tuple) -> Operand:
        items = [self.evaluate(e) for e in node.elts]
        if all(isinstance(i, Static) for i in items):
            return Static(tuple(i.value for i in items if isinstance(i, Static)))
        return tuple(items)

    def list(self, node: ast.List) -> Operand:
        return self.tuple(ast.copy_location(ast.Tuple(node.elts, node.ctx), node))

    def attribute(self, node: ast.Attribute) -> Operand:
        base = self.owner(node.value)
        if isinstance(base, (StructValue, StructVariable, RecordPlace)) or is_record(base):
            found = self.t.fields.attribute(base, node.attr)
            return self.t.fields.values_of(found) if isinstance(found, StructVariable) else found
        if isinstance(base, Static):
            try:
                found = self.pure(attribute, base.value, node.attr)
            except AttributeError:
                names = [n for n in names_of_attributes(base.value) if not n.startswith("_")]
                raise self.b.error(
                    f"no attribute {node.attr!r}", f"an attribute of {describe(base)}", node.attr,
                    near_matches(node.attr, names),
                ) from None  # fmt: skip
            if isinstance(found, Getter):
                return self.t.calls.inlining.inline(cast("FunctionType", found.function), [base], {})
            return Static(found)
        if isinstance(base, Instr) and base.type.is_vector and node.attr in tuple(_COMPONENTS[: base.type.lanes]):
            return self.b.emit("extract", base, attr=_COMPONENTS.index(node.attr))
        if isinstance(base, (Memory, Instr)) and node.attr == "dtype":
            return Static(base.dtype)
        if isinstance(base, Memory) and node.attr in ("shape", "ndim", "size"):
            base = AxesView(base, (self.t.calls.length([base]),))
        known = self.t.views.attribute(base, node.attr) if isinstance(base, AxesView) else None
        if known is not None:
            return known
        raise self.b.error(
            f"no attribute {node.attr!r}", "x, y, z or w of a short vector; shape, size, ndim or dtype of memory",
            describe(base), "Check the name",
        )  # fmt: skip

    def owner(self, node: ast.expr) -> Operand | StructVariable:
        """Return what an attribute is taken of; of records what is needed to find one field."""
        if isinstance(node, ast.Name):
            found = self.t.find(node.id)
            if isinstance(found, StructVariable):
                return found
        elif isinstance(node, ast.Attribute):
            base = self.owner(node.value)
            if isinstance(base, StructVariable) and node.attr in base.fields:
                return self.t.fields.attribute(base, node.attr)
        return self.refer(node)

    def subscript(self, node: ast.Subscript) -> Operand:
        base = self.evaluate(node.value)
        index = self.evaluate(node.slice)
        if isinstance(base, AxesView):
            return self.t.views.item(base, index)
        if isinstance(base, Memory):
            return self.load(base, index)
        if isinstance(index, Static) and isinstance(base, Static):
            return self.static(item, base.value, index.value)
        if isinstance(index, Static) and isinstance(base, tuple):
            return self.item(base, index.value)
        if isinstance(base, Instr) and base.type.is_vector and isinstance(index, Static):
            return self.component(base, index.value)
        if isinstance(base, Instr) and base.type.is_vector:
            base = tuple(self.component(base, n) for n in range(base.type.lanes))
        if self.t.tables.is_table(base):
            name = node.value.id if isinstance(node.value, ast.Name) else "table"
            return self.t.tables.item(base, index, name, self.t.key(node))
        raise self.b.error(
            "cannot be indexed", "a buffer, an array, a tuple or a table of constants", describe(base),
            "Index memory, a tuple, a list or an array",
        )  # fmt: skip

    def items_of(self, operand: Operand) -> list[Operand] | None:
        """Return the items of what has a number of them known at compile time; None if it has none."""
        if isinstance(operand, tuple):
            return list(operand)
        if isinstance(operand, AxesView) and isinstance(operand.rest[0], Static):
            return [self.t.views.item(operand, Static(n)) for n in range(operand.rest[0].value)]
        value: Any = operand.value if isinstance(operand, Static) else None
        if is_list(value) or is_array(value) or isinstance(value, range):
            return [Static(v) for v in self.pure(items, value) or ()]
        return None

    def item(self, items: tuple[Operand, ...], index: Any) -> Operand:
        """Return an item, or a slice, of a tuple of values."""
        try:
            return items[index]
        except (IndexError, TypeError) as error:
            raise self.b.error(
                f"{error}", f"an index from 0 to {len(items) - 1}", repr(index), "Check the index"
            ) from None

    def component(self, vector: Instr, index: Any) -> Instr:
        """Return a component of a short vector by number."""
        lanes = vector.type.lanes
        if not isinstance(index, int) or not -lanes <= index < lanes:
            raise self.b.error(
                f"{vector.dtype} has no such component", f"0 to {lanes - 1}", repr(index), "Check the index"
            )
        return self.b.emit("extract", vector, attr=index % lanes)

    def slice(self, node: ast.Slice) -> Operand:
        bounds = [Static(None) if e is None else self.evaluate(e) for e in (node.lower, node.upper, node.step)]
        if all(isinstance(b, Static) for b in bounds):
            return Static(slice(*(b.value for b in bounds if isinstance(b, Static))))
        raise self.t.refuse(node, "slices with bounds known only at run time")

    def load(self, memory: Memory, index: Operand) -> Instr:
        """Load an element; half-width floats are read as f32."""
        return self.load_element(memory, self.index(index))

    def load_element(self, memory: Memory, index: Instr) -> Instr:
        """Load the element at an index that is a value."""
        value = self.b.emit("load", index, memory=memory)
        if memory.fixed is not None:
            return from_cell(self.typing, memory, value)
        if memory.dtype.storage_only:
            lanes = memory.dtype.lanes
            return self.b.emit("convert", value, dtype=f32.vector(lanes))
        return value

    def index(self, index: Operand) -> Instr:
        """Return an index as an integer value (constants as u32)."""
        if isinstance(index, tuple) or (isinstance(index, Static) and isinstance(index.value, tuple)):
            remedy = "Declare it as In[f32, 2] (or InOut, Out) to index rows and columns, or write row * width + column"
            raise self.b.error("memory has one dimension", "one index", "a tuple", remedy)
        if isinstance(index, Static) and isinstance(index.value, slice):
            raise self.b.error("memory is read element by element", "one index", "a slice", "Write a loop")
        if isinstance(index, Static) and isinstance(index.value, int) and not isinstance(index.value, bool):
            if index.value < 0:
                raise self.b.error(
                    "no element before the first", "an index of at least 0", index.value, "Count from len(...)"
                )
            return self.typing.constant(index.value, u32)
        return self.typing.as_value(index)

    # operators

    def binop(self, node: ast.BinOp) -> Operand:
        left, right = self.evaluate(node.left), self.evaluate(node.right)
        return self.binary(node.op, left, right)

    def binary(self, op: ast.operator, left: Operand, right: Operand) -> Operand:
        """Apply a binary operator to two operands."""
        if type(op) not in _BINARY:
            raise self.t.refuse(op, f"the operator {type(op).__name__}")
        name, on_host = _BINARY[type(op)]
        if isinstance(left, Static) and isinstance(right, Static):
            if is_typed(left) or is_typed(right):
                return self.fold(lambda: self.operation(name, left, right))
            return self.static(on_host, left.value, right.value)
        return self.operation(name, left, right)

    def operation(self, name: str, left: Operand, right: Operand) -> Instr:
        """Emit a binary operator on values of which one at least has a type."""
        if name == "pow":
            return self.typing.as_value(self.t.calls.numbers.power([left, right]))
        a, b = self.typing.operands(name, left, right)
        if name == "div" and a.type.is_integer:
            raise self.b.error("/ divides floats", "f32 or f64", a.dtype, "Use // or convert with f32(...)")
        if name in ("floordiv", "mod"):
            result = self.divide_down(name, a, b)
            is_positive = name == "mod" and isinstance(right, Static) and right.value > 0
            return self.typing.as_natural(result) if is_positive and self.typing.is_index(result) else result
        return self.typing.emit(name, a, b)

    def divide_down(self, name: str, a: Instr, b: Instr) -> Instr:
        """``//`` and ``%`` as in Python; with a zero divisor they give 0 and the dividend."""
        if a.type.is_float:
            remedy = "Use floor(x / y)" if name == "floordiv" else "Use x - y * floor(x / y)"
            raise self.b.error(f"{'//' if name == 'floordiv' else '%'} takes integers", "an integer", a.dtype, remedy)
        emit = self.typing.emit
        if not a.type.is_signed:
            return emit("idiv" if name == "floordiv" else "irem", a, b)
        if name == "mod" and (quick := self.typing.remainder(a, b)) is not None:
            return quick
        zero = self.typing.constant(0, a.type)
        remainder = emit("irem", a, b)
        signs_differ = emit("lt", emit("xor", remainder, b), zero)
        nonzero = emit("and", emit("ne", remainder, zero), emit("ne", b, zero))
        adjust = emit("and", signs_differ, nonzero)
        if name == "mod":
            return emit("select", adjust, emit("add", remainder, b), remainder)
        quotient = emit("idiv", a, b)
        one = self.typing.constant(1, a.type)
        return emit("select", adjust, emit("sub", quotient, one), quotient)

    def unaryop(self, node: ast.UnaryOp) -> Operand:
        if isinstance(node.op, ast.Not):
            truth = self.condition(node.operand)
            return (
                Static(not truth.value)
                if isinstance(truth, Static)
                else self.b.emit("not", self.typing.as_value(truth))
            )
        operand = self.evaluate(node.operand)
        name = "neg" if isinstance(node.op, ast.USub) else "not" if isinstance(node.op, ast.Invert) else None
        if isinstance(operand, Static):
            if name is not None and is_typed(operand):
                return self.fold(lambda: self.typing.emit(name, self.typing.as_value(operand)))
            return self.static(_UNARY[type(node.op)], operand.value)
        value = self.typing.as_value(operand)
        return value if name is None else self.typing.emit(name, value)

    def compare(self, node: ast.Compare) -> Operand:
        return self.chain(self.evaluate(node.left), node.ops, node.comparators)

    def chain(self, left: Operand, ops: list[ast.cmpop], nodes: list[ast.expr]) -> Operand:
        """``left op a op b ...``: what follows a comparison that fails is not evaluated."""
        right = self.evaluate(nodes[0])
        first = self.comparison(ops[0], left, right)
        if len(ops) == 1:
            return first
        if isinstance(first, Static):
            return self.chain(right, ops[1:], nodes[1:]) if first.value else first
        return self.shortcut(self.typing.as_value(first), lambda: self.chain(right, ops[1:], nodes[1:]), is_and=True)

    def comparison(self, op: ast.cmpop, left: Operand, right: Operand) -> Operand:
        """Apply one comparison."""
        name, on_host = _COMPARE[type(op)]
        if isinstance(left, Static) and isinstance(right, Static):
            if name in OPS and (is_typed(left) or is_typed(right)) and is_number(left.value) and is_number(right.value):
                return self.fold(lambda: self.b.emit(name, *self.typing.unify([left, right])))
            return self.static(on_host, left.value, right.value)
        is_none = any(isinstance(o, Static) and o.value is None for o in (left, right))
        if is_none and name in ("is", "is not"):
            return Static(name == "is not")  # the other one is computed, so it is not None
        items = self.items_of(right) if name in ("in", "not in") else None
        if items is not None:
            same = [self.comparison(ast.Eq(), left, item) for item in items]
            found = self.t.calls.numbers.some("any", [tuple(same)])
            if name == "in":
                return found
            return Static(not found.value) if isinstance(found, Static) else self.b.emit("not", self.truth(found))
        if name in ("is", "is not", "in", "not in"):
            raise self.b.error(f"{name!r} compares compile-time values", "== or !=", describe(left), "Use == or !=")
        return self.typing.compare(name, left, right)

    def boolop(self, node: ast.BoolOp) -> Operand:
        is_and = isinstance(node.op, ast.And)
        result = self.evaluate(node.values[0])
        for right in node.values[1:]:
            if isinstance(result, Static):
                if self.pure(truth, result.value) is not is_and:
                    return result
                result = self.evaluate(right)
            else:
                left = self.truth(result)
                result = self.shortcut(left, lambda right=right: self.condition(right), is_and=is_and)
        return result

    def shortcut(self, left: Instr, right: Callable[[], Operand], *, is_and: bool) -> Instr:
        """``left and right()``: ``right`` runs only when needed, unless running it always is harmless."""
        block = Block()
        with self.b.into(block):
            truth = self.typing.as_value(right())
        if _is_harmless(block):
            self.t.splice(block)
            return self.b.emit("and" if is_and else "or", left, truth)
        result = self.b.variable("condition", bool_)
        self.b.emit("set", left, attr=result)
        test = left if is_and else self.b.emit("not", left)
        branch = self.b.if_(test)
        with self.b.into(branch.then):
            self.t.splice(block)
            self.b.emit("set", truth, attr=result)
        return self.b.emit("get", attr=result)

    def ifexp(self, node: ast.IfExp) -> Operand:
        test = self.condition(node.test)
        if isinstance(test, Static):
            return self.evaluate(node.body if test.value else node.orelse)
        blocks = Block(), Block()
        results: list[Operand] = []
        for block, branch in zip(blocks, (node.body, node.orelse), strict=True):
            with self.b.into(block):
                results.append(self.evaluate(branch))
        if all(_is_harmless(block) for block in blocks):
            for block in blocks:
                self.t.splice(block)
            return self.select(test, results, node)
        return self.choose(self.typing.as_value(test), blocks, results, node)

    def select(self, test: Operand, results: list[Operand], node: ast.expr) -> Operand:
        """Choose between two values already computed; two bare constants give a weak value."""
        if any(isinstance(r, StructValue) or is_record(r) for r in results):
            a, b = self.of_one_kind(results)
            chosen = [self.select(test, list(pair), node) for pair in zip(leaves(a), leaves(b), strict=True)]
            return rebuilt(a, iter(chosen))
        if all(isinstance(r, Static) for r in results):
            key, retyped = self.t.key(node), self.t.retyped
            dtype = (
                retyped.get(key) or retyped.get((key, "weak")) or promote([r.type for r in self.typing.unify(results)])
            )
            dtype = self.typing.settle(key, dtype, [r.value for r in results if isinstance(r, Static)])
            a, b = (self.typing.as_value(r, dtype) for r in results)
            value = self.typing.emit("select", self.typing.as_value(test), a, b)
            if key not in self.t.retyped:
                self.typing.weak[value] = key
            return value
        a, b = self.typing.unify(results)
        return self.typing.emit("select", self.typing.as_value(test), a, b)

    def of_one_kind(self, results: list[Operand]) -> list[StructValue]:
        """Return records of one class."""
        kinds = [r.kind for r in results if isinstance(r, StructValue)]
        kinds += [type(r.value) for r in results if isinstance(r, Static) and is_record(r)]
        return [self.t.fields.as_struct(r, kinds[0], "the other value") for r in results]

    def choose(self, test: Instr, blocks: tuple[Block, Block], results: list[Operand], node: ast.expr) -> Operand:
        """Run one of two blocks and give its result."""
        branch = self.b.if_(test)
        records = any(isinstance(r, StructValue) or is_record(r) for r in results)
        result: Variable | StructVariable | None = None
        for block, inner, operand in zip((branch.then, branch.otherwise), blocks, results, strict=True):
            with self.b.into(block):
                self.t.splice(inner)
                if records:
                    value = self.of_one_kind([*(r for r in results if isinstance(r, StructValue)), operand])[-1]
                    result = result or self.t.fields.variable_for("choice", value)
                    assert isinstance(result, StructVariable)
                    self.t.fields.set_variable(result, value)
                    continue
                result = result or self.t.variable_for("choice", self.t.key(node), operand)
                assert isinstance(result, Variable)
                self.t.set_variable(result, operand)
        if isinstance(result, StructVariable):
            return self.t.fields.values_of(result)
        return self.b.emit("get", attr=result)

    def namedexpr(self, node: ast.NamedExpr) -> Operand:
        result = self.evaluate(node.value)
        self.t.assign_name(node.target.id, result)
        return result

    def call(self, node: ast.Call) -> Operand:
        return self.t.calls.call(node)

    def fold(self, emit: Callable[[], Operand]) -> Static | Instr:
        """Evaluate what ``emit`` emits of typed constants now, by the meaning of its operations.

        What is no row of plain operations, as the function ``pow`` is, stays for the kernel to compute.
        """
        block = Block()
        known: dict[Instr, Any] = {}
        with self.b.into(block):
            result = self.typing.as_value(emit())
        for s in block.statements:
            if isinstance(s, Instr) and s.op.name == "const":
                known[s] = np.array([s.attr], s.type.bits_numpy).view(s.type.numpy)
            elif isinstance(s, Instr) and s.op.evaluate is not None and s.op.name not in ("convert", "bitcast"):
                with np.errstate(all="ignore"):
                    known[s] = s.op.evaluate(*(known[a] for a in s.args))
            else:
                for statement in block.statements:
                    self.b.append(statement)
                return result
        value = known[result][0]
        return Static(bool(value) if result.type.is_bool else value)

    def static(self, on_host: Callable[..., Any], *values: Any) -> Static:
        """Evaluate an operator at compile time, as far as it runs no code of others."""
        try:
            if on_host is _python.pow:
                from loom.ir.frontend.host.constantvalues import power

                return Static(self.pure(power, Elementary.find, *values))
            return Static(self.pure(on_host if on_host in _FREE else partial(operate, on_host), *values))
        except LoomError:
            raise
        except Exception as error:
            what = f"compile-time expression fails ({type(error).__name__}: {error})"
            got = ", ".join(describe(Static(v)) for v in values)
            raise self.b.error(what, "values it is defined for", got, "Check the constants") from error

    def pure(self, evaluate: Callable[..., Any], *values: object) -> Any:
        """Return what a function of ``host.values`` gives; an error of the kernel where it would run code of others."""
        try:
            return evaluate(*values)
        except Impure as error:
            got = ", ".join(map(name_of, values[:1]))
            raise self.b.error(error.what, "numbers, texts, or what an object holds", got, error.remedy) from None


_FREE = (operator.is_, operator.is_not, item, _COMPARE[ast.In][1], _COMPARE[ast.NotIn][1])
"""What is no operator on plain values alone, and sees to it itself."""


def _is_harmless(block: Block) -> bool:
    """True when computing ``block`` in lanes that do not need it changes nothing and costs little."""
    harmless = all(
        isinstance(s, Instr) and (s.op.is_pure or s.op.effect is Effect.IDENTITY or s.op.name == "get")
        for s in block.statements
    )
    costly = any(isinstance(s, Instr) and s.op.name in ("idiv", "irem") for s in block.statements)  # beside a branch
    return harmless and not costly and len(block.statements) <= 24
