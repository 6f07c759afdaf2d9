"""The walk over a kernel's tree that all targets share: which statement means which step, and how loops grow.

Layer: targets. Targets say what a step writes down; ``V`` is what stands for a value there. Invariant: statements are
written in the tree's order, up to one that ends its block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from loom.ir.kernel import Block, Break, Continue, For, If, Instr, Kernel, Return, Statement, While, walk
from loom.ir.ops import Effect
from loom.targets.base import Bounds
from loom.targets.base.opaque_values import Knowledge

__all__ = ["LoopWalk", "TreeWalk", "Walk"]

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)

_MOST_COPIES = 8
_COPIED_STATEMENTS = 96
"""Copies of a body hold about as many statements together."""


class _Identity(Protocol[V_co]):
    def value(self, s: Instr, /) -> V_co: ...


class _Messages(Protocol[V]):
    def print(self, s: Instr, args: list[V], /) -> None: ...
    def check(self, s: Instr, args: list[V], /) -> None: ...
    def within(self, s: Instr, args: list[V], /) -> None: ...


class TreeWalk(ABC):
    """Writes the statements of a tree; of each, and of a block, it tells whether what follows is reached."""

    def block(self, block: Block) -> bool:
        """Write statements up to one that ends the block."""
        return all(map(self.statement, block.statements))

    def statement(self, s: Statement) -> bool:
        """Write one statement with all that is in it."""
        if isinstance(s, Instr):
            self.instr(s)
        elif isinstance(s, If):
            return self.if_(s)
        elif isinstance(s, For):
            self.for_(s)
        elif isinstance(s, While):
            self.while_(s)
        else:
            return self.leave(s)
        return True

    @abstractmethod
    def instr(self, s: Instr) -> None:
        """Write one operation."""

    @abstractmethod
    def if_(self, s: If) -> bool:
        """Write a choice."""

    @abstractmethod
    def for_(self, s: For) -> None:
        """Write a counted loop; what follows any loop is reached."""

    @abstractmethod
    def while_(self, s: While) -> None:
        """Write a loop whose test is a block of its own."""

    @abstractmethod
    def leave(self, s: Return | Break | Continue) -> bool:
        """Write what ends a block."""


class Walk(TreeWalk, Generic[V]):
    """Writes the statements of a kernel.

    ``names`` makes parameters and the lane's own numbers, ``reports`` the records that kernels send; ``knowledge``
    notes values in their order, where a target hides some of them.
    """

    def __init__(
        self, names: _Identity[V], reports: _Messages[V], bounds: Bounds, knowledge: Knowledge | None = None
    ) -> None:
        self.names, self.reports = names, reports
        self.bounds = bounds
        self.knowledge = knowledge
        self.values: dict[Instr, V] = {}

    def value(self, s: Instr) -> V:
        """Return what stands for an operation's value; constants and identities are made where they are used."""
        if s in self.values:
            return self.values[s]
        return self.constant(s) if s.op.name == "const" else self.names.value(s)

    def instr(self, s: Instr) -> None:
        """Write one operation."""
        name = s.op.name
        if name == "const" or s.op.effect is Effect.IDENTITY:
            return
        args = [self.value(a) for a in s.args]
        if self.knowledge is not None and s.dtype is not None:
            self.knowledge.note(s)
        if s.op.is_pure:
            self.values[s] = self.pure(s, args)
        elif name == "get":
            self.values[s] = self.get(s)
        elif name == "set":
            self.set(s, args[0])
        elif name == "barrier":
            self.barrier()
        elif name == "near_barrier":
            self.near_barrier()
        elif name == "print":
            self.reports.print(s, args)
        elif name == "assert":
            self.reports.check(s, args)
        elif name == "within":
            if self.bounds.reports:
                self.reports.within(s, args)
        elif name != "breakpoint":
            self.access(s, args)

    @abstractmethod
    def constant(self, s: Instr) -> V:
        """Return a constant."""

    @abstractmethod
    def pure(self, s: Instr, args: list[V]) -> V:
        """Write an operation without effects; return its value."""

    @abstractmethod
    def get(self, s: Instr) -> V:
        """Return the value of a variable."""

    @abstractmethod
    def set(self, s: Instr, value: V) -> None:
        """Write an assignment to a variable."""

    @abstractmethod
    def access(self, s: Instr, args: list[V]) -> None:
        """Write a load, a store or an atomic operation."""

    @abstractmethod
    def barrier(self) -> None:
        """Have all lanes arrive; what they wrote to shared memory and buffers is seen after it."""

    def near_barrier(self) -> None:
        """Have 32 lanes side by side arrive, or more."""
        self.barrier()


class LoopWalk(Walk[V]):
    """A walk of structured code, in which a for loop counts its turns; ``kernel`` is what it writes.

    Devices without ``whole_loops`` end loops that go on for long: there, innermost loops do several turns in one.
    """

    kernel: Kernel
    whole_loops: bool
    flag_count = 0

    def while_(self, s: While) -> None:
        """Write a loop whose test is a block of its own."""

        def test() -> V:
            self.block(s.test)
            return self.value(s.condition)

        self.turns(test, lambda: self.block(s.body), lambda: None, self.copies(s.body, s.test))

    def copies(self, *blocks: Block) -> int:
        """Return how many turns a loop of these blocks does in one.

        Its ``continue`` would have nowhere to go, and a barrier must stay one.
        """
        inside = [s for block in blocks for s in walk(block)]
        if self.whole_loops or any(isinstance(s, (For, While, Continue)) for s in inside):
            return 1
        if any(isinstance(s, Instr) and s.op.effect is Effect.SYNC for s in inside):
            return 1
        access = 4 if self.bounds is Bounds.CHECKED else _COPIED_STATEMENTS if self.bounds.reports else 1
        weight = max(1, sum(access if getattr(s, "memory", None) is not None else 1 for s in inside))
        return max(1, min(_MOST_COPIES, _COPIED_STATEMENTS // weight))

    def next_flag(self) -> int:
        """Return a number for where a loop notes that it ended itself, from 1 on.

        A compiler knows that a loop ends in no other way, and would not look: so flags lie in an array, at an index
        that it does not know.
        """
        self.flag_count += 1
        return self.flag_count

    def most_flags(self) -> int:
        """Return how many elements that array has."""
        return 1 + sum(isinstance(s, (For, While)) for s in walk(self.kernel.body))

    @abstractmethod
    def turns(self, test: Callable[[], V], body: Callable[[], bool], latch: Callable[[], None], copies: int) -> None:
        """Write a loop: at its head the test, then body and latch, and again."""
