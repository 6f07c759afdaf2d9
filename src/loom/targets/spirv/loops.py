"""Lowers loops to SPIR-V.

Layer: targets. A for loop counts its turns, so that its counter cannot wrap. Some devices (Mesa's lavapipe: 65,535
turns of all loops of a lane together) end loops that go on for long; there, innermost loops do several turns
in one, and the host is told of loops ended before their time. Invariant: a loop ends when its condition says
so, or a fault is raised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loom.core.dtype import u32
from loom.ir.kernel import For, While, walk
from loom.targets.walking import copies_of

if TYPE_CHECKING:
    from loom.targets.spirv.lower import Function

__all__ = ["Loop", "lower_for", "lower_while"]


@dataclass(slots=True)
class Loop:
    """Where ``break`` and ``continue`` lead; ``ended``, if any, points to 1 once the loop has ended itself."""

    leave: int
    again: int
    ended: int | None


def lower_for(f: Function, s: For) -> None:
    """Lower a counted loop: index = start + turn * step."""
    a, dtype, kind = f.a, s.index.type, f.a.type_of(s.index.type)
    start, stop, step = f.value(s.start), f.value(s.stop), f.value(s.step)
    turns, slot = _turns(f, s, start, stop, step), f.m.local(kind)
    f.m.emit("Store", slot, a.constant(0, dtype))

    def test() -> int:
        return a.test("ULessThan", f.m.value("Load", kind, slot), turns)

    def body() -> None:
        turn = f.m.value("Load", kind, slot)
        f.values[s.index] = a.op("IAdd", dtype, start, a.op("IMul", dtype, turn, step))
        f.block(s.body)

    def latch() -> None:
        f.m.emit("Store", slot, a.op("IAdd", dtype, f.m.value("Load", kind, slot), a.constant(1, dtype)))

    _loop(f, test, body, latch, copies_of(f.features.whole_loops, f.bounds, s.body))


def lower_while(f: Function, s: While) -> None:
    """Lower a loop whose test is a block of its own."""

    def test() -> int:
        f.block(s.test)
        return f.value(s.condition)

    _loop(f, test, lambda: f.block(s.body), lambda: None, copies_of(f.features.whole_loops, f.bounds, s.body, s.test))


def _turns(f: Function, s: For, start: int, stop: int, step: int) -> int:
    """Return how often the body runs, an unsigned number of the counter's width."""
    a, dtype = f.a, s.index.type
    low, high = (stop, start) if s.down else (start, stop)
    some = a.ordered("LessThan", dtype, low, high)
    stride = a.op("SNegate", dtype, step) if s.down else step
    zero, one = a.constant(0, dtype), a.constant(1, dtype)
    span = a.op("ISub", dtype, high, low)
    if s.step.op.name == "const" and s.step.attr in (1, (1 << dtype.bits) - 1 if s.down else 1):
        return a.select(some, span, zero, dtype)
    forward = a.ordered("LessThan" if s.down else "GreaterThan", dtype, step, zero)
    if s.down and not dtype.is_signed:
        forward = f.m.truth(False)
    runs = f.m.value("LogicalAnd", f.m.bool(), some, forward)
    safe = a.select(runs, stride, one, dtype)
    whole = a.op("UDiv", dtype, a.op("ISub", dtype, span, one), safe)
    return a.select(runs, a.op("IAdd", dtype, whole, one), zero, dtype)


def _loop(
    f: Function, test: Callable[[], int], body: Callable[[], None], latch: Callable[[], None], copies: int
) -> None:
    """Lower a loop: at its head the test, then body and latch, and again."""
    m = f.m
    head, first, again, leave = (m.id() for _ in range(4))
    ended = None if f.features.whole_loops else _flag(f)
    if ended is not None:
        m.emit("Store", ended, m.word(0))
    m.emit("Branch", head)
    m.label(head)
    m.emit("LoopMerge", leave, again, 0)
    m.emit("Branch", first)
    m.label(first)
    f.loops.append(Loop(leave, again, ended))
    for copy in range(copies):
        _turn(f, test, body, leave, ended)
        if copy < copies - 1 and not f.ended:
            latch()
    f.loops.pop()
    if not f.ended:
        m.emit("Branch", again)
    f.ended = False
    m.label(again)
    latch()
    m.emit("Branch", head)
    m.label(leave)
    if ended is not None:
        with m.when(f.a.test("IEqual", m.value("Load", m.u32(), ended), m.word(0))):
            f.messages.cut_short()


def _flag(f: Function) -> int:
    """Return where a loop notes that it ended itself.

    A compiler knows that a loop ends in no other way, and would not look: so flags lie in an array, at an index
    that it does not know.
    """
    m, kind = f.m, f.m.u32()
    if f.flags is None:
        loops = sum(isinstance(s, (For, While)) for s in walk(f.kernel.body))
        f.flags = m.local(m.declare("TypeArray", kind, m.word(loops + 1)))
    f.flag_count += 1
    at = m.early("IAdd", kind, f.identity.hidden_zero(), m.word(f.flag_count))
    return m.early("AccessChain", m.pointer("Function", kind), f.flags, at)


def _turn(f: Function, test: Callable[[], int], body: Callable[[], None], leave: int, ended: int | None) -> None:
    if f.ended:
        return
    m, inside = f.m, f.m.id()
    goes_on = test()
    if ended is not None:
        m.emit("Store", ended, f.a.select(goes_on, m.word(0), m.word(1), u32))
    m.emit("BranchConditional", goes_on, inside, leave)
    m.label(inside)
    body()
