"""What a name or expression stands for while a kernel is translated, and how operands find one type.

Layer: ir. ``Static`` wraps anything known at compile time; numbers among it are *weak*: they take the
type of the operand they meet. Invariant: no implicit conversion between two typed values, ever.
"""

from __future__ import annotations

import math
from types import FunctionType
from typing import Any, Union

import numpy as np

from loom.core.dtype import DType, bool_, f32, f64, i32, i64, u64
from loom.core.given import is_scalar
from loom.core.late.dataclass import dataclass
from loom.ir.builder import Builder
from loom.ir.frontend.host.plain import is_plain
from loom.ir.kernel import For, Instr, Memory, Variable

__all__ = [
    "AxesView",
    "Method",
    "Operand",
    "RecordPlace",
    "Retype",
    "Static",
    "StructValue",
    "StructVariable",
    "Typing",
    "describe",
    "expect_static",
    "is_number",
    "is_typed",
    "promote",
]  # fmt: skip


_BEYOND_F32 = 2.0**128 - 2.0**103
"""The least number that would be rounded to infinity as f32."""


@dataclass(frozen=True, slots=True)
class Static:
    """A value known at compile time: a number, a dtype, a function, a tuple, ..."""

    value: Any


@dataclass(frozen=True, slots=True, eq=False)
class AxesView:
    """Memory of several dimensions, or of records: what is left of it after the first ``indexes``.

    ``shape`` has the lengths of all its axes, ``kind`` the class of its records.
    """

    memory: Memory
    shape: tuple[Operand, ...]
    kind: type | None = None
    indexes: tuple[Instr, ...] = ()
    key: Any = None
    """Of a table of weak numbers: what to translate again if they need another type."""

    @property
    def rest(self) -> tuple[Operand, ...]:
        """The lengths of the axes that are left."""
        return self.shape[len(self.indexes) :]


@dataclass(frozen=True, slots=True, eq=False)
class RecordPlace:
    """A record in memory, from the word at ``index`` on; reading a field of it reads no other."""

    memory: Memory
    index: Instr
    kind: type
    word: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class StructValue:
    """A record that is computed: the values of its fields by name."""

    kind: type
    values: dict[str, Operand]


@dataclass(frozen=True, slots=True, eq=False)
class StructVariable:
    """A local that holds a record: a variable for each field."""

    kind: type
    fields: dict[str, Variable | StructVariable]


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """A function of a class of records, with the record it is called on."""

    function: FunctionType
    owner: Operand


Operand = Union[Instr, Static, Memory, AxesView, RecordPlace, StructValue, Method, "tuple[Operand, ...]"]


class Retype(Exception):
    """A weakly typed local turned out to need another type: translate again with it.

    With ``weak``, constants alone ask for it, so that a value may still decide otherwise; with ``index`` it is one.
    """

    def __init__(self, key: Any, dtype: DType, *, weak: bool = False, index: bool = False) -> None:
        super().__init__(key, dtype)
        self.index = index
        self.key = (key, "weak") if weak else key
        self.dtype = dtype


def promote(types: list[DType]) -> DType:
    """Return which type weak operands take among themselves: floats before integers, wide before narrow."""
    return max(types, key=lambda t: (t.is_float, t.bits, not t.is_signed))


def is_number(value: Any) -> bool:
    """Tell whether a static value may become a constant."""
    return isinstance(value, (bool, int, float, np.generic)) and is_plain(value)


def is_typed(operand: Operand) -> bool:
    """Tell whether an operand known at compile time is a number of one type: numpy's, not a plain one of Python."""
    return isinstance(operand, Static) and isinstance(operand.value, np.generic)


def describe(operand: Operand) -> str:
    """Name an operand's type for an error."""
    if isinstance(operand, Instr):
        return str(operand.dtype)
    if isinstance(operand, Memory):
        return f"the {operand.space.value} {operand.name!r}"
    if isinstance(operand, tuple):
        return "a tuple"
    if isinstance(operand, AxesView):
        held = f"the {operand.memory.space.value} {operand.memory.name!r} of {_count(len(operand.shape), 'dimension')}"
        return f"a part of {held}" if operand.indexes else held
    if isinstance(operand, (RecordPlace, StructValue)):
        return f"a {operand.kind.__name__}"
    if isinstance(operand, Method):
        return f"the method {operand.function.__name__!r}"
    if operand.value is None:
        return "None"
    return f"{operand.value!r}" if is_number(operand.value) else f"{type(operand.value).__name__}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


