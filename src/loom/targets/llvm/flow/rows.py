"""Emits a run of operations twice where indexes mostly count up: once for the case that all of them do.

Layer: targets. Looking at each access splits the code into pieces that registers do not reach across. So the indexes
of a run are computed first, looked at together, and the run is written for lanes side by side and for lanes anywhere.
Invariant: operations keep their order and their number; only pure ones and reads of variables are moved ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loom.ir.kernel import Instr, Space, Statement, Variable, operands, walk
from loom.ir.ops import Effect
from loom.targets.llvm.flow.vector_walk import VectorWalk
from loom.targets.llvm.values.lanes import Lanes
from loom.targets.llvm.values.types import I1

__all__ = ["RowRuns"]

_FEWEST, _MOST = 2, 600
"""Accesses worth a look together, and operations of a run that are written twice at most."""


class RowRuns:
    """Finds and emits such runs for a walk."""

    def __init__(self, walker: VectorWalk) -> None:
        self.c = walker
        self.s = walker.s
        self.b = walker.b
        self.refused: set[Statement] = set()
        self.run: set[Instr] = set()
        accesses = (s for s in walk(self.s.kernel.body) if isinstance(s, Instr) and s.op.name in ("load", "store"))
        likely = sum(self.s.shapes.likely.get(s.args[0]) == 1 for s in accesses)
        self.worth = likely >= _FEWEST and self.s.width > 1 and not self.s.machine.threads
        self.users: dict[Instr, list[Statement]] = {}
        for s in walk(self.s.kernel.body):
            for value in operands(s):
                self.users.setdefault(value, []).append(s)

    def emit(self, statements: Sequence[Statement], start: int) -> int:
        """Emit the run that starts at a position, if it is worth it; return how many statements it has, or 0."""
        if self.c.paused or not self.worth or statements[start] in self.refused:
            return 0
        run: list[Instr] = []
        work = 0
        for s in statements[start:]:
            work += isinstance(s, Instr) and s.op.name != "const" and s.op.effect is not Effect.IDENTITY
            if not isinstance(s, Instr) or s.op.effect is Effect.SYNC or work > _MOST:
                break
            run.append(s)
        self.run = set(run)
        accesses = self.accesses(run)
        if sum(self.c.memory.rows.is_likely(a) for a in accesses) < _FEWEST:
            self.refuse(run)
            return 0
        self.c.paused += 1
        self.twice(run, accesses)
        self.c.paused -= 1
        return len(run)

    def refuse(self, run: list[Instr]) -> None:
        """Do not ask again before a variable of integers, of which an index may be made, is set."""
        for s in run:
            self.refused.add(s)
            if s.op.name == "set" and s.attr.dtype.is_integer:
                return

    def accesses(self, run: list[Instr]) -> dict[Instr, set[Instr]]:
        """Return the accesses of a run that mostly are of neighbours, with what of the run their indexes need."""
        inside = {s: n for n, s in enumerate(run)}
        first_set: dict[Variable, int] = {}
        for n, s in enumerate(run):
            if s.op.name == "set":
                first_set.setdefault(s.attr, n)
        found: dict[Instr, set[Instr]] = {}
        for s in run:
            if s.op.name not in ("load", "store") or s.memory is None or s.memory.space is Space.PRIVATE:
                continue
            if not self.c.memory.rows.is_likely(s) and self.s.shapes.values.get(s.args[0], 0) != 1:
                continue
            needed: set[Instr] = set()
            if self.need(s.args[0], inside, first_set, needed):
                found[s] = needed
        return found

    def need(self, value: Instr, inside: dict[Instr, int], first_set: dict[Variable, int], needed: set[Instr]) -> bool:
        """Add what must be computed for a value; False if it cannot be before the run."""
        if value not in inside or value in needed or value.op.effect is Effect.IDENTITY or value.op.name == "const":
            return True
        if value.op.name == "get":
            if first_set.get(value.attr, len(inside)) < inside[value]:
                return False
        elif not value.op.is_pure:
            return False
        needed.add(value)
        return all(self.need(a, inside, first_set, needed) for a in value.args)

    def twice(self, run: list[Instr], accesses: dict[Instr, set[Instr]]) -> None:
        """Emit a run for lanes side by side, and for lanes anywhere."""
        ahead = self.ahead(run, accesses)
        for s in run:
            if s in ahead:
                self.c.instr(s)
        rest = [s for s in run if s not in ahead]
        together, firsts = self.together(accesses)
        kept = [s for s in rest if s.dtype is not None and not set(self.users.get(s, ())) <= set(run)]

        def emit(known: dict[Instr, Lanes]) -> dict[Instr, Lanes]:
            self.c.memory.rows.known = known
            for s in rest:
                self.c.instr(s)
            return {s: self.s.values[s] for s in kept if s in self.s.values}

        ends = self.s.ways(("rows", "rows.not", "rows.end"), together, lambda: emit(firsts), lambda: emit({}))
        for s in kept:
            if s in ends[0][0]:
                self.c.memory.rows.seen.pop(s, None)
                joined = self.s.merge([(values[s].value, block) for values, block in ends])
                self.s.values[s] = Lanes(joined, ends[0][0][s].stride)

    def ahead(self, run: list[Instr], accesses: dict[Instr, set[Instr]]) -> set[Instr]:
        """Return what of a run must be computed to look at its indexes: of sums the parts."""
        inside = {s: n for n, s in enumerate(run)}
        found: set[Instr] = set()
        for s in accesses:
            for part in self.parts(s.args[0]):
                self.need(part, inside, {}, found)
        return found

    def parts(self, index: Instr) -> list[Instr]:
        """Return an index's addends: what lanes share, and what may break the row, last."""
        if self.s.shapes.values.get(index, 0) is not None:
            return [index]
        shared: list[Instr] = []
        last = self.counting_part(index)
        while index is not last:
            a, b = index.args
            which = self.s.shapes.values.get(b, 0) == 0
            shared.append(b if which else a)
            index = a if which else b
        return [*shared, last]

    def first(self, index: Instr) -> Any:
        """Return the first lane's index, computed for it alone as far as lanes share the addends."""
        held = self.s.shapes.values.get(index, 0)
        if held is not None or self.counting_part(index) is index:
            value = self.c.value(index)
            return value.value if held is not None else self.c.memory.rows.first_of(value).value
        a, b = (self.first(x) for x in index.args)
        return self.b.add(a, b) if index.op.name == "add" else self.b.sub(a, b)

    def together(self, accesses: dict[Instr, set[Instr]]) -> tuple[Any, dict[Instr, Lanes]]:
        """Return whether the lanes of every access are neighbours inside its memory, and the first lanes' indexes."""
        rows, indexes, lanes, inside = self.c.memory.rows, self.c.memory.indexes, None, I1(1)
        looked: set[Instr] = set()
        highest: dict[Any, tuple[Any, Any]] = {}
        firsts: dict[Instr, Lanes] = {}
        for s in accesses:
            assert s.memory is not None
            firsts[s] = Lanes(self.first(s.args[0]), 1)
            what = self.counting_part(s.args[0])
            if self.s.shapes.values.get(s.args[0], 0) is None and what not in looked:
                looked.add(what)
                held = self.c.value(what)
                same = rows.same_as_row(rows.first_of(held), held)
                lanes = same if lanes is None else self.b.and_(lanes, same)
            if not indexes.surely_in_a_row(s):
                key, wide = (s.memory, s.args[0].type), indexes.wide(firsts[s], s).value
                if key in highest:
                    wide = self.s.arithmetic.intrinsic("umax", highest[key][0], wide)
                highest[key] = (wide, s)
        for wide, s in highest.values():
            inside = self.b.and_(inside, indexes.in_a_row(s, wide, s.memory))
        together = inside if lanes is None else self.b.and_(inside, self.s.vectors.all(lanes))
        return together, firsts

    def counting_part(self, index: Instr) -> Instr:
        """Return the part of an index that may break the row: adding what all lanes share does not.

        A sum whose addends are of another region, which handed on their sum alone, is one part.
        """
        while index.op.name in ("add", "sub") and all(x in self.run or self.c.is_there(x) for x in index.args):
            a, b = (self.s.shapes.values.get(x, 0) for x in index.args)
            if b == 0:
                index = index.args[0]
            elif a == 0 and index.op.name == "add":
                index = index.args[1]
            else:
                return index
            if self.s.shapes.values.get(index, 0) is not None:
                return index
        return index
