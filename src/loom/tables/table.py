"""A table: its rows written, and all that reads them.

Layer: tables. Invariant: what a call wrote is durable when it returns, and a call that raises has changed nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

from loom.core.errors import ArgumentError, IndexOutside, LoomError, near_matches
from loom.core.given import text
from loom.core.tracebacks import brief_class
from loom.tables.columns.names import column_name
from loom.tables.columns.rows import Row
from loom.tables.columns.schema import columns_now
from loom.tables.columns.types import ColumnType, read_type
from loom.tables.exchange.csv_files import Progress, import_sheet, read_sheet, read_types
from loom.tables.files.connections import Connections
from loom.tables.files.writing import bound_columns, change, columns_from, insert, move, numbers_of, require_origin
from loom.tables.migrations import add_column, change_type, drop_column, rename_column
from loom.tables.query import Query, Reads
from loom.tables.sources import of_deleted, of_table

__all__ = ["Table"]


@brief_class
class Table(Reads):
    """A table of a database: ``db.table("users", name=str, age=float)``."""

    def __init__(self, connections: Connections, name: str) -> None:
        self._connections = connections
        self._name = name

    @property
    def name(self) -> str:
        """What it is called."""
        return self._name

    @property
    def columns(self) -> dict[str, str]:
        """The names of its columns, each with its type's name."""
        return {name: kind.name for name, kind in self._read_types("tables.columns").items()}

    def __repr__(self) -> str:
        try:
            columns = ", ".join(f"{n} {t}" for n, t in self.columns.items())
        except LoomError as error:  # it was dropped, or its database closed
            columns = f"not there ({type(error).__name__})"
        return f"<loom.tables table {self._name!r}: {columns}>"

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return True

    def _read_types(self, where: str) -> dict[str, ColumnType]:
        """Return the columns as the file has them now."""
        with self._connections.reading(where) as connection:
            return columns_now(connection, self._name, self._connections.known, where)

    def _as_query(self) -> Query:
        return Query(self._connections, of_table(self._name, self._read_types("tables.table")))

    def deleted(self) -> Query:
        """Return the rows that were deleted and not brought back."""
        return Query(self._connections, of_deleted(self._name, self._read_types("tables.deleted")))

    def get(self, number: int) -> Row:
        """Return a row by its number.

        Args:
            number: Number of the row, its ``id``.

        Raises:
            ArgumentError: Not a whole number.
            DTypeError: Not rows.
            IndexOutside: There is no such row, or it is deleted.
        """
        (wanted,) = numbers_of([number], self._origin, "tables.get, number")
        found = self.where("_id", "==", wanted).rows()
        if not found:
            raise IndexOutside("tables.get, number", f"{self._name!r} has no row {wanted}", remedy="Look at ids()")
        return found[0]

    def insert(self, row: Mapping[str, Any] | None = None, /, **values: Any) -> int:
        """Insert a row; what is not given is missing.

        Args:
            row: Values by column; None: none.
            **values: Values by column.

        Returns:
            Number of the row.

        Raises:
            ArgumentError: Not a row; no column is called so, or one is given twice.
            DTypeError: A value does not fit its column.
            StateError: The database is closed, or read only.

        >>> from loom.tables import Database
        >>> users = Database().table("users", name=str, age=float)
        >>> users.insert(name="Alice", age=30)
        1
        """
        where = "tables.insert"
        return self._insert([_together(row, values, where)], where)[0]

    def insert_many(self, rows: Any) -> list[int]:
        """Insert rows in one transaction, all or none.

        never converted, but for whole numbers in a column of floats.

        Args:
            rows: Dictionaries by column, sequences in the order of the columns, or a dictionary of columns (lists,
                numpy or Loom arrays).

        Returns:
            Numbers of the rows.

        Raises:
            ArgumentError: A row that is not usable; no column is called so; columns of different lengths.
            DTypeError: Not rows; a value does not fit its column.
            StateError: The database is closed, or read only.
        """
        return self._insert(rows, "tables.insert_many")

    def _insert(self, rows: Any, where: str) -> list[int]:
        with self._connections.writing(where) as connection:
            types = self._read_types(where)
            given = columns_from(rows, types, where)
            count = len(next(iter(given.values()))) if given else 0
            bound = bound_columns(given, types, where)
            return list(insert(connection, self._name, bound, count))

    def update(self, rows: Any, row: Mapping[str, Any] | None = None, /, **values: Any) -> int:
        """Set columns of rows to values.

        Args:
            rows: Rows that were read of this table, a query of it, or their numbers; one or several.
            row: Values by column; None: none.
            **values: Values by column.

        Returns:
            Number of rows.

        Raises:
            ArgumentError: Rows of another table, or no numbers; nothing to set; no column is called so.
            DTypeError: Not rows; a value does not fit its column.
            IndexOutside: A row is not there, or deleted; nothing is changed.
            StateError: The database is closed, or read only.

        >>> from loom.tables import Database
        >>> t = Database().table("t", {"first name": str}, age=int)
        >>> ada = t.insert({"first name": "Ada"})
        >>> t.update(ada, {"first name": "Ada L."}, age=36)
        1
        """
        where = "tables.update"
        values = _together(row, values, where)
        with self._connections.writing(where) as connection:
            types = self._read_types(where)
            if not values:
                raise ArgumentError(where, "nothing to set", expected="column=value", remedy="Name a column")
            bound = {n: v[0] for n, v in bound_columns(columns_from([values], types, where), types, where).items()}
            return change(connection, self._name, self._numbers(rows, where), bound, where)

    def delete(self, rows: Any, /) -> int:
        """Delete rows so that ``undelete`` brings them back; no read shows them, but ``deleted()``.

        Args:
            rows: Rows that were read of this table, a query of it, or their numbers; one or several.

        Returns:
            Number of rows.

        Raises:
            ArgumentError: Rows of another table, or no numbers.
            IndexOutside: A row is not there, or deleted; nothing is changed.
            StateError: The database is closed, or read only.
        """
        return self._move(rows, "tables.delete", back=False)

    def undelete(self, rows: Any, /) -> int:
        """Bring deleted rows back, with the numbers they had.

        Args:
            rows: Rows that were read of this table, a query of it, or their numbers; one or several.

        Returns:
            Number of rows.

        Raises:
            ArgumentError: Rows of another table, or no numbers.
            DTypeError: Not rows.
            IndexOutside: A row is not there, or not deleted; nothing is changed.
            StateError: The database is closed, or read only.
        """
        return self._move(rows, "tables.undelete", back=True)

    def _move(self, rows: Any, where: str, *, back: bool) -> int:
        with self._connections.writing(where) as connection:
            names = self._read_types(where)
            return move(connection, self._name, self._numbers(rows, where), names, where, back=back)

    @property
    def _origin(self) -> tuple[Any, str]:
        return self._connections.mark, self._name

    def _numbers(self, rows: Any, where: str) -> list[int]:
        if isinstance(rows, Reads):
            query = rows._as_query()
            require_origin(query.origin, self._origin, where)
            return list(dict.fromkeys(query.ids()))
        return numbers_of(rows, self._origin, where)

    def import_csv(
        self, source: str | os.PathLike[str], *, separator: str = ",", header: bool = True, encoding: str | None = None,
        progress: Progress | None = None,
    ) -> int:  # fmt: skip
        """Insert the rows of a CSV file, all or none.

        Its first line names the columns (in any order; those it lacks are missing values), without ``header`` they are
        in the table's order. RFC 4180: quotes, line breaks within them. An empty cell is a missing value, in columns of
        numbers also NA and null.

        Args:
            source: CSV file.
            separator: Character between cells.
            header: Whether the first line names the columns, in any order; else they are in the table's.
            encoding: Name of the encoding; None: UTF-8, or UTF-16 with a mark.
            progress: Function of rows done and all; None: none.

        Returns:
            Number of rows.

        Raises:
            ArgumentError: A line cannot be read; no column is called so; an encoding or a separator that is unusable.
            DTypeError: Not a path; a cell does not fit its column; ``progress`` is no function.
            FileError: The file cannot be read.
            StateError: The database is closed, or read only.
        """
        where = "tables.import_csv"
        types = self._read_types(where)
        sheet = read_sheet(source, separator, header, encoding, list(types), where)
        unknown = [name for name in sheet.columns if name not in types]
        if unknown:
            raise ArgumentError(where, f"no column is called {unknown[0]!r}",
                                remedy=near_matches(unknown[0], list(types)))  # fmt: skip
        columns = read_types(sheet, {name: types[name] for name in sheet.columns}, where)
        if sheet.rows:
            with self._connections.writing(where) as connection:
                import_sheet(connection, self._name, columns, sheet.rows, progress)
        return sheet.rows

    # columns changed

    def add_column(self, name: str, type: Any, default: Any = None) -> None:  # noqa: A002 - as in table(name=type)
        """Add a column at the end.

        Args:
            name: Name of the column.
            type: Type, as of ``Database.table``.
            default: Value of the rows there are, deleted ones as well; None: missing.

        Raises:
            ArgumentError: The name is taken, or no column can be called so.
            DTypeError: Not a type of columns; the default does not fit it; the name is no text.
            StateError: The database is closed, or read only.
        """
        where = "tables.add_column"
        with self._connections.writing(where) as connection:
            called, kind = column_name(name, f"{where}, name"), read_type(type, f"{where}, type")
            add_column(connection, self._name, self._read_types(where), called, kind, default, where)

    def rename_column(self, old: str, new: str) -> None:
        """Call a column otherwise.

        Args:
            old: Name of the column.
            new: Other name.

        Raises:
            ArgumentError: There is no such column; the other name is taken, or no column can be called so.
            DTypeError: A name is no text.
            StateError: The database is closed, or read only.
        """
        where = "tables.rename_column"
        with self._connections.writing(where) as connection:
            called = column_name(new, f"{where}, new")
            rename_column(connection, self._name, self._read_types(where), text(old, f"{where}, old"), called, where)

    def drop_column(self, name: str) -> None:
        """Take a column away for good, with its values.

        Args:
            name: Name of the column.

        Raises:
            ArgumentError: There is no such column, or it is the only one.
            DTypeError: The name is no text.
            StateError: The database is closed, or read only.
        """
        where = "tables.drop_column"
        with self._connections.writing(where) as connection:
            drop_column(connection, self._name, self._read_types(where), text(name, f"{where}, name"), where)

    def change_type(self, name: str, type: Any) -> None:  # noqa: A002 - as in table(name=type)
        """Convert a column to another type.

        Between numbers, bools and texts, texts and dates, texts and bytes (UTF-8).

        Args:
            name: Name of the column.
            type: Type, as of ``Database.table``.

        Raises:
            ArgumentError: There is no such column; there is no way between the types.
            DTypeError: Not a type of columns; a value has no equal of that type (1.5 is no int, "x" no number), and
                nothing is changed; the name is no text.
            StateError: The database is closed, or read only.
        """
        where = "tables.change_type"
        with self._connections.writing(where) as connection:
            kind = read_type(type, f"{where}, type")
            change_type(connection, self._name, self._read_types(where), text(name, f"{where}, name"), kind, where)


def _together(row: Any, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the values of a row that are given as a dictionary, by name, or both; ArgumentError for a column twice."""
    if row is not None and not isinstance(row, Mapping):
        raise ArgumentError(where, "not a row", expected="a dictionary, or column=value", got=repr(row)[:80],
                            remedy='Write {"name": "Ada"}, or name="Ada"')  # fmt: skip
    given = cast("Mapping[str, Any]", row or {})
    for name in values:
        if name in given:
            raise ArgumentError(where, f"the column {name!r} is given twice", expected="one value",
                                got=f"{given[name]!r} and {values[name]!r}"[:80], remedy="Leave one out")  # fmt: skip
    return {**given, **values}
