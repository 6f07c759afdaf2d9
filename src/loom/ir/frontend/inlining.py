"""Translates calls of Python functions in place, and their returns to values.

Layer: ir. A helper is any Python function whose source can be read; it costs nothing and may be generic
over the types of its arguments. What follows an ``if`` with returns is translated inside the branches
that go on. Invariant: recursion is refused.
"""

from __future__ import annotations

import ast
import inspect
import types
from typing import TYPE_CHECKING, Any, cast

from loom.core.dtype import DType
from loom.core.errors import KernelError, SyntaxNotSupported
from loom.ir.frontend.base.annotations import BufferType, resolve_annotations, scalar_type
from loom.ir.frontend.base.values import AxesView, Operand, Static, StructValue, describe
from loom.ir.frontend.data.fields import is_record, leaves, rebuilt
from loom.ir.frontend.data.structs import is_struct
from loom.ir.frontend.names import FunctionNames
from loom.ir.frontend.scope import mutable_names
from loom.ir.frontend.source import FunctionSource, function_source, names_of
from loom.ir.kernel import Loc, Memory, Variable

if TYPE_CHECKING:
    from loom.ir.frontend.translator import Translator

__all__ = ["Inlining"]

_MAX_DEPTH = 32
_MOST_COPIES = 128
"""Times the end of a function may be copied for ifs whose branches both go on and return."""


