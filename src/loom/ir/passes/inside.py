"""Proves that no lane of a dispatch indexes outside an array, for numbers known when it is recorded.

Layer: ir. Every integer is followed as a range, from lane numbers, parameters and lengths through arithmetic, branches
and loops; a branch narrows what its condition is about. Ranges of variables grow to all of their type where a loop does
not leave them as they are after a few turns. Invariant: what is said to be inside is, for each lane, path and number
within the given ranges; what wraps, or is not understood, may be anything its type holds.

Source: P. Cousot and R. Cousot, "Abstract interpretation", POPL 1977 (intervals, widening).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loom.core.dtype import DType
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
    origins,
    walk,
)
from loom.ir.passes.ranges import ARITHMETIC, Range, everything, join, meet, trim, widen, without
from loom.ir.passes.reach import Choices, comparison

__all__ = ["Launch", "Proof", "Prover"]

_OPPOSITE = {"lt": "ge", "ge": "lt", "le": "gt", "gt": "le", "eq": "ne", "ne": "eq"}
_TURNS, _LEAPS = 2, 4
"""How often a loop's variables may grow by themselves, and then to a number that is likely their limit."""
_MOST_STEPS, _MOST_VALUES = 20_000, 50_000
"""Statements and values looked at before a proof is given up."""
_MOST_CHOICES = 2
"""Choices in one another of which a side is looked at by what its condition says: each doubles the work."""
_State = dict[Variable, Range]
_Reads = dict[Variable, frozenset[Instr]]
_Place = tuple[dict[Any, Range], _State, _Reads]
"""Facts of values and of variables, and the reads of a variable since it was last set."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What is known of a dispatch: groups along each dimension, ranges of integer parameters, elements of buffers.

    ``fewest`` groups, where its turns have different numbers of them. ``axes``: an index outside its axis is outside,
    also where another element of the memory is found there.
    """

    groups: tuple[int, int, int]
    params: Mapping[Param, Range]
    lengths: Mapping[Memory, int]
    fewest: tuple[int, int, int] | None = None
    axes: bool = False