class Typing:
    """Turns operands into typed values; remembers which locals are weak and may be retyped."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.weak: dict[Variable | Instr, Any] = {}
        self.counters: set[Any] = set()
        self.cells: dict[Instr, tuple[int, Instr]] = {}
        """Floats read from fixed-point cells: the exponent of their scale, and what the cell holds."""

    def default_dtype(self, value: Any) -> DType:
        """The type a bare constant takes when nothing else decides."""
        if hasattr(value, "dtype"):
            from loom.core.dtype import of_numpy

            dtype = of_numpy(value.dtype, self.builder.where())
            return f32 if dtype.storage_only else dtype  # half-width floats are computed in f32
        if isinstance(value, bool) or not isinstance(value, int):
            beyond = isinstance(value, float) and math.isfinite(value) and abs(value) >= _BEYOND_F32
            return bool_ if isinstance(value, bool) else f64 if beyond else f32
        return next((t for t in (i32, i64, u64) if t.minimum <= value <= t.maximum), i32)

    def as_value(self, operand: Operand, dtype: DType | None = None) -> Instr:
        """Return ``operand`` as a value, a constant taking ``dtype`` (or its default type)."""
        if isinstance(operand, Instr):
            return operand
        if isinstance(operand, Static) and is_number(operand.value):
            return self.constant(operand.value, dtype or self.default_dtype(operand.value))
        remedy = "Index a buffer to get an element, call a function to use it"
        if isinstance(operand, AxesView):
            axes = ", ".join("ijklmnop"[: len(operand.shape)])
            remedy = f"Index every axis: {operand.memory.name}[{axes}]"
        elif isinstance(operand, (RecordPlace, StructValue)):
            remedy = "Take one of its fields"
        elif isinstance(operand, Static) and isinstance(operand.value, str):
            remedy = 'Write an f-string, f"{x}", in print or assert; elsewhere there are no texts'
        elif isinstance(operand, Static) and operand.value is None:
            remedy = "Return a number on every path of the function"
        raise self.builder.error("not a value", "a number", describe(operand), remedy)

    def constant(self, value: Any, dtype: DType) -> Instr:
        """Return a constant; short vectors repeat it in every component."""
        scalar = dtype.scalar
        strong = is_scalar(value)
        if is_scalar(value) and self.default_dtype(value) != scalar:
            raise self.builder.error("constant has another type", dtype, value.dtype, f"Convert with {scalar}(...)")
        if isinstance(value, bool) != scalar.is_bool and not strong:
            remedy = "Write True or False for bool only, or make a number of the bool, f32(...)"
            raise self.builder.error("constant of wrong kind", dtype, repr(value), remedy)
        if scalar.is_float and isinstance(value, int):
            self._check_exact(value, scalar)
        elif scalar.is_integer and isinstance(value, float):
            raise self.builder.error(
                "a float constant meets an integer",
                dtype,
                repr(value),
                "Write a whole number, or let what it meets be a float: f32(x), a: f32",
            )
        item: Any = value.item() if is_scalar(value) else value
        result = self.builder.const(item, scalar)
        if dtype.is_vector:
            result = self.builder.emit("vector", *[result] * dtype.lanes, dtype=dtype)
        return result

    def _check_exact(self, value: int, dtype: DType) -> None:
        try:
            with np.errstate(over="ignore"):
                exact = int(float(dtype.numpy.type(value))) == value
        except OverflowError:
            exact = False
        if not exact:
            raise self.builder.error(
                "integer constant is not exact as a float", f"a value {dtype} can hold", value, "Write it as a float"
            )

    def unify(self, operands: list[Operand]) -> list[Instr]:
        """Return the operands as values of one type, decided by the typed ones among them."""
        if not any(isinstance(o, Instr) for o in operands):
            operands = [self.as_value(o) if is_typed(o) else o for o in operands]
        instrs = [o for o in operands if isinstance(o, Instr)]
        strong = [o for o in instrs if self.weak_key(o) is None]
        decided = strong[0].dtype if strong else promote([o.type for o in instrs]) if instrs else None
        has_float = any(isinstance(o, Static) and isinstance(o.value, float) for o in operands)
        if decided is None:
            plain = [self.default_dtype(o.value) for o in operands if isinstance(o, Static) and is_number(o.value)]
            decided = promote(plain) if has_float else None
        elif has_float and decided.is_integer and not strong:
            self.widen_weak(instrs[0])
        vectors = [o.dtype for o in instrs if o.type.is_vector]
        if vectors:
            decided = vectors[0]
        for o in instrs:
            self.retype_weak(o, decided.scalar if decided is not None else None, weak=not strong)
        return [self.widen(self.as_value(o, decided), decided) for o in operands]

    def widen(self, value: Instr, dtype: DType | None) -> Instr:
        """Repeat a scalar in every component if a vector of its type is wanted."""
        if dtype is None or not dtype.is_vector or value.dtype != dtype.scalar:
            return value
        return self.builder.emit("vector", *[value] * dtype.lanes, dtype=dtype)

    def emit(self, name: str, *args: Instr, dtype: DType | None = None) -> Instr:
        """Emit a pure operation; what is computed from weak locals alone is weak itself."""
        result = self.builder.emit(name, *args, dtype=dtype)
        keys = [self.weak_key(a) for a in args if a.op.name != "const"]
        if keys and all(k is not None for k in keys) and result.dtype == args[-1].dtype:
            self.weak[result] = keys[0]
        return result

    def weak_key(self, value: Instr) -> Any:
        """Return what to retype if ``value`` reads a weakly typed local, else None."""
        return self.weak.get(value.attr if isinstance(value.attr, Variable) else value)

    def retype_weak(self, value: Instr, dtype: DType | None, *, weak: bool = False) -> None:
        """Raise Retype if ``value`` reads a weak local of a type other than ``dtype`` (a counter: an integer)."""
        key = self.weak_key(value)
        if key is None or dtype is None or value.dtype == dtype:
            return
        if dtype.is_integer or key not in self.counters:
            raise Retype(key, dtype, weak=weak)

    def widen_weak(self, value: Instr) -> None:
        """A weak integer local meets a float constant: it is a float (a counter stays an integer)."""
        key = self.weak_key(value)
        if key is not None and key not in self.counters:
            raise Retype(key, f32, weak=True)

    def mark_weak(self, local: Variable | For, key: Any) -> None:
        """A local got its type from a bare constant; ``key`` names it across translations."""
        self.weak[local.index if isinstance(local, For) else local] = key
        if isinstance(local, For):
            self.counters.add(key)


def expect_static(builder: Builder, operand: Operand, what: str, kinds: tuple[type, ...]) -> Any:
    """Return the value of a compile-time operand of one of ``kinds``; KernelTypeError otherwise."""
    if isinstance(operand, Static) and isinstance(operand.value, kinds):
        return operand.value
    raise builder.error(
        f"{what} must be known at compile time", " or ".join(k.__name__ for k in kinds), describe(operand),
        "Use a constant or a name from outside the kernel",
    )  # fmt: skip
