"""What a stranger tried of tables and found wrong in silence, or told wrongly."""

from __future__ import annotations

import datetime
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError, DTypeError, FileError, IndexOutside, StateError
from loom.tables import Database
from loom.tables.files.writing import skip_checks

NOON = datetime.datetime(2020, 1, 31, 12)


def test_a_file_of_a_few_bytes_is_not_written_over(tmp_path: Path) -> None:
    for size in (1, 2, 100, 511):
        note = tmp_path / f"note{size}.txt"
        note.write_bytes(b"x" * size)
        for use in (lambda note=note: Database(note), lambda note=note: Database().save(note),
                    lambda note=note: Database().load(note)):  # fmt: skip
            with pytest.raises(FileError, match="damaged"):
                use()
        assert note.read_bytes() == b"x" * size


def test_rows_of_another_table_are_no_rows_of_this(db: Database, people: Any, tmp_path: Path) -> None:
    other = db.table("other", x=int)
    other.insert_many([(1,), (2,)])
    elsewhere = Database()
    elsewhere.table("people", name=str).insert(name="Zed")
    before = people.rows()
    for wrong in (other, other.first(), other.where("x", "==", 2), other.rows(), [1, other.first()],
                  elsewhere.table("people"), elsewhere.table("people").rows()):  # fmt: skip
        for act in (people.delete, people.undelete, lambda rows: people.update(rows, name="wrong")):
            with pytest.raises(ArgumentError, match=r"a row of another (table|database)"):
                act(wrong)
    assert people.rows() == before
    assert people.update(people.join(other, on=("_id", "x")), name="both") == 2  # of ours, those that met one
    assert people.delete(people.first()) == 1
    if db.path is not None:  # the same file by another handle is the same database
        with Database(db.path) as again:
            assert people.delete(again.table("people").first()) == 1
            assert again.table("people").undelete(people.deleted()) == 2


def test_a_row_named_twice_is_one_row(people: Any) -> None:
    assert people.update([1, 1, 2], age=5) == 2
    assert people.delete([2, 2]) == 1
    assert people.undelete([2, 2]) == 1
    for number in (1 << 63, 1 << 70, -(1 << 63) - 1):
        for act in (people.get, people.delete, people.undelete, lambda n: people.update(n, age=1)):
            with pytest.raises(IndexOutside, match="has no row"):
                act(number)


def test_nothing_given_is_left_aside(db: Database, people: Any) -> None:
    for wrong in (
        lambda: people.insert({"name": "Ada"}, name="Bob"),
        lambda: people.update(1, {"name": "Ada"}, name="Bob"),
        lambda: db.table("t", {"a": int}, a=float),
        lambda: people.select(age=(">", 1, 5)),
        lambda: people.select(age=("between", 1, 5)),
        lambda: people.select(age=()),
        lambda: people.select("age", "age"),
        lambda: people.to_numpy("age", "age"),
        lambda: people.to_arrow("age", "age"),
        lambda: people.to_device("age", "age"),
        lambda: people.export_csv("never.csv", "age", "age"),
    ):
        with pytest.raises(ArgumentError):
            wrong()
    assert people.update(1, {"age": 3}, city="Rome") == 1
    assert people.get(1)["age"] == 3
    with pytest.raises(ArgumentError, match="other columns"):  # sequences go in by the order
        db.table("people", city=str, name=str, age=int, height=float)


def test_a_condition_without_its_value_asks_for_no_missing_ones(people: Any) -> None:
    for op in ("==", "!=", ">", "in", "between", "contains"):
        for rows in (people, people.to_device("name", on="cpu")):
            with pytest.raises(ArgumentError, match="compares with a value"):
                rows.where("name", op)
    assert people.where("age", "==", None).ids() == people.where("age", "is-null").ids() == [3]
    assert people.where("age", "is-null", None).ids() == people.select(age=("is-null",)).ids() == [3]
    columns = people.to_device("age", on="cpu")
    assert columns.where("age", "in", (v for v in [36, 61])).ids() == [1, 5]  # an iterator is read once


