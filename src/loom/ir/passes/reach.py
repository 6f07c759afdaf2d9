"""Tells which lanes of a dispatch can do anything: how far a kernel reaches, read off its guards.

Layer: ir. An effect is a store or an atomic to a buffer, a line printed, an assertion. A lane gets to one only past its
guards: ``if i < n``, an early return, ``range(i, n, step)``; and a store at ``x[i]`` beyond x is dropped. Where every
effect has such a bound, in each dimension that the kernel asks for, lanes beyond the largest do nothing. Invariant: a
bound is never too small; what is not understood has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from loom.core.dtype import i32, u32
from loom.core.late.dataclass import dataclass
from loom.ir.constants import constant_value
from loom.ir.forward import Forward
from loom.ir.kernel import (
    Block,
    For,
    If,
    Instr,
    Kernel,
    Memory,
    Param,
    Space,
    Variable,
    While,
    assignments,
    operands,
    operations,
    walk,
    walk_blocks,
)
from loom.ir.ops import OPS
from loom.ir.uniform import is_given, least_shift, leaves, numbers_text, source_text, value_of, wraps

__all__ = ["Bound", "Choices", "Reach", "WrapsAround", "comparison", "reach_of"]

_MOST = 1 << 32
"""No dispatch has more lanes along a dimension."""
_OPPOSITE = {"lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}
_LENGTH = OPS["length"]


class WrapsAround(Exception):
    """The limit of a guard, as ``text``, wraps around for what is ``given``, so that it keeps no lane out."""

    def __init__(self, text: str, given: str) -> None:
        super().__init__(text)
        self.text = text
        self.given = given


@dataclass(frozen=True, slots=True)
class Bound:
    """Lanes get past a guard if their number, plus ``shift``, is below ``limit`` (``closed``: at most it).

    ``added`` and ``taken`` are numbers of the dispatch that are added to a lane's and subtracted from it besides.
    ``scale``: the lanes of one step, where it is the number of the group that is compared. ``is_length``: nobody wrote
    the guard; what lies beyond is outside of what the effect is on.
    """

    limit: Instr
    shift: int = 0
    closed: bool = False
    scale: int = 1
    is_length: bool = False
    added: tuple[Instr, ...] = ()
    taken: tuple[Instr, ...] = ()

    def lanes(self, params: Mapping[Param, Any], lengths: Mapping[Memory, int]) -> int:
        """Return the number of lanes below the bound; WrapsAround if its limit does."""
        if wraps(self.limit, params, lengths):
            raise WrapsAround(source_text(self.limit), numbers_text(self.limit, params, lengths))
        shift = self.shift
        for sign, numbers in ((1, self.added), (-1, self.taken)):
            shift += sign * sum(least_shift(int(value_of(v, params, lengths)[0]), v) for v in numbers)
        value = int(value_of(self.limit, params, lengths)[0]) - shift + self.closed
        return min(max(value, -shift, 0) * self.scale, _MOST)


_Bounds = tuple[tuple["Bound", ...], ...]


@dataclass(slots=True)
class Reach:
    """What a kernel asks of its place, and the bounds of its effects.

    ``asked`` tells for each dimension whether the kernel asks for the number of its lane or group there; ``groups``
    whether it asks for that of its group, ``counts`` whether for how many there are, other than for the step of a loop:
    such a loop does the same whatever the number. ``strides`` has the dimensions and bounds of loops that begin at the
    lane's number and step by what the dispatch has, ``counted`` the dimensions whose number of groups is asked for
    otherwise. ``effects`` has the bounds of each effect for each dimension,
    ``loose`` those effects that nothing bounds in a dimension asked for; ``axes`` the lengths of axes that lanes index
    by their number along a dimension; ``indexed`` are the buffers that lanes index by their number along dimension 0.
    """

    asked: tuple[bool, bool, bool]
    groups: bool
    counts: bool
    effects: list[_Bounds] = field(default_factory=list[_Bounds])
    loose: list[Instr] = field(default_factory=list[Instr])
    strides: list[tuple[int, Bound]] = field(default_factory=list[tuple[int, Bound]])
    counted: set[int] = field(default_factory=set[int])
    axes: list[tuple[int, Bound]] = field(default_factory=list[tuple[int, Bound]])
    indexed: set[Memory] = field(default_factory=set[Memory])

    @property
    def is_whole(self) -> bool:
        """Whether lanes share work out among all that their groups have, so that none of them may be left out."""
        return bool(self.strides or self.counted)

    @property
    def loops(self) -> list[Bound]:
        """The bounds of loops over the lanes along dimension 0."""
        return [bound for dimension, bound in self.strides if dimension == 0 and bound.scale == 1]

    def partitions(
        self, lanes: Sequence[int], params: Mapping[Param, object], lengths: Mapping[Memory, int]
    ) -> Iterator[int]:
        """Yield the dimensions whose lanes share work out among all there are, also among others than ``lanes``."""
        for dimension, bound in self.strides:
            if bound.lanes(params, lengths) > lanes[dimension]:
                yield dimension
        yield from self.counted

    @property
    def params(self) -> set[Param]:
        """The parameters that bounds are made of."""
        bounds = [bound for effect in self.effects for each in effect for bound in each]
        bounds += [bound for _, bound in self.strides]
        numbers = (number for bound in bounds for number in (bound.limit, *bound.added, *bound.taken))
        return {v.attr for number in numbers for v in (number, *leaves(number)) if v.name == "param"}

    def lanes(
        self, params: Mapping[Param, Any], lengths: Mapping[Memory, int], *, written: bool = False
    ) -> tuple[int, int, int]:
        """Return the lanes needed along each dimension (1 where none is asked for); there is no ``loose`` effect.

        ``written``: those that the guards of an effect let through, where it has some, however long what it is on.
        """
        found = [int(not (asked and self.effects)) for asked in self.asked]
        for bounds in self.effects:
            box: list[int] = []
            wrapped: list[WrapsAround] = []
            for each in bounds:
                known: list[int] = []
                lost: list[WrapsAround] = []
                guards = [bound for bound in each if not bound.is_length] if written else []
                for bound in guards or each:
                    try:
                        known.append(bound.lanes(params, lengths))
                    except WrapsAround as error:
                        lost.append(error)
                wrapped += [] if known else lost
                box.append(min(known, default=1))
            if all(box) and wrapped:
                raise wrapped[0]
            if all(box):
                found = [max(pair) for pair in zip(found, box, strict=True)]
        x, y, z = found
        return x, y, z


def reach_of(kernel: Kernel) -> Reach:
    """Return how far a verified kernel reaches."""
    reader = _Guards(kernel)
    reader.block(kernel.body)
    return reader.found


class Choices:
    """The variables of a kernel that hold ``a and b`` or ``a or b``, of which ``b`` is computed only where needed.

    Only what is read behind both, in the block that has them or inside it, is known to be made of both.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.twice = {v for v, values in assignments(kernel.body).items() if len(values) == 2}
        self.made: dict[Instr, tuple[bool, tuple[Instr, Instr]]] = {}
        """Of reads: whether a variable holds ``and``, and the two."""
        self.look(kernel.body)

    def both(self, value: Instr, *, holds: bool) -> tuple[Instr, ...]:
        """Return the two conditions that both hold (or do not) if what was read of such a variable does."""
        is_and, conditions = self.made.get(value, (not holds, ()))
        return conditions if is_and is holds else ()

    def look(self, block: Block) -> None:
        """Find ``v = a``, then ``if a: v = b`` (or ``if not a``) in a block, and what reads v from there on."""
        firsts: dict[Variable, Instr] = {}
        known: dict[Variable, tuple[bool, tuple[Instr, Instr]]] = {}
        for s in block.statements:
            for inner in operations(Block([s])) if known else ():
                if inner.name == "get" and inner.attr in known:
                    self.made[inner] = known[inner.attr]
            if isinstance(s, Instr):
                if s.name == "set" and s.attr in self.twice:
                    firsts[s.attr] = s.args[0]
                continue
            for inner in walk_blocks(s):
                self.look(inner)
            if not isinstance(s, If):
                continue
            for each in s.then.statements:
                if not (isinstance(each, Instr) and each.name == "set" and each.attr in firsts):
                    continue
                first, test = firsts[each.attr], s.condition
                if test is first or (test.name == "not" and test.args[0] is first):
                    known[each.attr] = (test is first, (first, each.args[0]))


