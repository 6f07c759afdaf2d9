"""OctoDB under its older names: ``db_create``, ``db_table``, ``db_insert``, ``db_where`` and what belongs to them.

Layer: flow, over ``loom.tables``. Columns are declared without types there: a column takes the type of the first value
it is given, numbers are floats. Rows are counted from 0. Invariant: nothing is stored here but which columns have no
type yet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast
from weakref import WeakKeyDictionary, WeakValueDictionary

from loom.core.errors import ArgumentError, DTypeError, IndexOutside, near_matches
from loom.core.given import is_mapping, items, text
from loom.core.tracebacks import brief_names
from loom.flow.counts import whole
from loom.tables import Database, Table
from loom.tables.columns.conditions import condition
from loom.tables.columns.schema import DECLARED
from loom.tables.columns.types import COLUMN_TYPES, ColumnType
from loom.tables.device.columns import operation
from loom.tables.exchange.csv_files import read_sheet, read_types
from loom.tables.query import Query

__all__ = [
    "db_aggregate",
    "db_count",
    "db_create",
    "db_delete",
    "db_distinct",
    "db_import_csv",
    "db_insert",
    "db_load",
    "db_load_all",
    "db_save",
    "db_save_all_add",
    "db_save_all_start",
    "db_select",
    "db_select_column",
    "db_select_row",
    "db_table",
    "db_update",
    "db_where",
]


class FlowTable:
    """A table whose columns take their types from what comes first; see ``db_table``."""

    def __init__(self, database: Database, name: str, columns: Sequence[str], table: Table | None = None) -> None:
        self.database, self.name, self.columns, self.table = database, name, list(columns), table

    def with_types(self, row: Mapping[str, Any], where: str) -> Table:
        """Return the table with a type for every column that the row has a value for."""
        known = self.table.columns if self.table is not None else {}
        new = {c: _type_of(row[c], f"{where}, {c!r}") for c in self.columns
               if c not in known and row.get(c) is not None}  # fmt: skip
        for column in row:
            self.require(column, where)
        if self.table is None:
            if not new:
                raise ArgumentError(where, "no value tells what the columns hold", expected="a value for one at least",
                                    got="none", remedy="Insert a row with values first")  # fmt: skip
            _refuse_taken(self.database, self.name, where)
            self.table = self.database.table(self.name, new)
        else:
            for column, kind in new.items():
                self.table.add_column(column, kind)
        return self.table

    @contextmanager
    def atomically(self) -> Generator[None, None, None]:
        """Keep all that a block does to the table, or nothing: no type either, where a value is refused."""
        before = self.table
        try:
            with self.database.transaction():
                yield
        except BaseException:
            self.table = before
            raise

    def require(self, column: str, where: str) -> None:
        """ArgumentError for a column that was not declared."""
        if text(column, f"{where}, column") not in self.columns:
            raise ArgumentError(where, f"no column is called {column!r}", expected=", ".join(self.columns),
                                got=repr(column), remedy=near_matches(str(column), self.columns))  # fmt: skip

    def column(self, name: str, where: str) -> Table | None:
        """Return the table if the column has values, None if none was ever given."""
        self.require(name, where)
        return self.table if self.table is not None and name in self.table.columns else None

    def rows(self) -> Query | None:
        """Return all rows; None where the table never had one."""
        return None if self.table is None else self.table.select()

    def where(self, asked: Query | None, name: str, op: str, value: object, where: str) -> Query | None:
        """Return the rows of those asked that fulfil a condition, which is looked at in a table without rows too.

        A column without a type has a missing value in every row, of the type of what it is compared with.
        """
        if self.column(name, where) is not None:
            return asked.where(name, op, value) if asked is not None else None
        sql, bound = condition("NULL", _type_of_any(value, where), op, value, where)
        return None if asked is None else asked.narrow(sql, bound)

    def declare(self) -> None:
        """Write the names of the columns beside the table, where some have no type or stand in another order."""
        if self.table is not None and list(self.table.columns) != self.columns:
            self.database.sql(f"CREATE TABLE IF NOT EXISTS {DECLARED} (name TEXT PRIMARY KEY, columns TEXT NOT NULL)")
            row = self.table.name, json.dumps(self.columns)
            self.database.sql(f"INSERT OR REPLACE INTO {DECLARED} VALUES (?, ?)", row)


def _type_of(value: Any, where: str) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "float"
    for kind, name in ((str, "str"), (bytes, "bytes")):
        if isinstance(value, kind):
            return name
    raise DTypeError(where, "not a value that tables hold", expected="a number, a text, a truth or bytes",
                     got=type(value).__name__, remedy="Convert it")  # fmt: skip


def _type_of_any(value: object, where: str) -> ColumnType:
    """Return the type of a column that nothing gave one, from what it is compared with."""
    several = cast("Iterable[object]", value if isinstance(value, (list, tuple, set, frozenset)) else [value])
    known = next((each for each in several if each is not None), "")
    return COLUMN_TYPES[_type_of(known, where)]


_DECLARED: WeakKeyDictionary[Database, WeakValueDictionary[str, FlowTable]] = WeakKeyDictionary()
"""Tables by name that were declared and may have no row yet, of which a database knows nothing."""


def _refuse_taken(db: Database, name: str, where: str) -> None:
    if name.lower() in {t.lower() for t in db.tables()}:
        raise ArgumentError(where, f"there is a table {name!r} already", remedy="Choose another name")


def db_create() -> Database:
    """Return a database in memory."""
    return Database()


def db_table(db: Database, name: str, columns: Sequence[str]) -> FlowTable:
    """Make a table with columns of these names.

    Args:
        db: Database, of ``db_create``.
        name: Name of the table.
        columns: Names of columns.

    Returns:
        The table.

    Raises:
        ArgumentError: Not several.
        DTypeError: A name is no text; not a database.

    >>> users = db_table(db_create(), "users", ["name", "age"])
    >>> db_insert(users, {"name": "Alice", "age": 30.0}), db_insert(users, {"name": "Bob", "age": 20.0})
    (0, 1)
    >>> db_where(users, "age", ">", 25.0), db_aggregate(users, "age", "avg")
    ([0], 25.0)
    """
    where = "db_table"
    if not isinstance(db, Database):
        raise DTypeError(where, "not a database", expected="what db_create gave", got=type(db).__name__,
                         remedy="Pass the database first")  # fmt: skip
    names = [text(c, f"{where}, columns") for c in items(columns, f"{where}, columns", "names")]
    called = text(name, f"{where}, name")
    if not names or len({n.lower() for n in names}) != len(names):
        raise ArgumentError(where, "unusable columns", expected="one name at least, all different", got=names,
                            remedy='Write ["name", "age"]')  # fmt: skip
    _refuse_taken(db, called, where)
    declared = _DECLARED.setdefault(db, WeakValueDictionary())
    other = declared.get(called.lower())
    if other is not None and other.table is None:
        raise ArgumentError(
            where,
            f"a table {called!r} was declared already, with {', '.join(other.columns)}",
            remedy="Choose another name, or use what db_table gave first",
        )
    declared[called.lower()] = found = FlowTable(db, called, names)
    return found


def _table(given: Any, where: str) -> FlowTable:
    if not isinstance(given, FlowTable):
        raise DTypeError(where, "not a table", expected="what db_table or db_load gave", got=type(given).__name__,
                         remedy="Pass the table first")  # fmt: skip
    return given


def db_insert(table: FlowTable, row: Mapping[str, Any]) -> int:
    """Insert a row and return its index; columns that it lacks are empty.

    Args:
        table: Table, of ``db_table``.
        row: Values by column.

    Returns:
        Index of the row, from 0.

    Raises:
        ArgumentError: There is no such column.
        DTypeError: Not values by column, or one that does not fit its column; not a table.
    """
    where = "db_insert"
    target = _table(table, where)
    if not is_mapping(row):
        raise DTypeError(where, "not a row", expected="a mapping of columns to values", got=type(row).__name__,
                         remedy='Write {"name": "Alice"}')  # fmt: skip
    with target.atomically():
        found = target.with_types(row, where)
        return found.insert({column: value for column, value in row.items() if value is not None}) - 1


def db_select_row(table: FlowTable, idx: float) -> dict[str, Any]:
    """Return a row by its index, empty columns as None.

    Args:
        table: Table, of ``db_table``.
        idx: Index of the row, from 0.

    Raises:
        ArgumentError: A number is out of range, or no whole one.
        DTypeError: Not a table.
        IndexOutside: There is no such row.
    """
    where = "db_select_row"
    target, found, number = _existing(table, idx, where)
    row = found.get(number)
    return {column: row.get(column) for column in target.columns}


def _existing(table: FlowTable, idx: Any, where: str) -> tuple[FlowTable, Table, int]:
    """Return a table, and the number of a row that it has; IndexOutside names the index of one that it has not."""
    target = _table(table, where)
    index = whole(idx, where, "index")
    if target.table is None:
        raise ArgumentError(where, "the table is empty", expected="a row", got=f"index {index}",
                            remedy="Insert one first")  # fmt: skip
    if not target.table.where("_id", "==", index + 1).count():
        raise IndexOutside(where, f"{target.name!r} has no row at index {index}",
                           remedy="Pass an index that db_insert or db_where gave, of a row not deleted")  # fmt: skip
    return target, target.table, index + 1


def db_select_column(table: FlowTable, col: str, n: float) -> list[Any]:
    """Return the first ``n`` values of a column, by the rows' order.

    Args:
        table: Table, of ``db_table``.
        col: Name of the column.
        n: Number of values.

    Raises:
        ArgumentError: There is no such column; a number is out of range, or no whole one.
        DTypeError: Not a table; a name is no text.
    """
    where = "db_select_column"
    target, count = _table(table, where), whole(n, where, "n")
    found = target.column(col, where)
    if found is None:
        return [None] * min(count, db_count(target))
    return [row[col] for row in found.limit(count)]


def db_where(table: FlowTable, col: str, op: str, val: Any) -> list[int]:
    """Return the indices of rows for which ``col op val`` holds: ==, !=, >, <, >=, <= or contains.

    Args:
        table: Table, of ``db_table``.
        col: Name of the column.
        op: "==", "!=", ">", "<", ">=", "<=" or "contains".
        val: Value that it is compared with.

    Raises:
        ArgumentError: There is no such column or operator.
        DTypeError: A value that the column is not compared with; not a table; a name is no text.
    """
    target = _table(table, "db_where")
    return _indices(target.where(target.rows(), col, op, val, "db_where"))


def _indices(found: Query | None) -> list[int]:
    return [] if found is None else [number - 1 for number in found.ids()]


def db_select(table: FlowTable, cols: Sequence[str], ops: Sequence[str], vals: Sequence[Any]) -> list[int]:
    """Return the indices of rows for which all conditions hold, each a column, an operator and a value.

    Args:
        table: Table, of ``db_table``.
        cols: Names of columns, one for each condition.
        ops: Operators, as of ``db_where``.
        vals: Values.

    Raises:
        ArgumentError: Not lists; not as many columns, operators and values; there is no such column or operator.
        DTypeError: A value that the column is not compared with; not a table.
    """
    where = "db_select"
    target = _table(table, where)
    told = [items(each, f"{where}, {name}") for name, each in (("cols", cols), ("ops", ops), ("vals", vals))]
    counts = [len(each) for each in told]
    if min(counts) != max(counts):
        raise ArgumentError(where, "not as many columns, operators and values", expected="three lists of one length",
                            got="{}, {} and {}".format(*counts), remedy="One of each for a condition")  # fmt: skip
    asked = target.rows()
    for col, op, val in zip(*told, strict=True):
        asked = target.where(asked, col, op, val, where)
    return _indices(asked)


def db_update(table: FlowTable, idx: float, row: Mapping[str, Any]) -> float:
    """Change fields of a row; return 1.0.

    Args:
        table: Table, of ``db_table``.
        idx: Index of the row, from 0.
        row: Values by column.

    Returns:
        1.0.

    Raises:
        ArgumentError: There is no such column; a number is out of range, or no whole one.
        DTypeError: Not values by column, or one that does not fit its column; not a table.
        IndexOutside: There is no such row.
    """
    where = "db_update"
    target, _, number = _existing(table, idx, where)
    if not is_mapping(row):
        raise DTypeError(where, "no fields", expected="a mapping of columns to values", got=type(row).__name__,
                         remedy='Write {"age": 31.0}')  # fmt: skip
    with target.atomically():
        typed = target.with_types(row, where)
        values = {c: v for c, v in row.items() if c in typed.columns}
        return float(typed.update(number, values)) if values or not row else 1.0  # what has no type is empty already


def db_delete(table: FlowTable, idx: float) -> float:
    """Delete a row, whose index no other row takes; return 1.0. ``loom.tables`` can bring it back.

    Args:
        table: Table, of ``db_table``.
        idx: Index of the row, from 0.

    Returns:
        1.0.

    Raises:
        ArgumentError: A number is out of range, or no whole one.
        DTypeError: Not a table.
        IndexOutside: There is no such row.
    """
    _, found, number = _existing(table, idx, "db_delete")
    return float(found.delete(number))


def db_count(table: FlowTable) -> int:
    """Return how many rows there are, deleted ones not counted.

    Args:
        table: Table, of ``db_table``.

    Raises:
        DTypeError: Not a table.
    """
    found = _table(table, "db_count").table
    return 0 if found is None else found.count()


def db_distinct(table: FlowTable, col: str) -> list[Any]:
    """Return the different values of a column.

    Args:
        table: Table, of ``db_table``.
        col: Name of the column.

    Raises:
        ArgumentError: There is no such column.
        DTypeError: A name is no text; not a table.
    """
    target = _table(table, "db_distinct")
    found = target.column(col, "db_distinct")
    return ([None] if db_count(target) else []) if found is None else found.distinct(col)


def db_aggregate(table: FlowTable, col: str, op: str) -> Any:
    """Return the sum, avg, min, max or count of a column's values; no values give 0 as sum and count, else None.

    Args:
        table: Table, of ``db_table``.
        col: Name of the column.
        op: "sum", "avg", "min", "max" or "count".

    Raises:
        ArgumentError: There is no such column or operation.
        DTypeError: Not a table; a name is no text.
    """
    found = _table(table, "db_aggregate").column(col, "db_aggregate")
    if found is None:
        return {"sum": 0.0, "count": 0}.get(operation(op, COLUMN_TYPES["float"], "db_aggregate"))
    return found.aggregate(col, op)


def db_import_csv(table: FlowTable, path: str | os.PathLike[str]) -> int:
    """Insert the rows of a CSV file, whose first line names columns of the table; return how many they are.

    Args:
        table: Table, of ``db_table``.
        path: CSV file.

    Returns:
        Number of rows.

    Raises:
        ArgumentError: The file is empty, or a line cannot be read.
        DTypeError: Not a path; not a table.
        FileError: It cannot be read.
    """
    where = "db_import_csv"
    target = _table(table, where)
    sheet = read_sheet(path, ",", True, None, None, where)
    if not sheet.columns:
        raise ArgumentError(
            where, f"{path} is empty", expected="a line of names", got="no line", remedy="Name another file"
        )
    for column in sheet.columns:
        target.require(column, where)
    known = {} if target.table is None else target.table.columns
    read = read_types(sheet, {c: COLUMN_TYPES[kind] for c, kind in known.items() if c in sheet.columns}, where)
    new = {c: "float" if kind.name == "int" else kind.name for c, (kind, _) in read.items() if c not in known}
    with target.atomically():
        if target.table is None:
            _refuse_taken(target.database, target.name, where)
            target.table = target.database.table(target.name, new)
        else:
            for column, kind in new.items():
                target.table.add_column(column, kind)
        return target.table.import_csv(path)


def db_save(table: FlowTable, path: str | os.PathLike[str]) -> float:
    """Keep a table as an ``.odb`` file, which any tool for SQLite opens; return how many rows. This is I/O.

    Columns that never had a value are kept by their names, and come back.

    Args:
        table: Table, of ``db_table``.
        path: File.

    Returns:
        Number of rows.

    Raises:
        DTypeError: Not a path; not a table.
        FileError: It cannot be written.
    """
    target = _table(table, "db_save")
    _with_values(target, "db_save")
    target.declare()
    target.database.save(path, target.name)
    return float(db_count(target))


def _with_values(target: FlowTable, where: str) -> None:
    if target.table is None:
        raise ArgumentError(where, f"table {target.name!r} never had a row", expected="a row, which tells the types",
                            got="none", remedy="Insert one first")  # fmt: skip


def db_load(path: str | os.PathLike[str]) -> FlowTable:
    """Return the table of an ``.odb`` file. This is I/O.

    Args:
        path: File.

    Raises:
        ArgumentError: The file has several tables.
        DTypeError: Not a path.
        FileError: It cannot be read, or is damaged.
    """
    found = db_load_all(path)
    if len(found) != 1:
        raise ArgumentError("db_load", "the file has not one table", expected="one table",
                            got=", ".join(found) or "none", remedy="Use db_load_all")  # fmt: skip
    return next(iter(found.values()))


class SaveAll:
    """Tables that go into one file; see ``db_save_all_start``."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path, self.tables = path, dict[str, FlowTable]()


