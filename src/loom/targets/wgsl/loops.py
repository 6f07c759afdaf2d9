"""Writes loops in WGSL.

Layer: targets. A for loop counts its turns, so that its counter cannot wrap. Some devices (Mesa's lavapipe: 65,535
turns of all loops of a lane together) end loops that go on for long; there, innermost loops do several turns in one,
and the host is told of loops ended before their time. Invariant: a loop ends when its condition says so, or a fault is
raised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from loom.core.dtype import u32
from loom.ir.kernel import Block, For, Instr, Kernel, While, walk
from loom.targets.base import Bounds
from loom.targets.walking import copies_of
from loom.targets.wgsl.features import Features
from loom.targets.wgsl.messages import Messages
from loom.targets.wgsl.text import Lines, type_of, word

__all__ = ["Loop", "lower_for", "lower_while"]


@dataclass(slots=True)
class Loop:
    """``ended``, if any, is a variable that is 1 once the loop has ended itself."""

    ended: str | None


class Writer(Protocol):
    """Who writes the kernel that a loop is in."""

    t: Lines
    kernel: Kernel
    bounds: Bounds
    features: Features
    messages: Messages
    values: dict[Instr, str]
    loops: list[Loop]
    flags: str | None
    flag_count: int
    ended: bool

    def value(self, s: Instr, /) -> str:
        """Return the name of an operation's value."""
        ...

    def block(self, block: Block, /) -> None:
        """Write statements up to one that ends the block."""
        ...


def lower_for(f: Writer, s: For) -> None:
    """Write a counted loop: index = start + turn * step."""
    wide, kind = s.index.type.bits == 64, type_of(s.index.type)
    start, stop, step = f.value(s.start), f.value(s.stop), f.value(s.step)
    turns, slot = _turns(f, s, start, stop, step), f.t.name("t")
    f.t.emit(f"var {slot}: {kind} = {'vec2<u32>(0u, 0u)' if wide else '0u'};")

    def test() -> str:
        return f"lt_u64({slot}, {turns})" if wide else f"{slot} < {turns}"

    def body() -> None:
        name = f"add_u64({start}, mul_u64({slot}, {step}))" if wide else f"{start} + {slot} * {step}"
        f.values[s.index] = f.t.let(name)
        f.block(s.body)

    def latch() -> None:
        f.t.emit(f"{slot} = add_u64({slot}, vec2<u32>(1u, 0u));" if wide else f"{slot} = {slot} + 1u;")

    _loop(f, test, body, latch, copies_of(f.features.whole_loops, f.bounds, s.body))


def lower_while(f: Writer, s: While) -> None:
    """Write a loop whose test is a block of its own."""

    def test() -> str:
        f.block(s.test)
        return f.value(s.condition)

    _loop(f, test, lambda: f.block(s.body), lambda: None, copies_of(f.features.whole_loops, f.bounds, s.body, s.test))


def _turns(f: Writer, s: For, start: str, stop: str, step: str) -> str:
    """Return how often the body runs, an unsigned number of the counter's width."""
    dtype, t = s.index.type, f.t
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


def _loop(f: Writer, test: Callable[[], str], body: Callable[[], None], latch: Callable[[], None], copies: int) -> None:
    """Write a loop: at its head the test, then the body; the latch where it goes on."""
    ended = None if f.features.whole_loops else _flag(f)
    if ended is not None:
        f.t.emit(f"{ended} = 0u;")
    f.loops.append(Loop(ended))
    with f.t.block("loop {"):
        for copy in range(copies):
            if f.ended:
                break
            _turn(f, test, body, ended)
            if copy < copies - 1 and not f.ended:
                latch()
        f.ended = False
        with f.t.block("continuing {"):
            latch()
    f.loops.pop()
    if ended is not None:
        with f.t.when(f"{ended} == 0u"):
            f.messages.cut_short()


def _turn(f: Writer, test: Callable[[], str], body: Callable[[], None], ended: str | None) -> None:
    goes_on = test()
    with f.t.when(f"!({goes_on})"):
        if ended is not None:
            f.t.emit(f"{ended} = 1u;")
        f.t.emit("break;")
    body()


def _flag(f: Writer) -> str:
    """Return where a loop notes that it ended itself.

    A compiler knows that a loop ends in no other way, and would not look: so flags lie in an array, at an index
    that it does not know.
    """
    loops = sum(isinstance(s, (For, While)) for s in walk(f.kernel.body))
    if f.flags is None:
        f.flags = f.t.local(f"array<{type_of(u32)}, {loops + 1}>")
    f.flag_count += 1
    return f"{f.flags}[{f.t.first(f'zero + {word(f.flag_count)}')}]"