_Facts = tuple[tuple[int, Bound], ...]
"""What holds of the lanes that get to a place: dimensions with their bounds."""


@dataclass(frozen=True, slots=True)
class _LanePlace:
    """The number of a lane (of a group: of ``scale`` lanes) along a dimension, shifted as a ``Bound`` says."""

    dimension: int
    shift: int = 0
    scale: int = 1
    added: tuple[Instr, ...] = ()
    taken: tuple[Instr, ...] = ()

    def bound(self, limit: Instr, *, closed: bool = False, is_length: bool = False) -> Bound:
        """Return what keeps this number below a limit."""
        return Bound(limit, self.shift, closed, self.scale, is_length, self.added, self.taken)

    def move(self, number: Instr, *, sign: int) -> _LanePlace:
        """Return the place a number of the dispatch further, or before."""
        if number.name == "const":
            shift = least_shift(int(constant_value(number.attr, number.type)), number)
            return replace(self, shift=self.shift + sign * shift)
        if sign > 0:
            return replace(self, added=(*self.added, number))
        return replace(self, taken=(*self.taken, number))


class _Guards(Forward[_Facts]):
    """Reads guards; ``state`` holds of the lanes that get here."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.state = ()
        self.kernel = kernel
        body = list(operations(kernel.body))
        asked = {s.attr for s in body if s.name in ("global_id", "group_id")}
        self.found = Reach(
            (0 in asked, 1 in asked, 2 in asked),
            any(s.name == "group_id" for s in body),
            _counts_groups(kernel),
        )
        if self.found.counts:
            self.found.counted |= {s.attr for s in body if s.name == "num_groups"}
        self.choices = Choices(kernel)

    def assume(self, s: If | While, *, holds: bool) -> None:
        self.state += self.facts(s.condition, holds=holds)

    def begin(self, s: For | While) -> None:
        if isinstance(s, For):
            counted = () if s.down else self.below(s.start, s.stop, closed=False)
            if _is_stride(s.step):
                self.found.strides += counted
                self.found.counted |= _dimensions(s.step) - {d for d, _ in counted}
            self.state += counted

    def instr(self, s: Instr) -> None:
        if s.name == "within":
            self.found.axes += self.below(s.args[0], s.args[1], closed=False)
            return
        is_buffer = s.memory is not None and s.memory.space is Space.BUFFER
        at = self.lane(s.args[0]) if is_buffer and s.args else None
        if at == _LanePlace(0):
            assert s.memory is not None
            self.found.indexed.add(s.memory)
        if not (is_buffer and s.name not in ("load", "length")) and s.name not in ("print", "assert"):
            return
        facts = self.state
        if at is not None and is_buffer:
            length = Instr(_LENGTH, None, (), None, s.memory)
            facts = (*facts, (at.dimension, at.bound(length, is_length=True)))
        bounds = tuple(tuple(bound for d, bound in facts if d == dimension) for dimension in range(3))
        is_loose = any(asked and not each for asked, each in zip(self.found.asked, bounds, strict=True))
        if is_loose:
            self.found.loose.append(s)
        self.found.effects.append(bounds)

    # guards

    def facts(self, condition: Instr, *, holds: bool) -> _Facts:
        """Return what is true of lanes for which ``condition`` is, or is not."""
        name, args = condition.name, condition.args
        if condition.type.is_vector:
            return ()
        if name == "not":
            return self.facts(args[0], holds=not holds)
        if (name, holds) in (("and", True), ("or", False)):
            return self.facts(args[0], holds=holds) + self.facts(args[1], holds=holds)
        if name == "get":
            return self.choice_facts(condition, holds=holds)
        numbers = comparison(condition)
        if numbers is not None:
            name, args = numbers[0], numbers[1:]
        if (name, holds) in (("eq", True), ("ne", False)):
            return self.below(args[0], args[1], closed=True) + self.below(args[1], args[0], closed=True)
        if name not in _OPPOSITE:
            return ()
        name = name if holds else _OPPOSITE[name]
        low, high = args if name in ("lt", "le") else args[::-1]
        return self.below(low, high, closed=name in ("le", "ge"))

    def choice_facts(self, value: Instr, *, holds: bool) -> _Facts:
        """Return what ``a and b`` (``or``, where it does not hold) says if ``b`` was computed only where needed."""
        return tuple(fact for each in self.choices.both(value, holds=holds) for fact in self.facts(each, holds=holds))

    def below(self, low: Instr, high: Instr, *, closed: bool) -> _Facts:
        """Return what ``low < high`` (``closed``: ``<=``) says of lanes."""
        at = self.lane(low)
        if at is None or not is_given(high):
            return ()
        return ((at.dimension, at.bound(high, closed=closed)),)

    def lane(self, value: Instr) -> _LanePlace | None:
        """Return what a value is that is a lane's number, or its group's, plus what is the same for all lanes."""
        if value.dtype is None or not value.dtype.is_integer or value.dtype.is_vector:
            return None
        if (value.name == "convert" and value.type.bits >= 32) or value.name == "bitcast":
            return self.lane(value.args[0])
        if value.name in ("global_id", "group_id"):
            dimension = int(value.attr)
            return _LanePlace(dimension, scale=1 if value.name == "global_id" else self.kernel.workgroup[dimension])
        if value.name == "add" and (own := self.by_hand(*value.args)) is not None:
            return _LanePlace(own)
        if value.name not in ("add", "sub"):
            return None
        number, other = value.args
        if value.name == "add" and is_given(number):
            number, other = other, number
        found = self.lane(number) if is_given(other) else None
        return None if found is None else found.move(other, sign=1 if value.name == "add" else -1)

    def by_hand(self, a: Instr, b: Instr) -> int | None:
        """Return the dimension of ``group_id(d) * workgroup_size(d) + local_id(d)``."""
        for product, local in ((a, b), (b, a)):
            if local.name == "local_id" and product.name == "mul":
                for group, size in (product.args, product.args[::-1]):
                    is_own = group.name == "group_id" and group.attr == local.attr and size.name == "const"
                    if is_own and size.attr == self.kernel.workgroup[local.attr]:
                        return local.attr
        return None


def _is_stride(step: Instr) -> bool:
    """Tell whether a step is made of the number of groups."""
    return bool(_dimensions(step))


def _dimensions(step: Instr) -> set[int]:
    """Return the dimensions whose number of groups a step is made of."""
    return {int(v.attr) for v in (step, *leaves(step)) if v.name == "num_groups"}


def _counts_groups(kernel: Kernel) -> bool:
    """Tell whether a kernel asks for the number of groups for anything but steps of loops."""
    body = list(walk(kernel.body))
    within: set[Instr] = set()
    for s in body:
        if isinstance(s, For):
            within |= {s.step, *leaves(s.step)}
    users = [s for s in body if not (isinstance(s, Instr) and s in within)]
    asked = {v for v in within if any(u.name == "num_groups" for u in (v, *leaves(v)))}
    used = {a for s in users for a in ((s.start, s.stop) if isinstance(s, For) else operands(s))}
    counted = any(isinstance(s, Instr) and s.name == "num_groups" for s in users)
    return counted or bool(asked & used)


def comparison(value: Instr) -> tuple[str, Instr, Instr] | None:
    """Return which numbers a condition compares, and how: an i32 with a u32 as well, which takes two operations."""
    if value.name in ("lt", "le", "gt", "ge", "eq", "ne"):
        return value.name, value.args[0], value.args[1]
    if value.name not in ("or", "and") or value.args[0].name != ("lt" if value.name == "or" else "ge"):
        return None
    (below, zero), same = value.args[0].args, value.args[1]
    names = ("lt", "le", "ne") if value.name == "or" else ("gt", "ge", "eq")
    if same.name not in names or below.dtype != i32 or (zero.name, zero.attr) != ("const", 0):
        return None
    converted, other = same.args
    is_same = converted.name == "convert" and converted.dtype == u32 and converted.args[0] is below
    return (same.name, below, other) if is_same else None
