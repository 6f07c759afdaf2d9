"""What users of sqlite3, SQLAlchemy and pandas write from habit: it works, or is refused with a remedy that does."""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from loom.core.errors import ArgumentError, DTypeError, FileError, StateError
from loom.tables import Database
from loom.tables.files import sqlite_files


class City(str, enum.Enum):
    """A text that writes itself otherwise than it is."""

    OSLO = "Oslo"


@pytest.mark.parametrize("on", [None, "cpu"])
def test_a_member_of_an_enumeration_is_the_text_it_holds(on: str | None) -> None:
    table = Database().table("t", city=str)
    table.insert(city=City.OSLO)
    table.insert_many([(City.OSLO,)])
    table.insert_many({"city": [City.OSLO, "Rome"]})
    table.update(4, city=City.OSLO)
    assert table.distinct("city") == ["Oslo"]
    read = table if on is None else table.to_device("city", on=on)
    assert read.where("city", "==", City.OSLO).aggregate("city", "count") == 4
    assert read.where("city", "in", [City.OSLO]).aggregate("city", "count") == 4


def test_missing_values_fulfil_in_where_none_is_named_and_not_in_of_nothing() -> None:
    table = Database().table("t", x=int)
    table.insert_many([(1,), (None,)])
    asked: dict[str, list[list[Any]]] = {"in": [[], [1], [None]], "not-in": [[], [1], [None]]}
    found = {op: [table.where("x", op, values).ids() for values in each] for op, each in asked.items()}
    assert found == {"in": [[], [1], [2]], "not-in": [[1, 2], [], [1]]}


def test_the_remedy_for_groups_without_values_works() -> None:
    table = Database().table("t", key=str, x=int)
    table.insert_many([("a", 1 << 62), ("b", None)])
    with pytest.raises(DTypeError, match=r"where\(column, 'not-null'\); to_numpy also takes missing=0"):
        table.group_by("key", "x", "max")
    assert table.where("x", "not-null").group_by("key", "x", "max").values.tolist() == [1 << 62]
    assert table.to_numpy("x", missing=0).tolist() == [1 << 62, 0]


@pytest.mark.parametrize("made", ["TABLE q(a)", "VIEW q AS SELECT 1 AS a", "INDEX q ON t(x)"])
def test_a_name_that_another_thing_has_is_told(made: str, tmp_path: Path) -> None:
    db = Database()
    db.table("t", x=int)
    db.sql(f"CREATE {made}")
    source = tmp_path / "q.csv"
    source.write_text("a\n1\n")
    for call in (lambda: db.table("q", a=int), lambda: db.import_csv(source), lambda: db.sql(f"CREATE {made}")):
        with pytest.raises(ArgumentError, match=r"the name is taken .*choose another"):
            call()
    assert db.tables() == ["t"]


def test_a_statement_that_writes_by_with_is_refused_read_only(tmp_path: Path) -> None:
    path = tmp_path / "a.odb"
    with Database(path) as db:
        db.table("t", x=int).insert(x=1)
    with Database(path, read_only=True) as db:
        with pytest.raises(StateError, match="was opened read_only"):
            db.sql("WITH a AS (SELECT 2 AS x) INSERT INTO t(x) SELECT x FROM a")
        assert db.sql("WITH a AS (SELECT x FROM t) SELECT x FROM a").tuples() == [(1,)]


def test_what_other_libraries_take_for_a_database_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    calls: list[Callable[[str], Any]] = [Database, Database().save, Database().load]
    for name in ("sqlite:///a.odb", "file:a.odb?mode=ro", "duckdb://a"):
        for call in calls:
            with pytest.raises(ArgumentError, match="not the path of a file"):
                call(name)
    with pytest.raises(ArgumentError, match="not the path of a file"):
        Database().save(":memory:")
    assert not list(tmp_path.iterdir())
    assert Database(":memory:").path is None
    for path in (Path("file:a.odb"), "a:b.odb"):
        with Database(path) as db:
            assert db.path == tmp_path / path


def test_the_index_of_pandas_is_told(tmp_path: Path) -> None:
    frame: Any = pd.DataFrame({"x": [1, 2]}, index=["a", "b"])
    db = Database()
    table = db.table("t", x=int)
    with pytest.raises(ArgumentError, match=r"pandas' index: reset_index\(drop=True\)"):
        table.insert_many(frame)
    assert table.insert_many(frame.reset_index(drop=True)) == [1, 2]
    frame.to_csv(tmp_path / "a.csv")
    with pytest.raises(ArgumentError, match=r"column 1 of .*a.csv has no name.*to_csv\(path, index=False\)"):
        db.import_csv(tmp_path / "a.csv")
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert db.import_csv(tmp_path / "a.csv").to_numpy("x").tolist() == [1, 2]


@pytest.mark.skipif(not hasattr(sqlite3.Connection, "serialize"), reason="files are sealed by Python 3.11 and newer")
def test_the_indexes_of_sealed_bytes_are_not_looked_through_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, asked = tmp_path / "a.odb", list[bool]()
    with Database(path) as db:
        db.table("t", x=int).insert_many([(1,), (2,)])
        db.sql("CREATE INDEX by_x ON t(x) WHERE x > 1")
    look = sqlite_files.look_through

    def spy(connection: sqlite3.Connection, place: Path | None, where: str, *, with_indexes: bool = True) -> None:
        asked.append(with_indexes)
        look(connection, place, where, with_indexes=with_indexes)

    monkeypatch.setattr(sqlite_files, "look_through", spy)
    for only in (False, True):
        Database(path, read_only=only).close()
    assert asked == [False, False]
    with closing(sqlite3.connect(path)) as other:  # an index that lacks a row, written by another tool
        other.execute("PRAGMA writable_schema=1")
        other.execute("UPDATE sqlite_master SET sql = 'CREATE INDEX by_x ON t(x)' WHERE name = 'by_x'")
        other.commit()
    with pytest.raises(FileError, match="row 1 missing from index by_x"):
        Database(path)
    assert asked[2:] == [True]
