"""The ticks of a step state: how many there were, what moved in those that gradients reach, and what waits.

Layer: nn. A node that carries state waits until all that it reads shows something of the inputs, or was written
by hand. Invariant: what is here follows from the calls alone, never from numbers in buffers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from loom.core.errors import StateError
from loom.nn.step.gradients import Past, unseen
from loom.nn.step.wiring import Wiring

__all__ = ["Course"]


class Course:
    """Ticks of ``wiring``'s nodes. ``rows``: name -> reads of it that are kept; ``horizon``: ticks that are known.

    ``ticks``: how many; ``past``: the last of them, the last one first; ``waiting``: nodes behind which others wait and
    that show nothing of the inputs yet.
    """

    def __init__(self, wiring: Wiring, rows: Mapping[str, int], horizon: int, *, is_cut: bool) -> None:
        self._wiring, self._rows, self._is_cut = wiring, rows, is_cut
        self._all = Past(frozenset(wiring.nodes))
        self.ticks, self.past = 0, deque[Past](maxlen=horizon)
        self._first = _before(wiring)
        self.waiting = set(self._first)

    def clear(self) -> None:
        """Begin anew."""
        self.put_back((), self._first, 0)

    def put_back(self, past: Sequence[Past], waiting: Iterable[str], ticks: int) -> None:
        """Go on from what was kept."""
        self.past.clear()
        self.past.extend(past)
        self.waiting, self.ticks = set(waiting), ticks

    def ready(self, nodes: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of the nodes that do not wait."""
        if not self.waiting:
            return nodes
        carried, sources = self._wiring.carried, self._wiring.sources
        return tuple(n for n in nodes if n not in carried or self.waiting.isdisjoint(sources[n]))

    def advance(self, moved: tuple[str, ...]) -> None:
        """Note a tick of nodes that do not wait."""
        is_all = moved is self._wiring.nodes
        self.past.appendleft(self._all if is_all else Past(frozenset(moved)))
        if self.waiting:
            sources = self._wiring.sources
            self.waiting.difference_update([n for n in moved if self.waiting.isdisjoint(sources[n])])
        self.ticks += 1

    def write(self, name: str) -> None:
        """Note that a node's value, or what it carries, was written by hand."""
        self.waiting.discard(name)
        if self.past:
            last = self.past[0]
            self.past[0] = Past(last.moved, last.given | {name})

    @property
    def is_in_step(self) -> bool:
        """True if what waits is what waits after so many ticks of all nodes."""
        return self.waiting == {n for n in self._first if self._wiring.delays[n] > self.ticks}

    @property
    def is_regular(self) -> bool:
        """True if each tick that is known moved all nodes that had something to move them, and nothing else did."""
        if not self.is_in_step:
            return False
        carried, delays = self._wiring.carried, self._wiring.delays
        return all(
            tick is self._all or tick == Past(frozenset(n for n in self._wiring.nodes
                                                        if n not in carried or number >= delays[n] - 1))
            for number, tick in zip(range(self.ticks - 1, -1, -1), self.past, strict=False)
        )  # fmt: skip

    def read_past(self, where: str) -> tuple[Past, ...] | None:
        """Return what the ticks that are known were, None for all nodes each time; StateError if they are too few."""
        if len(self.past) == self.past.maxlen and all(tick == self._all for tick in self.past):
            return None
        past = tuple(self.past)
        left = unseen(self._wiring, self._rows, past)
        if left is None or (not self._is_cut and left and self.ticks > len(past)):
            raise StateError(where, "what the outputs show was made before the history begins",
                             expected=f"ways of at most {self.past.maxlen} ticks", got="longer ones: some ticks "
                             "advanced named nodes only",
                             remedy='Make the state with horizon=n, or gradient="current"')  # fmt: skip
        return past


def _before(wiring: Wiring) -> frozenset[str]:
    """Return the nodes from which a way leads to a node that carries state."""
    found: set[str] = set()
    for name in reversed(wiring.nodes):
        if name in found or name in wiring.carried:
            found.update(wiring.sources[name])
    return frozenset(found & set(wiring.nodes))
