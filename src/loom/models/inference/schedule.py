"""Who is computed next: the rows of a pass, chosen of the sequences under way, and the pages they need.

Layer: models. Sequences that wait for one token come first, each with a row; then, in the order of arrival, parts of
texts that are yet to be read. Where pages are short, the one that came last gives up its own and is read again later,
so that the first always goes on. Invariant: what is chosen changes when a token is computed, never its bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field

from loom.core.late.dataclass import dataclass
from loom.kernels.attention.cached import PAGE
from loom.models.inference.choosing import TokenState
from loom.models.inference.pages import PagePool
from loom.models.inference.request import Request

__all__ = ["Planner", "Sequence", "Turn"]


@dataclass(eq=False, slots=True)
class Sequence:
    """A request under way.

    ``state``: where its choice of tokens stands; ``tokens``: its prompt and what was made; ``done``: how many have
    their keys and values in ``pages``; ``published``: full pages that others may find.
    """

    request: Request
    state: TokenState
    tokens: list[int]
    pages: list[int] = field(default_factory=list[int])
    done: int = 0
    published: int = 0

    @property
    def pending(self) -> int:
        """Tokens to compute before the next is known."""
        return len(self.tokens) - self.done


@dataclass(frozen=True, slots=True)
class Turn:
    """``count`` tokens of a sequence, in one pass."""

    sequence: Sequence
    count: int

    @property
    def is_last(self) -> bool:
        """Whether the next token follows from it."""
        return self.count == self.sequence.pending


@dataclass(slots=True)
class Planner:
    """``running``, in the order of arrival. ``rows``: of a pass at most; ``mixed_rows``: where somebody waits for his
    next token meanwhile."""

    pool: PagePool
    rows: int
    mixed_rows: int
    running: list[Sequence] = field(default_factory=list[Sequence])
    preempted: int = 0

    def admit(self, sequence: Sequence, *, must: bool) -> bool:
        """Let a sequence take part if pages for its text are free (or it ``must``); tell whether it does."""
        found = self.pool.find(sequence.tokens) if sequence.request.scores is None else []
        needed = _pages(len(sequence.tokens)) - len(found)
        if needed > self.pool.available and not must:
            self.pool.release(found)
            return False
        sequence.pages, sequence.done, sequence.published = found, len(found) * PAGE, len(found)
        self.running.append(sequence)
        return True

    def drop(self, sequence: Sequence) -> None:
        """Take a sequence out, its pages free."""
        self.running.remove(sequence)
        self.give_up(sequence)

    def give_up(self, sequence: Sequence) -> None:
        """Free a sequence's pages; it is read again from the start."""
        self.pool.release(sequence.pages)
        sequence.pages, sequence.done, sequence.published = [], 0, 0

    def plan(self) -> list[Turn]:
        """Return the turns of the next pass, with pages for all of them; none if even the first has no room."""
        waiting = [s for s in self.running if s.pending == 1]
        reading = [s for s in self.running if s.pending > 1]
        left = self.mixed_rows if waiting else self.rows
        turns: dict[int, Turn] = {}
        for sequence in (*waiting, *reading):
            count = self._make_room(sequence, min(sequence.pending, left), turns)
            if count:
                turns[id(sequence)] = Turn(sequence, count)
                left -= count
        return list(turns.values())

    def _make_room(self, sequence: Sequence, count: int, turns: dict[int, Turn]) -> int:
        """Take pages for ``count`` more tokens of a sequence; return for how many there are some."""
        while count and len(sequence.pages) < _pages(sequence.done + count):
            page = self.pool.take()
            if page is not None:
                sequence.pages.append(page)
                continue
            victim = next(self._later(sequence), None)
            if victim is None:
                return max(0, min(count, len(sequence.pages) * PAGE - sequence.done))
            turns.pop(id(victim), None)
            self.give_up(victim)
            self.preempted += 1
        return count if sequence in self.running else 0

    def _later(self, sequence: Sequence) -> Iterator[Sequence]:
        """Yield the sequences that came after one and hold pages, the last first."""
        for other in reversed(self.running):
            if other is sequence:
                return
            if other.pages:
                yield other

    def advance(self, turn: Turn) -> None:
        """Note that a turn was computed: others may find the pages it filled."""
        sequence = turn.sequence
        sequence.done += turn.count
        full = sequence.done // PAGE
        if full > sequence.published:
            self.pool.publish(sequence.pages, sequence.tokens[: full * PAGE], sequence.published)
            sequence.published = full


def _pages(tokens: int) -> int:
    return -(-tokens // PAGE)
