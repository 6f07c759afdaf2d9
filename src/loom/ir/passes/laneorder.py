"""Refuses atomics of which a result depends on the order of lanes, unless the kernel says that any order will do.

Layer: ir. Lanes come to an element of memory in any order between two barriers, and those of different groups during a
whole dispatch: a barrier orders the lanes of one group, never the groups. There they may meet by one kind of atomic
that commutes (add, and, or, xor, min or max) and whose old value nobody uses. Anything else that touches memory with
atomics must be shown to stay apart: in elements that differ, in an element of the lane's own, in one lane, behind a
barrier, or under conditions of the dispatch that exclude each other. What keeps groups apart for some numbers of groups
only is an ``Apart``, which a dispatch asks. Invariant: what is not shown is refused; memory with plain reads and writes
alone is left to ``races``, which refuses what surely meets. The same proof tells which of these surely stay apart: a
call of a kernel where neither is known is tried first (``runtime.calls.trials``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import gcd
from typing import NamedTuple

import numpy as np

from loom.core.errors import VerifyError
from loom.core.late.dataclass import dataclass
from loom.ir.constants import constant_value
from loom.ir.forward import Forward
from loom.ir.kernel import (
    Break,
    Continue,
    For,
    If,
    Instr,
    Kernel,
    LaneOrder,
    Memory,
    Return,
    Space,
    Variable,
    While,
    operations,
)
from loom.ir.ops import Effect
from loom.ir.passes.datause import values_in_use
from loom.ir.passes.lanevalues import LaneEvaluator, Lanes, LaneValue, is_group
from loom.ir.passes.ranges import ARITHMETIC, Range, everything, join, trim
from loom.ir.passes.reach import Choices
from loom.ir.passes.spacing import WORD, Apart, Own, Spacing, period_of
from loom.ir.passes.uniformity import Uniformity
from loom.ir.uniform import SteadyCondition, condition_of, description, exclude, is_given

__all__ = ["conditions_of_plain", "refuse_disorder"]

_COMMUTE = frozenset(f"atomic_{name}" for name in ("add", "and", "or", "xor", "min", "max"))
_MOST_VISITS = 2048
"""Loops are visited twice each; beyond this many visits once, and barriers are left out of account."""
_MOST_PLAIN = 256
"""Loads and stores of one kernel that are held against each other, pair by pair."""
_ANY = 'write @loom.kernel(order="any"), and nothing is promised of the result'
_REMEDIES = {
    "old": "To keep some elements use loom.gpu_filter; for a number of each lane loom.group_scan(u32(condition), "
    "inclusive=False) in a workgroup, or loom.gpu_scan of zeros and ones over all lanes",
    "last": "Let one lane write it, or keep the largest index with atomic_max",
    Space.BUFFER: "Give each its own buffer, or leave one to a second kernel (a barrier orders the lanes of one group, "
    "never the groups)",
    Space.SHARED: "Put loom.barrier() between the two, or give each its own array",
}


@dataclass(frozen=True, slots=True, eq=False)
class _Access:
    """One access by some of ``lanes``, of groups ``fixed`` along some dimensions, under conditions of the dispatch."""

    instr: Instr
    memory: Memory
    does: str
    index: LaneValue | None
    range: Range
    lanes: Lanes
    fixed: frozenset[tuple[int, int]]
    guards: frozenset[SteadyCondition]


def refuse_disorder(kernel: Kernel, uniformity: Uniformity) -> tuple[Apart, ...]:
    """Raise VerifyError naming both lines if the order of lanes may show; return what a dispatch must be asked."""
    if kernel.order is not LaneOrder.PROVED:
        return ()
    watched = {s.memory for s in operations(kernel.body) if s.op.effect is Effect.ATOMIC}
    return _OrderProof(kernel, uniformity, watched).run() if watched else ()


def conditions_of_plain(kernel: Kernel, uniformity: Uniformity, only: Memory | None = None) -> tuple[Apart, ...] | None:
    """Return what a dispatch must be asked for its plain reads and writes to stay apart, None if that is not known.

    ``only``: those of one memory.
    """
    accesses = [s for s in operations(kernel.body) if s.memory is not None and s.args]
    watched = {s.memory for s in accesses if s.op.effect is not Effect.READ and s.memory not in kernel.private}
    watched &= {only} if only is not None else watched
    if not watched or kernel.order is not LaneOrder.PROVED:
        return ()
    known = all(s.name not in ("fetch", "wide_product") for s in accesses)  # which name a memory beside their own
    if not known or sum(s.memory in watched for s in accesses) > _MOST_PLAIN:
        return None
    try:
        return _OrderProof(kernel, uniformity, watched, plain=True).run()
    except VerifyError:
        return None


class _OrderState(NamedTuple):
    """The facts at a place: as an ``_OrderProof`` has it, with the values of variables and what is below an axis."""

    pending: dict[_Access, None]
    guards: frozenset[SteadyCondition]
    fixed: frozenset[tuple[int, int]]
    present: Lanes
    variables: dict[Variable, LaneValue | None]
    below: frozenset[object]


class _OrderProof(Forward[_OrderState]):
    def __init__(
        self, kernel: Kernel, uniformity: Uniformity, watched: set[Memory | None], *, plain: bool = False
    ) -> None:
        super().__init__()
        self.kernel, self.uniformity, self.watched, self.plain = kernel, uniformity, watched, plain
        self.lanes, self.choices, self.live = LaneEvaluator(kernel), Choices(kernel), values_in_use(kernel)
        self.own = Own(kernel, self.lanes, self.choices)
        self.ranges: dict[Instr, Range] = {}
        self.given: dict[Instr, int] = {}
        self.expressions: dict[object, int] = {}
        """Numbers that a dispatch gives, and what is computed of these alone: those alike have one number here."""
        self.interned: dict[object, _Access] = {}
        self.pending: dict[_Access, None] = {}
        """The accesses since the last barrier that the lanes present passed."""
        self.gone: dict[_Access, None] = {}
        """Those of lanes that returned from a loop before others."""
        self.log: list[_Access] = []
        self.judged: set[frozenset[_Access]] = set()
        self.aparts: dict[Apart, None] = {}
        self.guards: frozenset[SteadyCondition] = frozenset()
        self.fixed: frozenset[tuple[int, int]] = frozenset()
        self.present: Lanes = np.ones(kernel.lanes, np.bool_)
        """Of the lanes of a group, at least those that may get here."""
        self.begun: dict[If, int] = {}
        """The length of the ``log`` in front of a choice."""
        self.visits = 0

    def run(self) -> tuple[Apart, ...]:
        """Visit all of the kernel; then let all accesses to a buffer meet those of other groups."""
        self.block(self.kernel.body)
        found = [a for a in self.interned.values() if a.memory.space is Space.BUFFER]
        for n, a in enumerate(found):
            for b in found[n:]:
                if a.memory is b.memory and not _is_free(a, b, plain=self.plain):
                    self.between_groups(a, b)
        return tuple(self.aparts)

    def here(self) -> _OrderState:
        return _OrderState(self.pending, self.guards, self.fixed, self.present, self.lanes.variables, self.own.below)

    def enter(self, state: _OrderState) -> None:
        pending, self.guards, self.fixed, self.present, variables, self.own.below = state
        self.pending, self.lanes.variables = dict(pending), dict(variables)

    def join(self, s: If | For | While, before: _OrderState, ends: Sequence[_OrderState]) -> None:
        self.enter(before._replace(pending={access: None for end in ends for access in end.pending}))
        self.lanes.forget_inside(s)

    def leave(self, s: Break | Continue | Return) -> None:
        if isinstance(s, Return) and s in self.uniformity.divergent_returns:
            self.gone |= self.pending
        super().leave(s)

    def assume(self, s: If | While, *, holds: bool) -> None:
        if isinstance(s, If):
            if holds:
                self.begun[s] = len(self.log)
            elif self.uniformity.is_varying(s.condition):
                # lanes of a group on both sides are not ordered; else a group takes one side
                self.pending |= dict.fromkeys(self.log[self.begun[s] :])
            self.own.below |= self.own.facts_of(s.condition, holds=holds)
            if is_given(s.condition):
                self.guards |= {condition_of(s.condition, holds=holds)}
        lanes, groups = self.who(s.condition, holds=holds)
        self.present, self.fixed = self.present & lanes, self.fixed | groups

    def loop(self, s: For | While) -> None:
        """Visit the body twice, so that the end of one turn meets the start of the next."""
        before = self.here()
        entry, exits = before, list[_OrderState]()
        for _ in range(2 if self.visits < _MOST_VISITS else 1):
            turn = self.turn(s, entry)
            exits += turn.exits
            self.join(s, before, [before, entry, *turn.ends])
            entry = self.here()
        self.join(s, before, [entry, *exits])

    def begin(self, s: For | While) -> None:
        self.visits += 1
        self.lanes.forget_inside(s)
        if isinstance(s, For):
            self.lanes.values[s.index] = None
            self.own.count(s)
            (first, _), (_, stop) = self.ranges[s.start], self.ranges[s.stop]
            is_up = not s.down and first < stop
            self.ranges[s.index] = (first, stop - 1) if is_up else everything(s.index.type)

    def who(self, condition: Instr, *, holds: bool) -> tuple[Lanes, frozenset[tuple[int, int]]]:
        """Return lanes of which none is missing for which a condition holds, and the only groups that have any."""
        name, args, everyone = condition.name, condition.args, np.ones(self.kernel.lanes, np.bool_)
        value = self.lanes.value(condition)
        if value is not None and value.is_known:
            return (value.offsets != 0) == holds, frozenset()
        if name == "not":
            return self.who(args[0], holds=not holds)
        both = args if (name, holds) in (("and", True), ("or", False)) else self.choices.both(condition, holds=holds)
        if both:
            found = [self.who(each, holds=holds) for each in both]
            return found[0][0] & found[1][0], found[0][1] | found[1][1]
        if (name, holds) in (("eq", True), ("ne", False)):
            for a, b in (args, args[::-1]):
                if (one := self.first_groups(a, b, equal=True)) is not None:
                    return one
        relation = name if holds else {"ge": "lt", "gt": "le", "le": "gt", "lt": "ge"}.get(name)
        if relation in ("lt", "le", "gt", "ge"):
            low, high = args if relation in ("lt", "le") else args[::-1]
            return self.first_groups(low, high, closed=relation in ("le", "ge")) or (everyone, frozenset())
        return everyone, frozenset()

    def first_groups(
        self, low: Instr, high: Instr, *, equal: bool = False, closed: bool = False
    ) -> tuple[Lanes, frozenset[tuple[int, int]]] | None:
        """Return who has a lane's or group's number equal to, or below, a constant, if only one group has any."""
        a, b = self.lanes.value(low), self.lanes.value(high)
        if a is None or b is None or not b.is_known or (b.offsets != b.offsets[0]).any() or len(a.unknowns) != 1:
            return None
        ((key, step),), limit = a.unknowns, int(b.offsets[0]) + closed
        if not is_group(key) or not 0 <= a.offsets.min() <= a.offsets.max() < step <= self.kernel.workgroup[key[1]]:
            return None
        if equal:
            return a.offsets == limit % step, frozenset({(key[1], limit // step)})
        return (a.offsets < limit, frozenset({(key[1], 0)})) if limit <= step else None

    def instr(self, s: Instr) -> None:
        if s.name == "barrier" and self.visits < _MOST_VISITS:
            self.pending = {}
        elif s.name == "set":
            self.lanes.assign(s.attr, s.args[0])
        elif s.name in ("fetch", "wide_product"):
            for memory in self.kernel.shared:
                if memory.name == s.attr[0] and memory in self.watched:
                    self.access(s, memory, None, everything(s.args[0].type))
        if s.memory in self.watched and s.memory is not None and s.args:
            index = self.lanes.value(s.args[0]) or self.own.place(s.args[0], s.memory) if s.name != "fetch" else None
            self.access(s, s.memory, index, self.ranges.get(s.args[0], (0, WORD)))
        if s.dtype is not None:
            self.lanes.compute(s)
            self.ranges[s] = self.range(s)
            self.give(s)

    def give(self, s: Instr) -> None:
        """Let a number that is the same for all lanes, whatever it is, be an unknown of its own."""
        computed = s.op.is_pure and s.args and all(a in self.given for a in s.args)
        if not _is_whole(s) or not (computed or s.name in ("const", "param", "length")):
            return
        key = s.name, s.dtype, s.attr, s.memory, *(self.given[a] for a in s.args)
        self.given[s] = self.expressions.setdefault(key, len(self.expressions))
        if self.lanes.value(s) is None:
            self.lanes.values[s] = self.lanes.unknown(("given", self.given[s]))

    def range(self, s: Instr) -> Range:
        """Return what an integer may be, whatever is dispatched."""
        if not _is_whole(s) or not all(_is_whole(a) for a in s.args):
            return everything(s.type)
        if s.name == "const":
            number = int(constant_value(s.attr, s.type))
            return number, number
        if s.name == "local_id":
            return 0, self.kernel.workgroup[int(s.attr)] - 1
        if s.name == "select":
            return join(self.ranges[s.args[1]], self.ranges[s.args[2]])
        rule = ARITHMETIC.get(s.name)
        return trim(rule(*(self.ranges[a] for a in s.args)), s.type) if rule is not None else everything(s.type)

    def access(self, s: Instr, memory: Memory, index: LaneValue | None, range_: Range) -> None:
        lanes = self.present
        does = s.name if s.name in _COMMUTE and s not in self.live else "load" if s.name == "load" else "other"
        known = None if index is None else (index.offsets.tobytes(), index.unknowns)
        if index is not None and index.is_known and lanes.any():
            range_ = int(index.offsets[lanes].min()), int(index.offsets[lanes].max())
        own = s if does == "other" else does  # of others any line will do
        key = own, memory, known, range_, lanes.tobytes(), self.fixed, self.guards
        here = self.interned.get(key)
        if here is None:
            here = self.interned[key] = _Access(s, memory, does, index, range_, lanes, self.fixed, self.guards)
        self.pending[here] = None
        self.log.append(here)
        for earlier in (*self.pending, *self.gone):
            if earlier.memory is not memory or _is_free(earlier, here, plain=self.plain):
                continue
            pair = frozenset((earlier, here))
            if pair not in self.judged:
                self.judged.add(pair)
                if _meet_in_group(earlier, here):
                    raise self.error(earlier, here)

    def between_groups(self, a: _Access, b: _Access) -> None:
        """Refuse two accesses that meet whatever the numbers of groups are; note what these must be else."""
        if a.index is None or b.index is None or a.index.unknowns != b.index.unknowns:
            raise self.error(a, b)
        if not (a.lanes.any() and b.lanes.any()):
            return
        one, found = {d for d, _ in a.fixed & b.fixed}, {k[1]: c for k, c in a.index.unknowns if is_group(k)}
        steps = [None if d in one else found.get(d, 0) for d in range(3)]
        # steps of groups leave the remainder by what divides them all (of none: the element) as it is
        shared = gcd(period_of(a.index), *(step for step in steps if step is not None))
        rests = [set((x.index.offsets[x.lanes] % shared).tolist()) for x in (a, b) if x.index is not None]
        if any(step is not None for step in steps) and not rests[0].isdisjoint(rests[1]):
            error, ways = self.error(a, b), (self.spacing(a, b, steps), self.spacing(a, b, steps, of_lanes=True))
            self.aparts[Apart(a.memory.name, ways, error.what, error.remedy)] = None

    def spacing(self, a: _Access, b: _Access, steps: Sequence[int | None], *, of_lanes: bool = False) -> Spacing:
        """Return how two accesses are placed: places are groups, or lanes along dimensions where that is so."""
        assert a.index is not None
        assert b.index is not None
        x, y, sizes, found = a.index.offsets, b.index.offsets, [1, 1, 1], list(steps)
        for d, (step, size) in enumerate(zip(steps, self.kernel.workgroup, strict=True)):
            if of_lanes and step and step % size == 0:
                found[d], sizes[d] = step // size, size
                own = self.lanes.local[d] * (step // size)
                x, y = x - own, y - own
        x, y = x[a.lanes], y[b.lanes]
        return Spacing(
            tuple(found), tuple(sizes), max(int(x.max() - y.min()), int(y.max() - x.min())), period_of(a.index)
        )

    def error(self, a: _Access, b: _Access) -> VerifyError:
        """Name what of two accesses shows the order, and what to write instead."""
        name, space = b.memory.name, b.memory.space
        first, then = (a, b) if a.instr.op.effect is not Effect.ATOMIC or b.instr.op.effect is Effect.ATOMIC else (b, a)
        line = f" (line {first.instr.loc.line})" if first.instr.loc is not None else ""
        what = f"{then.instr.name} on {name!r} depends on the order of lanes: "
        if first.instr is not then.instr:
            what, remedy = f"{what}others come by {first.instr.name}{line}", _REMEDIES[space]
        elif then.instr in self.live:
            what, remedy = f"{what}what it gives is used", _REMEDIES["old"]
        else:
            what, remedy = f"{what}the last one stays", _REMEDIES["last"]
        loc = then.instr.loc
        return VerifyError(
            self.kernel.where(loc),
            what,
            expected="elements apart, or one kind of atomic (add, and, or, xor, min, max) whose old value is not used",
            remedy=f"{remedy}; or {_ANY}",
        )


def _is_free(a: _Access, b: _Access, *, plain: bool) -> bool:
    """Tell whether two accesses may meet in any order, or surely do not; ``plain`` ones are ``races``' else."""
    if a.does == b.does != "other":
        return True
    if all(x.instr.op.effect is not Effect.ATOMIC for x in (a, b)) and (not plain or _stores_one_value(a, b)):
        return True
    if a.range[1] < b.range[0] or b.range[1] < a.range[0]:
        return True
    return any(exclude(g, h) for g in a.guards for h in b.guards)


