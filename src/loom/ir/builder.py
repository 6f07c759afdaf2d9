"""Builds kernels operation by operation, checking operand types at each call.

Layer: ir. The Python front end, the text parser and ``loom.flow`` all build through this class, so a
kernel cannot be ill-typed however it was written. Invariant: whatever it appends satisfies ``rules``.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np

from loom.core.dtype import DType, bool_, f32, u32
from loom.core.errors import KernelTypeError, VerifyError, near_matches
from loom.core.fixed import Fixed
from loom.core.numerics import Guarantee
from loom.ir.constants import constant_bits, constant_value
from loom.ir.kernel import (
    Access,
    Block,
    Break,
    Continue,
    For,
    If,
    Instr,
    Kernel,
    LaneOrder,
    Loc,
    Memory,
    Param,
    Return,
    Space,
    Statement,
    Variable,
    While,
)
from loom.ir.ops import OPS
from loom.ir.rules import TypeRule, infer, join_names

__all__ = ["Builder"]


def _is_infinite(value: float | int | bool) -> bool:
    return isinstance(value, (float, np.floating)) and math.isinf(value)


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
        self._scratch: dict[DType, Memory] = {}
        self._params: list[Param] = []
        self._variables: list[Variable] = []
        self._taken: set[str] = set()
        self._names: dict[Instr, str] = {}
        self.goes_below = False
        """Whether a lane's number or a length is taken for a signed number of its width."""
        self.index_params: set[Param] = set()
        self.differences: set[Instr] = set()
        self.mixed: set[Instr] = set()
        """Indexes whose bits were mixed, as by hashes: plain numbers without a sign from there on."""
        """Differences of unsigned numbers that a user wrote."""
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

    def buffer(
        self,
        name: str,
        dtype: DType,
        access: Access = Access.READ_WRITE,
        *,
        ndim: int = 0,
        record: str = "",
        data: bytes | None = None,
        fixed: Fixed | None = None,
    ) -> Memory:
        """Declare the next buffer binding; see ``Memory`` for ``ndim``, ``record``, ``data`` and ``fixed``."""
        memory = Memory(self.unique(name), dtype, Space.BUFFER, None, access, ndim, record, data, fixed)
        self._buffers.append(memory)
        return memory

    def shared(self, name: str, dtype: DType, size: int, *, fixed: Fixed | None = None) -> Memory:
        """Declare ``size`` elements shared by the workgroup, zero at the start."""
        memory = Memory(self.unique(name), dtype, Space.SHARED, size, fixed=fixed)
        self._shared.append(memory)
        return memory

    def private(self, name: str, dtype: DType, size: int, *, fixed: Fixed | None = None) -> Memory:
        """Declare ``size`` elements private to each lane, zero at the start."""
        memory = Memory(self.unique(name), dtype, Space.PRIVATE, size, fixed=fixed)
        self._private.append(memory)
        return memory

    def clear(self, memory: Memory) -> None:
        """Append what makes all elements of a private array zero."""
        dtype = memory.dtype
        zero = self.const(0, f32 if dtype.storage_only else dtype.scalar)
        if dtype.is_vector:
            zero = self.emit("vector", *[zero] * dtype.lanes, dtype=zero.type.vector(dtype.lanes))
        zero = self.emit("convert", zero, dtype=dtype) if dtype.storage_only else zero
        turns = self.for_(self.const(0, u32), self.const(memory.size or 0, u32), self.const(1, u32))
        with self.into(turns.body):
            self.emit("store", turns.index, zero, memory=memory)

    def scratch(self, dtype: DType, size: int) -> tuple[Memory, bool]:
        """Return shared elements that functions of the workgroup use one after the other, at least ``size``.

        Also whether an earlier use may not be over: there was one, or this one may be repeated.
        """
        found = self._scratch.get(dtype)
        is_new = found is None or (found.size or 0) < size
        if found is None or is_new:
            found = self._scratch[dtype] = self.shared("group", dtype, size)
        return found, not is_new or self.block is not self._root

    @property
    def tables(self) -> list[Memory]:
        """The buffers of constants that the kernel brings with it, so far."""
        return [memory for memory in self._buffers if memory.data is not None]

    @property
    def arrays(self) -> list[Memory]:
        """The shared and private arrays declared so far, the private ones last."""
        return [*self._shared, *self._private]

    def param(self, name: str, dtype: DType, *, extent: tuple[str, int] | None = None, default: Any = None) -> Param:
        """Declare the next push constant; see ``Param`` for ``extent`` and ``default``."""
        param = Param(self.unique(name), dtype, extent, default)
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
            remedy = "Choose a wider type"
            if dtype.is_integer and not dtype.is_signed and value < 0:
                signed = "i32" if dtype.bits <= 32 else "i64"
                remedy = (
                    f"{dtype} has no numbers below 0: write x - {-value} for x + {value}, or compute with {signed}(x)"
                )
            raise self.error(f"constant does not fit: {error}", dtype, repr(value), remedy) from None
        if dtype.is_float and math.isinf(constant_value(bits, dtype)) and not _is_infinite(value):
            what = f"constant does not fit: {value!r} is beyond the largest {dtype}"
            raise self.error(what, dtype, repr(value), "Choose a wider type, or write float('inf')")
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
    def into(self, block: Block) -> Generator[Block, None, None]:
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
            raise self.error(what, "one integer type", join_names(types), "Convert the bounds to one type")
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

    def finish(
        self,
        *,
        trusted: bool = False,
        guarantee: Guarantee = Guarantee.BIT_EXACT,
        order: LaneOrder = LaneOrder.PROVED,
        is_own: bool = True,
    ) -> Kernel:
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
            order=order,
            loc=self.kernel_loc,
            names=self._names,
            goes_below=self.goes_below,
            index_params=frozenset(self.index_params),
            differences=frozenset(self.differences),
            is_own=is_own,
        )
