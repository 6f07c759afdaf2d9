"""Rows as Python sees them.

Layer: tables. Invariant: a row shows what was kept, in the order of the table's columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from loom.tables.columns.types import ColumnType, as_python

__all__ = ["Row", "rows_of"]


class Row(dict[str, Any]):
    """A row that was read: its values by column, and its number, ``id``.

    It is a copy: to change the table, pass it, or its number, to the table. ``origin`` tells which table it is of.
    """

    __slots__ = ("id", "origin")

    def __init__(self, number: int, values: Iterable[tuple[str, Any]], origin: tuple[Any, str] | None = None) -> None:
        super().__init__(values)
        self.id = number
        self.origin = origin

    def __reduce__(self) -> tuple[Any, ...]:
        return Row, (self.id, tuple(self.items()))


def rows_of(found: Iterable[Sequence[Any]], columns: dict[str, ColumnType], origin: tuple[Any, str]) -> list[Row]:
    """Return rows of SQLite, whose first value is the row's number, as they are shown."""
    names = tuple(columns)
    kinds = list(columns.values())
    if not any(kind.show for kind in kinds):
        return [Row(row[0], zip(names, row[1:], strict=True), origin) for row in found]
    return [
        Row(row[0], ((n, as_python(v, kind)) for n, v, kind in zip(names, row[1:], kinds, strict=True)), origin)
        for row in found
    ]