def db_save_all_start(path: str | os.PathLike[str]) -> SaveAll:
    """Begin a file of several tables; ``db_save_all_add`` writes it.

    Args:
        path: File.

    Returns:
        File begun.
    """
    return SaveAll(path)


def db_save_all_add(saving: SaveAll, table: FlowTable) -> float:
    """Write the file with this table besides those added before; return how many it has. This is I/O.

    The file has the tables before or these, whatever happens.

    Args:
        saving: File begun, of ``db_save_all_start``.
        table: Table, of ``db_table``.

    Returns:
        Number of rows.

    Raises:
        ArgumentError: Tables of several databases.
        DTypeError: Not a table; not a file begun.
        FileError: It cannot be written.
    """
    where = "db_save_all_add"
    if not isinstance(saving, SaveAll):
        raise DTypeError(where, "not a file begun", expected="what db_save_all_start gave", got=type(saving).__name__,
                         remedy="Pass it first, then the table")  # fmt: skip
    target = _table(table, where)
    _with_values(target, where)
    others = [t for t in saving.tables.values() if t.database is not target.database]
    if others:
        raise ArgumentError(where, "the tables are of several databases", expected=f"that of {others[0].name!r}",
                            got=f"another, of {target.name!r}", remedy="Make all with one db_create")  # fmt: skip
    joined = {**saving.tables, target.name: target}
    for each in joined.values():
        each.declare()
    target.database.save(saving.path, *joined)
    saving.tables = joined
    return float(len(joined))


def db_load_all(path: str | os.PathLike[str]) -> dict[str, FlowTable]:
    """Return all tables of an ``.odb`` file by name. This is I/O.

    Args:
        path: File.

    Raises:
        DTypeError: Not a path.
        FileError: It cannot be read, or is damaged.
    """
    database = Database()
    names = database.load(path)
    declared = dict[str, str]()
    if database.sql("SELECT 1 FROM sqlite_master WHERE name = ?", [DECLARED]).tuples():
        declared = dict(database.sql(f"SELECT name, columns FROM {DECLARED}").tuples())
    found = dict[str, FlowTable]()
    for name in names:
        table = database.table(name)
        columns = [*json.loads(declared.get(name, "[]")), *table.columns]
        found[name] = FlowTable(database, name, list(dict.fromkeys(columns)), table)
    return found


brief_names(globals(), __all__)
