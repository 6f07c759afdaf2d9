"""Refuses races that can be seen in the kernel: two lanes of a workgroup at one element, unordered.

Layer: ir. Between two barriers, a write by one lane and a read or write by another lane of the same
element is a race. Indexes are evaluated for every lane (``lanevalues``); only what is certain to clash is
refused, so a kernel that passes may still race on data-dependent indexes: the debugger finds those
while running. Invariant: no false alarm for a guard this module does not understand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from loom.core.errors import VerifyError
from loom.ir.kernel import Block, Break, Continue, For, If, Instr, Kernel, Memory, Return, Space, Variable, While, walk
from loom.ir.ops import Effect
from loom.ir.passes.lanevalues import LaneEvaluator, Lanes, LaneValue, difference, is_group, targets_of
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
        _Checker(kernel, uniformity).run()


class _Checker:
    def __init__(self, kernel: Kernel, uniformity: Uniformity) -> None:
        self.kernel = kernel
        self.uniformity = uniformity
        self.lanes = LaneEvaluator(kernel)
        self.pending: list[_Visit] = []
        self.turns = 0
        self.guards: frozenset[Any] = frozenset()
        """Conditions equal in all lanes and not known, each as true or false; _BOUND for any ``i < n``."""
        self.left: list[list[_Visit]] = []
        """For each loop around, the accesses pending where it was left by break."""

    def run(self) -> None:
        self.block(self.kernel.body, np.ones(self.kernel.lanes, np.bool_))

    def block(self, block: Block, active: Lanes | None) -> bool:
        """Visit statements, ``active`` being None where the lanes present are not known; tell if the end is reached."""
        for s in block.statements:
            if isinstance(s, Instr):
                self.instr(s, active)
            elif isinstance(s, If):
                self.if_(s, active)
            elif isinstance(s, (For, While)):
                self.loop(s, active)
            elif isinstance(s, (Break, Continue, Return)):
                if isinstance(s, Break) and self.left:
                    self.left[-1] += self.pending
                return False
            if not isinstance(s, Instr) and _escapes(s):
                active = None
        return True

    def if_(self, s: If, active: Lanes | None) -> None:
        before, outside, variables = list(self.pending), self.guards, dict(self.lanes.variables)
        after: list[_Visit] = []
        for block, (lanes, guard) in zip((s.then, s.otherwise), self.branches(s.condition), strict=True):
            self.pending, self.guards = list(before), outside if guard is None else outside | {guard}
            self.lanes.variables = dict(variables)
            if _BOUND in self.guards and len(self.guards) > 1:
                lanes = None  # the two may exclude each other
            if self.block(block, None if active is None or lanes is None else active & lanes):
                after += [v for v in self.pending if v not in after]
        self.pending, self.guards, self.lanes.variables = after, outside, variables
        self.lanes.forget(targets_of(s.then) | targets_of(s.otherwise))

    def branches(self, condition: Instr) -> tuple[tuple[Lanes | None, Any], tuple[Lanes | None, Any]]:
        """Return for both branches the lanes certain to take it (None if not known) and what that assumes."""
        value, everyone = self.lanes.value(condition), np.ones(self.kernel.lanes, np.bool_)
        unknown = None, None
        if value is not None and value.is_known:
            return (value.offsets != 0, None), (value.offsets == 0, None)
        if not self.uniformity.is_varying(condition):
            return (everyone, (condition, True, self.turns)), (everyone, (condition, False, self.turns))
        if condition.op.name not in ("lt", "le", "gt", "ge"):
            return unknown, unknown
        sides = [self.lanes.value(a) for a in condition.args]
        low, high = sides if condition.op.name in ("lt", "le") else sides[::-1]
        if low is None or high is None:
            return unknown, unknown
        below = difference(low, high)
        if all(is_group(key) for key, _ in below.unknowns):  # a constant bound: the first group shows who passes
            passes = below.offsets <= 0 if condition.op.name in ("le", "ge") else below.offsets < 0
            return (passes, None), (~passes, None)
        groups = {coefficient > 0 for key, coefficient in below.unknowns if is_group(key)}
        if len(groups) != 1 or any(not _is_given(key) for key, _ in below.unknowns):
            return unknown, unknown
        # i < n with n unknown holds for all lanes of some group, and so does the opposite of i >= n
        return ((everyone, _BOUND), unknown) if groups == {True} else (unknown, (everyone, _BOUND))

    def loop(self, s: For | While, active: Lanes | None) -> None:
        """Visit the body twice, so that the end of one turn meets the start of the next, if there is one."""
        changed = targets_of(s.body) | (targets_of(s.test) if isinstance(s, While) else set[Variable]())
        if s in self.uniformity.divergent_loops:
            active = None
        self.left.append([])
        for _ in range(min(2 if self.turns < _MOST_TURNS else 1, self.most_turns(s))):
            self.turns += 1  # the counter of one turn is never compared with that of another
            self.lanes.forget(changed)
            if isinstance(s, For):
                uniform = not self.uniformity.is_varying(s.index)
                self.lanes.values[s.index] = self.lanes.unknown(self.turns) if uniform else None
            else:
                self.block(s.test, active)
            if not self.block(s.body, active):
                break
        self.pending = self.pending + [v for v in self.left.pop() if v not in self.pending]
        self.lanes.forget(changed)

    def most_turns(self, s: For | While) -> int:
        """Return how often a loop of constant bounds runs, 2 if that is not known."""
        bounds = [self.lanes.value(v) for v in (s.start, s.stop, s.step)] if isinstance(s, For) else [None]
        if any(v is None or not v.is_known or (v.offsets != v.offsets[0]).any() for v in bounds):
            return 2
        start, stop, step = (int(v.offsets[0]) for v in bounds if v is not None)
        return len(range(start, stop, step)) if step else 0

    def instr(self, s: Instr, active: Lanes | None) -> None:
        if s.op.effect is Effect.SYNC:
            self.pending = []
        elif s.op.name == "set":
            if active is not None and active.all():
                self.lanes.assign(s.attr, s.args[0])
            else:
                self.lanes.forget({s.attr})
        elif s.memory is not None and s.op.name in ("load", "store"):
            self.access(s, s.memory, active)
        if s.dtype is not None:
            self.lanes.compute(s)

    def access(self, s: Instr, memory: Memory, active: Lanes | None) -> None:
        index = self.lanes.value(s.args[0])
        if memory.space is Space.PRIVATE or index is None or active is None:
            return
        visit = _Visit(s, memory, s.op.name == "store", index, active, self.guards)
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


def _escapes(s: If | For | While | Break | Continue | Return) -> bool:
    blocks = (s.then, s.otherwise) if isinstance(s, If) else (s.body,) if isinstance(s, (For, While)) else ()
    kinds = (Break, Continue, Return) if isinstance(s, If) else (Return,)
    return any(isinstance(inner, kinds) for block in blocks for inner in walk(block))
