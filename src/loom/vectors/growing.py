"""Values of rows, of which the first may still be as a file has them: they are unpacked when they are asked for.

Layer: vectors. Invariant: a value that is there stays; rows only ever get more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

__all__ = ["GrowingList"]

T = TypeVar("T")


class GrowingList(Sequence[T], Generic[T]):
    """``count`` packed values, ``step`` in each of ``packed``, which ``unpack`` (number, packed) makes lists of."""

    def __init__(
        self,
        values: Iterable[T] = (),
        packed: Sequence[Any] = (),
        step: int = 1,
        count: int = 0,
        unpack: Callable[[int, Any], list[T]] | None = None,
    ) -> None:
        self._packed = packed
        self._unpacked: list[list[T] | None] = [None] * len(packed)
        self._step = step
        self._count = count
        self._unpack = unpack
        self._later = list(values)

    def __len__(self) -> int:
        """Return how many there are."""
        return self._count + len(self._later)

    @overload
    def __getitem__(self, row: int) -> T: ...
    @overload
    def __getitem__(self, row: slice) -> list[T]: ...
    def __getitem__(self, row: int | slice) -> T | list[T]:
        """Return the value of a row, or a list of those of neighbours."""
        if isinstance(row, slice):
            first, end, _ = row.indices(len(self))
            return self.part(first, end)
        if row >= self._count:
            return self._later[row - self._count]
        number, place = divmod(row, self._step)
        return self._list(number)[place]

    def __iter__(self) -> Iterator[T]:
        return iter(self.part(0, len(self)))

    def part(self, first: int, end: int) -> list[T]:
        """Return the values from a row on, before another."""
        if first >= self._count:
            return self._later[first - self._count : end - self._count]
        number, place = divmod(first, self._step)
        found = self._list(number)[place : place + end - first]
        for later in range(number + 1, -(-min(end, self._count) // self._step)):
            found += self._list(later)[: end - later * self._step]
        return found + self._later[: end - self._count] if end > self._count else found

    def extend(self, values: Iterable[T]) -> None:
        """Add values at the end."""
        self._later.extend(values)

    def with_value(self, row: int, value: T) -> GrowingList[T]:
        """Return the same with another value of a row."""
        values = self.part(0, len(self))
        values[row] = value
        return GrowingList(values)

    def _list(self, number: int) -> list[T]:
        found = self._unpacked[number]
        if found is None:
            assert self._unpack is not None
            found = self._unpacked[number] = self._unpack(number, self._packed[number])
        return found
