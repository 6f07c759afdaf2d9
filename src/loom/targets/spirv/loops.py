"""Lowers loops to SPIR-V.

Layer: targets. A for loop counts its turns, so that its counter cannot wrap. Some devices (Mesa's lavapipe: 65,535
turns of all loops of a lane together) end loops that go on for long; there, innermost loops do several turns
in one, and the host is told of loops ended before their time. Invariant: a loop ends when its condition says
so, or a fault is raised.
"""

from __future__ import annotations

from collections.abc import Callable

from loom.core.dtype import u32
from loom.core.late.dataclass import dataclass
from loom.ir.kernel import For
from loom.targets.base.walk import LoopWalk
from loom.targets.spirv.features import Features
from loom.targets.spirv.identity import Identity
from loom.targets.spirv.instructions import Arithmetic
from loom.targets.spirv.messages import Messages
from loom.targets.spirv.module import Module

__all__ = ["Loop", "ModuleLoops"]


@dataclass(slots=True)
class Loop:
    """Where ``break`` and ``continue`` lead; ``ended``, if any, points to 1 once the loop has ended itself."""

    leave: int
    again: int
    ended: int | None


class ModuleLoops(LoopWalk[int]):
    """The part of ``Function`` that lowers loops."""

    features: Features
    m: Module
    a: Arithmetic
    identity: Identity
    messages: Messages

    def __init__(self) -> None:
        super().__init__(self.identity, self.messages, self.bounds, self.a.knowledge)
        self.whole_loops = self.features.whole_loops
        self.loops: list[Loop] = []
        self.flags: int | None = None

    def for_(self, s: For) -> None:
        """Lower a counted loop: index = start + turn * step."""
        a, dtype, kind = self.a, s.index.type, self.a.type_of(s.index.type)
        start, stop, step = self.value(s.start), self.value(s.stop), self.value(s.step)
        turns, slot = self.count(s, start, stop, step), self.m.local(kind)
        self.m.emit("Store", slot, a.constant(0, dtype))

        def test() -> int:
            return a.test("ULessThan", self.m.value("Load", kind, slot), turns)

        def body() -> bool:
            turn = self.m.value("Load", kind, slot)
            self.values[s.index] = a.op("IAdd", dtype, start, a.op("IMul", dtype, turn, step))
            return self.block(s.body)

        def latch() -> None:
            self.m.emit("Store", slot, a.op("IAdd", dtype, self.m.value("Load", kind, slot), a.constant(1, dtype)))

        self.turns(test, body, latch, self.copies(s.body))

    def count(self, s: For, start: int, stop: int, step: int) -> int:
        """Return how often the body runs, an unsigned number of the counter's width."""
        a, dtype = self.a, s.index.type
        low, high = (stop, start) if s.down else (start, stop)
        some = a.compare_order("LessThan", dtype, low, high)
        stride = a.op("SNegate", dtype, step) if s.down else step
        zero, one = a.constant(0, dtype), a.constant(1, dtype)
        span = a.op("ISub", dtype, high, low)
        if s.step.op.name == "const" and s.step.attr in (1, (1 << dtype.bits) - 1 if s.down else 1):
            return a.select(some, span, zero, dtype)
        forward = a.compare_order("LessThan" if s.down else "GreaterThan", dtype, step, zero)
        if s.down and not dtype.is_signed:
            forward = self.m.truth(False)
        runs = self.m.value("LogicalAnd", self.m.bool(), some, forward)
        safe = a.select(runs, stride, one, dtype)
        whole = a.op("UDiv", dtype, a.op("ISub", dtype, span, one), safe)
        return a.select(runs, a.op("IAdd", dtype, whole, one), zero, dtype)

    def turns(self, test: Callable[[], int], body: Callable[[], bool], latch: Callable[[], None], copies: int) -> None:
        """Lower a loop: at its head the test, then body and latch, and again."""
        m = self.m
        head, first, again, leave = (m.id() for _ in range(4))
        ended = None if self.whole_loops else self._flag()
        if ended is not None:
            m.emit("Store", ended, m.word(0))
        m.emit("Branch", head)
        m.label(head)
        m.emit("LoopMerge", leave, again, 0)
        m.emit("Branch", first)
        m.label(first)
        self.loops.append(Loop(leave, again, ended))
        for copy in range(copies):
            if copy:
                latch()
            if not self._turn(test, body, leave, ended):
                break
        else:
            m.emit("Branch", again)
        self.loops.pop()
        m.label(again)
        latch()
        m.emit("Branch", head)
        m.label(leave)
        if ended is not None:
            with m.when(self.a.test("IEqual", m.value("Load", m.u32(), ended), m.word(0))):
                self.messages.cut_short()

    def _flag(self) -> int:
        """Return where a loop notes that it ended itself."""
        m, kind = self.m, self.m.u32()
        if self.flags is None:
            self.flags = m.local(m.declare("TypeArray", kind, m.word(self.most_flags())))
        at = m.early("IAdd", kind, self.identity.opaque_zero(), m.word(self.next_flag()))
        return m.early("AccessChain", m.pointer("Function", kind), self.flags, at)

    def _turn(self, test: Callable[[], int], body: Callable[[], bool], leave: int, ended: int | None) -> bool:
        """Write a turn; tell whether its end is reached."""
        m, inside = self.m, self.m.id()
        goes_on = test()
        if ended is not None:
            m.emit("Store", ended, self.a.select(goes_on, m.word(0), m.word(1), u32))
        m.emit("BranchConditional", goes_on, inside, leave)
        m.label(inside)
        return body()
