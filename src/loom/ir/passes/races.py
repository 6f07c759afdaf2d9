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
from loom.ir.passes.lanevalues import LaneEvaluator, LaneValue
from loom.ir.passes.uniformity import Uniformity

__all__ = ["refuse_races"]

_MOST_TURNS = 2048
"""Loops nested within loops are visited twice each; beyond this many visits, once."""


@dataclass(frozen=True, slots=True, eq=False)
class _Visit:
    """One access to memory by the lanes of ``active``."""

    instr: Instr
    memory: Memory
    writes: bool
    index: LaneValue
    active: np.ndarray[Any, Any]


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

    def run(self) -> None:
        self.block(self.kernel.body, np.ones(self.kernel.lanes, np.bool_))

    def block(self, block: Block, active: np.ndarray[Any, Any] | None) -> None:
        """Visit statements; ``active`` is None where the lanes present are not known."""
        for s in block.statements:
            if isinstance(s, Instr):
                self.instr(s, active)
            elif isinstance(s, If):
                self.if_(s, active)
            elif isinstance(s, (For, While)):
                self.loop(s, active)
            elif isinstance(s, (Break, Continue, Return)):
                return
            if not isinstance(s, Instr) and _escapes(s):
                active = None

    def if_(self, s: If, active: np.ndarray[Any, Any] | None) -> None:
        before = list(self.pending)
        known = self.guard(s.condition)
        self.block(s.then, None if active is None or known is None else active & known)
        then, self.pending = self.pending, before
        self.block(s.otherwise, None if active is None or known is None else active & ~known)
        self.pending = self.pending + [v for v in then if v not in self.pending]
        self.lanes.forget(_assigned(s.then) | _assigned(s.otherwise))

    def guard(self, condition: Instr) -> np.ndarray[Any, Any] | None:
        """Return which lanes pass a condition; all for ``i < n`` with a global id and unknown bound."""
        value = self.lanes.value(condition)
        if value is not None and value.is_known:
            return value.offsets != 0
        if not self.uniformity.is_varying(condition):
            return np.ones(self.kernel.lanes, np.bool_)
        sides = [self.lanes.value(a) for a in condition.args]
        if condition.op.name in ("lt", "le", "gt", "ge") and all(sides):
            if any(v is not None and v.is_global for v in sides):
                return np.ones(self.kernel.lanes, np.bool_)
        return None

    def loop(self, s: For | While, active: np.ndarray[Any, Any] | None) -> None:
        """Visit the body twice, so that the end of one turn meets the start of the next."""
        changed = _assigned(s.body) | (_assigned(s.test) if isinstance(s, While) else set())
        if s in self.uniformity.divergent_loops:
            active = None
        for _ in range(2 if self.turns < _MOST_TURNS else 1):
            self.turns += 1  # the counter of one turn is never compared with that of another
            self.lanes.forget(changed)
            if isinstance(s, For):
                uniform = not self.uniformity.is_varying(s.index)
                self.lanes.values[s.index] = self.lanes.unknown(self.turns) if uniform else None
            else:
                self.block(s.test, active)
            self.block(s.body, active)
        self.lanes.forget(changed)

    def instr(self, s: Instr, active: np.ndarray[Any, Any] | None) -> None:
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

    def access(self, s: Instr, memory: Memory, active: np.ndarray[Any, Any] | None) -> None:
        index = self.lanes.value(s.args[0])
        if memory.space is Space.PRIVATE or index is None or active is None:
            return
        visit = _Visit(s, memory, s.op.name == "store", index, active)
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
        first = {}
        for element, lane in zip(elements.tolist(), lanes.tolist(), strict=True):
            if element in first:
                raise self.error(v, v, first[element], lane, element)
            first[element] = lane

    def refuse_pair(self, a: _Visit, b: _Visit) -> None:
        """Two accesses of which one writes, at equal elements by different lanes."""
        if a.index.unknowns != b.index.unknowns:
            return
        if a.writes and b.writes and not self.uniformity.is_varying(b.instr.args[1]):
            return
        lanes_a = np.flatnonzero(a.active)
        lanes_b = np.flatnonzero(b.active)
        same = a.index.offsets[lanes_a][:, None] == b.index.offsets[lanes_b][None, :]
        same &= lanes_a[:, None] != lanes_b[None, :]
        if same.any():
            at_a, at_b = np.argwhere(same)[0]
            lane_a, lane_b = int(lanes_a[at_a]), int(lanes_b[at_b])
            raise self.error(a, b, lane_a, lane_b, int(a.index.offsets[lane_a]))

    def error(self, a: _Visit, b: _Visit, lane_a: int, lane_b: int, element: int) -> VerifyError:
        did = {True: "writes", False: "reads"}
        line = f" (line {a.instr.loc.line})" if a.instr.loc is not None else ""
        place = f"element {element}" if a.index.is_known else f"element base + {element}"
        return VerifyError(
            self.kernel.where(b.instr.loc),
            f"lanes race on {b.memory.name!r}: lane {lane_a} {did[a.writes]} {place}{line} "
            f"and lane {lane_b} {did[b.writes]} it with no barrier between",
            expected="one writer per element between barriers",
            remedy="Put loom.barrier() between the two, write from one lane, or use an atomic",
        )


def _assigned(block: Block) -> set[Variable]:
    return {s.attr for s in walk(block) if isinstance(s, Instr) and s.op.name == "set"}


def _escapes(s: If | For | While | Break | Continue | Return) -> bool:
    blocks = (s.then, s.otherwise) if isinstance(s, If) else (s.body,) if isinstance(s, (For, While)) else ()
    kinds = (Break, Continue, Return) if isinstance(s, If) else (Return,)
    return any(isinstance(inner, kinds) for block in blocks for inner in walk(block))