@pytest.mark.parametrize(
    "value", [1 << 63, 1 << 70, 10**400, -(1 << 63) - 1, -(10**400)], ids=["63", "70", "400", "-63", "-400"]
)
def test_numbers_beyond_64_bits_are_compared_as_numbers(value: int) -> None:
    numbers = [-(1 << 63), -1, 0, (1 << 63) - 1, None]
    t = Database().table("t", i=int)
    t.insert_many([(n,) for n in numbers])
    t_on = t.to_device("i", on="cpu")
    told = {"==": int.__eq__, "!=": int.__ne__, ">": int.__gt__, "<": int.__lt__, ">=": int.__ge__, "<=": int.__le__}
    for op, true in told.items():
        expected = [k for k, n in enumerate(numbers, 1) if n is not None and true(n, value)]
        assert t.where("i", op, value).ids() == t_on.where("i", op, value).ids() == expected
    assert t.where("i", "in", [value, 0]).ids() == t_on.where("i", "in", [value, 0]).ids() == [3]
    assert t.limit(abs(value), 1).ids() == [2, 3, 4, 5]
    assert t.limit(2, abs(value)).ids() == []


def test_floats_are_compared_with_whole_numbers_that_they_hold() -> None:
    t = Database().table("t", f=float)
    t.insert_many([(2.0**63,), (math.inf,), (1.0,)])
    assert t.where("f", ">=", 1 << 63).ids() == [1, 2]
    assert t.where("f", "==", 1 << 63).ids() == [1]
    with pytest.raises(DTypeError, match="more than 64 bits that float64 lacks"):
        t.where("f", "<", (1 << 63) + 1)


def test_moments_of_numpy_and_pandas_are_kept_or_refused() -> None:
    pandas = pytest.importorskip("pandas")
    t = Database().table("t", d=datetime.date, z=datetime.datetime, n=int)
    t.insert(d=pandas.NaT, z=pandas.NaT, n=pandas.NA)
    t.insert(d=np.datetime64("NaT"), z=np.datetime64("NaT"))
    t.insert_many({"z": np.array(["NaT", "2020-01-31T12"], "datetime64[ns]")})
    t.insert_many({"z": pandas.Series(pandas.to_datetime(["2020-01-31 12:00", None]))})
    assert [row["z"] for row in t] == [None, None, None, NOON, NOON, None]
    assert all(row["d"] is row["n"] is None for row in t)
    finer = pandas.Timestamp("2020-01-31 12:00:00.000000001")
    assert np.datetime64(finer.to_datetime64()) != np.datetime64(NOON)
    for wrong in (finer.to_datetime64(), np.datetime64("2020-01-31T12:00:00.0000001")):
        for call in (lambda v: t.insert(z=v), lambda v: t.insert_many({"z": [v]}), lambda v: t.where("z", ">", v),
                     lambda v: t.insert_many({"z": np.array([np.datetime64(v)])})):  # fmt: skip
            with pytest.raises(DTypeError):
                call(wrong)
    with pytest.raises(DTypeError):
        t.insert(z=finer)
    assert t.count() == 6
    assert t.where("n", "==", pandas.NA).count() == 6
    t.insert_many({"z": np.array(["2020-01-31"], "datetime64[D]")})  # which is a moment, its first
    assert t.where("z", "==", np.datetime64("2020-01-31")).ids() == [7]


OTHERWISE = ["soon", "2020-01-31T12:00:00", "2020-01-31", "2020-02-30", "2020-02-30 12:00:00.000000", "20200131",
             "2020-01-31 24:00:00.000000", "0000-01-31 12:00:00.000000"]  # fmt: skip


def test_sql_binds_what_columns_hold() -> None:
    db = Database()
    t = db.table("t", d=datetime.date, z=datetime.datetime, y=bytes)
    t.insert(d=NOON.date(), z=NOON, y=b"a")
    pandas = pytest.importorskip("pandas")
    for column, values in {
        "d": [NOON.date(), np.datetime64("2020-01-31")],
        "z": [NOON, np.datetime64("2020-01-31T12"), pandas.Timestamp(NOON)],
        "y": [b"a", bytearray(b"a"), memoryview(b"a")],
    }.items():
        for value in values:
            assert len(db.sql(f"SELECT 1 FROM t WHERE {column} = ?", [value])) == 1
    assert db.sql("SELECT ? AS a, ? AS b", [pandas.NA, pandas.NaT]).tuples() == [(None, None)]