def _stores_one_value(a: _Access, b: _Access) -> bool:
    """Tell whether two accesses store the same, whichever lanes come."""
    if not a.instr.name == b.instr.name == "store":
        return False
    one, other = a.instr.args[1], b.instr.args[1]
    return is_given(one) and is_given(other) and description(one) == description(other)


def _meet_in_group(a: _Access, b: _Access) -> bool:
    """Tell whether two lanes of a group may be at one element."""
    if a.index is None or b.index is None or a.index.unknowns != b.index.unknowns:
        return bool(a.lanes.any() and b.lanes.any() and np.count_nonzero(a.lanes | b.lanes) > 1)
    owners: dict[int, int] = {}
    several: set[int] = set()
    for lane, element in _places(a.index, a.lanes):
        if owners.setdefault(element, lane) != lane:
            several.add(element)
    return any(e in several or owners.get(e, lane) != lane for lane, e in _places(b.index, b.lanes))


def _places(index: LaneValue, lanes: Lanes) -> Iterator[tuple[int, int]]:
    """Yield lanes with what tells their elements from those of other lanes of the group."""
    return zip(np.flatnonzero(lanes).tolist(), (index.offsets[lanes] % period_of(index)).tolist(), strict=True)


def _is_whole(value: Instr) -> bool:
    return value.dtype is not None and (value.type.is_integer or value.type.is_bool) and not value.type.is_vector
