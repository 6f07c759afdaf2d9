"""Which accesses are the same whatever buffers hold: what data decide, and what a dispatch gives alone.

Layer: ir. A number is of data if it comes from memory (tables of constants apart) or from a variable that was set where
data decide. An access is *settled* if neither its index nor any condition, loop or early exit on its way is of data.
Invariant: whatever buffers hold, the same lanes make a settled access, at the same elements.
"""

from __future__ import annotations

from loom.core.fixed import MOST_HELD
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
    assignments,
    operands,
    origins,
    walk,
)

__all__ = ["DataUse", "data_use", "values_in_use"]


@dataclass(frozen=True, slots=True)
class DataUse:
    """The ``settled`` accesses, and the buffers of which the others' indexes and conditions are made."""

    settled: frozenset[Instr]
    sources: frozenset[Memory]


def data_use(kernel: Kernel) -> DataUse:
    """Return where data decide in a verified kernel."""
    found = _DataFlow()
    while True:
        known = found.extent()
        found.settled, found.is_left, found.state = set(), False, False
        found.block(kernel.body)
        if found.extent() == known:
            return DataUse(frozenset(found.settled), _sources(kernel))


class _DataFlow(Forward[bool]):
    """Values that are of data, growing turn by turn until it stays; ``state``: a branch or loop around goes by data."""

    def __init__(self) -> None:
        super().__init__()
        self.values: set[Instr] = set()
        self.variables: set[Variable] = set()
        self.uneven: set[For | While] = set()
        """Loops that lanes leave, or of which they leave out a part, by data."""
        self.arrays: set[Memory] = set()
        """Memory of lanes and groups that what is of data gets into."""
        self.settled: set[Instr] = set()
        self.is_left = False
        """Some lanes returned by data: what follows is met by the others alone."""

    def extent(self) -> tuple[int, ...]:
        return tuple(map(len, (self.values, self.variables, self.uneven, self.arrays)))

    @property
    def by_data(self) -> bool:
        """Whether data decide which lanes get here."""
        return self.state or self.is_left or (bool(self.turns) and self.turns[-1].loop in self.uneven)

    def assume(self, s: If | While, *, holds: bool) -> None:
        del holds
        of_data = s.condition in self.values
        if of_data and isinstance(s, While):
            self.uneven.add(s)
        self.state = self.by_data or of_data

    def begin(self, s: For | While) -> None:
        self.state = self.by_data or (isinstance(s, For) and not self.values.isdisjoint(operands(s)))
        if self.state and isinstance(s, For):
            self.values.add(s.index)

    def leave(self, s: Break | Continue | Return) -> None:
        if self.by_data:
            self.uneven.update(turn.loop for turn in self.turns[-1:])
            self.is_left = self.is_left or isinstance(s, Return)

    def instr(self, s: Instr) -> None:
        of_data = not self.values.isdisjoint(s.args)
        if s.name == "set":
            if of_data or self.by_data:
                self.variables.add(s.attr)
            return
        if s.memory is not None and s.args:
            by_data = self.by_data
            if s.name in ("load", "store") or s.name.startswith("atomic_"):
                if not (by_data or s.args[0] in self.values):
                    self.settled.add(s)
            if (of_data or by_data or s.name not in ("load", "store")) and s.memory.space is not Space.BUFFER:
                self.arrays.add(s.memory)
            given = s.memory in self.arrays if s.memory.space is not Space.BUFFER else s.memory.data is None
            of_data = of_data or given
        if of_data or (s.name == "get" and s.attr in self.variables):
            self.values.add(s)


def _sources(kernel: Kernel) -> frozenset[Memory]:
    """Return the buffers that indexes, conditions and bounds of loops come from; all, where it is by other memory."""
    decide = [v for s in walk(kernel.body) for v in (_index(s) if isinstance(s, Instr) else operands(s))]
    loads = [v.memory for v in origins(decide, assignments(kernel.body)) if v.memory is not None and v.args]
    is_known = all(memory.space is Space.BUFFER for memory in loads)
    return frozenset(loads if is_known else kernel.buffers)


def _index(s: Instr) -> tuple[Instr, ...]:
    return s.args[:1] if s.memory is not None else ()


def values_in_use(kernel: Kernel) -> set[Instr]:
    """Return the values that something shows: memory, a branch, a loop, the host."""
    shown: list[Instr] = []
    for s in walk(kernel.body):
        if not isinstance(s, Instr):
            shown += operands(s)
        elif s.name == "assert" and _is_cell_check(s.args[0]):
            shown += s.args[1:]
        elif not s.op.is_pure and s.name not in ("load", "get", "set", "tile_product"):
            shown += s.args
    return origins(shown, assignments(kernel.body))


def _is_cell_check(condition: Instr) -> bool:
    """Tell whether all that is asked is that a cell of fixed point holds its sum (see ``frontend.data.cells``)."""
    if condition.name != "and":
        return False
    low, high = condition.args
    limits = [(c.name, c.args[1].name, c.args[1].attr) for c in (low, high) if len(c.args) == 2]
    wanted = [("gt", "const", -MOST_HELD % (1 << 64)), ("lt", "const", MOST_HELD)]
    return limits == wanted and low.args[0] is high.args[0] and low.args[0].name == "atomic_add"
