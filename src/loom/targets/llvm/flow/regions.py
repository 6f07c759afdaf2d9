"""Runs kernels with barriers on a CPU: the code between barriers becomes loops over the group's vectors.

Layer: targets. Statements without a barrier inside form a *region*, run for each vector in turn; an
``if`` or loop around a barrier is run once for the group, since all lanes agree on it. Invariant: what
one region computes and another uses is kept on the stack per vector.

Source: the work-item loops of Jaeaeskelaeinen et al., "pocl" (IJPP 2015), section 4.
"""

from __future__ import annotations

from typing import Any

from loom.ir.kernel import (
    Block,
    Break,
    Continue,
    For,
    If,
    Instr,
    Kernel,
    Return,
    Statement,
    While,
    operands,
    walk,
    walk_blocks,
)
from loom.ir.ops import Effect
from loom.targets.base.walk import TreeWalk
from loom.targets.llvm.flow.control import Control
from loom.targets.llvm.flow.identity import CpuIdentity
from loom.targets.llvm.values.lanes import Lanes
from loom.targets.llvm.values.state import State
from loom.targets.llvm.values.types import I1, I32

__all__ = ["Regions"]


def has_barrier(s: Statement) -> bool:
    """True if a barrier is inside a statement."""
    if isinstance(s, Instr):
        return s.op.effect is Effect.SYNC
    return any(has_barrier(inner) for block in walk_blocks(s) for inner in block.statements)


def leaves_turn(s: Statement) -> bool:
    """True if a statement ends the turn, or all turns, of the loop around it."""
    if isinstance(s, If):
        return any(leaves_turn(inner) for block in walk_blocks(s) for inner in block.statements)
    return isinstance(s, (Break, Continue))


def is_shared(s: Statement) -> bool:
    """True if the lanes of a group go through a statement together, between the regions of the block it is in.

    A loop around barriers is left by all lanes or by none, so an ``if`` that does is theirs together as well.
    """
    return has_barrier(s) or leaves_turn(s)


