"""A database: tables in one ``.odb`` file, or in memory.

Layer: tables. An ``.odb`` file is a SQLite database that any tool opens. Invariant: a database that was opened is
sound, of this version, and Loom's own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from loom.core.errors import ArgumentError, FileError
from loom.core.given import flag
from loom.core.given import path as read_path
from loom.core.numbers import real
from loom.core.tracebacks import brief_class
from loom.tables.columns.names import refuse_repeated, table_name
from loom.tables.columns.schema import add_table, columns_of, drop_table, names_of_tables, read_columns
from loom.tables.columns.types import read_type
from loom.tables.exchange.csv_files import Progress, import_sheet, read_sheet, read_types
from loom.tables.exchange.saving import load_tables, save_tables
from loom.tables.files.connections import Connections
from loom.tables.files.seal import Soundness, compare
from loom.tables.files.sqlite_files import look_through
from loom.tables.sql import SqlResult, run_sql
from loom.tables.table import Table

__all__ = ["Database"]

_MEMORY = ":memory:"
_URI = re.compile(r"file:|\w\w+:/")
"""What other libraries take for a database; a letter of a drive is none, see ``_place``."""


@brief_class
class Database:
    """Tables in a file, which is made if it is not there, or in memory without ``path``.

    Any number of processes and threads may have the file open; readers wait for no transaction, but for the moment in
    which a file begins to be written, or is sealed. What a call wrote is on the medium when it returns.

    Args:
        path: File, made if it is not there; None: in memory.
        timeout: Seconds to wait while another process writes.
        read_only: Whether nothing is written to the file, so that rights to read are enough, also where the folder or
            the medium lets nobody write.
        verify: Whether all bytes of the file are compared with its seal (see ``check``), whatever its size.

    Raises:
        ArgumentError: A SQLite file that is not Loom's; a flag is no truth; not a number of seconds, at least 0;
            ``read_only`` or ``verify`` without a file.
        DTypeError: Not a path.
        FileError: A folder, or a file that is damaged, of a newer version, or, of ``verify``, without a seal of its
            present state.
        LoomTimeout: Another process writes for longer than ``timeout``.

    >>> db = Database()
    >>> users = db.table("users", name=str, age=float)
    >>> users.insert(name="Alice", age=30)
    1
    >>> users.where("age", ">", 25).rows()
    [{'name': 'Alice', 'age': 30.0}]
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        timeout: float = 5.0,
        read_only: bool = False,
        verify: bool = False,
    ) -> None:
        where = "tables.Database"
        only, asked = flag(read_only, f"{where}, read_only"), flag(verify, f"{where}, verify")
        place = None if path is None or (isinstance(path, str) and path == _MEMORY) else _place(path, where)
        if place is not None:
            if place.is_dir():
                raise FileError(where, f"{place} is a folder", expected="a file", got="a folder", remedy="Name a file")
            if not only and not asked:
                _make_folder(place.parent, where)
        seconds = real(timeout, f"{where}, timeout", least=0, most=86_400)
        self._connections = Connections(place, seconds, where, read_only=only, verify=asked)

    @property
    def path(self) -> Path | None:
        """The file; None for memory."""
        return self._connections.path

    def __repr__(self) -> str:
        return f"<loom.tables database {self.path or 'in memory'}>"

    def __enter__(self) -> Database:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and seal it if it was written and nobody else has it open; see ``check``.

        A second time does nothing. Calls after it are StateErrors.
        """
        self._connections.close()

    def tables(self) -> list[str]:
        """Return the names of the tables, in order."""
        with self._connections.reading("tables.tables") as connection:
            return names_of_tables(connection)

    def table(self, name: str, columns: Mapping[str, Any] | None = None, /, **types: Any) -> Table:
        """Return a table, made with its columns if it is not there.

        Types: ``str``, ``int`` (64 bits), ``float`` (f64), ``bool``, ``bytes``, ``datetime.date`` and
        ``datetime.datetime``, or their names; pass a dictionary for columns whose names are no names in Python.

        Args:
            name: Name of the table.
            columns: Types by names of columns; None: none.
            **types: Types by names of columns that are names in Python.

        Raises:
            ArgumentError: It is there with other columns, or in another order (see ``add_column`` and its kin), or not
                there and no column is named; no table or column can be called so.
            DTypeError: Not a type of columns; the name is no text.
            StateError: The database is closed, or read only.

        >>> Database().table("t", {"first name": str}, age=int).columns
        {'first name': 'str', 'age': 'int'}
        """
        where = "tables.table"
        called = table_name(name, where)
        if columns is not None and not isinstance(columns, Mapping):
            raise ArgumentError(f"{where}, columns", "not columns", expected="types by name", got=repr(columns)[:80],
                                remedy='Write {"name": str}')  # fmt: skip
        twice = [each for each in types if each in (columns or {})]
        if twice:
            raise ArgumentError(f"{where}, columns", f"{twice[0]!r} is given twice", expected="one type", got="two",
                                remedy="Leave one out")  # fmt: skip
        given = {**(columns or {}), **types}
        wanted = read_columns(given, where) if given else None
        with self._connections.reading(where) as connection:
            known = {each.lower() for each in names_of_tables(connection)}
        if called.lower() not in known and wanted is not None:
            with self._connections.writing(where) as connection:
                if called.lower() not in {each.lower() for each in names_of_tables(connection)}:
                    add_table(connection, called, wanted)
        with self._connections.reading(where) as connection:
            called, found = columns_of(connection, called, where)
        if wanted is not None and list(wanted.items()) != list(found.items()):  # sequences go in by their order
            raise ArgumentError(
                where, f"the table {called!r} has other columns", expected=_list_types(found), got=_list_types(wanted),
                remedy="Open it by its name alone; add_column, rename_column, drop_column and change_type alter it",
            )  # fmt: skip
        return Table(self._connections, called)

    def import_csv(
        self, source: str | os.PathLike[str], name: str | None = None, *, types: Mapping[str, Any] | None = None,
        separator: str = ",", header: bool = True, encoding: str | None = None, progress: Progress | None = None,
    ) -> Table:  # fmt: skip
        """Make a table of a CSV file, and return it.

        A column is of whole numbers, floats, bools or texts by what all its cells are, unless ``types`` says what;
        numbers with zeros in front, or of more digits than a number holds, are texts. DTypeError where a column would
        be of texts for blanks beside its numbers alone: it names the first such cell. See ``Table.import_csv``, which
        takes rows into a table that is there, for the rest.

        Args:
            source: CSV file.
            name: Name of the table; None: that of the file.
            types: Types by names of columns; None: by what all cells of a column are.
            separator: Character between cells.
            header: Whether the first line names the columns.
            encoding: Name of the encoding; None: UTF-8, or UTF-16 with a mark.
            progress: Function of rows done and all; None: none.

        Returns:
            The table.

        Raises:
            ArgumentError: There is such a table, or none can be called so; the file is empty; a line cannot be read; an
                encoding or a separator that is unusable.
            DTypeError: Not a path; a cell does not fit its column; ``progress`` is no function.
            FileError: The file cannot be read.
        """
        where = "tables.import_csv"
        called = table_name(read_path(source, f"{where}, source").stem if name is None else name, where)
        if types is not None and not isinstance(types, Mapping):
            raise ArgumentError(f"{where}, types", "not types by name", expected='a dictionary, as {"age": int}',
                                got=repr(types)[:80], remedy="Leave it out")  # fmt: skip
        wanted = {n: read_type(t, f"{where}, column {n!r}") for n, t in (types or {}).items()}
        sheet = read_sheet(source, separator, header, encoding, None, where)
        if not sheet.columns:
            raise ArgumentError(f"{where}, source", f"{source} is empty", expected="a line of names",
                                got="no line", remedy="Name another file")  # fmt: skip
        columns = read_types(sheet, wanted, where)
        kinds = read_columns({name: kind.name for name, (kind, _) in columns.items()}, where)
        with self._connections.importing(where) as connection:
            if called.lower() in {each.lower() for each in names_of_tables(connection)}:
                raise ArgumentError(f"{where}, name", f"there is a table {called!r} already",
                                    remedy="Name another, or import into it: db.table(name).import_csv")  # fmt: skip
            add_table(connection, called, kinds)
            if sheet.rows:
                import_sheet(connection, called, columns, sheet.rows, progress)
        return Table(self._connections, called)

    def sql(self, statement: str, params: Any = ()) -> SqlResult:
        """Run one statement of SQL, with values bound to its marks, and return its rows.

        Tables hold no deleted rows: those are in ``_deleted_`` and the table's name; a DELETE deletes for good. ``_id``
        is a row's number. sum() and avg() are SQLite's, whose bits are others than those of ``aggregate``.

        Args:
            statement: One statement of SQL.
            params: Values for its marks: a sequence for ``?``, a dictionary for ``:name``.

        Returns:
            Rows of the result.

        Raises:
            ArgumentError: SQLite refuses it; a PRAGMA that sets how the file is kept; ALTER or DROP of a table of
                Loom's, which has methods for them; values that do not fit the marks.
            DTypeError: The statement is no text; a value cannot be bound.
            StateError: BEGIN or COMMIT (see ``transaction``); the database is closed, or read only.

        >>> db = Database()
        >>> _ = db.table("t", x=int).insert_many([(1,), (2,)])
        >>> db.sql("SELECT sum(x) AS total FROM t WHERE x > ?", [0]).rows()
        [{'total': 3}]
        """
        return run_sql(self._connections, statement, params)

    def check(self) -> Soundness:
        """Look through the whole file, and compare its bytes with its seal.

        A file is sealed when it is closed by the last who has it open, after a write: from then on to the next write
        every byte that changes in place is told. ``is_sealed`` of the result says whether there was a seal of
        the file's present state, ``reason`` why not: it was never sealed, or was written since.

        Returns:
            Soundness: ``is_sealed``, and the ``reason`` why not.

        Raises:
            FileError: The file is damaged.
        """
        where = "tables.check"
        with self._connections.reading(where) as connection:
            look_through(connection, self.path, where)
            return compare(connection, self.path, where)

    def drop(self, name: str) -> None:
        """Take a table away for good, with its deleted rows.

        Args:
            name: Name of the table.

        Raises:
            ArgumentError: There is no such table.
            DTypeError: The name is no text.
            StateError: The database is closed, or read only.
        """
        where = "tables.drop"
        with self._connections.writing(where) as connection:
            called, _ = columns_of(connection, table_name(name, where), where)
            drop_table(connection, called)

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """Join the calls of a ``with`` block of this thread: all of them are kept, or none if the block raises.

        A call that raises inside undoes itself alone; the block goes on if the error is caught.

        Returns:
            Context manager.

        Raises:
            LoomTimeout: Another process writes for longer than the database's ``timeout``.
            StateError: The database is closed, or read only.
        """
        with self._connections.writing("tables.transaction"):
            yield

    def save(self, path: str | os.PathLike[str], *tables: str) -> None:
        """Write tables to another ``.odb`` file, in place of its tables.

        The file holds the old tables or all of the new, whatever happens, and is sealed (see ``check``). Deleted rows
        go along, and so do indexes, triggers and views of the tables.

        Args:
            path: File.
            *tables: Names of tables; none: all.

        Raises:
            ArgumentError: There is no such table; the file is another program's; a view or a trigger needs a table
                which is not named.
            DTypeError: Not a path; a name is no text.
            FileError: The file cannot be written, or is there and no sound one.
        """
        where = "tables.save"
        save_tables(self._connections, _place(path, where), _table_names(tables, where), where)

    def load(self, path: str | os.PathLike[str], *tables: str) -> list[str]:
        """Copy tables of another ``.odb`` file into this; where there is an error, none is copied.

        Deleted rows, indexes, triggers and views of the tables go along; the file is compared with its seal.

        Args:
            path: File.
            *tables: Names of tables; none: all.

        Returns:
            Names of the tables.

        Raises:
            ArgumentError: There is no such table; a name is taken; a view or a trigger needs a table that is not
                copied; all are asked for and one is not of Loom.
            DTypeError: Not a path; a name is no text.
            FileError: The file cannot be read, or is damaged.
            StateError: The database is closed, or read only.
        """
        where = "tables.load"
        return load_tables(self._connections, _place(path, where), _table_names(tables, where), where)


def _table_names(tables: Sequence[str], where: str) -> list[str]:
    found = [table_name(name, where) for name in tables]
    refuse_repeated([name.lower() for name in found], f"{where}, tables")
    return found


def _place(path: Any, where: str) -> Path:
    found = read_path(path, f"{where}, path")
    if isinstance(path, str) and (path == _MEMORY or _URI.match(path)):
        remedy = "Name the file itself, as a pathlib.Path if it is called so"
        said = f"{where}, path", "not the path of a file"
        raise ArgumentError(*said, expected="one such as data/app.odb", got=repr(path), remedy=remedy)
    return Path(os.path.abspath(found))


def _list_types(types: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {kind.name}" for name, kind in types.items())


def _make_folder(folder: Path, where: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(where, f"{folder} cannot be made ({error.strerror})", remedy="Name another place") from None
