"""Plans a recording: which dispatches must wait for those before them, which may overlap.

Layer: runtime. A dispatch waits if it touches memory that an earlier one, since the last wait, wrote, or writes memory
that one read, or if its groups are read from memory. After a fault what waits next, and all behind it, is left out.
Repeated segments are planned once: what their second and third turns must wait for stands for all later ones.
Invariant: any order of execution that keeps the waits gives the same memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from loom.core.late.dataclass import dataclass
from loom.core.numerics import Guarantee
from loom.runtime.memory.storage import Storage
from loom.runtime.plans.dispatch import Dispatch, Segment

__all__ = ["Plan", "PlanStep", "Resources", "make_plan"]


@dataclass(frozen=True, slots=True, eq=False)
class PlanStep:
    """One dispatch of a segment: ``waits[r]`` tells whether its turn ``r`` must wait."""

    dispatch: Dispatch
    waits: np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Segments as (repeats, steps), in order; dispatches are numbered turn by turn, from 0."""

    segments: tuple[tuple[int, tuple[PlanStep, ...]], ...]
    guarantee: Guarantee

    @property
    def count(self) -> int:
        """Number of dispatches."""
        return sum(repeats * len(steps) for repeats, steps in self.segments)

    def step_of(self, number: int) -> PlanStep:
        """Return the step that dispatch ``number`` belongs to."""
        for repeats, steps in self.segments:
            if number < repeats * len(steps):
                return steps[number % len(steps)]
            number -= repeats * len(steps)
        raise IndexError(number)

    def in_order(self) -> Iterator[tuple[Dispatch, int, bool]]:
        """Yield every dispatch with its turn, and whether it waits, in order."""
        for repeats, steps in self.segments:
            for turn in range(repeats):
                for step in steps:
                    yield step.dispatch, turn, bool(step.waits[turn])


def make_plan(segments: list[Segment], guarantee: Guarantee) -> Plan:
    """Return the plan of a recording."""
    resources = Resources(d for segment in segments for d in segment.dispatches)
    hazards = _Hazards(resources)
    planned: list[tuple[int, tuple[PlanStep, ...]]] = []
    for segment in segments:
        # a second turn meets what the last wait of the first has left; a third meets all of the segment,
        # should the second need no wait; from there on nothing new is met
        turns = [[hazards.waits(d) for d in segment.dispatches] for _ in range(min(segment.repeats, 3))]
        steps: list[PlanStep] = []
        for position, dispatch in enumerate(segment.dispatches):
            waits = np.full(segment.repeats, any(turn[position] for turn in turns[1:]))
            waits[0] = turns[0][position]
            steps.append(PlanStep(dispatch, waits))
        planned.append((segment.repeats, tuple(steps)))
    return Plan(tuple(planned), guarantee)


class Resources:
    """Numbers the memory that dispatches touch; overlapping ranges get one number."""

    def __init__(self, dispatches: Iterable[Dispatch]) -> None:
        storages = {id(s): s for d in dispatches for s in _storage_of(d)}
        ordered = sorted(((s.extent(), key) for key, s in storages.items()))
        self.numbers: dict[int, int] = {}
        number, reach = -1, -1
        for (start, end), key in ordered:
            if start >= reach:
                number += 1
            reach = max(reach, end)
            self.numbers[key] = number

    def of(self, dispatch: Dispatch) -> tuple[set[int], set[int]]:
        """Return what a dispatch reads, and what it writes."""
        kernel = dispatch.kernel
        pairs = list(zip(kernel.buffers, dispatch.bindings, strict=True))
        reads = {self.number(b.storage) for m, b in pairs if m in kernel.reads}
        writes = {self.number(b.storage) for m, b in pairs if m in kernel.writes}
        if dispatch.indirect is not None:
            reads.add(self.number(dispatch.indirect[0]))
        return reads, writes

    def number(self, storage: Storage) -> int:
        """Return the number of storage that a dispatch touches."""
        return self.numbers[id(storage)]


def _storage_of(dispatch: Dispatch) -> list[Storage]:
    extra = [dispatch.indirect[0]] if dispatch.indirect is not None else []
    return [b.storage for b in dispatch.bindings] + extra


class _Hazards:
    """What was read and written since the last wait."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.read: set[int] = set()
        self.written: set[int] = set()

    def waits(self, dispatch: Dispatch) -> bool:
        """Tell whether ``dispatch`` must wait, and take it into account."""
        reads, writes = self.resources.of(dispatch)
        conflict = dispatch.indirect is not None or bool(reads & self.written or writes & (self.read | self.written))
        if conflict:
            self.read, self.written = set(), set()
        self.read |= reads
        self.written |= writes
        return conflict
