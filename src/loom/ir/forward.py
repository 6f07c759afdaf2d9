"""Facts at each place: the one way through a kernel's statements that passes take which carry something along.

Layer: ir. What holds is carried into branches and turns of loops by what conditions say, through operations, and joined
where paths meet. A pass says what that is, which may be no more than what is around a place. Invariant: operations are
met behind those they use, and none that no lane gets to.

Source: G. Kildall, "A unified approach to global program optimization", POPL 1973, for structured control flow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Generic, TypeVar

from loom.core.late.dataclass import dataclass
from loom.ir.kernel import Block, Break, Continue, For, If, Instr, Return, While

__all__ = ["Forward", "LoopTurn"]

S = TypeVar("S")


@dataclass(slots=True)
class LoopTurn(Generic[S]):
    """One turn of a loop: what holds where it is broken off or cut short, at its ``end``, and ``past`` all turns."""

    loop: For | While
    breaks: list[S] = field(default_factory=list[S])
    continues: list[S] = field(default_factory=list[S])
    end: S | None = None
    past: S | None = None

    @property
    def ends(self) -> list[S]:
        """The facts where the next turn may begin."""
        return self.continues if self.end is None else [self.end, *self.continues]

    @property
    def exits(self) -> list[S]:
        """The facts where the loop may be left: where it counts, at the ends of turns too."""
        exits = self.breaks if self.past is None else [self.past, *self.breaks]
        return [*exits, *self.ends] if isinstance(self.loop, For) else exits


class Forward(Generic[S]):
    """Follows all paths, each statement once; ``state`` is what holds here, for passes that keep it as one.

    ``turns`` are those of the loops around, the innermost last; ``reached``: whether any lane gets here.
    """

    state: S

    def __init__(self) -> None:
        self.turns: list[LoopTurn[S]] = []
        self.reached = True

    # what a pass says

    def here(self) -> S:
        """Hand over what holds here; who took it goes on by ``enter``."""
        return self.state

    def enter(self, state: S) -> None:
        """Go on where ``state`` holds, which stays as it is."""
        self.state = state

    def join(self, s: If | For | While, before: S, ends: Sequence[S]) -> None:
        """Go on behind ``s``, in front of which ``before`` held, where paths meet with what holds at their ``ends``."""
        del s, ends
        self.enter(before)

    def instr(self, s: Instr) -> None:
        """Visit an operation."""

    def assume(self, s: If | While, *, holds: bool) -> None:
        """Go on as lanes for which the condition of ``s`` holds, or does not."""

    def begin(self, s: For | While) -> None:
        """Begin a turn of a loop, in which the counter of a ``for`` has its number."""

    # the way

    def block(self, block: Block) -> None:
        """Visit the statements of a block that are reached."""
        for s in block.statements:
            if isinstance(s, Instr):
                self.instr(s)
                continue
            if isinstance(s, If):
                self.if_(s)
            elif isinstance(s, (For, While)):
                self.loop(s)
            else:
                self.leave(s)
            if not self.reached:
                return

    def leave(self, s: Break | Continue | Return) -> None:
        """End a path."""
        if not isinstance(s, Return) and self.turns:
            turn = self.turns[-1]
            (turn.breaks if isinstance(s, Break) else turn.continues).append(self.here())
        self.reached = False

    def if_(self, s: If) -> None:
        """Visit both branches of a choice; go on where they meet."""
        before, ends = self.here(), list[S]()
        for block, holds in ((s.then, True), (s.otherwise, False)):
            self.enter(before)
            self.assume(s, holds=holds)
            self.block(block)
            if self.reached:
                ends.append(self.here())
            self.reached = True
        self.join(s, before, ends)
        self.reached = bool(ends)

    def loop(self, s: For | While) -> None:
        """Visit one turn of a loop, for passes of which no turn learns from another; go on where it is left."""
        before = self.here()
        turn = self.turn(s, before)
        self.join(s, before, turn.exits)
        self.reached = bool(turn.exits)

    def turn(self, s: For | While, entry: S) -> LoopTurn[S]:
        """Visit one turn of a loop, at whose begin ``entry`` holds; who asked goes on by ``enter``."""
        turn = LoopTurn[S](s)
        self.enter(entry)
        self.begin(s)
        self.turns.append(turn)
        if isinstance(s, For):
            turn.past = entry
        else:
            self.block(s.test)
            if self.reached:
                tested = self.here()
                self.enter(tested)
                self.assume(s, holds=False)
                turn.past = self.here()
                self.enter(tested)
                self.assume(s, holds=True)
        if self.reached:
            self.block(s.body)
        if self.reached:
            turn.end = self.here()
        self.reached = True
        self.turns.pop()
        return turn