@pytest.mark.parametrize("text", OTHERWISE)
def test_no_tool_writes_a_date_that_does_not_compare(text: str) -> None:
    db = Database()
    t = db.table("t", d=datetime.date, z=datetime.datetime)
    with pytest.raises(ArgumentError, match="CHECK"):
        db.sql("INSERT INTO t (z) VALUES (?)", [text])
    if text != "2020-01-31":
        with pytest.raises(ArgumentError, match="CHECK"):
            db.sql("INSERT INTO t (d) VALUES (?)", [text])
    db.sql("INSERT INTO t (d, z) VALUES ('0001-01-01', '9999-12-31 23:59:59.999999')")
    assert t.rows() == [{"d": datetime.date.min, "z": datetime.datetime.max}]
    with db._connections.writing("test") as connection, skip_checks(connection):  # as an older file lets it through
        connection.execute("UPDATE t SET d = 'soon'")
    with pytest.raises(FileError, match="holds a text that is none"):
        t.rows()


def test_a_table_that_was_dropped_still_shows(db: Database, people: Any) -> None:
    db.drop("people")
    assert repr(people) == "<loom.tables table 'people': not there (ArgumentError)>"


def test_a_query_of_other_columns_is_no_query_of_these(db: Database) -> None:
    t, other = db.table("t", a=int, b=bool), db.table("other", a=int)
    t.insert_many([(1, True), (0, False)])
    queries = [t.order_by("a"), t.where("a", "==", 1), t.deleted(), t.where("a", "==", 1).join(other, on="a"),
               other.join(t.where("b", "==", True), on="a", how="left"), t.limit(1)]  # fmt: skip
    other.insert(a=1)
    assert [q.count() for q in queries] == [2, 1, 0, 1, 1, 1]  # what is inserted alters no column
    t.change_type("a", bool)
    for query in queries:
        for read in (query.rows, query.ids, query.count, query.to_arrow, lambda q=query: q.distinct("a"),
                     lambda q=query: q.aggregate("a", "max"), lambda q=query: q.group_by("a")):  # fmt: skip
            with pytest.raises(StateError, match=r"were altered since the query was made\. Make the query again"):
                read()
    with db.transaction():
        query = t.order_by("a")
        t.add_column("c", int)
        with pytest.raises(StateError, match="altered"):
            query.rows()
    assert t.order_by("a").rows() == [{"a": False, "b": False, "c": None}, {"a": True, "b": True, "c": None}]


def test_sql_leaves_alone_what_keeps_a_file_sound(db: Database, people: Any) -> None:
    people.delete(2)
    for statement in (
        "PRAGMA journal_mode=DELETE", "pragma synchronous = off", "/* a */ -- b\n PRAGMA main.user_version=99",
        "PRAGMA writable_schema(1)", "pragma \"application_id\"=1", "PRAGMA journal_mode(off)",
        "PRAGMA locking_mode=exclusive", "; pragma user_version = 7",
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match="which is settled"):
            db.sql(statement)
    assert db.sql("PRAGMA table_info(people)").rows()[1]["name"] == "name"
    assert db.sql("PRAGMA integrity_check").tuples() == [("ok",)]
    before = people.rows()
    for statement in (
        "DROP TABLE people", "ALTER TABLE people RENAME TO persons", "ALTER TABLE people ADD COLUMN q INTEGER",
        "ALTER TABLE people DROP COLUMN age", "drop table _deleted_people",
        "/**/ALTER TABLE people RENAME age TO years",
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match="altered a table"):
            db.sql(statement)
        assert people.rows() == before
    assert people.undelete(2) == 1
    db.sql("CREATE TABLE byhand (x)")
    db.sql("ALTER TABLE byhand ADD COLUMN y")
    db.sql("DROP TABLE byhand")
    with pytest.raises(ArgumentError, match="no mark takes 'y'"):
        db.sql("SELECT :x", {"x": 1, "y": 2})
    assert db.sql("SELECT :x + :x AS n, @y AS y", {"x": 1, "y": 2}).rows() == [{"n": 2, "y": 2}]


