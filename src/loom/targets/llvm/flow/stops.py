"""Emits where a kernel looks whether it is to end: between groups, and in loops that nobody says to be short.

Layer: targets. A loop that counts is written as strips of turns with a look between two, so that the turns themselves
are what they would be without. Invariant: what a kernel computes does not depend on it, unless it is told to end.
"""

from __future__ import annotations

import llvmlite.ir as ll

from loom.ir.kernel import Block, For, If, Statement, While
from loom.targets.base import STOP_WORD
from loom.targets.llvm.values.state import State
from loom.targets.llvm.values.types import I64

__all__ = ["Stops"]

_SHORT = 1 << 16
"""Operations of a loop that needs no look."""
_STRIP = 1 << 16
"""Operations of a lane between two looks, about."""
_LEAST_STRIP = 16
"""Turns that are worth a strip: of fewer each has its look."""
_MOST_STEP = 64


class Stops:
    """``leave`` is the block that ends the function; None on machines that nobody stops."""

    def __init__(self, state: State) -> None:
        self.s = state
        self.short: For | None = None  # a loop that is emitted for few turns

    def look(self) -> None:
        """Emit a look, and go on behind it."""
        if self.s.leave is None:
            return
        b = self.s.builder
        place = b.gep(self.s.log, [I64(STOP_WORD)], source_etype=I64)
        word = b.load_atomic(place, "monotonic", 8, typ=I64)
        on = self.s.block("go.on")
        b.cbranch(b.icmp_unsigned("==", word, I64(0)), on, self.s.leave).set_weights([1 << 20, 1])
        b.position_at_end(on)

    def groups(self) -> int:
        """Return how many groups to run between two looks."""
        body = None if self.s.leave is None else _operations(self.s.kernel.body)
        vectors = -(-self.s.kernel.lanes // self.s.width)
        return 1 if body is None else max(1, _STRIP // max(1, body * vectors))

    def is_short(self, s: For) -> bool:
        """True for a loop that ends soon, whatever it computes with, or by the word of a trusted kernel.

        Such a kernel vouches for its innermost loops: they count along buffers, often a few turns at a time.
        """
        if self.s.leave is None or s is self.short or _operations_of(s) is not None:
            return True
        return self.s.kernel.trusted and _operations(s.body) is not None

    def strip(self, s: For, step: ll.Value) -> int:
        """Return how many turns to run between two looks, 0 where each has its own."""
        body = _operations(s.body)
        constant = getattr(step, "constant", None)
        if body is None or s.index.type.bits < 32 or not isinstance(constant, int):
            return 0
        if not 0 < abs(_step(s, constant)) <= _MOST_STEP:
            return 0
        turns = _STRIP // max(1, body)
        return 0 if turns < _LEAST_STRIP else 1 << (turns.bit_length() - 1)


def _step(s: For, constant: int) -> int:
    bits = s.index.type.bits
    return constant - (1 << bits) if s.index.type.is_signed and constant >> (bits - 1) else constant


def _operations(block: Block) -> int | None:
    """Return how many operations a block runs at most, None if a loop in it has looks of its own."""
    total = 0
    for s in block.statements:
        found = _operations_of(s)
        if found is None:
            return None
        total += found
    return total


def _operations_of(s: Statement) -> int | None:
    if isinstance(s, If):
        then, otherwise = _operations(s.then), _operations(s.otherwise)
        return None if then is None or otherwise is None else 1 + then + otherwise
    if isinstance(s, For):
        body, turns = _operations(s.body), _turns(s)
        total = _SHORT + 1 if body is None or turns is None else (body + 1) * turns
        return total if total <= _SHORT else None
    return None if isinstance(s, While) else 1


def _turns(s: For) -> int | None:
    """Return how many turns a loop has at most, None if that depends on more than its text."""
    start, stop, step = (x.attr if x.op.name == "const" else None for x in (s.start, s.stop, s.step))
    if start is None or stop is None or step is None:
        return None
    start, stop, step = int(start), int(stop), int(step)
    return len(range(start, stop, step)) if step else 0