class Inlining:
    """``inline`` translates a call; ``tail`` a body up to its returns."""

    def __init__(self, translator: Translator) -> None:
        self.t = translator
        self.b = translator.builder
        self.typing = translator.typing

    def inline(
        self, fn: types.FunctionType, args: list[Operand], keywords: dict[str, Operand], *, at_call: bool = False
    ) -> Operand:
        """Translate a Python function at the place of its call; ``at_call``: its lines are that of the call."""
        source = function_source(fn)
        if any(f.function is fn for f in self.t.frames):
            raise self.b.error(f"{fn.__name__} calls itself", "no recursion", "a recursive call", "Write a loop")
        if len(self.t.frames) > _MAX_DEPTH:
            raise self.b.error(
                "calls are nested too deeply", f"at most {_MAX_DEPTH}", fn.__name__, "Join some functions"
            )
        bound = self.bind(fn, args, keywords)
        caller_loc = self.b.loc
        at = self.t.frame.at or (caller_loc if at_call else None)
        try:
            result = self.run(fn, source, bound, at)
        except KernelError as error:
            if caller_loc is not None and at is None:
                error.inside = error.inside or fn.__name__
                error.callers = ((self.t.frame.source.name, caller_loc.file, caller_loc.line), *error.callers)
            raise
        self.b.loc = caller_loc
        return result

    def run(self, fn: types.FunctionType, source: FunctionSource, bound: dict[str, Operand], at: Loc | None) -> Operand:
        """Translate the body of ``fn`` in a frame of its own."""
        self.t.inlined += 1
        mutable = mutable_names(source.body, set(bound))
        frame = FunctionNames(source, names_of(fn), mutable, self.t.inlined, is_kernel=False, function=fn, at=at)
        self.t.frames.append(frame)
        try:
            for name, operand in bound.items():
                self.t.assign_name(name, operand)
                if isinstance(operand, StructValue) or is_record(operand):
                    frame.records.add(name)
            return self.tail(list(source.body))
        finally:
            self.t.frames.pop()

    def bind(self, fn: types.FunctionType, args: list[Operand], keywords: dict[str, Operand]) -> dict[str, Operand]:
        """Return what each parameter of ``fn`` stands for in a call."""
        signature = inspect.signature(fn, follow_wrapped=False)
        try:
            found = signature.bind(*args, **keywords)
        except TypeError as error:
            raise self.b.error(
                f"{fn.__name__} is called wrongly ({error})", signature, len(args), "Match its parameters"
            ) from None
        annotations = resolve_annotations(fn, names_of(fn), calls=False)
        bound: dict[str, Operand] = {}
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                raise self.b.error(
                    f"{fn.__name__} takes any keywords", "named parameters", f"**{name}", "Name the parameters"
                )
            rest: Operand = () if parameter.kind is parameter.VAR_POSITIONAL else Static(parameter.default)
            operand = found.arguments.get(name, rest)
            bound[name] = self.apply_annotation(fn, name, operand, annotations.get(name))
        return bound

    def apply_annotation(self, fn: types.FunctionType, name: str, operand: Operand, annotation: Any) -> Operand:
        """Check an argument against the helper's annotation; a constant takes its type."""
        if (
            not isinstance(annotation, (DType, type))
            or isinstance(annotation, BufferType)
            or isinstance(operand, (Memory, AxesView))
        ):
            return operand
        if is_struct(annotation):
            return self.t.fields.as_struct(operand, annotation, f"argument {name!r} of {fn.__name__}")
        if isinstance(annotation, type) and annotation not in (int, float, bool):
            return operand
        wanted = scalar_type(annotation, self.b.where())
        value = self.typing.as_value(operand, wanted)
        self.typing.retype_weak(value, wanted)
        value = self.typing.declare(value, wanted)
        if value.dtype != wanted:
            raise self.b.error(
                f"argument {name!r} of {fn.__name__}", wanted, value.dtype, f"Convert with {wanted}(...)"
            )
        return value

    def tail(self, statements: list[ast.stmt]) -> Operand:
        """Translate a function body whose returns end it; give what it returns."""
        for position, statement in enumerate(statements):
            if isinstance(statement, ast.Return):
                self.t.builder.loc = self.t.loc_of(statement)
                return self.t.expressions.evaluate(statement.value) if statement.value is not None else Static(None)
            if isinstance(statement, ast.If) and _returns(statement):
                return self.tail_if(statement, statements[position + 1 :])
            self.t.statement(statement)
        return Static(None)

    def tail_if(self, node: ast.If, rest: list[ast.stmt]) -> Operand:
        """An ``if`` with returns: what follows it belongs to the branches that go on."""
        branches = [_with_rest(node.body, rest), _with_rest(node.orelse, rest)]
        self.b.loc = self.t.loc_of(node)
        test = self.t.expressions.condition(node.test)
        if isinstance(test, Static):
            return self.tail(branches[0] if test.value else branches[1])
        self.count_copies(branches, rest)
        branch = self.b.if_(self.typing.as_value(test))
        result: list[Variable] | None = None
        operands: list[Operand] = []
        form: Operand = Static(None)
        for block, statements in zip((branch.then, branch.otherwise), branches, strict=True):
            with self.b.into(block):
                names = dict(self.t.frame.names)
                operands.append(self.spread(self.tail(statements)))
                result = self.store_result(operands[-1], result, node)
                form = operands[-1]
                self.t.frame.names = names
        if any(isinstance(o, Static) and o.value is None for o in operands):
            return Static(None)
        if _form(operands[0]) != _form(operands[1]):
            raise self.b.error(
                "returns of different kinds", describe(operands[0]), describe(operands[1]), "Return alike everywhere"
            )
        return rebuilt(form, iter([self.b.emit("get", attr=v) for v in result or []]))

    def count_copies(self, branches: list[list[ast.stmt]], rest: list[ast.stmt]) -> None:
        """Refuse functions whose ends would be copied so often that compiling them takes forever."""
        frame = self.t.frame
        if rest and all(b and b[-1] is rest[-1] for b in branches):
            frame.copies += 1
        if frame.copies > _MOST_COPIES:
            raise SyntaxNotSupported(
                self.b.where(), f"{frame.source.name} has too many ifs that return on some paths and go on on others",
                expected="a few in a row", remedy="Keep the result in a local and return it at the end",
            )  # fmt: skip

    def store_result(self, operand: Operand, result: list[Variable] | None, node: ast.If) -> list[Variable]:
        """Keep a branch's result in variables shared by both branches."""
        if isinstance(operand, Static) and operand.value is None:
            return result or []
        items = leaves(operand)
        if result is None:
            keys = [(*self.t.key(f"result {i}"), node.lineno) for i in range(len(items))]
            result = [self.t.variable_for("result", k, o) for k, o in zip(keys, items, strict=True)]
        if len(result) != len(items):
            raise self.b.error(
                "returns of different length", len(result), len(items), "Return as many values everywhere"
            )
        for variable, item in zip(result, items, strict=True):
            self.t.set_variable(variable, item)
        return result

    def spread(self, operand: Operand) -> Operand:
        """Return tuples and records of constants as such of operands."""
        value: Any = operand.value if isinstance(operand, Static) else None
        if isinstance(value, tuple):
            return tuple(self.spread(Static(v)) for v in cast("tuple[Any, ...]", value))
        if isinstance(operand, tuple):
            return tuple(self.spread(item) for item in operand)
        return self.t.fields.of_host(value) if is_record(operand) else operand


def _returns(node: ast.If) -> bool:
    """True when a return is in a branch, loops aside (those are refused when met)."""

    def inside(statements: list[ast.stmt]) -> bool:
        return any(isinstance(s, ast.Return) or (isinstance(s, ast.If) and _returns(s)) for s in statements)

    return inside(node.body) or inside(node.orelse)


def _with_rest(branch: list[ast.stmt], rest: list[ast.stmt]) -> list[ast.stmt]:
    return branch if _ends(branch) else [*branch, *rest]


def _ends(statements: list[ast.stmt]) -> bool:
    """True when every path through ``statements`` returns at their end."""
    last = statements[-1] if statements else None
    return isinstance(last, ast.Return) or (isinstance(last, ast.If) and _ends(last.body) and _ends(last.orelse))


def _form(operand: Operand) -> Any:
    """Return what two operands have in common that may come of one function."""
    if isinstance(operand, tuple):
        return tuple(_form(item) for item in operand)
    return operand.kind if isinstance(operand, StructValue) else None
