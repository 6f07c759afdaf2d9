"""Lengths that a graph leaves open: a number for each record, and what follows from the named ones.

Layer: export. A program is recorded for several sizes; what differs from record to record is a ``Length``. Invariant:
a length that is written is a whole multiple of a product of named ones, plus a number, in every record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations_with_replacement
from math import prod
from operator import add, mul, sub

from loom.core.late.dataclass import dataclass

__all__ = ["Length", "LengthFormula", "Size", "formula_of", "length"]


@dataclass(frozen=True, slots=True)
class Length:
    """A length that is another in each record."""

    values: tuple[int, ...]

    def _with(self, other: Size, operation: Callable[[int, int], int], *, turned: bool = False) -> Size:
        others = other.values if isinstance(other, Length) else (other,) * len(self.values)
        pairs = zip(others, self.values, strict=True) if turned else zip(self.values, others, strict=True)
        return length([operation(a, b) for a, b in pairs])

    def __add__(self, other: Size) -> Size:
        return self._with(other, add)

    def __sub__(self, other: Size) -> Size:
        return self._with(other, sub)

    def __mul__(self, other: Size) -> Size:
        return self._with(other, mul)

    def __radd__(self, other: int) -> Size:
        return self._with(other, add, turned=True)

    def __rsub__(self, other: int) -> Size:
        return self._with(other, sub, turned=True)

    def __rmul__(self, other: int) -> Size:
        return self._with(other, mul, turned=True)


Size = int | Length


def length(values: Sequence[int]) -> Size:
    """Return a number if it is the same in every record, else a length.

    >>> length([4, 4]), length([2, 3]) * 2
    (4, Length(values=(4, 6)))
    """
    return values[0] if len(set(values)) == 1 else Length(tuple(values))


@dataclass(frozen=True, slots=True)
class LengthFormula:
    """``factor`` times the product of named lengths, plus ``more``."""

    names: tuple[str, ...]
    factor: int
    more: int


def formula_of(size: Length, named: Mapping[str, Sequence[int]]) -> LengthFormula | None:
    """Return what a length is of named ones, of up to three of them; None if it is nothing of the kind.

    >>> formula_of(Length((7, 11, 17)), {"batch": (3, 5, 8)})
    LengthFormula(names=('batch',), factor=2, more=1)
    """
    for count in (1, 2, 3):
        for names in combinations_with_replacement(sorted(named), count):
            units = [prod(parts) for parts in zip(*(named[n] for n in names), strict=True)]
            if len(set(units)) == 1:
                continue
            other = next(i for i, u in enumerate(units) if u != units[0])
            factor, rest = divmod(size.values[other] - size.values[0], units[other] - units[0])
            more = size.values[0] - factor * units[0]
            if not rest and all(v == factor * u + more for v, u in zip(size.values, units, strict=True)):
                return LengthFormula(names, factor, more)
    return None
