"""Kernels under construction: the objects behind ``ir_begin``, ``ir_block`` and every value.

Layer: flow, over ``ir.builder``. A *word* is 32 bits without a type of its own (what a load gives); it takes
the type of the operation that uses it. Every other value keeps its type, and only an ``ir_`` function
changes it. Invariant: nothing changes a draft once ``ir_finalize`` has given its kernel.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import field, replace
from typing import Any, TypeVar

from loom.core.dtype import DType, f32, u32, u64
from loom.core.errors import ArgumentError, DTypeError, StateError
from loom.core.late.dataclass import dataclass
from loom.core.numerics import Guarantee
from loom.flow.counts import whole
from loom.ir.builder import Builder
from loom.ir.kernel import Block, Instr, LaneOrder, Loc, Memory, Param, Variable
from loom.ir.verified import VerifiedKernel
from loom.ir.verify import verify

__all__ = [
    "BINDINGS",
    "FURTHER",
    "IrBlock",
    "IrProgram",
    "IrValue",
    "IrVariable",
    "binding_name",
    "open_block",
    "open_program",
    "require_kind",
]

_Given = TypeVar("_Given")

BINDINGS = ("registers", "globals", "heap")
"""Names of a unit's memory, by the numbers of bindings."""

FURTHER = "binding"
"""What a kernel calls the bindings of higher numbers, with the number."""

_OURS = f"{__name__.rpartition('.')[0]}."


def binding_name(bind: Any, where: str, further: Sequence[str] | None = None) -> str:
    """Return what a unit calls binding number ``bind``: 0 registers, 1 globals, 2 heap, from 3 on ``further`` ones.

    A name of a unit's binding is one itself. Without a unit (``further`` None) numbers from 3 on have names of their
    own.
    """
    names = [*BINDINGS, *(further or ())]
    if isinstance(bind, str) and further is not None and bind in names:
        return bind
    number = whole(bind, where, "binding")
    if further is None and number >= len(BINDINGS):
        return f"{FURTHER}{number}"
    if number >= len(names):
        raise ArgumentError(
            where,
            f"there is no binding {number}",
            expected=", ".join(f"{n} ({name})" for n, name in enumerate(names)),
            got=number,
            remedy='Boot the unit with further ones: loom_boot(1.0, words, 0, bindings={"more": words})',
        )
    return names[number]


@dataclass(slots=True, eq=False)
class IrProgram:
    """A kernel being written; see ``ir_begin``."""

    builder: Builder
    shared_words: int
    order: LaneOrder = LaneOrder.PROVED
    has_entry: bool = False
    is_finished: bool = False
    blocks: list[Block] = field(default_factory=list[Block])
    buffers: dict[int, Memory] = field(default_factory=dict[int, Memory])
    params: dict[int, Param] = field(default_factory=dict[int, Param])
    shared: Memory | None = None

    def add_block(self) -> IrBlock:
        """Return the next top-level block; they run in the order of this call."""
        self.blocks.append(Block())
        return IrBlock(self, self.blocks[-1])

    def buffer(self, bind: Any, where: str) -> Memory:
        """Return the buffer of words at a binding, declaring it at its first use."""
        name, number = binding_name(bind, where), int(bind)
        if number not in self.buffers:
            self.buffers[number] = self.builder.buffer(name, u32)
        return self.buffers[number]

    def group_words(self) -> Memory:
        """Return the words the workgroup shares, declaring them at their first use."""
        if self.shared is None:
            self.shared = self.builder.shared("shared", u32, self.shared_words)
        return self.shared

    def param(self, index: Any, dtype: DType, where: str) -> Param:
        """Return push constant ``index``; KernelTypeError if it is in use with another type."""
        number = whole(index, where, "push constant")
        found = self.params.setdefault(number, Param(f"p{number}", dtype))
        if found.dtype != dtype:
            raise self.builder.error(
                f"push constant {number} has two types", found.dtype, dtype, "Convert the value instead"
            )
        return found

    def finish(self) -> VerifiedKernel:
        """Return the kernel, its blocks joined, its bindings and push constants in order of number."""
        count = max(self.params, default=-1) + 1
        asked = Guarantee.FAST if self.order is LaneOrder.ANY else Guarantee.BIT_EXACT
        kernel = replace(
            self.builder.finish(guarantee=asked, order=self.order),
            body=Block([s for block in self.blocks for s in block.statements]),
            buffers=tuple(self.buffers[number] for number in sorted(self.buffers)),
            params=tuple(self.params.get(i) or Param(f"p{i}", u32) for i in range(count)),
        )
        verified = verify(kernel)
        self.is_finished = True
        return verified


