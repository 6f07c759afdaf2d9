"""Numbers of groups for which lanes of different groups are at other elements, and elements that are a lane's own.

Layer: ir. ``laneorder`` finds where the lanes of a kernel are; a dispatch asks with its groups. ``Own`` places lanes at
indexes that no sum of lane numbers describes: of two axes, and of loops that step over all lanes. Invariant: what is
said to be apart is, also where indexes come around.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, cast

from loom.core.late.dataclass import dataclass
from loom.ir.constants import constant_value
from loom.ir.kernel import For, Instr, Kernel, Memory, Space
from loom.ir.passes.lanevalues import LaneEvaluator, LaneValue, is_group
from loom.ir.passes.reach import Choices

__all__ = ["WORD", "Apart", "Own", "Spacing", "period_of"]

WORD = 1 << 32
"""Indexes are told apart in their lowest 32 bits."""
_ROW = 1 << 33
"""Places from a row to the next, where rows and columns are told apart."""
_PLACES = 1 << 62
_MOST_WITHIN = 1 << 20
"""Numbers of the lanes of a group that are further from each other are not followed."""
_Key: TypeAlias = tuple[bytes, frozenset[tuple[object, int]]]
_Facts: TypeAlias = frozenset[tuple[_Key, tuple[str, int]]]


@dataclass(frozen=True, slots=True)
class Spacing:
    """Where lanes are: along each dimension ``sizes`` places of a group, ``steps`` elements from a place to the next.

    None where only one group gets there; beside that lanes are at most ``spread`` elements from each other. Places come
    around after a ``period``.
    """

    steps: tuple[int | None, ...]
    sizes: tuple[int, ...]
    spread: int
    period: int = WORD

    def holds(self, groups: Sequence[int]) -> bool:
        """Tell whether different places are different elements, for numbers of groups along each dimension."""
        reach = self.spread
        counts = [n * size for n, size in zip(groups, self.sizes, strict=True)]
        known = [(abs(step), n) for step, n in zip(self.steps, counts, strict=True) if step is not None]
        for step, count in sorted(known):
            if count > 1 and step <= reach:
                return False
            reach += step * max(count - 1, 0)
        return reach < self.period


@dataclass(frozen=True, slots=True)
class Apart:
    """Groups are at other elements of ``memory`` if one of ``ways`` to place them says so; else ``what`` is wrong."""

    memory: str
    ways: tuple[Spacing, ...]
    what: str
    remedy: str

    def holds(self, groups: Sequence[int]) -> bool:
        """Tell whether no two lanes of different groups meet, for numbers of groups along each dimension."""
        return any(way.holds(groups) for way in self.ways)


def _is_of_axes(key: object) -> bool:
    """Tell whether an unknown stands for places of rows and columns."""
    return isinstance(key, tuple) and cast("tuple[object, ...]", key)[0] == "axes"


def period_of(index: LaneValue) -> int:
    """Return the number of places after which those of an index come around."""
    return _PLACES if any(_is_of_axes(key) for key, _ in index.unknowns) else WORD


class Own:
    """Places of lanes at elements that are their own, whatever numbers a dispatch gives."""

    def __init__(self, kernel: Kernel, lanes: LaneEvaluator, choices: Choices) -> None:
        self.kernel, self.lanes, self.choices = kernel, lanes, choices
        self.below: frozenset[object] = frozenset()
        """Numbers that are below the length of an axis, for the lanes that are here."""
        self.turns: dict[Instr, LaneValue] = {}
        """Counters of loops in which no two lanes have a turn in common."""

    def facts_of(self, condition: Instr, *, holds: bool) -> _Facts:
        """Return which numbers are below the length of an axis where a condition holds, or does not."""
        name, args = condition.name, condition.args
        if name == "not":
            return self.facts_of(args[0], holds=not holds)
        both = args if (name, holds) in (("and", True), ("or", False)) else self.choices.both(condition, holds=holds)
        if both:
            return self.facts_of(both[0], holds=holds) | self.facts_of(both[1], holds=holds)
        sides = {("lt", True): args, ("ge", False): args, ("gt", True): args[::-1], ("le", False): args[::-1]}
        low, high = sides.get((name, holds), (None, None))
        if low is None or high is None or high.name != "param" or high.attr.extent is None or low.type.is_signed:
            return frozenset()
        key = self._key(low)
        return frozenset() if key is None else frozenset({(key, high.attr.extent)})

    def count(self, loop: For) -> None:
        """Place a loop's counter: lanes that begin below its step, each elsewhere, stay that far from each other."""
        start, step = self.lanes.value(loop.start), loop.step
        self.turns.pop(loop.index, None)
        if start is None or loop.down or loop.index.type.bits < 32:
            return
        if step.name == "const":
            stride = int(constant_value(step.attr, step.type))
            own = start.is_known and 0 <= int(start.offsets.min()) <= int(start.offsets.max()) < stride
        elif (d := self._dispatch_stride(step)) is not None:
            stride = d
            is_lane = start.unknowns == {(("group", d), self.kernel.workgroup[d])}
            own = is_lane and bool((start.offsets == self.lanes.local[d]).all())
        else:
            return
        if own:
            self.turns[loop.index] = LaneValue(start.offsets, start.unknowns | {(("turns", step.name, stride), 1)})

    def _dispatch_stride(self, step: Instr) -> int | None:
        """Return the dimension along which a step is the number of all lanes."""
        for groups, size in (step.args, step.args[::-1]) if step.name == "mul" else ():
            if groups.name == "num_groups" and size.name == "const":
                d = int(groups.attr)
                return d if int(constant_value(size.attr, size.type)) == self.kernel.workgroup[d] else None
        return None

    def place(self, index: Instr, memory: Memory) -> LaneValue | None:
        """Return where lanes are at an index, comparable with lanes at one that is computed alike."""
        if index in self.turns:
            return self.turns[index]
        if memory.space is not Space.BUFFER or index.name != "add":
            return None
        for product, column in (index.args, index.args[::-1]):
            for row, width in (product.args, product.args[::-1]) if product.name == "mul" else ():
                if width.name == "param" and width.attr.extent == (memory.name, 1):
                    return self._of_axes(memory, row, column)
        return None

    def _of_axes(self, memory: Memory, row: Instr, column: Instr) -> LaneValue | None:
        """Return the places of an array's rows and columns, if lanes are in none that is not there."""
        keys = self._key(row), self._key(column)
        if any(key is None or (key, (memory.name, axis)) not in self.below for axis, key in enumerate(keys)):
            return None
        a, b = self.lanes.values[row], self.lanes.values[column]
        if a is None or b is None or not (self._is_followed(a) and self._is_followed(b)):
            return None
        steps: dict[object, int] = {("axes", memory, *keys): 1}
        for value, factor in ((a, _ROW), (b, 1)):
            for key, step in value.unknowns:
                if is_group(key):
                    steps[key] = steps.get(key, 0) + step * factor
        offsets = (a.offsets - a.offsets.min()) * _ROW + b.offsets - b.offsets.min()
        return LaneValue(offsets, frozenset(steps.items()))

    def _is_followed(self, value: LaneValue) -> bool:
        """Tell whether no two lanes of a dispatch have numbers that are equal in 32 bits alone."""
        steps = [(key, step) for key, step in value.unknowns if is_group(key)]
        spread = int(value.offsets.max() - value.offsets.min())
        if not steps:
            return spread < _MOST_WITHIN
        sizes = [size for d, size in enumerate(self.kernel.workgroup) if steps[0][0] == ("group", d)]
        return len(steps) == 1 and 0 < steps[0][1] <= sizes[0] and spread < sizes[0]

    def _key(self, value: Instr) -> _Key | None:
        found = self.lanes.value(value)
        return None if found is None else (found.offsets.tobytes(), found.unknowns)
