"""What the names of a kernel stand for: values, variables, memory, or things known at compile time.

Layer: ir. The base of ``Translator``. A name assigned once is bound to its value (see ``scope``); others
become variables, typed by what is assigned first. Invariant: what differs from lane to lane is a number;
anything else is only bound where every lane passes.
"""

from __future__ import annotations

from dataclasses import field
from types import FunctionType, ModuleType
from typing import Any, TypeVar, cast

import numpy as np

from loom.core.dtype import SCALARS, DType, f32
from loom.core.errors import KernelTypeError, VerifyError, near_matches
from loom.core.late.dataclass import dataclass
from loom.ir.builder import Builder
from loom.ir.frontend.base.values import (
    Operand,
    Retype,
    Static,
    StructValue,
    StructVariable,
    describe,
    is_number,
    promote,
)
from loom.ir.frontend.data.fields import Fields, is_record
from loom.ir.frontend.intrinsics import INTRINSICS
from loom.ir.frontend.source import FunctionSource
from loom.ir.kernel import Block, Instr, Loc, Variable

__all__ = ["FunctionNames", "Names"]

_BUILTINS = (
    abs, all, any, bool, breakpoint, divmod, enumerate, float, int, len, max, min, pow, print, range, reversed, round,
    sum, tuple, zip,
)  # fmt: skip
"""Those of Python's builtins that mean something in a kernel."""


@dataclass(slots=True)
class FunctionNames:
    """The names of one function being translated. ``number`` tells inlined calls apart.

    ``homes`` has the block in which a mutable name was first assigned; ``copies`` counts how often the
    function's end was translated again.
    """

    source: FunctionSource
    outer: dict[str, Any]
    mutable: set[str]
    number: int
    is_kernel: bool
    function: Any = None
    at: Loc | None = None
    """The line that all of its code is told to be at."""
    names: dict[str, Operand | Variable | StructVariable] = field(
        default_factory=dict[str, "Operand | Variable | StructVariable"]
    )
    homes: dict[str, Block] = field(default_factory=dict[str, Block])
    loops: int = 0
    copies: int = 0
    records: set[str] = field(default_factory=set[str])
    """Parameters that are records, whose fields nobody assigns."""

    @property
    def is_own(self) -> bool:
        """True for the library's own code, which computes with unsigned indexes."""
        return self.function is None or (self.function.__module__ or "").startswith("loom.")


def _is_useful(value: Any) -> bool:
    """True for what a kernel can do something with: numbers, types, tuples, functions, modules, some builtins."""
    kinds = (bool, int, float, np.generic, DType, tuple, FunctionType, ModuleType)
    return isinstance(value, kinds) or any(value is b for b in _BUILTINS)


def describe_local(known: Operand | StructVariable) -> str:
    """Name what a local stands for."""
    return f"a {known.kind.__name__}" if isinstance(known, StructVariable) else describe(known)


