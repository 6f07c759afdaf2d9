"""Which dispatches of a plan each one needs before it: the edges of a graph.

Layer: runtime. A plan's waits stop all that comes later; here a dispatch waits for those alone whose memory it touches.
Invariant: of two dispatches that touch the same memory, of which one writes it, the later needs the earlier, at once or
through others.
"""

from __future__ import annotations

from collections.abc import Sequence

from loom.runtime.plans.dispatch import Dispatch
from loom.runtime.plans.plan import Plan, Resources

__all__ = ["Needs"]


class Needs:
    """Goes through a plan's dispatches in their order; nodes are the caller's numbers."""

    def __init__(self, plan: Plan) -> None:
        self._resources = Resources(step.dispatch for _, steps in plan.segments for step in steps)
        self._touched: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self.restart()

    def restart(self) -> None:
        """Begin a graph: all that came before it is over when it begins."""
        self._writers: dict[int, Sequence[int]] = {}
        self._readers: dict[int, list[int]] = {}

    def before(self, dispatch: Dispatch) -> list[int]:
        """Return the nodes a dispatch needs, each once."""
        reads, writes = self._of(dispatch)
        found: dict[int, None] = {}
        for resource in reads:
            found.update(dict.fromkeys(self._writers.get(resource, ())))
        for resource in writes:  # readers came after the writer, and needed it
            found.update(dict.fromkeys(self._readers.get(resource) or self._writers.get(resource, ())))
        return list(found)

    def note_nodes(self, dispatch: Dispatch, nodes: Sequence[int]) -> None:
        """Take note which nodes do a dispatch; none: it does nothing."""
        if not nodes:
            return
        reads, writes = self._of(dispatch)
        for resource in writes:
            self._writers[resource] = nodes
            self._readers[resource] = []
        for resource in reads:
            self._readers.setdefault(resource, []).extend(nodes)

    def _of(self, dispatch: Dispatch) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return what a dispatch reads and does not write, and what it writes."""
        found = self._touched.get(id(dispatch))
        if found is None:
            reads, writes = self._resources.of(dispatch)
            found = self._touched[id(dispatch)] = tuple(sorted(reads - writes)), tuple(sorted(writes))
        return found
