"""Emits loops: scalar ones where lanes leave together, masked ones where they do not.

Layer: targets. For and while, for the walk that lowers what is in them. Invariant: a counter never wraps past its
bound, whatever start, stop and step are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ll

from loom.ir.kernel import For, Instr, While
from loom.targets.llvm.flow.serial import SerialLoops
from loom.targets.llvm.flow.vector_walk import OpenLoop, VectorWalk
from loom.targets.llvm.values.lanes import Lanes

__all__ = ["Loops"]

_BATCH, _MOST_BATCHED = 16, 12
"""Turns that are written out where each waits for memory twice, and the most operations of one."""


class Loops:
    """Lowers loops for a walk, which lowers what is inside them."""

    def __init__(self, walker: VectorWalk) -> None:
        self.c = walker
        self.s = walker.s
        self.b = walker.b
        self.v = walker.v
        self.serial = SerialLoops(walker)
        self.stops = walker.stops

    def loop_entry(self, s: For | While) -> OpenLoop:
        """Open a loop; its break and continue use masks if lanes may leave it one by one."""
        apart = self.s.width > 1 and s in self.s.uniformity.divergent_loops
        self.s.note("loop apart" if apart else "loop together", s)
        loop = OpenLoop(s, self.s.block("loop.exit"), self.s.block("loop.latch"))
        if apart:
            loop.left, loop.skipping = self.c.mask_slot("left"), self.c.mask_slot("skipping")
        self.c.loops.append(loop)
        return loop

    def for_(self, s: For) -> None:
        if self.serial.is_worth(s):
            self.serial.emit(s)
            return
        start, stop, step = (self.c.value(x) for x in (s.start, s.stop, s.step))
        before = self.s.mask
        loop = self.loop_entry(s)
        if loop.is_masked:
            self.lower_for(s, loop, start, stop, step)
        else:
            self.plain_for(s, loop, start.value, stop.value, step.value)
        self.c.loops.pop()
        self.s.mask = self.c.remaining(before) if self.c.may_empty(s) else before

    def plain_for(self, s: For, loop: OpenLoop, start: Any, stop: Any, step: Any) -> None:
        """All lanes count together: a scalar loop."""
        body = self.s.block("for.body")
        index = self.s.stack(start.type, name="index")
        self.b.store(start, index)
        if self.is_batched(s, step):
            start = self.batches(s, index, stop)
        strip = 0 if self.stops.is_short(s) else self.stops.strip(s, step)
        head, end = (self.s.block("strip"), self.s.block("strip.end")) if strip else (body, loop.exit)
        self.b.cbranch(self.enters(s, start, stop, step), head, loop.exit)
        whole = stop
        if strip:
            self.b.position_at_end(head)
            here = self.b.load(index, typ=start.type)
            stop = self.strip_end(s, here, stop, step, strip)
            self.b.branch(body)  # a strip has a turn: whoever comes here has one left
        self.b.position_at_end(body)
        current = self.b.load(index, typ=start.type)
        self.s.values[s.index] = Lanes(current, 0)
        mask = self.s.mask
        self.c.into(s.body, loop.latch)
        self.s.mask = mask
        self.b.position_at_end(loop.latch)
        current = self.b.load(index, typ=start.type)
        following = self.b.add(current, step, flags=self.no_wrap(s, step))
        again = self.goes_on(s, current, following, stop, step)
        self.b.store(following, index)
        if not strip and not self.stops.is_short(s):
            on = self.s.block("for.again")
            self.b.cbranch(again, on, loop.exit)
            self.b.position_at_end(on)
            self.stops.look()
            again = None
        jump = self.b.branch(body) if again is None else self.b.cbranch(again, body, end)
        if self.c.rolled:
            jump.set_metadata("llvm.loop", self.s.unroll_note("disable"))
        if strip:
            self.b.position_at_end(end)
            on = self.s.block("strip.next")
            self.b.cbranch(self.b.icmp_unsigned("!=", stop, whole), on, loop.exit)
            self.b.position_at_end(on)
            self.stops.look()
            self.b.branch(head)
        self.b.position_at_end(loop.exit)

    def strip_end(self, s: For, here: ll.Value, stop: ll.Value, step: ll.Value, turns: int) -> ll.Value:
        """Return where a strip of at most so many turns ends that begins ``here``."""
        left, reach = self.b.sub(stop, here), self.b.mul(step, self.s.arithmetic.constant(turns, stop))
        if s.down:
            left, reach = self.b.sub(here, stop), self.b.sub(self.s.arithmetic.constant(0, step), reach)
        longer = self.b.icmp_unsigned(">", left, reach)
        there = self.b.sub(here, reach) if s.down else self.b.add(here, reach)
        return self.b.select(longer, there, stop)

    def is_batched(self, s: For, step: Any) -> bool:
        """True for a GPU's loop of little but reads at places that were read: several turns wait for memory at once."""
        if not self.s.machine.threads or self.s.bounds.reports or s.down or not self.is_one(step):
            return False
        read: set[Instr] = set()
        found = False
        for each in s.body.statements:
            if not isinstance(each, Instr) or not (each.op.is_pure or each.name in ("load", "get", "set")):
                return False
            follows = not read.isdisjoint(each.args)
            found |= each.name == "load" and follows
            if each.name == "load" or (each.op.is_pure and follows):
                read.add(each)
        return found and len(s.body.statements) <= _MOST_BATCHED

    def batches(self, s: For, index: Any, stop: Any) -> Any:
        """Emit turns ``_BATCH`` at a time while there are as many; return where the others start."""
        head, body, turn, done, exit_ = (self.s.block(f"batch.{n}") for n in ("head", "body", "turn", "done", "exit"))
        number = self.s.stack(stop.type, name="turn")
        kind, one = stop.type, self.s.arithmetic.constant(1, stop)
        self.b.branch(head)
        self.b.position_at_end(head)
        current = self.b.load(index, typ=kind)
        enough = self.b.icmp_unsigned(">=", self.b.sub(stop, current), self.s.arithmetic.constant(_BATCH, stop))
        compare = self.b.icmp_signed if s.index.type.is_signed else self.b.icmp_unsigned
        self.b.cbranch(self.b.and_(compare("<", current, stop), enough), body, exit_)
        self.b.position_at_end(body)
        self.b.store(self.s.arithmetic.constant(0, stop), number)
        self.b.branch(turn)
        self.b.position_at_end(turn)
        within = self.b.load(number, typ=kind)
        self.s.values[s.index] = Lanes(self.b.add(current, within), 0)
        self.c.block(s.body)
        following = self.b.add(within, one)
        self.b.store(following, number)
        again = self.b.icmp_unsigned("<", following, self.s.arithmetic.constant(_BATCH, stop))
        self.b.cbranch(again, turn, done).set_metadata("llvm.loop", self.s.unroll_note("full"))
        self.b.position_at_end(done)
        self.b.store(self.b.add(current, self.s.arithmetic.constant(_BATCH, stop)), index)
        self.b.branch(head).set_metadata("llvm.loop", self.s.unroll_note("disable"))
        self.b.position_at_end(exit_)
        return self.b.load(index, typ=kind)

    def is_one(self, step: Any) -> bool:
        return isinstance(step, ll.Constant) and step.constant == 1

    def no_wrap(self, s: For, step: Any) -> tuple[str, ...]:
        """Counting by one below ``stop`` cannot wrap; saying so helps LLVM."""
        if s.down or not self.is_one(step):
            return ()
        return ("nsw",) if s.index.type.is_signed else ("nuw",)

    def enters(self, s: For, start: Any, stop: Any, step: Any) -> Any:
        """Return the condition of a first turn (values may be scalars or vectors)."""
        compare = self.b.icmp_signed if s.index.type.is_signed else self.b.icmp_unsigned
        inside = compare(">" if s.down else "<", start, stop)
        zero = self.s.arithmetic.constant(0, step)
        right_way = compare("<" if s.down else ">", step, zero)
        return self.b.and_(inside, right_way)

    def goes_on(self, s: For, current: Any, following: Any, stop: Any, step: Any) -> Any:
        """Return the condition of another turn, exact even where the counter would wrap."""
        if not s.down and self.is_one(step):
            compare = self.b.icmp_signed if s.index.type.is_signed else self.b.icmp_unsigned
            return compare("<", following, stop)
        return self.goes_on_each(s, current, stop, step)

    def lower_for(self, s: For, loop: OpenLoop, start: Lanes, stop: Lanes, step: Lanes) -> None:
        """Lanes leave at different turns: the loop goes on while some lane does."""
        stride = self.c.stride(s.index)
        first = start.value if stride is not None else self.v.spread(start)
        by = step.value if stride is not None else self.v.spread(step)
        index = self.s.stack(first.type, name="index")
        self.b.store(first, index)
        stop_all, step_all = self.v.spread(stop), self.v.spread(step)
        enters = self.enters(s, self.v.spread(start), stop_all, step_all)
        alive = self.s.stack(self.v.mask_type, name="alive")
        self.b.store(self.b.and_(enters, self.s.mask_or_all()), alive)

        def turn() -> None:
            self.s.values[s.index] = Lanes(self.b.load(index, typ=first.type), stride)
            self.turn(s, loop, alive)

        def advance() -> Any:
            current = self.b.load(index, typ=first.type)
            following = self.b.add(current, by)
            self.b.store(following, index)
            current_all = self.v.spread(Lanes(current, stride))
            return self.goes_on_each(s, current_all, stop_all, step_all)

        self.run_turns(loop, alive, lambda: None, turn, advance)

    def goes_on_each(self, s: For, current: Any, stop: Any, step: Any) -> Any:
        """Like ``goes_on`` for lanes that count apart: compare what is left with the step."""
        left = self.b.sub(current, stop) if s.down else self.b.sub(stop, current)
        stride = self.b.sub(self.s.arithmetic.constant(0, step), step) if s.down else step
        return self.b.icmp_unsigned(">", left, stride)

    def while_(self, s: While) -> None:
        before = self.s.mask
        loop = self.loop_entry(s)
        if loop.is_masked:
            self.lower_while(s, loop)
        else:
            self.plain_while(s, loop)
        self.c.loops.pop()
        self.s.mask = self.c.remaining(before) if self.c.may_empty(s) else before

    def plain_while(self, s: While, loop: OpenLoop) -> None:
        body = self.s.block("while.body")
        self.b.branch(loop.latch)
        self.b.position_at_end(loop.latch)
        self.c.block(s.test)
        self.b.cbranch(self.c.value(s.condition).value, body, loop.exit)
        self.b.position_at_end(body)
        self.stops.look()
        mask = self.s.mask
        self.c.into(s.body, loop.latch)
        self.s.mask = mask
        self.b.position_at_end(loop.exit)

    def lower_while(self, s: While, loop: OpenLoop) -> None:
        alive = self.s.stack(self.v.mask_type, name="alive")
        self.b.store(self.s.mask_or_all(), alive)

        def test() -> None:
            outer = self.s.mask
            self.s.mask = self.b.load(alive, typ=self.v.mask_type)
            self.c.block(s.test)
            holds = self.v.spread(self.c.value(s.condition))
            self.b.store(self.b.and_(self.s.mask, holds), alive)
            self.s.mask = outer

        self.run_turns(loop, alive, test, lambda: self.turn(s, loop, alive), lambda: None)

    def run_turns(
        self, loop: OpenLoop, alive: Any, test: Callable[[], None], turn: Callable[[], None], advance: Callable[[], Any]
    ) -> None:
        """Run turns while a lane of ``alive`` is left; ``advance`` may give who goes on."""
        head, tested, body = (self.s.block(n) for n in ("loop.head", "loop.test", "loop.body"))
        self.b.branch(head)
        self.b.position_at_end(head)
        self.b.cbranch(self.v.any(self.b.load(alive, typ=self.v.mask_type)), tested, loop.exit)
        self.b.position_at_end(tested)
        test()
        self.b.cbranch(self.v.any(self.b.load(alive, typ=self.v.mask_type)), body, loop.exit)
        self.b.position_at_end(body)
        outer = self.s.mask
        turn()
        self.s.mask = outer
        self.b.position_at_end(loop.latch)
        self.b.store(ll.Constant(self.v.mask_type, None), loop.skipping)
        on = self.c.remaining(self.b.load(alive, typ=self.v.mask_type))
        goes_on = advance()
        self.b.store(on if goes_on is None else self.b.and_(on, goes_on), alive)
        self.b.branch(head)
        self.b.position_at_end(loop.exit)

    def turn(self, s: For | While, loop: OpenLoop, alive: Any) -> None:
        """Lower one turn up to the latch, without masks if all lanes are in it."""
        mask = self.b.load(alive, typ=self.v.mask_type)
        coherent = self.s.mask is None and self.c.is_small(s)
        if coherent:
            together, mixed = self.s.block("turn.all"), self.s.block("turn.some")
            self.b.cbranch(self.v.all(mask), together, mixed)
            self.b.position_at_end(together)
            self.stops.look()
            self.c.into_together(s.body, loop.latch)
            self.b.position_at_end(mixed)
        self.stops.look()  # not before lanes part, and not behind the latch: LLVM no longer sees which are left
        self.s.mask = mask
        self.c.paused += coherent
        self.c.into(s.body, loop.latch)
        self.c.paused -= coherent