class Names:
    """The stack of frames, and how names in them are found and assigned."""

    fields: Fields

    def __init__(self, builder: Builder, retyped: dict[Any, DType]) -> None:
        from loom.ir.frontend.base.indexes import IndexTyping  # not needed where kernels are recalled

        self.builder = builder
        self.typing = IndexTyping(builder, lambda key: (key, "index") in retyped, lambda: self.frame.is_own)
        self.retyped = retyped
        self.types: dict[Any, Any] = {}
        """What the type variables of the kernel stand for."""
        self.frames: list[FunctionNames] = []

    @property
    def frame(self) -> FunctionNames:
        """The function being translated."""
        return self.frames[-1]

    def key(self, thing: Any) -> Any:
        """Name a local or a node in a way that is the same in the next translation."""
        return self.frame.number, thing if isinstance(thing, str) else (thing.lineno, thing.col_offset)

    def find(self, name: str) -> Operand | Variable | StructVariable:
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
            value = frame.outer[name]
            return Static(self.types.get(value, value) if isinstance(value, TypeVar) else value)
        if name in SCALARS or name in INTRINSICS.values():
            remedy = f"Write loom.{name}, or import it from loom"
        else:
            useful = (n for n, value in frame.outer.items() if not n.startswith("_") and _is_useful(value))
            remedy = near_matches(name, [*frame.names, *useful])
        raise KernelTypeError(self.builder.where(), f"name {name!r} is not defined", remedy=remedy)

    def assign_name(self, name: str, operand: Operand, dtype: DType | None = None) -> None:
        """Bind a name: to the value itself, or through a variable if the name is mutable.

        ``dtype`` is what an annotation declares; a constant takes it, a value must have it.
        """
        if dtype is not None:
            operand = self.declare_as(name, operand, dtype)
        frame = self.frame
        if name not in frame.mutable:
            frame.names[name] = operand
            if isinstance(operand, Instr) and frame.is_kernel:
                self.builder.name_value(operand, name)
            return
        known = frame.names.get(name)
        if is_record(operand):
            operand = self.fields.as_struct(operand, cast("Any", type(operand.value)), name)
        if isinstance(operand, StructValue):
            self.assign_record(name, known, operand)
            return
        is_value = isinstance(operand, Instr) or (isinstance(operand, Static) and is_number(operand.value))
        if known is not None and not (is_value and isinstance(known, Variable)):
            self.check_rebinding(name, known, operand)
        if known is None or not isinstance(known, Variable):
            frame.homes[name] = self.builder.block
        if not is_value:
            frame.names[name] = operand
            return
        if not isinstance(known, Variable):
            known = frame.names[name] = self.variable_for(name, self.key(name), operand, dtype)
        self.set_variable(known, operand)

    def assign_record(self, name: str, known: Operand | Variable | StructVariable | None, value: StructValue) -> None:
        """Assign a record to a local that is assigned several times, or in parts."""
        if known is not None and not (isinstance(known, StructVariable) and known.kind is value.kind):
            self.check_rebinding(name, known, value)
        if not isinstance(known, StructVariable) or known.kind is not value.kind:
            self.frame.homes[name] = self.builder.block
            known = self.frame.names[name] = self.fields.variable_for(name, value)
        self.fields.set_variable(known, value)

    def check_rebinding(self, name: str, known: Operand | Variable | StructVariable, operand: Operand) -> None:
        """Refuse to make a name stand for something else unless no branch or loop lies between."""
        if self.frame.homes.get(name) is not self.builder.block:
            was = "a number" if isinstance(known, Variable) else describe_local(known)
            raise self.builder.error(
                f"{name!r} stands for {was} and cannot be assigned in a branch or loop", "a number on every path",
                describe(operand), "Only numbers may differ from lane to lane; use another name",
            )  # fmt: skip

    def declare_as(self, name: str, operand: Operand, dtype: DType) -> Instr:
        """Return the value of an annotated assignment, which must have the type it says."""
        value = self.typing.as_value(operand, dtype)
        self.typing.retype_weak(value, dtype.scalar if dtype.is_vector and not value.type.is_vector else dtype)
        value = self.typing.declare(value, dtype)
        value = self.typing.widen(value, dtype)
        if value.dtype != dtype:
            raise self.builder.error(
                f"{name!r} is declared as {dtype}", dtype, value.dtype, f"Convert with {dtype}(...)"
            )
        return value

    def variable_for(self, name: str, key: Any, operand: Operand, dtype: DType | None = None) -> Variable:
        """Declare a variable typed by ``dtype`` or its first value; ``key`` lets a weak one be retyped."""
        given = dtype or self.retyped.get(key)
        weak = given is None and (isinstance(operand, Static) or self.is_weak(operand))
        given = given or self.retyped.get((key, "weak"))
        if isinstance(operand, Static):
            given = self.typing.settle(key, given, [operand.value])
        if given is None and isinstance(operand, Static) and is_number(operand.value):
            given = self.typing.default_dtype(operand.value)
        elif given is None:
            given = self.typing.as_value(operand).type
        variable = self.builder.variable(name, given)
        if dtype is None:
            self.typing.counts(variable, key, operand)
        if weak:
            self.typing.mark_weak(variable, key)
        return variable

    def is_weak(self, operand: Operand) -> bool:
        """True for a value computed from weak locals alone."""
        return isinstance(operand, Instr) and self.typing.weak_key(operand) is not None

    def set_variable(self, variable: Variable, operand: Operand) -> None:
        """Assign, a bare constant taking the variable's type; retype whichever side is weak."""
        operand = self.typing.assign(variable, operand)
        key = self.typing.weak.get(variable)
        if (
            isinstance(operand, Static)
            and key is not None
            and isinstance(operand.value, float)
            and not variable.dtype.is_float
        ):
            raise Retype(key, f32, weak=True)
        value = self.typing.as_value(operand, variable.dtype)
        if value.dtype != variable.dtype:
            is_weak = self.is_weak(value)
            if key is None or not is_weak or value.dtype != promote([value.type, variable.dtype]):
                self.typing.retype_weak(value, variable.dtype, weak=key is not None)
            if key is not None:
                raise Retype(key, value.type, weak=is_weak)
            value = self.typing.widen(value, variable.dtype)
        self.builder.emit("set", value, attr=variable)