def test_a_table_is_saved_once(db: Database, people: Any, tmp_path: Path) -> None:
    for names in (("people", "people"), ("people", "PEOPLE")):
        with pytest.raises(ArgumentError, match="named twice"):
            db.save(tmp_path / "copy.odb", *names)
    db.save(tmp_path / "copy.odb", "people")
    with pytest.raises(ArgumentError, match="named twice"):
        Database().load(tmp_path / "copy.odb", "people", "people")
    with pytest.raises(ArgumentError, match="at most 1999"):
        db.table("wide", {f"c{k}": int for k in range(2000)})
    wide = db.table("wide", {f"c{k}": int for k in range(1999)})
    wide.delete(wide.insert({f"c{k}": k for k in range(1999)}))
    wide.undelete(1)
    assert list(wide.get(1).values()) == list(range(1999))


@pytest.mark.parametrize("way", ["removed", "replaced"])
def test_nothing_is_written_to_a_file_that_is_gone(tmp_path: Path, way: str) -> None:
    path = tmp_path / "app.odb"
    with Database(path) as db:
        t = db.table("t", x=int)
        t.insert(x=1)
        if way == "replaced":
            Database(tmp_path / "other.odb").close()
            (tmp_path / "other.odb").replace(path)
        else:
            path.unlink()
        for call in (lambda: t.insert(x=2), t.rows, lambda: db.sql("INSERT INTO t (x) VALUES (3)"), db.tables):
            with pytest.raises(FileError, match=f"was {way} since"):
                call()


def test_a_log_that_was_left_is_none_of_the_file_that_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "app.odb"
    left = Database(path)
    left.table("old", x=int).insert(x=1)
    path.unlink()  # its log stays, as it does where a process is killed and a person removes the file
    assert path.with_name("app.odb-wal").stat().st_size
    new = Database()
    new.table("new", x=int).insert_many([(k,) for k in range(100)])
    new.save(path)
    with Database(path) as again:
        assert again.tables() == ["new"]
        assert again.table("new").count() == 100
    left.close()
    with Database(path) as again:
        assert again.table("new").count() == 100


def test_connections_of_threads_that_ended_are_let_go(tmp_path: Path) -> None:
    with Database(tmp_path / "app.odb") as db:
        t = db.table("t", x=int)
        for k in range(12):
            worker = threading.Thread(target=t.insert, args=({"x": k},))
            worker.start()
            worker.join()
        assert len(db._connections._all) == 1
        assert t.count() == 12


def test_bytes_and_texts_of_any_end_are_grouped_and_moved(on: str) -> None:
    t = Database().table("t", y=bytes, s=str, n=int)
    t.insert_many([(b"b", "a\0", 1), (b"", "a", 2), (None, "a\0", 4), (b"b", None, 8), (b"\xff\0", "a\0\0", None)])
    columns = t.to_device("y", "s", "n", on=on)
    for rows in (t, columns):
        keys, sums = rows.group_by("y", "n", "sum")
        assert (keys.tolist(), sums.tolist()) == ([b"", b"b", b"\xff\0"], [2, 9, 0])
        assert rows.group_by("s").keys.tolist() == ["a", "a\0", "a\0\0"]
        assert rows.group_by("s").values.tolist() == [1, 2, 1]
        assert rows.group_by("n", "y", "max").values.tolist() == [b"b", b"", None, b"b"]
        assert rows.aggregate("y", "max") == b"\xff\0"
        assert rows.where("y", "contains", b"\0").ids() == rows.where("s", "==", "a\0\0").ids() == [5]
        assert rows.where("y", ">=", b"b").ids() == [1, 4, 5]
        assert rows.to_numpy("y").tolist() == [b"b", b"", None, b"b", b"\xff\0"]


def test_one_long_text_among_many_takes_no_room_for_each() -> None:
    t = Database().table("t", s=str)
    t.insert_many({"s": ["x" * 400_000, *(["y"] * 1000)]})  # numpy's texts would take 1.6 GB
    assert t.to_numpy("s").dtype == object
    assert t.group_by("s").values.tolist() == [1, 1000]