class Regions(TreeWalk):
    """Lowers a group's body; ``count`` is the number of vectors in a group."""

    def __init__(self, state: State, control: Control, identity: CpuIdentity, count: int) -> None:
        self.s = state
        self.b = state.builder
        self.control = control
        self.identity = identity
        self.count = count
        self.kept: dict[Instr, Any] = {}
        self.group_end: Any = None
        self.group_loops: list[tuple[Any, Any]] = []
        self.group_returned: Any = None
        self.enter_vector = lambda: None
        control.names, control.kept = self, self.kept

    # analysis

    def plan(self, kernel: Kernel) -> None:
        """Find the values that cross regions and give them room on the stack."""
        region_of: dict[Instr, int] = {}
        crossing: dict[Instr, None] = {}  # in the order of their first use
        self._number = 0
        self._plan_block(kernel.body, region_of, crossing)
        for value in crossing:
            if value.op.effect is not Effect.IDENTITY and value.op.name != "const":
                kind = self._kind(value)
                self.kept[value] = self.s.stack(kind, self.count, name="kept")

    def _plan_block(self, block: Block, region_of: dict[Instr, int], crossing: dict[Instr, None]) -> None:
        self._number += 1
        for s in block.statements:
            if not is_shared(s):
                self._plan_region(s, region_of, crossing)
                continue
            self._number += 1
            if isinstance(s, If):
                crossing[s.condition] = None
                self._plan_block(s.then, region_of, crossing)
                self._plan_block(s.otherwise, region_of, crossing)
            elif isinstance(s, For):
                crossing.update(dict.fromkeys((s.start, s.stop, s.step)))
                self._plan_block(s.body, region_of, crossing)
            elif isinstance(s, While):
                self._plan_block(s.test, region_of, crossing)
                crossing[s.condition] = None
                self._plan_block(s.body, region_of, crossing)
            self._number += 1

    def _plan_region(self, s: Statement, region_of: dict[Instr, int], crossing: dict[Instr, None]) -> None:
        if isinstance(s, Instr):
            region_of[s] = self._number
        for inner in [s, *(x for b in walk_blocks(s) for x in walk(b))]:
            for used in operands(inner):
                if region_of.get(used, self._number) != self._number:
                    crossing[used] = None

    def _kind(self, value: Instr) -> Any:
        return self.s.vectors.type_of(value.type, self.s.shapes.values.get(value, 0))

    # values

    def value(self, instr: Instr) -> Lanes:
        """Return a value that another region kept, or what lanes know about themselves."""
        if instr not in self.kept:
            return self.identity.value(instr)
        return Lanes(self._load(instr, self.identity.vector), self.s.shapes.values.get(instr, 0))

    def _load(self, instr: Instr, vector: Any) -> Any:
        kind = self._kind(instr)
        return self.b.load(self.b.gep(self.kept[instr], [vector], source_etype=kind), typ=kind)

    def once(self, instr: Instr) -> Any:
        """Return a value all lanes of the group share, outside any region."""
        if instr in self.kept:
            return self._load(instr, I32(0))
        return self.control.value(instr).value

    # generation

    def block(self, block: Block) -> bool:
        """Lower a block whose statements all lanes of the group reach together."""
        run: list[Statement] = []
        for s in block.statements:
            if not is_shared(s) and not isinstance(s, Return):
                run.append(s)
                continue
            self.region(run)
            run = []
            self.statement(s)
        self.region(run)
        return not self.s.is_terminated

    def instr(self, s: Instr) -> None:
        """Nothing: a barrier is where one region ends and the next begins."""

    def leave(self, s: Return | Break | Continue) -> bool:
        """Have the group leave."""
        leave, latch = (self.group_end, None) if isinstance(s, Return) else self.group_loops[-1]
        self.b.branch(latch if isinstance(s, Continue) else leave)
        return False

    def if_(self, s: If) -> bool:
        """Lower a choice that all lanes of the group make alike."""
        self.s.note("branch together", s)
        then, otherwise, after = (self.s.block(n) for n in ("group.then", "group.else", "group.end"))
        self.b.cbranch(self.once(s.condition), then, otherwise)
        for start, block in ((then, s.then), (otherwise, s.otherwise)):
            self.b.position_at_end(start)
            self.into(block, after)
        self.b.position_at_end(after)
        return True

    def into(self, block: Block, target: Any) -> None:
        """Lower a block, and jump from its end."""
        if self.block(block):
            self.b.branch(target)

    def for_(self, s: For) -> None:
        """Lower a counted loop of all lanes of the group together."""
        self.s.note("loop together", s)
        start, stop, step = (self.once(x) for x in (s.start, s.stop, s.step))
        turn, latch, leave = (self.s.block(n) for n in ("group.turn", "group.latch", "group.leave"))
        index = self.s.stack(start.type, name="group.index")
        self.b.store(start, index)
        self.b.cbranch(self.control.looping.enters(s, start, stop, step), turn, leave)
        self.b.position_at_end(turn)
        self.s.values[s.index] = Lanes(self.b.load(index, typ=start.type), 0)
        self.group_loops.append((leave, latch))
        self.into(s.body, latch)
        self.group_loops.pop()
        self.b.position_at_end(latch)
        current = self.b.load(index, typ=start.type)
        following = self.b.add(current, step)
        self.b.store(following, index)
        again = self.control.looping.goes_on(s, current, following, stop, step)
        if not self.control.stops.is_short(s):
            on = self.s.block("group.again")
            self.b.cbranch(again, on, leave)
            self.b.position_at_end(on)
            self.control.stops.look()
            self.b.branch(turn)
        else:
            self.b.cbranch(again, turn, leave)
        self.b.position_at_end(leave)

    def while_(self, s: While) -> None:
        """Lower a loop with a test, of all lanes of the group together."""
        self.s.note("loop together", s)
        test, turn, leave = (self.s.block(n) for n in ("group.test", "group.turn", "group.leave"))
        self.b.branch(test)
        self.b.position_at_end(test)
        self.block(s.test)
        self.b.cbranch(self.once(s.condition), turn, leave)
        self.b.position_at_end(turn)
        self.control.stops.look()
        self.group_loops.append((leave, test))
        self.into(s.body, test)
        self.group_loops.pop()
        self.b.position_at_end(leave)

    def region(self, statements: list[Statement]) -> None:
        """Lower statements for each vector of the group."""
        if not statements or self.s.is_terminated:
            return
        returns = any(isinstance(s, Return) for s in walk(Block(statements)))
        if returns:
            self.b.store(I1(0), self.group_returned)
        if self.count == 1:
            self.vector(statements, I32(0))
        else:
            with self.s.count_up(self.count, "vector") as vector:
                self.vector(statements, vector)
        if returns:
            on = self.s.block("group.on")
            self.b.cbranch(self.b.load(self.group_returned, typ=I1), self.group_end, on)
            self.b.position_at_end(on)

    def vector(self, statements: list[Statement], vector: Any) -> None:
        """Lower statements for one vector; values kept for other regions are stored."""
        self.identity.vector = vector
        self.control.lane_end = self.s.block("vector.end")
        self.enter_vector()
        reached = self.control.block(Block(statements))
        for s in statements:
            if reached and isinstance(s, Instr) and s in self.kept:
                kind = self._kind(s)
                self.b.store(self.s.values[s].value, self.b.gep(self.kept[s], [vector], source_etype=kind))
        for s in statements:
            if isinstance(s, Instr):
                self.s.values.pop(s, None)
        if reached:
            self.b.branch(self.control.lane_end)
        self.b.position_at_end(self.control.lane_end)
