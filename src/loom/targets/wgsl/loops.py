"""Writes loops in WGSL.

Layer: targets. A for loop counts its turns, so that its counter cannot wrap. Some devices (Mesa's lavapipe: 65,535
turns of all loops of a lane together) end loops that go on for long; there, innermost loops do several turns in one,
and the host is told of loops ended before their time. Invariant: a loop ends when its condition says so, or a fault is
raised.
"""

from __future__ import annotations

from collections.abc import Callable

from loom.core.dtype import u32
from loom.core.late.dataclass import dataclass
from loom.ir.kernel import For
from loom.targets.base import Bounds
from loom.targets.base.opaque_values import Knowledge
from loom.targets.base.walk import LoopWalk
from loom.targets.wgsl.features import Features
from loom.targets.wgsl.identity import Identity
from loom.targets.wgsl.messages import Messages
from loom.targets.wgsl.text import Lines, type_of, word

__all__ = ["Loop", "TextLoops"]


@dataclass(slots=True)
class Loop:
    """``ended``, if any, is a variable that is 1 once the loop has ended itself."""

    ended: str | None


class TextLoops(LoopWalk[str]):
    """The part of ``Function`` that writes loops."""

    t: Lines
    features: Features
    messages: Messages

    def __init__(self, identity: Identity, bounds: Bounds, knowledge: Knowledge) -> None:
        super().__init__(identity, self.messages, bounds, knowledge)
        self.whole_loops = self.features.whole_loops
        self.loops: list[Loop] = []
        self.flags: str | None = None

    def for_(self, s: For) -> None:
        """Write a counted loop: index = start + turn * step."""
        wide, kind = s.index.type.bits == 64, type_of(s.index.type)
        start, stop, step = self.value(s.start), self.value(s.stop), self.value(s.step)
        turns, slot = self.count(s, start, stop, step), self.t.name("t")
        self.t.emit(f"var {slot}: {kind} = {'vec2<u32>(0u, 0u)' if wide else '0u'};")

        def test() -> str:
            return f"lt_u64({slot}, {turns})" if wide else f"{slot} < {turns}"

        def body() -> bool:
            name = f"add_u64({start}, mul_u64({slot}, {step}))" if wide else f"{start} + {slot} * {step}"
            self.values[s.index] = self.t.let(name)
            return self.block(s.body)

        def latch() -> None:
            self.t.emit(f"{slot} = add_u64({slot}, vec2<u32>(1u, 0u));" if wide else f"{slot} = {slot} + 1u;")

        self.turns(test, body, latch, self.copies(s.body))

    def count(self, s: For, start: str, stop: str, step: str) -> str:
        """Return how often the body runs, an unsigned number of the counter's width."""
        dtype, t = s.index.type, self.t
        low, high = (stop, start) if s.down else (start, stop)
        wide, signed = dtype.bits == 64, dtype.is_signed

        def less(a: str, b: str) -> str:
            if wide:
                return f"lt_{dtype.name}({a}, {b})"
            return f"(bitcast<i32>({a}) < bitcast<i32>({b}))" if signed else f"({a} < {b})"

        zero, one = ("vec2<u32>(0u, 0u)", "vec2<u32>(1u, 0u)") if wide else ("0u", "1u")
        if all(i.op.name == "const" for i in (s.start, s.stop)):
            # no compiler is to work on two literals: some refuse what wraps
            low = t.let(low)
        some = t.let(less(low, high))
        span = t.let(f"sub_u64({high}, {low})" if wide else f"{high} - {low}")
        if s.step.op.name == "const" and s.step.attr in (1, (1 << dtype.bits) - 1 if s.down else 1):
            return t.let(f"select({zero}, {span}, {some})")
        stride = t.let((f"neg_u64({step})" if wide else f"0u - {t.let(step)}") if s.down else step)
        forward = less(step, zero) if s.down else less(zero, step)
        if s.down and not signed:
            forward = "false"
        runs = t.let(f"{some} & {forward}")
        safe = t.let(f"select({one}, {stride}, {runs})")
        whole = t.let(f"idiv_u64(sub_u64({span}, {one}), {safe})" if wide else f"({span} - 1u) / {safe}")
        return t.let(f"select({zero}, {f'add_u64({whole}, {one})' if wide else f'{whole} + 1u'}, {runs})")

    def turns(self, test: Callable[[], str], body: Callable[[], bool], latch: Callable[[], None], copies: int) -> None:
        """Write a loop: at its head the test, then the body; the latch where it goes on."""
        ended = None if self.whole_loops else self._flag()
        if ended is not None:
            self.t.emit(f"{ended} = 0u;")
        self.loops.append(Loop(ended))
        with self.t.block("loop {"):
            for copy in range(copies):
                if copy:
                    latch()
                if not self._turn(test, body, ended):
                    break
            with self.t.block("continuing {"):
                latch()
        self.loops.pop()
        if ended is not None:
            with self.t.when(f"{ended} == 0u"):
                self.messages.cut_short()

    def _turn(self, test: Callable[[], str], body: Callable[[], bool], ended: str | None) -> bool:
        """Write a turn; tell whether its end is reached."""
        goes_on = test()
        with self.t.when(f"!({goes_on})"):
            if ended is not None:
                self.t.emit(f"{ended} = 1u;")
            self.t.emit("break;")
        return body()

    def _flag(self) -> str:
        """Return where a loop notes that it ended itself."""
        if self.flags is None:
            self.flags = self.t.local(f"array<{type_of(u32)}, {self.most_flags()}>")
        return f"{self.flags}[{self.t.first(f'zero + {word(self.next_flag())}')}]"
