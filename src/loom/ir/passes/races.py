"""Refuses races that can be seen in the kernel: two lanes of a workgroup at one element, unordered.

Layer: ir. Between two barriers, a write by one lane and a read or write by another lane of the same
element is a race. Indexes are evaluated for every lane (``lanevalues``); only what is certain to clash is
refused, so a kernel that passes may still race on data-dependent indexes: the debugger finds those
while running. Invariant: no false alarm for a guard this module does not understand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from loom.core.errors import VerifyError
from loom.core.late.dataclass import dataclass
from loom.ir.forward import Forward
from loom.ir.kernel import (
    Break,
    Continue,
    For,
    If,
    Instr,
    Kernel,
    Memory,
    Return,
    Space,
    Variable,
    While,
    walk,
    walk_blocks,
)
from loom.ir.ops import Effect
from loom.ir.passes.lanevalues import LaneEvaluator, Lanes, LaneValue, difference, is_group
from loom.ir.passes.uniformity import Uniformity

__all__ = ["refuse_races"]

_BOUND = "an unknown bound above all lanes of a group"
_MOST_TURNS = 2048
"""Loops nested within loops are visited twice each; beyond this many visits, once."""


@dataclass(frozen=True, slots=True, eq=False)
class _Visit:
    """One access to memory by the lanes of ``active``; ``guards`` holds what was assumed on the way there."""

    instr: Instr
    memory: Memory
    writes: bool
    index: LaneValue
    active: Lanes
    guards: frozenset[Any]


def refuse_races(kernel: Kernel, uniformity: Uniformity) -> None:
    """Raise VerifyError naming both lines if lanes of a workgroup certainly race."""
    if kernel.lanes > 1:
        _Checker(kernel, uniformity).block(kernel.body)


class _RaceState(NamedTuple):
    """The facts at a place: as a ``_Checker`` has it, with the values of variables."""

    pending: list[_Visit]
    guards: frozenset[Any]
    variables: dict[Variable, LaneValue | None]
    active: Lanes | None


class _Checker(Forward[_RaceState]):
    def __init__(self, kernel: Kernel, uniformity: Uniformity) -> None:
        super().__init__()
        self.kernel = kernel
        self.uniformity = uniformity
        self.lanes = LaneEvaluator(kernel)
        self.pending: list[_Visit] = []
        self.active: Lanes | None = np.ones(self.kernel.lanes, np.bool_)
        """The lanes that are here, None where they are not known."""
        self.count = 0
        self.guards: frozenset[Any] = frozenset()
        """Conditions equal in all lanes and not known, each as true or false; _BOUND for any ``i < n``."""

    def here(self) -> _RaceState:
        return _RaceState(self.pending, self.guards, self.lanes.variables, self.active)

    def enter(self, state: _RaceState) -> None:
        pending, self.guards, variables, self.active = state
        self.pending, self.lanes.variables = list(pending), dict(variables)

    def join(self, s: If | For | While, before: _RaceState, ends: Sequence[_RaceState]) -> None:
        pending = dict.fromkeys(visit for end in ends for visit in end.pending)
        self.enter(before._replace(pending=list(pending)))
        self.lanes.forget_inside(s)
        if _escapes(s):
            self.active = None

    def assume(self, s: If | While, *, holds: bool) -> None:
        if isinstance(s, While):
            return
        lanes, guard = self.branch(s.condition, holds=holds)
        self.guards = self.guards if guard is None else self.guards | {guard}
        if lanes is None or (_BOUND in self.guards and len(self.guards) > 1):  # the two may exclude each other
            self.active = None
        elif self.active is not None:
            self.active = self.active & lanes

    def branch(self, condition: Instr, *, holds: bool) -> tuple[Lanes | None, Any]:
        """Return the lanes for which a condition certainly holds, or does not, None if not known; what that assumes."""
        value = self.lanes.value(condition)
        if value is not None and value.is_known:
            return (value.offsets != 0) == holds, None
        if not self.uniformity.is_varying(condition):
            return np.ones(self.kernel.lanes, np.bool_), (condition, holds, self.count)
        if condition.op.name not in ("lt", "le", "gt", "ge"):
            return None, None
        sides = [self.lanes.value(a) for a in condition.args]
        low, high = sides if condition.op.name in ("lt", "le") else sides[::-1]
        if low is None or high is None:
            return None, None
        below = difference(low, high)
        if all(is_group(key) for key, _ in below.unknowns):  # a constant bound: the first group shows who passes
            passes = below.offsets <= 0 if condition.op.name in ("le", "ge") else below.offsets < 0
            return passes == holds, None
        groups = {coefficient > 0 for key, coefficient in below.unknowns if is_group(key)}
        if groups != {holds} or any(not _is_given(key) for key, _ in below.unknowns):
            return None, None
        # i < n with n unknown holds for all lanes of some group, and so does the opposite of i >= n
        return np.ones(self.kernel.lanes, np.bool_), _BOUND

    def loop(self, s: For | While) -> None:
        """Visit the body twice, so that the end of one turn meets the start of the next, if there is one."""
        before = entry = self.here()
        if s in self.uniformity.divergent_loops:
            entry = entry._replace(active=None)
        breaks = list[_RaceState]()
        for _ in range(min(2 if self.count < _MOST_TURNS else 1, self.most_turns(s))):
            turn = self.turn(s, entry)
            breaks += turn.breaks
            if turn.end is None:
                break
            entry = entry._replace(pending=turn.end.pending)
        self.join(s, before, [entry, *breaks])

    def begin(self, s: For | While) -> None:
        self.count += 1  # the counter of one turn is never compared with that of another
        self.lanes.forget_inside(s)
        if isinstance(s, For):
            uniform = not self.uniformity.is_varying(s.index)
            self.lanes.values[s.index] = self.lanes.unknown(self.count) if uniform else None

    def most_turns(self, s: For | While) -> int:
        """Return how often a loop of constant bounds runs, 2 if that is not known."""
        bounds = [self.lanes.value(v) for v in (s.start, s.stop, s.step)] if isinstance(s, For) else [None]
        if any(v is None or not v.is_known or (v.offsets != v.offsets[0]).any() for v in bounds):
            return 2
        start, stop, step = (int(v.offsets[0]) for v in bounds if v is not None)
        return len(range(start, stop, step)) if step else 0

    def instr(self, s: Instr) -> None:
        if s.op.effect is Effect.SYNC:
            self.pending = []
        elif s.op.name == "set":
            if self.active is not None and self.active.all():
                self.lanes.assign(s.attr, s.args[0])
            else:
                self.lanes.forget(s.attr)
        elif s.memory is not None and s.op.name in ("load", "store"):
            self.access(s, s.memory)
        if s.dtype is not None:
            self.lanes.compute(s)

    def access(self, s: Instr, memory: Memory) -> None:
        index = self.lanes.value(s.args[0])
        if memory.space is Space.PRIVATE or index is None or self.active is None:
            return
        visit = _Visit(s, memory, s.op.name == "store", index, self.active, self.guards)
        if visit.writes:
            self.refuse_same_element(visit)
        for earlier in self.pending:
            if earlier.memory is memory and (earlier.writes or visit.writes):
                self.refuse_pair(earlier, visit)
        self.pending.append(visit)

    def refuse_same_element(self, v: _Visit) -> None:
        """One store where two lanes write different values to one element."""
        if not self.uniformity.is_varying(v.instr.args[1]):
            return
        elements, lanes = v.index.offsets[v.active], np.flatnonzero(v.active)
        first: dict[int, int] = {}
        for element, lane in zip(elements.tolist(), lanes.tolist(), strict=True):
            if element in first:
                raise self.error(v, v, first[element], lane, element)
            first[element] = lane

    def refuse_pair(self, a: _Visit, b: _Visit) -> None:
        """Two accesses of which one writes, at equal elements by different lanes."""
        if a.index.unknowns != b.index.unknowns or not (a.guards <= b.guards or b.guards <= a.guards):
            return
        if a.writes and b.writes and self.same_value(a, b):
            return
        lanes_a = np.flatnonzero(a.active)
        lanes_b = np.flatnonzero(b.active)
        same = a.index.offsets[lanes_a][:, None] == b.index.offsets[lanes_b][None, :]
        same &= lanes_a[:, None] != lanes_b[None, :]
        if a.writes and b.writes and not self.uniformity.is_varying(b.instr.args[1]):
            # a lane that writes the value all write next leaves it there, whoever wrote in between
            same &= ~(b.active[lanes_a] & (a.index.offsets[lanes_a] == b.index.offsets[lanes_a]))[:, None]
        if same.any():
            at_a, at_b = np.argwhere(same)[0]
            lane_a, lane_b = int(lanes_a[at_a]), int(lanes_b[at_b])
            raise self.error(a, b, lane_a, lane_b, int(a.index.offsets[lane_a]))

    def same_value(self, a: _Visit, b: _Visit) -> bool:
        """Tell whether two stores write one constant, which then stays whatever their order."""
        x, y = (self.lanes.value(v.instr.args[1]) for v in (a, b))
        known = x is not None and y is not None and x.unknowns == y.unknowns
        return known and x is not None and y is not None and len({*x.offsets.tolist(), *y.offsets.tolist()}) == 1

    def error(self, a: _Visit, b: _Visit, lane_a: int, lane_b: int, element: int) -> VerifyError:
        did = {True: "writes", False: "reads"}
        line = f" (line {a.instr.loc.line})" if a.instr.loc is not None else ""
        remedy = "Put loom.barrier() between the two, write from one lane, or use an atomic"
        if b.memory.dtype.is_float:  # whose atomics are refused
            remedy = (
                "Put loom.barrier() between the two, or write from one lane; to add up what all lanes have, store it "
                "and call loom.gpu_sum, or reduce in shared memory"
            )
        place = f"element {element}" if a.index.is_known else f"element base + {element}"
        return VerifyError(
            self.kernel.where(b.instr.loc),
            f"lanes race on {b.memory.name!r}: lane {lane_a} {did[a.writes]} {place}{line} "
            f"and lane {lane_b} {did[b.writes]} it with no barrier between",
            expected="one writer per element between barriers",
            remedy=remedy,
        )


def _is_given(key: Any) -> bool:
    """True for what a dispatch gives: its group numbers, parameters, lengths; not for loop counters."""
    return isinstance(key, tuple)


def _escapes(s: If | For | While) -> bool:
    """Tell whether some lanes may not get behind a statement."""
    kinds = (Break, Continue, Return) if isinstance(s, If) else Return
    return any(isinstance(inner, kinds) for inner in walk(*walk_blocks(s)))
