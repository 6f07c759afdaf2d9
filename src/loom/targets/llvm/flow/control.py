"""Emits structured control flow: plain branches where lanes agree, masks where they do not.

Layer: targets. Where all lanes run and may part at an ``if`` or a loop, the code is generated twice, once
for the case that they all go the same way (no masks) and once masked. Invariant: after every
statement the mask is exact, and code runs only if some lane of it does.

Source: the execution model of ispc (Pharr and Mark, "ispc: A SPMD Compiler", InPar 2012), section 5.
"""

from __future__ import annotations

from typing import Any

from loom.ir.kernel import Block, For, If, Instr, While
from loom.ir.ops import Effect
from loom.targets.llvm.access.memory import MemoryAccess
from loom.targets.llvm.access.messages import Messages
from loom.targets.llvm.flow.identity import Identity
from loom.targets.llvm.flow.loops import Loops
from loom.targets.llvm.flow.rows import RowRuns
from loom.targets.llvm.flow.vector_walk import VectorWalk
from loom.targets.llvm.values.state import State

__all__ = ["Control"]

_COSTLY = ("div", "sqrt", "idiv", "irem", "mulhi")
_CHEAP = 8
"""Operations that lanes may as well do in vain, and how many of the others."""


class Control(VectorWalk):
    """Lowers blocks, choices and loops."""

    def __init__(self, state: State, identity: Identity, memory: MemoryAccess, messages: Messages) -> None:
        super().__init__(state, identity, memory, messages)
        self.looping = Loops(self)
        self.rows = RowRuns(self)

    def block(self, block: Block) -> bool:
        """Lower the statements of a block; the mask may shrink on the way."""
        self.home_masks[block] = self.s.mask
        statements, at, end, reached = block.statements, 0, None, True
        while reached and at < len(statements):
            run = self.rows.emit(statements, at)
            at += run or 1
            if run:
                continue
            statement = statements[at - 1]
            reached = self.statement(statement)
            if reached and at < len(statements) and self.may_empty(statement):
                end = end or self.s.block("lanes.none")
                rest = self.s.block("lanes.some")
                self.b.cbranch(self.v.any(self.s.mask), rest, end)
                self.b.position_at_end(rest)
        if end is None:
            return reached
        if reached:
            self.b.branch(end)
        self.b.position_at_end(end)
        return True

    def for_(self, s: For) -> None:
        """Lower a counted loop."""
        self.looping.for_(s)

    def while_(self, s: While) -> None:
        """Lower a loop whose test is a block of its own."""
        self.looping.while_(s)

    def if_(self, s: If) -> bool:
        """Lower a choice."""
        condition = self.value(s.condition)
        before = self.s.mask
        self.s.note(
            "branch together" if condition.stride == 0 else "choice" if self.is_choice(s) else "branch apart", s
        )
        if condition.stride != 0:
            self.lower_if(s, self.v.spread(condition))
        elif not self.uniform_if(s, condition.value):
            return False
        self.s.mask = self.remaining(before) if self.may_empty(s) else before
        return True

    def uniform_if(self, s: If, condition: Any) -> bool:
        """Lower a choice that all lanes make alike."""
        before = self.s.mask
        after = self.s.block("if.end")
        arms = [(self.s.block("if.then"), s.then)]
        if s.otherwise.statements:
            arms.append((self.s.block("if.else"), s.otherwise))
        self.b.cbranch(condition, arms[0][0], arms[1][0] if len(arms) > 1 else after)
        reached = len(arms) == 1
        for start, block in arms:
            self.b.position_at_end(start)
            self.s.mask = before
            reached |= self.into(block, after)
        self.b.position_at_end(after)
        if not reached:
            self.b.unreachable()
        return reached

    def lower_if(self, s: If, condition: Any) -> None:
        """Lower a choice that lanes make apart."""
        before = self.s.mask
        after = self.s.block("if.end")
        if self.is_choice(s):
            self.choose(s, condition)
        else:
            coherent = before is None and self.is_small(s)
            if coherent:
                self.coherent_if(s, condition, after)
            active = self.s.mask_or_all()
            self.paused += coherent
            for block, mask in ((s.then, condition), (s.otherwise, self.b.not_(condition))):
                if block.statements:
                    self.run_masked(block, self.b.and_(active, mask))
            self.paused -= coherent
        self.b.branch(after)
        self.b.position_at_end(after)
        self.s.mask = before

    def is_choice(self, s: If) -> bool:
        """True if both sides only set variables to what is cheap to compute: cheaper for all lanes than to ask."""
        inside = [x for block in (s.then, s.otherwise) for x in block.statements]
        cost = 0
        for x in inside:
            if not isinstance(x, Instr):
                return False
            if x.op.name not in ("get", "set", "const") and x.op.effect is not Effect.IDENTITY:
                if not x.op.is_pure or x.op.name in _COSTLY or x.type.is_vector:
                    return False
                cost += 1
        return bool(inside) and cost <= _CHEAP

    def choose(self, s: If, condition: Any) -> None:
        """Run both sides for all lanes; variables change in those whose side it is."""
        active = self.s.mask_or_all()
        for block, mask in ((s.then, condition), (s.otherwise, self.b.not_(condition))):
            self.s.mask = self.b.and_(active, mask)
            self.block(block)

    def run_masked(self, block: Block, mask: Any) -> None:
        """Lower a block for the lanes of ``mask``, skipped when there are none."""
        run, after = self.s.block("masked"), self.s.block("masked.end")
        self.b.cbranch(self.v.any(mask), run, after)
        self.b.position_at_end(run)
        before, self.s.mask = self.s.mask, mask
        self.into(block, after)
        self.s.mask = before
        self.b.position_at_end(after)

    def coherent_if(self, s: If, condition: Any, after: Any) -> None:
        """Lower the case that all lanes go the same way; leave the builder in the mixed case."""
        for block, together in ((s.then, self.v.all(condition)), (s.otherwise, None)):
            if together is None:
                together = self.b.not_(self.v.any(condition))
            if not block.statements:
                continue
            run, mixed = self.s.block("coherent"), self.s.block("mixed")
            self.b.cbranch(together, run, mixed)
            self.b.position_at_end(run)
            self.into_together(block, after)
            self.s.mask = None
            self.b.position_at_end(mixed)