@dataclass(frozen=True, slots=True, eq=False)
class IrBlock:
    """Where operations are appended: an entry, a block, a branch or a loop's turn."""

    program: IrProgram
    body: Block

    def emit(
        self,
        name: str,
        *args: Instr,
        attr: Any = None,
        memory: Memory | None = None,
        dtype: DType | None = None,
    ) -> Instr:
        """Append an operation and return it."""
        with self.program.builder.into(self.body):
            return self.program.builder.emit(name, *args, attr=attr, memory=memory, dtype=dtype)

    def const(self, value: float, dtype: DType) -> Instr:
        """Append a constant."""
        with self.program.builder.into(self.body):
            return self.program.builder.const(value, dtype)

    def value(self, name: str, *args: Instr, **named: Any) -> IrValue:
        """Append an operation with a typed result and return that."""
        return IrValue(self.program, self.emit(name, *args, **named))

    def word(self, name: str, *args: Instr, **named: Any) -> IrValue:
        """Append an operation whose result is a word and return that."""
        return IrValue(self.program, self.emit(name, *args, **named), is_word=True)

    def own(self, given: Any, where: str) -> IrValue:
        """Return ``given`` if it is a value of this kernel; DTypeError or ArgumentError otherwise."""
        if not isinstance(given, IrValue):
            number = isinstance(given, (int, float))
            raise DTypeError(
                where,
                "not a value",
                expected="what an ir_ function returned",
                got=repr(given) if number else type(given).__name__,
                remedy=f"Write ir_const(block, {given}) or ir_const_u(block, {given})" if number else "Pass a value",
            )
        if given.program is not self.program:
            raise ArgumentError(
                where,
                "the value belongs to another kernel",
                expected=f"a value of {self.program.builder.name!r}",
                got=f"one of {given.program.builder.name!r}",
                remedy="Compute it in this kernel",
            )
        return given

    def operand(self, given: Any, dtype: DType, where: str) -> Instr:
        """Return a value as ``dtype``; a word takes it, any other type is a KernelTypeError."""
        value = self.own(given, where)
        instr = value.instr
        if instr.dtype == dtype:
            return instr
        if value.is_word and dtype == f32:
            return self.emit("bitcast", instr, dtype=f32)
        remedy = _CONVERSIONS.get((str(instr.dtype), str(dtype)), f"Use a value of type {dtype}")
        raise self.program.builder.error(f"{where} takes {dtype}", dtype, value.kind, remedy)

    def bits(self, given: Any, where: str) -> Instr:
        """Return the 32 bits of a word, u32 or f32, to be stored; KernelTypeError for other types."""
        instr = self.own(given, where).instr
        if instr.dtype == f32:
            return self.emit("bitcast", instr, dtype=u32)
        return self.operand(given, u32, where)


_CONVERSIONS = {
    ("f32", "u32"): "Convert with ir_f32_to_u32, or keep the bits with ir_as_u32",
    ("u32", "f32"): "Convert with ir_u32_to_f32, or keep the bits with ir_as_f32",
    ("u32", "u64"): "Widen with ir_u32_to_u64",
    ("u64", "u32"): "Narrow with ir_u64_to_u32",
    ("bool", "u32"): "Choose a number with ir_select",
    ("bool", "f32"): "Choose a number with ir_select",
    ("u32", "bool"): "Compare, for example ir_ne(block, value, zero)",
}


@dataclass(frozen=True, slots=True, eq=False)
class IrValue:
    """What an operation gives: a word, f32, u32, u64 or bool."""

    program: IrProgram
    instr: Instr
    is_word: bool = False

    @property
    def kind(self) -> str:
        """Its type as shown in errors."""
        return "a word" if self.is_word else str(self.instr.dtype)

    @property
    def integer(self) -> DType:
        """The integer type it has or, being a word, takes."""
        return u64 if self.instr.dtype == u64 else u32


@dataclass(frozen=True, slots=True, eq=False)
class IrVariable:
    """A mutable local of each lane; ``ir_get`` and ``ir_set`` read and assign it."""

    program: IrProgram
    variable: Variable
    is_word: bool


def require_kind(given: Any, kind: type[_Given], where: str, what: str, source: str, remedy: str) -> _Given:
    """Return ``given`` if it is a ``kind``, called ``what`` for people; DTypeError tells that ``source`` makes one."""
    if not isinstance(given, kind):
        raise DTypeError(
            where, f"not a {what}", expected=f"what {source} returned", got=type(given).__name__, remedy=remedy
        )
    return given


def open_program(prog: Any, where: str) -> IrProgram:
    """Return ``prog`` if it can still be written to; DTypeError or StateError otherwise."""
    require_kind(prog, IrProgram, where, "kernel program", "ir_begin", "Write prog = ir_begin()")
    if prog.is_finished:
        raise StateError(where, f"kernel {prog.builder.name!r} is finished", remedy="Begin another with ir_begin")
    prog.builder.loc = _caller()
    return prog


def open_block(block: Any, where: str) -> IrBlock:
    """Return ``block`` if it can still be written to; DTypeError or StateError otherwise."""
    source = "ir_entry, ir_block, ir_if or ir_loop"
    require_kind(block, IrBlock, where, "block", source, "Write body = ir_block(prog)")
    open_program(block.program, where)
    return block


def _caller() -> Loc:
    """Return the line outside this package that called."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - there is no public way to a caller's frame
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_OURS):
        frame = frame.f_back
    return Loc(frame.f_code.co_filename, frame.f_lineno)
