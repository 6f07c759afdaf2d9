"""Tables: typed, written, read and joined; what is deleted comes back; what fails changes nothing."""

from __future__ import annotations

import datetime
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError, DTypeError, IndexOutside, LoomError, StateError
from loom.tables import Database, Row
from unit.tables.conftest import PEOPLE


def names(rows: Any) -> str:
    return "".join(row["name"][0] for row in rows)


def test_rows_come_back_as_they_were_given(people: Any) -> None:
    rows = people.where("name", "!=", "").rows()
    assert rows == PEOPLE
    assert [row.id for row in rows] == people.ids() == [1, 2, 3, 4, 5]
    assert people.get(3) == PEOPLE[2]
    assert isinstance(rows[0], Row)
    assert len(people) == people.count() == 5


@pytest.mark.parametrize(
    ("column", "op", "value", "expected"),
    [
        ("age", "==", 25, "BD"),
        ("age", "!=", 25, "AE"),
        ("age", ">", 30, "AE"),
        ("age", "<", 30.5, "BD"),
        ("age", ">=", 36, "AE"),
        ("age", "<=", 36, "ABD"),
        ("age", "==", None, "C"),
        ("age", "!=", None, "ABDE"),
        ("height", "is-null", None, "B"),
        ("height", "not-null", None, "ACDE"),
        ("height", "between", (1.7, 1.75), "DE"),
        ("name", "contains", "a", "AD"),
        ("name", "contains", "%", ""),
        ("city", "in", ["Oslo", None], "BDE"),
        ("city", "in", {"Rome", "London"}, "AC"),
        ("city", "in", [], ""),
        ("city", "not-in", ["Oslo"], "AC"),
        ("city", "not-in", [], "ABCDE"),
        ("_id", ">", 3, "DE"),
    ],
)
def test_where(people: Any, column: str, op: str, value: Any, expected: str) -> None:
    assert names(people.where(column, op, value)) == expected


def test_select_order_and_limit(people: Any) -> None:
    assert people.select("name", age=(">", 20), city="Oslo").rows() == [{"name": "Bob"}, {"name": "Dan"}]
    assert names(people.order_by("age", "-name")) == "CDBAE"
    assert names(people.order_by("age", descending=True)) == "EABDC"
    assert names(people.order_by("city").limit(2, offset=1)) == "AB"
    assert names(people.order_by("name").limit(3, 1).limit(5, 1)) == "CD"
    assert people.order_by("-age").limit(2).count() == 2
    assert people.order_by("-height").first()["name"] == "Cyd"
    assert people.where("age", ">", 100).first() is None
    assert people.distinct("city") == [None, "London", "Oslo", "Rome"]
    assert people.where("age", "==", 25).distinct("city") == ["Oslo"]


def test_join(db: Database, people: Any) -> None:
    orders = db.table("orders", {"buyer": int, "what": str, "name": str})
    orders.insert_many([(1, "pen", "x"), (4, "ink", "y"), (1, "cup", "z"), (None, "hat", "w")])
    rows = people.join(orders, on=("_id", "buyer")).rows()
    assert [(r["name"], r["what"], r["orders_name"], r.id) for r in rows] == [
        ("Ada", "pen", "x", 1),
        ("Ada", "cup", "z", 1),
        ("Dan", "ink", "y", 4),
    ]
    kept = people.join(orders.where("what", "!=", "cup"), on=("_id", "buyer"), how="left")
    assert [(r["name"], r["what"]) for r in kept.where("age", "not-null")] == [
        ("Ada", "pen"), ("Bob", None), ("Dan", "ink"), ("Eve", None),
    ]  # fmt: skip
    assert people.join(people, on="name").count() == 5
    with pytest.raises(ArgumentError, match="two types"):
        people.join(orders, on=("name", "buyer"))
    with pytest.raises(ArgumentError, match="another database"):
        people.join(Database().table("t", name=str), on="name")


def test_what_is_deleted_is_read_nowhere_and_comes_back(people: Any) -> None:
    bob = people.where("name", "==", "Bob").first()
    assert people.delete([bob, 4]) == 2
    assert names(people.rows()) == "ACE"
    assert people.count() == 3
    assert people.distinct("age") == [None, 36, 61]
    assert names(people.deleted()) == "BD"
    with pytest.raises(IndexOutside, match="row 2 is deleted"):
        people.update(bob, age=1)
    with pytest.raises(IndexOutside, match="row 2 is deleted"):
        people.delete([1, 2])
    assert people.count() == 3
    people.delete(5)
    assert people.insert(name="Fay") == 6, "the number of a deleted row is never given again"
    assert people.undelete(people.deleted()) == 3
    assert names(people.rows()) == "ABCDEF"
    assert people.get(2) == PEOPLE[1]
    with pytest.raises(IndexOutside, match="not deleted"):
        people.undelete(2)


