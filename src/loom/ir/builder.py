"""Builds kernels operation by operation, checking operand types at each call.

Layer: ir. The Python front end, the text parser and ``loom.flow`` all build through this class, so a
kernel cannot be ill-typed however it was written. Invariant: the type rules live here once
(``infer``); ``verify`` calls the same function.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.dtype import DType, bool_, u32
from loom.core.errors import KernelTypeError, VerifyError, near_matches
from loom.core.numerics import Guarantee
from loom.ir.kernel import (
    Access,
    Block,
    Break,
    Continue,
    For,
    If,
    Instr,
    Kernel,
    Loc,
    Memory,
    Param,
    Return,
    Space,
    Statement,
    Variable,
    While,
)
from loom.ir.ops import OPS, Accepts, Effect, Op, Result

__all__ = ["Builder", "TypeRule", "constant_bits", "constant_value", "infer"]

_FLOAT_FORMAT = {16: "<e", 32: "<f", 64: "<d"}


@ordinary_arithmetic()
def constant_bits(value: float | int | bool, dtype: DType) -> int:
    """Return the bit pattern of a Python number as ``dtype``.

    Integers must fit (OverflowError otherwise); floats are rounded to nearest even.
    """
    if dtype.is_bool:
        return int(bool(value))
    if dtype.is_integer:
        if int(value) != value:
            raise ValueError(f"{value!r} is not a whole number")
        if not dtype.minimum <= int(value) <= dtype.maximum:
            raise OverflowError(f"{value!r} is outside {dtype.minimum} to {dtype.maximum}")
        return int(value) & ((1 << dtype.bits) - 1)
    if dtype.name == "bf16":
        raise ValueError("bf16 has no constants; write f32 and convert")
    import numpy as np

    with np.errstate(over="ignore"):
        return int(dtype.numpy.type(value).view(dtype.bits_numpy))


def constant_value(bits: int, dtype: DType) -> float | int | bool:
    """Return the Python number a bit pattern stands for."""
    if dtype.is_bool:
        return bool(bits)
    if dtype.is_integer:
        return bits - (1 << dtype.bits) if dtype.is_signed and bits >> (dtype.bits - 1) else bits
    if dtype.name == "bf16":
        return struct.unpack("<f", struct.pack("<I", bits << 16))[0]
    raw = bits.to_bytes(dtype.bits // 8, "little")
    return struct.unpack(_FLOAT_FORMAT[dtype.bits], raw)[0]


class TypeRule(Exception):
    """A broken type rule, before the kernel's name and line are known."""

    def __init__(self, what: str, expected: object, got: object, remedy: str) -> None:
        super().__init__(what)
        self.parts = (what, expected, got, remedy)


def _names(types: Sequence[DType]) -> str:
    return ", ".join(str(t) for t in types) or "nothing"


