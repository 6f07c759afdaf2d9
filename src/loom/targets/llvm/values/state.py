"""What the parts of the lowering share while one function is generated.

Layer: targets. Invariant: ``mask`` is None when all lanes run, otherwise a vector of i1 with at least
one lane set; code is only ever generated where some lane runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import field
from typing import Any

import llvmlite.ir as ll

from loom.core.late.dataclass import dataclass
from loom.ir.kernel import Instr, Kernel, Memory, Statement, Variable, walk
from loom.ir.passes.uniformity import Uniformity
from loom.targets.base import Bounds, Decision, Site
from loom.targets.llvm.machine import Machine
from loom.targets.llvm.values.arithmetic import Arithmetic
from loom.targets.llvm.values.lanes import Lanes, Shapes
from loom.targets.llvm.values.types import I1, I8, I32, I64, POINTER, Vectors, size_of

__all__ = ["ArrayMemory", "State"]


_LARGE = 1024
"""Bytes from which on a piece goes to the heap, in a function that has too much for the stack."""
_ALIGNED = 64
_ITSELF = "loom.itself"


@dataclass(slots=True)
class ArrayMemory:
    """A memory in generated code: where it starts and how many elements it has (an i64)."""

    base: Any
    length: Any


@dataclass(slots=True)
class State:
    """One function being generated. ``leave`` is the block that ends it early, None where nobody asks for that."""

    kernel: Kernel
    machine: Machine
    bounds: Bounds
    width: int
    uniformity: Uniformity
    shapes: Shapes
    module: ll.Module
    function: ll.Function
    builder: ll.IRBuilder
    entry: ll.IRBuilder
    log: Any
    number: Any = None
    sites: list[Site] = field(default_factory=list[Site])
    values: dict[Instr, Lanes] = field(default_factory=dict[Instr, Lanes])
    slots: dict[Variable, Any] = field(default_factory=dict[Variable, Any])
    arrays: dict[Memory, ArrayMemory] = field(default_factory=dict[Memory, ArrayMemory])
    mask: Any = None
    used: set[Instr] = field(default_factory=set[Instr])
    stack_nbytes: int = 0
    decisions: dict[Decision, None] = field(default_factory=dict["Decision", None])
    heaped: list[Any] | None = None
    leave: ll.Block | None = None
    vectors: Vectors = field(init=False)
    arithmetic: Arithmetic = field(init=False)
    numbers_lanes: bool = field(init=False)
    """True if messages may need to say which lane they come from."""

    def __post_init__(self) -> None:
        speaks = (isinstance(s, Instr) and s.op.name in ("print", "assert") for s in walk(self.kernel.body))
        self.numbers_lanes = self.bounds.reports or any(speaks)
        self.vectors = Vectors(self.builder, self.width)
        self.arithmetic = Arithmetic(self.builder, self.vectors, self.machine)

    def note(self, kind: str, s: Statement, number: int = 0) -> None:
        """Keep what was decided for a statement, for whoever asks why (``loom.explain``)."""
        about = s.memory.name if isinstance(s, Instr) and s.memory is not None else ""
        self.decisions[Decision(kind, s.loc, about, number)] = None

    def stack(self, kind: Any, count: int | None = None, name: str = "") -> Any:
        """Reserve stack space at the function's entry, so that loops do not grow the stack.

        A function of which too much would lie there has its larger pieces on the heap (see ``lower``).
        """
        nbytes = size_of(kind) * (count or 1)
        if self.heaped is not None and nbytes > _LARGE:
            return self.heap(nbytes)
        self.stack_nbytes += nbytes
        cell = self.entry.alloca(kind, None if count is None else I64(count), name=name)
        cell.type = ll.PointerType(addrspace=self.machine.stack_space)  # llvmlite gives it the typed pointer of old
        return cell if cell.type == POINTER else self.entry.addrspacecast(cell, POINTER)

    def hide(self, pointer: Any) -> Any:
        """Return an address in a way that LLVM does not see through: what is read there it reads again."""
        return self.builder.asm(ll.FunctionType(POINTER, [POINTER]), "", "=r,0", [pointer], False)

    def unroll_note(self, how: str) -> Any:
        """Return what tells LLVM to unroll a loop in "full", or to "disable" that.

        ``text`` makes it point at itself, which llvmlite cannot.
        """
        return self.module.add_metadata([_ITSELF, self.module.add_metadata([f"llvm.loop.unroll.{how}"])])

    def text(self) -> str:
        """Return the module as LLVM assembly."""
        return re.sub(rf'!(\d+) = !{{ !"{_ITSELF}"', r"!\1 = distinct !{ !\1", str(self.module))

    def forget(self) -> None:
        """Take the module apart, which is thousands of objects in circles that only collections would free."""
        for block in self.function.blocks:
            block.instructions.clear()
            block.terminator = None
        self.function.blocks.clear()
        self.module.globals.clear()
        for held in (self.values, self.slots, self.arrays):
            held.clear()

    def heap(self, nbytes: int) -> Any:
        """Reserve memory at the function's entry; ``give_back`` frees it."""
        assert self.heaped is not None
        malloc = self.arithmetic.declare("malloc", POINTER, [I64])
        malloc.return_value.add_attribute("noalias")
        piece = self.entry.call(malloc, [I64(nbytes + _ALIGNED)])
        self.heaped.append(piece)
        past = self.entry.and_(self.entry.neg(self.entry.ptrtoint(piece, I64)), I64(_ALIGNED - 1))
        return self.entry.gep(piece, [past], source_etype=I8)

    def give_back(self) -> None:
        """Free what ``heap`` reserved, where the function ends."""
        for piece in self.heaped or []:
            self.builder.call(self.arithmetic.declare("free", ll.VoidType(), [POINTER]), [piece])

    def clear(self, base: Any, nbytes: Any) -> None:
        """Generate code that fills memory with zeros; ``nbytes`` is a number or an i64."""
        fill = self.arithmetic.declare("llvm.memset.p0.i64", ll.VoidType(), [POINTER, I8, I64, I1])
        self.builder.call(fill, [base, I8(0), I64(nbytes) if isinstance(nbytes, int) else nbytes, I1(0)])

    @property
    def is_terminated(self) -> bool:
        """True if the current basic block already ends in a jump."""
        block = self.builder.block
        return block is not None and block.is_terminated

    def block(self, name: str) -> Any:
        """Append a basic block."""
        return self.function.append_basic_block(name)

    @contextmanager
    def branch(self, condition: Any, name: str, *, likely: bool = False) -> Generator[None, None, None]:
        """Generate code that runs if a condition holds (``likely``: it nearly always does), then go on after it."""
        then, after = self.block(name), self.block(name + ".end")
        jump = self.builder.cbranch(condition, then, after)
        if likely:
            jump.set_weights([2000, 1])
        self.builder.position_at_end(then)
        yield
        if not self.is_terminated:
            self.builder.branch(after)
        self.builder.position_at_end(after)

    def ways(
        self, names: tuple[str, str, str], holds: Any, then: Callable[[], Any], otherwise: Callable[[], Any]
    ) -> list[tuple[Any, Any]]:
        """Generate one way for where a condition holds, one for elsewhere; return what each gives, and where it ends.

        ``names`` are those of their blocks, and of the one behind both.
        """
        first, second, after = (self.block(name) for name in names)
        self.builder.cbranch(holds, first, second)
        ends: list[tuple[Any, Any]] = []
        for block, way in ((first, then), (second, otherwise)):
            self.builder.position_at_end(block)
            ends.append((way(), self.builder.block))
            self.builder.branch(after)
        self.builder.position_at_end(after)
        return ends

    def merge(self, ends: list[tuple[Any, Any]]) -> Any:
        """Return the value that blocks hand on to the one behind them."""
        result = self.builder.phi(ends[0][0].type)
        for value, block in ends:
            result.add_incoming(value, block)
        return result

    def count_up(self, count: Any, name: str) -> CountedLoop:
        """Return a loop of ``count`` turns, a number or an i32 above 0, to be used in a ``with``."""
        return CountedLoop(self, count, name)

    def mask_or_all(self) -> Any:
        """Return the mask as a vector."""
        if self.mask is not None:
            return self.mask
        return self.vectors.splat(ll.IntType(1)(1))

    @contextmanager
    def lanes_of(self, mask: Any, name: str) -> Generator[Any, None, None]:
        """Generate code once per set lane of ``mask``, lowest first; gives the lane's number (i32).

        With width 1 and no mask the code is generated in place.
        """
        i32 = ll.IntType(32)
        if self.width == 1:
            if mask is None:
                yield i32(0)
            else:
                with self.branch(mask, name):
                    yield i32(0)
            return
        mask = mask if mask is not None else self.mask_or_all()
        with self.count_up(self.width, name) as lane, self.branch(self.builder.extract_element(mask, lane), name):
            yield lane


class CountedLoop:
    """``for i in range(count)`` in generated code, i an i32."""

    def __init__(self, state: State, count: Any, name: str) -> None:
        self.state, self.name = state, name
        self.count = I32(count) if isinstance(count, int) else count

    def __enter__(self) -> Any:
        b, i32 = self.state.builder, ll.IntType(32)
        before = b.block
        self.body, self.after = self.state.block(self.name + ".loop"), self.state.block(self.name + ".done")
        b.branch(self.body)
        b.position_at_end(self.body)
        self.index = b.phi(i32)
        self.index.add_incoming(i32(0), before)
        return self.index

    def __exit__(self, *_exc: object) -> None:
        b, i32 = self.state.builder, ll.IntType(32)
        following = b.add(self.index, i32(1))
        again = b.icmp_unsigned("<", following, self.count)
        self.index.add_incoming(following, b.block)
        b.cbranch(again, self.body, self.after)
        b.position_at_end(self.after)