class Proof:
    """What is asked of a kernel's dispatches, prepared once for all of them."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.choices = Choices(kernel)
        known = ("load", "store", "length")
        accesses = [s for s in operations(kernel.body) if s.memory is not None]
        self.is_open = all(s.name in known or s.name.startswith("atomic_") for s in accesses)
        self.matters, self.params = _what_matters(kernel, accesses)
        """The variables and the parameters that indexes, conditions and the bounds of loops are made of."""

    def stays_inside(self, launch: Launch) -> bool:
        """Tell whether it is certain that no access of ``launch`` is outside its array."""
        return self.is_open and not self._unsure(Prover(self, launch), self.kernel)

    def unsure(self, launch: Launch) -> int | None:
        """Return how many accesses may be outside, None where there is too much to look at."""
        prover = Prover(self, launch, set())
        return None if not self.is_open or self._unsure(prover, self.kernel) else len(prover.unsure or ())

    def _unsure(self, prover: Prover, kernel: Kernel) -> bool:
        try:
            prover.block(kernel.body)
        except (_UncertainError, RecursionError):
            return True
        return False


def _what_matters(kernel: Kernel, accesses: list[Instr]) -> tuple[set[Variable], set[Param]]:
    indexes = [s.args[0] for s in accesses if s.args]
    decide = [v for s in walk(kernel.body) if not isinstance(s, Instr) or s.name == "within" for v in operands(s)]
    used = origins([*indexes, *decide], assignments(kernel.body))
    return {v.attr for v in used if v.name == "get"}, {v.attr for v in used if v.name == "param"}


class _UncertainError(Exception):
    """An access that may be outside, or too much to look at."""


class Prover(Forward[_Place]):
    """``facts`` hold of values here, ``variables`` has those of variables.

    ``unsure`` takes the accesses that may be outside; without it the first of them ends the proof.
    """

    def __init__(self, proof: Proof, launch: Launch, unsure: set[Instr] | None = None) -> None:
        super().__init__()
        self.unsure = unsure
        self.kernel, self.launch = proof.kernel, launch
        self.choices, self.matters = proof.choices, proof.matters
        self.facts: dict[Any, Range] = {}
        self.variables: _State = {}
        self.read: dict[Instr, Range] = {}
        self.latest: _Reads = {}
        """The reads of a variable since it was last set: what is learnt of one holds of it."""
        self.memo: dict[Instr, Range] = {}
        self.counted: dict[For, Range] = {}
        """The range that loops count through, empty for one that never turns."""
        self.quiet = 0
        self.steps = self.values = self.choosing = 0
        given = [*launch.lengths.values(), *(high for _, high in launch.params.values())]
        given += [count * size for count, size in zip(launch.groups, self.kernel.workgroup, strict=True)]
        self.likely = sorted({2 * n for n in given if n > 0})
        """Numbers that counters stay below: what guards them, and a step more."""

    # statements

    def here(self) -> _Place:
        return self.facts, self.variables, self.latest

    def enter(self, state: _Place) -> None:
        facts, variables, latest = state
        self.facts, self.variables, self.latest, self.memo = dict(facts), dict(variables), dict(latest), {}

    def join(self, s: If | For | While, before: _Place, ends: Sequence[_Place]) -> None:
        facts = ends[0][0] if len(ends) == 1 and isinstance(s, If) else before[0]
        self.enter((facts, _join([variables for _, variables, _ in ends]), {}))

    def assume(self, s: If | While, *, holds: bool) -> None:
        self.learn(s.condition, holds=holds)

    def block(self, block: Block) -> None:
        self.steps += len(block.statements)
        if self.steps > _MOST_STEPS:
            raise _UncertainError
        super().block(block)

    def instr(self, s: Instr) -> None:
        if s.memory is not None and s.args:
            self.access(s, s.memory)
        elif s.name == "within":
            if self.launch.axes:
                self.look(s, self.range(s.args[1])[0])
        elif s.name == "get":
            self.read[s] = self.variables.get(s.attr, everything(s.type))
            self.latest[s.attr] = self.latest.get(s.attr, frozenset()) | {s}
            self.memo.pop(s, None)
        elif s.name == "set" and s.attr in self.matters:
            self.variables[s.attr] = self.range(s.args[0])
            self.latest[s.attr] = frozenset()

    def access(self, s: Instr, memory: Memory) -> None:
        self.look(s, self.launch.lengths[memory] if memory.space is Space.BUFFER else memory.size or 0)

    def look(self, s: Instr, size: int) -> None:
        """See that the index of an access is below a size."""
        low, high = self.range(s.args[0])
        if not self.quiet and not 0 <= low <= high < size:
            if self.unsure is None:
                raise _UncertainError
            self.unsure.add(s)

    # loops

    def loop(self, s: For | While) -> None:
        """Find what holds before each turn, then look at a turn's accesses."""
        if isinstance(s, For):
            (first, last), stop = self.range(s.start), self.range(s.stop)
            self.counted[s] = (stop[0] + 1, last) if s.down else (first, stop[1] - 1)
        before = self.here()
        facts, held, _ = before
        self.quiet += 1
        for turn in range(_TURNS + _LEAPS + 2):
            ends = self.turn(s, (facts, held, {})).ends
            grown = _join([held, *(variables for _, variables, _ in ends)])
            if grown == held:
                break
            if turn >= _TURNS:
                likely = self.likely if turn < _TURNS + _LEAPS else []
                grown = {v: widen(held[v], r, v.dtype, likely) for v, r in grown.items()}
            held = grown
        else:
            held = {}
        self.quiet -= 1
        exits = self.turn(s, (facts, held, {})).exits
        self.join(s, before, exits)
        self.reached = bool(exits)

    def begin(self, s: For | While) -> None:
        if isinstance(s, For):
            self.facts[s.index] = first, last = self.counted[s]
            self.reached = first <= last

    # values

    def key(self, value: Instr) -> Any:
        """Return what facts are kept by: a number that a kernel asks for twice is one."""
        if value.args or value.name in ("get", "index", "const"):
            return value
        return value.name, value.attr, value.memory

    def range(self, value: Instr) -> Range:
        """Return what an integer may be here."""
        found = self.memo.get(value)
        if found is None:
            fact = self.facts.get(self.key(value))
            found = self.compute(value)
            found = found if fact is None else meet(found, fact)
            self.memo[value] = found
        return found

    def compute(self, value: Instr) -> Range:
        dtype, name = value.type, value.name
        self.values += 1
        if self.values > _MOST_VALUES:
            raise _UncertainError
        if not _is_whole(dtype):
            return everything(dtype)
        if name == "const":
            number = int(constant_value(value.attr, dtype))
            return number, number
        if name == "get":
            return self.read.get(value, everything(dtype))
        if not value.args:
            return self.range_of_given(value)
        if name == "select":
            return self.choice(value)
        rule = ARITHMETIC.get(name)
        if rule is None or not all(_is_whole(a.type) for a in value.args):
            return everything(dtype)
        return trim(rule(*(self.range(a) for a in value.args)), dtype)

    def range_of_given(self, value: Instr) -> Range:
        """Return a number that lanes are told."""
        launch, name, dtype = self.launch, value.name, value.type
        if name == "param":
            return trim(launch.params.get(value.attr), dtype)
        if name == "length":
            assert value.memory is not None
            count = launch.lengths[value.memory]
            return trim((count, count), dtype)
        if name not in ("num_groups", "global_id", "group_id", "local_id"):
            return everything(dtype)
        dimension = int(value.attr)
        groups, lanes = launch.groups[dimension], self.kernel.workgroup[dimension]
        if name == "num_groups":
            return (launch.fewest or launch.groups)[dimension], groups
        most = {"global_id": groups * lanes, "group_id": groups, "local_id": lanes}
        return trim((0, most[name] - 1), dtype)

    def choice(self, value: Instr) -> Range:
        """Return either side of a choice, each where it is taken."""
        condition, *sides = value.args
        if self.choosing == _MOST_CHOICES:
            return join(*(self.range(side) for side in sides))
        self.choosing += 1
        facts, memo, read = self.facts, self.memo, dict(self.read)
        found: list[Range] = []
        for side, holds in zip(sides, (True, False), strict=True):
            self.facts, self.memo = dict(facts), {}
            self.learn(condition, holds=holds, of_variables=False)
            found.append(self.range(side))
            self.read = dict(read)
        self.facts, self.memo, self.read = facts, memo, read
        self.choosing -= 1
        return join(*found)

    # what a condition says

    def learn(self, condition: Instr, *, holds: bool, of_variables: bool = True) -> None:
        """Narrow what is known by a condition that holds, or does not."""
        name, args = condition.name, condition.args
        numbers = comparison(condition)
        if name == "not":
            self.learn(args[0], holds=not holds, of_variables=of_variables)
        elif (name, holds) in (("and", True), ("or", False)):
            for each in args:
                self.learn(each, holds=holds, of_variables=of_variables)
        elif name == "get":
            for each in self.choices.both(condition, holds=holds):
                self.learn(each, holds=holds, of_variables=of_variables)
        elif numbers is not None and _is_whole(numbers[1].type):
            name, low, high = numbers
            self.compare(name if holds else _OPPOSITE[name], low, high, of_variables)

    def compare(self, name: str, a: Instr, b: Instr, of_variables: bool) -> None:
        if name in ("gt", "ge"):
            name, a, b = ("lt" if name == "gt" else "le"), b, a
        (a_low, a_high), (b_low, b_high) = self.range(a), self.range(b)
        if name in ("lt", "le"):
            apart = int(name == "lt")
            limits = (a_low, b_high - apart), (a_low + apart, b_high)
        elif name == "eq":
            limits = ((b_low, b_high), (a_low, a_high))
        else:
            limits = without((a_low, a_high), (b_low, b_high)), without((b_low, b_high), (a_low, a_high))
        self.narrow(a, limits[0], of_variables)
        self.narrow(b, limits[1], of_variables)

    def narrow(self, value: Instr, limit: Range, of_variables: bool) -> None:
        """Take note that a value is within ``limit``, and what that says of what it was computed from."""
        found = meet(self.range(value), limit)
        self.facts[self.key(value)] = found
        self.memo = {}
        if value.name == "get" and of_variables and value in self.latest.get(value.attr, ()):
            self.variables[value.attr] = meet(self.variables.get(value.attr, found), found)
        if value.name == "convert" and _is_whole(value.args[0].type):
            low, high = self.range(value.args[0])
            if _holds(value.type, low) and _holds(value.type, high):
                self.narrow(value.args[0], found, of_variables)
        elif value.name in ("add", "sub"):
            self.narrow_sum(value, found, of_variables)

    def narrow_sum(self, value: Instr, found: Range, of_variables: bool) -> None:
        """What a sum with one number says of the other, if it cannot wrap."""
        x, y = value.args
        sign = 1 if value.name == "add" else -1
        (x_low, x_high), (y_low, y_high) = self.range(x), self.range(y)
        shift = sign * y_low
        if y_low == y_high and _holds(value.type, x_low + shift) and _holds(value.type, x_high + shift):
            self.narrow(x, (found[0] - shift, found[1] - shift), of_variables)


def _is_whole(dtype: DType) -> bool:
    return (dtype.is_integer or dtype.is_bool) and not dtype.is_vector


def _holds(dtype: DType, number: int) -> bool:
    least, most = everything(dtype)
    return least <= number <= most


def _join(states: Sequence[_State]) -> _State:
    """Return what holds where paths meet: of variables that all know."""
    first, *others = states or ({},)
    shared = [v for v in first if all(v in o for o in others)]
    return {v: join(*(s[v] for s in states)) for v in shared}