def test_update(people: Any) -> None:
    assert people.update(2, age=26, city=None) == 1
    assert people.get(2) == {"name": "Bob", "age": 26, "height": None, "city": None}
    assert people.update(people.where("age", ">", 30), city="Paris") == 2
    assert people.where("city", "==", "Paris").ids() == [1, 5]
    before = people.rows()
    for rows, values, error in [
        ([1, 99], {"age": 1}, IndexOutside),
        (1, {"age": "old"}, DTypeError),
        (1, {"ages": 1}, ArgumentError),
        (1, {}, ArgumentError),
        ("1", {"age": 1}, LoomError),
    ]:
        with pytest.raises(error):
            people.update(rows, **values)
    assert people.rows() == before


def test_every_type_is_kept_and_no_other(db: Database) -> None:
    stamp = datetime.datetime(2026, 11, 22, 20, 30, 0, 5)
    table = db.table("t", i=int, f=float, s=str, b=bool, y=bytes, d=datetime.date, t=datetime.datetime)
    row = {"i": -(1 << 63), "f": 0.1, "s": "é\0😀", "b": True, "y": b"\0\xff", "d": stamp.date(), "t": stamp}
    table.insert(row)
    table.insert(
        i=np.int64(7), f=np.float32(0.5), s=np.str_("x"), b=np.True_, y=bytearray(b"x"), t=np.datetime64(stamp)
    )
    table.insert(f=float("nan"))
    table.insert(f=3)
    found = table.rows()
    assert found[0] == row
    assert [type(v) for v in found[0].values()] == [type(v) for v in row.values()]
    assert found[1] == {"i": 7, "f": 0.5, "s": "x", "b": True, "y": b"x", "d": None, "t": stamp}
    assert found[2]["f"] is None
    assert found[3]["f"] == 3.0
    assert table.where("t", "<=", stamp).count() == 2
    assert table.where("b", "==", True).count() == 2
    for wrong in (
        {"i": 1.0}, {"i": True}, {"i": 1 << 63}, {"i": "1"}, {"f": "1"}, {"f": True}, {"f": (1 << 53) + 1},
        {"s": 1}, {"s": b"x"}, {"b": 1}, {"y": "x"},
        {"d": stamp}, {"d": "2026-01-01"}, {"t": stamp.date()}, {"s": "\ud800"},
        {"t": stamp.replace(tzinfo=datetime.timezone.utc)},
    ):  # fmt: skip
        with pytest.raises(LoomError):
            table.insert(wrong)
    assert table.count() == 4


def test_nothing_is_inserted_where_one_row_does_not_fit(people: Any) -> None:
    rows = [{"name": f"n{k}", "age": k} for k in range(1000)]
    with pytest.raises(
        DTypeError, match=r"insert_many, column 'age'\] row 700 does not fit: expected int.*got str 'x'"
    ):
        people.insert_many([*rows[:700], {"name": "no", "age": "x"}, *rows])
    with pytest.raises(ArgumentError, match=r"no column is called 'agee'\. Did you mean 'age'"):
        people.insert_many([*rows, {"agee": 1}])
    with pytest.raises(ArgumentError, match="row 1 is not usable"):
        people.insert_many([("a", 1, 1.0, "x"), ("b", 2)])
    assert people.count() == 5
    assert people.insert_many(rows) == list(range(6, 1006))
    assert people.where("age", "==", 999).ids() == [1005]
    assert people.insert_many({"age": np.arange(3), "name": ["x", "y", "z"]}) == [1006, 1007, 1008]
    assert people.insert_many([]) == []
    assert people.get(people.insert()) == dict.fromkeys(people.columns)


def test_transactions_are_kept_as_a_whole(db: Database, people: Any) -> None:
    def fail() -> None:
        with db.transaction():
            people.delete(1)
            people.insert(name="Zed")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert people.rows() == PEOPLE
    with db.transaction():
        people.insert(name="Zed")
        with pytest.raises(DTypeError):
            people.insert_many([{"name": "Y"}, {"name": 1}])
        with pytest.raises(ZeroDivisionError):
            fail()
        assert people.count() == 6
    assert names(people) == "ABCDEZ"