def infer(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> DType | None:
    """Return the result type of ``op`` on operands of ``types``; raises ``TypeRule`` if they do not fit.

    ``named`` is the type in the attribute of const, convert, bitcast, param, get, index, vector.
    """
    if op.arity >= 0 and len(types) != op.arity:
        raise TypeRule(
            f"{op.name} has the wrong number of operands",
            op.arity,
            len(types),
            f"{op.name}: {op.doc}",
        )
    if (op.result is Result.ELEMENT or op.name in ("store", "length")) != (memory is not None):
        wanted = "none" if memory is not None else "a buffer, shared or private array"
        raise TypeRule(f"{op.name} names the wrong memory", wanted, memory and memory.name, f"{op.name}: {op.doc}")
    if op.accepts is not Accepts.SPECIAL:
        _check_operands(op, types)
    else:
        _SPECIAL[op.name](op, types, named, memory)
    if op.result is Result.SAME:
        return types[-1]
    if op.result is Result.BOOL:
        return bool_.vector(types[0].lanes)
    if op.result is Result.ATTR:
        _check_named(op, types, named)
        return named
    if op.result is Result.ELEMENT:
        assert memory is not None
        return memory.dtype
    return u32 if op.result is Result.U32 else None


def _check_operands(op: Op, types: Sequence[DType]) -> None:
    for dtype in types:
        if not op.accepts.allows(dtype):
            hint = f"Convert with f32(...) before {op.name}" if dtype.storage_only else "Convert it first"
            raise TypeRule(f"{op.name} cannot take a {dtype}", op.accepts.value, dtype, hint)
    if len(set(types)) > 1:
        raise TypeRule(
            f"{op.name} mixes types",
            "operands of one type",
            _names(types),
            f"Convert one, for example {types[0]}(...)",
        )


def _check_named(op: Op, types: Sequence[DType], named: DType | None) -> None:
    if named is None:
        raise TypeRule(f"{op.name} needs a type", "a dtype", None, f"{op.name}: {op.doc}")
    if op.name == "bitcast" and (types[0].bits, types[0].lanes) != (named.bits, named.lanes):
        raise TypeRule("bitcast changes the width", f"{types[0].bits} bits", named, "Use a type of the same width")
    if op.name == "bitcast" and (types[0].is_bool or named.is_bool):
        raise TypeRule("bitcast cannot take bool", "an integer or float", "bool", "Use select or u32(...)")
    if op.name == "convert":
        source = types[0]
        if source.lanes != named.lanes:
            raise TypeRule(
                "conversion changes the number of components", source.lanes, named.lanes, "Convert per component"
            )
        half = [t for t in (source, named) if t.storage_only]
        other = named if source.storage_only else source
        if half and other.scalar.name not in ("f32", half[0].scalar.name):
            raise TypeRule(f"{half[0]} converts only from and to f32", "f32", other, "Convert through f32(...)")


def _rule_select(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    condition, a, b = types
    if not condition.is_bool:
        raise TypeRule("select needs a condition", "bool", condition, "Compare first, for example x > 0")
    if a != b:
        raise TypeRule("select mixes types", a, b, f"Convert one, for example {a}(...)")
    if condition.lanes not in (1, a.lanes):
        raise TypeRule("select has a condition of other width", a.lanes, condition.lanes, "Use one bool")


def _rule_vector(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    if named is None:
        raise TypeRule("vector needs a type", "a dtype", None, f"{op.name}: {op.doc}")
    if len(types) != named.lanes or any(t != named.scalar for t in types):
        raise TypeRule(
            f"{named} is made from its components", f"{named.lanes} of {named.scalar}", _names(types),
            f"Write {named}(a, b, ...)",
        )  # fmt: skip


def _rule_extract(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    if not types[0].is_vector or named != types[0].scalar:
        raise TypeRule("only short vectors have components", "a vector", types[0], "Use x, y, z or w of one")


def _rule_memory(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    assert memory is not None, "infer refuses"
    if not types[0].is_integer or types[0].is_vector:
        raise TypeRule(f"{memory.name} is indexed by {types[0]}", "an integer", types[0], "Convert with u32(...)")
    for value in types[1:]:
        if value != memory.dtype:
            raise TypeRule(
                f"{memory.name} holds {memory.dtype}", memory.dtype, value, f"Convert with {memory.dtype}(...)"
            )
    if op.name == "load" and not memory.access.reads:
        raise TypeRule(f"{memory.name} is only written", "In or InOut", "Out", f"Declare {memory.name} as InOut")
    if op.name != "load" and not memory.access.writes:
        raise TypeRule(f"{memory.name} is only read", "Out or InOut", "In", f"Declare {memory.name} as InOut")
    if op.effect is Effect.ATOMIC:
        _check_atomic(op, memory)


def _check_atomic(op: Op, memory: Memory) -> None:
    dtype = memory.dtype
    if dtype.is_float:
        raise TypeRule(
            f"float atomics depend on the order of lanes and are refused ({op.name} on {memory.name})",
            "an integer of 32 or 64 bits",
            dtype,
            "Reduce in a fixed order (shared memory and barriers), or bitcast to u32 for exchange",
        )
    if dtype.is_vector or not dtype.is_integer or dtype.bits < 32:
        raise TypeRule(f"{op.name} on {memory.name}", "an integer of 32 or 64 bits", dtype, "Use a u32 buffer")
    if memory.space is Space.PRIVATE:
        raise TypeRule(
            f"{op.name} on private array {memory.name}", "a buffer or shared memory", "private", "Use load and store"
        )
    if not memory.access.reads:
        raise TypeRule(f"{memory.name} is only written", "InOut", "Out", f"Declare {memory.name} as InOut")


def _rule_set(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    if types[0] != named:
        raise TypeRule("assignment changes the variable's type", named, types[0], f"Convert with {named}(...)")


def _rule_breakpoint(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    if types:
        raise TypeRule("breakpoint takes no operands", 0, len(types), "Print them, or look at them in the debugger")


def _rule_print(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    for dtype in types:
        if dtype.is_vector or dtype.storage_only:
            raise TypeRule(f"{op.name} takes scalars", "bool, integer, f32 or f64", dtype, "Print its components")


def _rule_assert(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    if not types or types[0] != bool_:
        raise TypeRule("assert needs a condition", "bool", _names(types), "Compare first, for example x > 0")
    _rule_print(op, types[1:], named, memory)


_SPECIAL = {
    "select": _rule_select,
    "vector": _rule_vector,
    "extract": _rule_extract,
    "set": _rule_set,
    "print": _rule_print,
    "assert": _rule_assert,
    "breakpoint": _rule_breakpoint,
    **{name: _rule_memory for name, op in OPS.items() if name in ("load", "store") or op.effect is Effect.ATOMIC},
}


class Builder:
    """Collects the parts of one kernel; ``finish`` returns it.

    >>> from loom.core.dtype import f32
    >>> b = Builder("double", workgroup=(64, 1, 1))
    >>> x = b.buffer("x", f32)
    >>> i = b.emit("global_id", attr=0)
    >>> _ = b.emit("store", i, b.emit("mul", b.emit("load", i, memory=x), b.const(2.0, f32)), memory=x)
    >>> b.finish().lanes
    64
    """

    def __init__(self, name: str, workgroup: tuple[int, int, int] = (64, 1, 1), loc: Loc | None = None) -> None:
        self.name = name
        self.workgroup = workgroup
        self.loc = loc
        self.kernel_loc = loc
        self._buffers: list[Memory] = []
        self._shared: list[Memory] = []
        self._private: list[Memory] = []
        self._params: list[Param] = []
        self._variables: list[Variable] = []
        self._taken: set[str] = set()
        self._names: dict[Instr, str] = {}
        self._root = Block()
        self._blocks = [self._root]

    # declarations

    def unique(self, name: str) -> str:
        """Return ``name``, or ``name.2``, ... if it is taken already."""
        candidate, n = name, 1
        while candidate in self._taken:
            n += 1
            candidate = f"{name}.{n}"
        self._taken.add(candidate)
        return candidate

    def buffer(self, name: str, dtype: DType, access: Access = Access.READ_WRITE) -> Memory:
        """Declare the next buffer binding."""
        memory = Memory(self.unique(name), dtype, Space.BUFFER, None, access)
        self._buffers.append(memory)
        return memory

    def shared(self, name: str, dtype: DType, size: int) -> Memory:
        """Declare ``size`` elements shared by the workgroup, zero at the start."""
        memory = Memory(self.unique(name), dtype, Space.SHARED, size)
        self._shared.append(memory)
        return memory

    def private(self, name: str, dtype: DType, size: int) -> Memory:
        """Declare ``size`` elements private to each lane, zero at the start."""
        memory = Memory(self.unique(name), dtype, Space.PRIVATE, size)
        self._private.append(memory)
        return memory

    def param(self, name: str, dtype: DType) -> Param:
        """Declare the next push constant."""
        param = Param(self.unique(name), dtype)
        self._params.append(param)
        return param

    def variable(self, name: str, dtype: DType) -> Variable:
        """Declare a mutable local of each lane."""
        variable = Variable(self.unique(name), dtype)
        self._variables.append(variable)
        return variable

    # operations

    def emit(
        self,
        name: str,
        *args: Instr,
        attr: Any = None,
        memory: Memory | None = None,
        dtype: DType | None = None,
    ) -> Instr:
        """Append an operation and return it; KernelTypeError names kernel and line if types do not fit.

        ``dtype`` is the type named by const, convert, bitcast, vector, param, get and set.
        """
        op = OPS.get(name)
        if op is None:
            raise VerifyError(self.where(), f"no operation is called {name!r}", remedy=near_matches(name, list(OPS)))
        named = dtype
        if isinstance(attr, (Param, Variable)):
            named = attr.dtype
        elif name == "extract" and args and args[0].dtype is not None:
            named = args[0].type.scalar
        for arg in args:
            if arg.dtype is None:
                raise self.error(
                    f"{arg.op.name} gives no value", "a value", arg.op.name, "Use an operation with a result"
                )
        try:
            result = infer(op, [a.type for a in args], named, memory)
        except TypeRule as rule:
            raise self.error(*rule.parts) from None
        instr = Instr(op, result, args, attr, memory, self.loc)
        self.append(instr)
        return instr

    def const(self, value: float | int | bool, dtype: DType) -> Instr:
        """Append a constant; KernelTypeError if ``value`` does not fit ``dtype``."""
        try:
            bits = constant_bits(value, dtype)
        except (OverflowError, ValueError) as error:
            raise self.error(f"constant does not fit: {error}", dtype, repr(value), "Choose a wider type") from None
        return self.emit("const", attr=bits, dtype=dtype)

    def name_value(self, value: Instr, name: str) -> None:
        """Tell the debugger that the source calls ``value`` by ``name``."""
        self._names[value] = name

    @property
    def block(self) -> Block:
        """The block that operations are appended to."""
        return self._blocks[-1]

    def append(self, statement: Statement) -> None:
        """Append a statement to the current block."""
        self.block.statements.append(statement)

    # structure

    @contextmanager
    def into(self, block: Block) -> Iterator[Block]:
        """Append to ``block`` inside the ``with``."""
        self._blocks.append(block)
        try:
            yield block
        finally:
            self._blocks.pop()

    def if_(self, condition: Instr) -> If:
        """Append an ``if``; fill its blocks with ``into``."""
        if condition.dtype != bool_:
            raise self.error("a condition must be a bool", "bool", condition.dtype, "Compare, for example x != 0")
        statement = If(condition, Block(), Block(), self.loc)
        self.append(statement)
        return statement

    def for_(self, start: Instr, stop: Instr, step: Instr, *, down: bool = False) -> For:
        """Append a counted loop; fill its body with ``into``."""
        types = [start.type, stop.type, step.type]
        if len(set(types)) > 1 or not start.type.is_integer or start.type.is_vector:
            what = "range mixes types" if len(set(types)) > 1 else "range counts in integers"
            raise self.error(what, "one integer type", _names(types), "Convert the bounds to one type")
        index = Instr(OPS["index"], start.type, (), None, None, self.loc)
        statement = For(index, start, stop, step, down, Block(), self.loc)
        self.append(statement)
        return statement

    def while_(self) -> While:
        """Append a ``while``: fill ``test``, assign ``condition``, fill ``body``."""
        placeholder = Instr(OPS["const"], bool_, (), 0, None, self.loc)
        statement = While(Block(), placeholder, Block(), self.loc)
        self.append(statement)
        return statement

    def break_(self) -> None:
        """Append ``break``."""
        self.append(Break(self.loc))

    def continue_(self) -> None:
        """Append ``continue``."""
        self.append(Continue(self.loc))

    def return_(self) -> None:
        """Append ``return``."""
        self.append(Return(self.loc))

    def where(self) -> str:
        """Name the kernel and the current line."""
        return f"kernel {self.name!r}" + (f" at {self.loc}" if self.loc else "")

    def error(self, what: str, expected: object, got: object, remedy: str) -> KernelTypeError:
        """Make a type error at the current line."""
        return KernelTypeError(self.where(), what, expected=expected, got=got, remedy=remedy)

    def finish(self, *, trusted: bool = False, guarantee: Guarantee = Guarantee.BIT_EXACT) -> Kernel:
        """Return the kernel built; not yet verified."""
        return Kernel(
            name=self.name,
            buffers=tuple(self._buffers),
            params=tuple(self._params),
            workgroup=self.workgroup,
            body=self._root,
            shared=tuple(self._shared),
            private=tuple(self._private),
            variables=tuple(self._variables),
            trusted=trusted,
            guarantee=guarantee,
            loc=self.kernel_loc,
            names=self._names,
        )
