"""What targets of structured code do alike with a kernel's tree: which statement means which step, and how loops grow.

Layer: targets. Targets say what a step writes down; ``V`` is what stands for a value there. Invariant: every statement
is written once, in the tree's order, up to one that ends its block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from loom.ir.kernel import Block, Break, Continue, For, If, Instr, Memory, Return, Statement, While, walk
from loom.ir.ops import Effect
from loom.targets.base import Bounds
from loom.targets.known import Knowledge

__all__ = ["Walk", "copies_of"]

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)

_MOST_COPIES = 8
_COPIED_STATEMENTS = 96
"""Copies of a body hold about as many statements together."""


class _Identity(Protocol[V_co]):
    def param(self, s: Instr, /) -> V_co: ...
    def value(self, s: Instr, /) -> V_co: ...


class _Messages(Protocol[V]):
    def print(self, s: Instr, args: list[V], /) -> None: ...
    def check(self, s: Instr, args: list[V], /) -> None: ...
    def within(self, s: Instr, args: list[V], /) -> None: ...


class Walk(ABC, Generic[V]):
    """Writes the statements of a kernel. ``ended``: nothing of the block at hand is reached any more.

    ``names`` makes parameters and the lane's own numbers, ``reports`` the records that kernels send.
    """

    def __init__(self, knowledge: Knowledge, names: _Identity[V], reports: _Messages[V], bounds: Bounds) -> None:
        self.knowledge = knowledge
        self.bounds = bounds
        self._names, self._reports = names, reports
        self.values: dict[Instr, V] = {}
        self.ended = False

    def value(self, s: Instr) -> V:
        """Return what stands for an operation's value; constants and identities are made where they are used."""
        if s in self.values:
            return self.values[s]
        if s.op.name == "const":
            return self.constant(s)
        return self._names.param(s) if s.op.name == "param" else self._names.value(s)

    def block(self, block: Block) -> None:
        """Write statements up to one that ends the block."""
        for statement in block.statements:
            self.statement(statement)
            if self.ended:
                return

    def statement(self, s: Statement) -> None:
        """Write one statement with all that is in it."""
        if isinstance(s, Instr):
            self.instr(s)
        elif isinstance(s, If):
            self.if_(s)
        elif isinstance(s, (For, While)):
            self.loop(s)
        else:
            self.leave(s)
            self.ended = True

    def instr(self, s: Instr) -> None:
        """Write one operation."""
        name = s.op.name
        if name == "const" or (s.op.effect is Effect.IDENTITY and name != "index"):
            return
        args = [self.value(a) for a in s.args]
        if s.dtype is not None:
            self.knowledge.note(s)
        if s.op.is_pure:
            self.values[s] = self.pure(s, args)
        elif name == "get":
            self.values[s] = self.get(s)
        elif name == "set":
            self.set(s, args[0])
        elif name in ("barrier", "near_barrier"):
            self.barrier()
        elif name == "print":
            self._reports.print(s, args)
        elif name == "assert":
            self._reports.check(s, args)
        elif name == "within":
            if self.bounds is Bounds.REPORTED:
                self._reports.within(s, args)
        elif name != "breakpoint":
            assert s.memory is not None
            self.access(s, s.memory, args)

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
    def access(self, s: Instr, memory: Memory, args: list[V]) -> None:
        """Write a load, a store or an atomic operation."""

    @abstractmethod
    def barrier(self) -> None:
        """Have all lanes arrive; what they wrote to shared memory and buffers is seen after it."""

    @abstractmethod
    def if_(self, s: If) -> None:
        """Write a choice; ``ended`` after it if neither side goes on."""

    @abstractmethod
    def loop(self, s: For | While) -> None:
        """Write a loop."""

    @abstractmethod
    def leave(self, s: Return | Break | Continue) -> None:
        """Write what ends a block."""


def copies_of(whole_loops: bool, bounds: Bounds, *blocks: Block) -> int:
    """Return how many turns an innermost loop of these blocks does in one, on devices without ``whole_loops``.

    Its ``continue`` would have nowhere to go, and a barrier must stay one.
    """
    inside = [s for block in blocks for s in walk(block)]
    if whole_loops or any(isinstance(s, (For, While, Continue)) for s in inside):
        return 1
    if any(isinstance(s, Instr) and s.op.effect is Effect.SYNC for s in inside):
        return 1
    access = {Bounds.CHECKED: 4, Bounds.REPORTED: _COPIED_STATEMENTS}.get(bounds, 1)
    weight = max(1, sum(access if getattr(s, "memory", None) is not None else 1 for s in inside))
    return max(1, min(_MOST_COPIES, _COPIED_STATEMENTS // weight))