HOSTILE = ['a"b', "x'; drop table people; --", "select", "é 😀", "a.b", "a\nb", "?", ":p", "[x]", "`y`", "1", "%", "\\"]


def test_hostile_names_are_names(db: Database, people: Any) -> None:
    for name in HOSTILE:
        table = db.table(name, {**dict.fromkeys(HOSTILE, str)})
        table.insert({other: other for other in HOSTILE})
        for other in HOSTILE:
            assert table.where(other, "==", other).order_by(other).rows() == [{o: o for o in HOSTILE}]
        table.update(1, **{name: "new"})
        table.delete(1)
        assert table.undelete(1) == 1
        assert table.join(table, on=name).count() == 1
        assert table.distinct(name) == ["new"]
    assert db.tables() == sorted([*HOSTILE, "people"])
    assert people.count() == 5
    for bad in ("", " ", "a\0b", "\ud800", "sqlite_x", "_deleted_x", "_octodb", "x" * 300, 3, None):
        with pytest.raises(LoomError):
            db.table(bad, x=int)
    for bad in ("", "a\0b", "_id", "ROWID"):
        with pytest.raises(LoomError):
            db.table("fresh", {bad: int})
    with pytest.raises(ArgumentError, match="capitals do not part"):
        db.table("fresh", {"a": int, "A": int})
    assert "fresh" not in db.tables()


def test_tables_are_told_apart_by_their_columns(db: Database, people: Any) -> None:
    assert db.table("PEOPLE").columns == {"name": "str", "age": "int", "height": "float", "city": "str"}
    with pytest.raises(ArgumentError, match="has other columns"):
        db.table("people", name=str)
    with pytest.raises(ArgumentError, match=r"no table is called 'peple'\. Did you mean 'people'"):
        db.table("peple")
    db.drop("people")
    assert db.tables() == []
    with pytest.raises(ArgumentError, match="no table is called 'people'"):
        people.count()
    db.close()
    db.close()
    with pytest.raises(StateError, match="closed"):
        db.tables()


def test_a_file_opens_in_sqlite(tmp_path: Path) -> None:
    with Database(tmp_path / "app.odb") as db:
        table = db.table("t", x=int, y=float)
        table.insert_many([(1, 0.5), (2, 1.5), (3, 2.5)])
        table.delete(2)
        assert db.sql("PRAGMA journal_mode").tuples() == [("wal",)], "readers do not wait for who writes"
    assert [path.name for path in tmp_path.iterdir()] == ["app.odb"], "a file that is closed is one file"
    other = sqlite3.connect(tmp_path / "app.odb")
    assert other.execute("SELECT * FROM t").fetchall() == [(1, 1, 0.5), (3, 3, 2.5)]
    assert other.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    with pytest.raises(sqlite3.IntegrityError):
        other.execute("INSERT INTO t (x) VALUES ('text')")
    other.close()
    with Database(tmp_path / "app.odb") as db:
        assert db.table("t", x=int, y=float).rows() == [{"x": 1, "y": 0.5}, {"x": 3, "y": 2.5}]


def test_save_and_load_one_or_all(db: Database, people: Any, tmp_path: Path) -> None:
    db.table("more", x=int).insert(x=1)
    people.delete(2)
    people.delete(5)
    for _ in range(2):  # a new file, then one that is there
        db.save(tmp_path / "all.odb")
        db.save(tmp_path / "one.odb", "people")
    with Database(tmp_path / "all.odb") as copy, Database(tmp_path / "one.odb") as one:
        assert copy.tables() == ["more", "people"]
        assert one.tables() == ["people"]
        for made in (copy.table("people"), one.table("people")):
            assert made.rows() == people.rows()
            assert made.ids() == [1, 3, 4]
            assert made.undelete(2) == 1
            assert made.insert(name="new") == 6
    with Database() as fresh:
        assert fresh.load(tmp_path / "all.odb", "more") == ["more"]
        with pytest.raises(ArgumentError, match="already"):
            fresh.load(tmp_path / "all.odb")
        assert fresh.tables() == ["more"]
    with pytest.raises(OSError, match="no file"):
        db.load(tmp_path / "none.odb")
    (tmp_path / "text.odb").write_text("no database, but something of value")
    with pytest.raises(OSError, match="damaged"):
        db.save(tmp_path / "text.odb")
    assert (tmp_path / "text.odb").read_text() == "no database, but something of value"
    assert not list(tmp_path.glob("*.partial*"))
