"""Columns added, renamed, dropped and converted: every value is kept, or nothing is changed."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from loom.core.errors import ArgumentError, DTypeError
from loom.tables import Database


def test_columns_are_added_renamed_and_dropped(db: Database, people: Any) -> None:
    people.delete(2)
    before = people.rows()
    people.add_column("email", str)
    people.add_column("score", float, default=1)
    people.rename_column("city", 'the "city"')
    people.drop_column("height")
    assert people.columns == {"name": "str", "age": "int", 'the "city"': "str", "email": "str", "score": "float"}
    assert people.undelete(2) == 1
    assert people.where("_id", "!=", 2).rows() == [
        {"name": r["name"], "age": r["age"], 'the "city"': r["city"], "email": None, "score": 1.0} for r in before
    ]
    assert people.get(2) == {"name": "Bob", "age": 25, 'the "city"': "Oslo", "email": None, "score": 1.0}
    assert people.insert(name="Fay") == 6
    for change in (
        lambda: people.add_column("NAME", str),
        lambda: people.add_column("_id", int),
        lambda: people.add_column("x", str, default=1),
        lambda: people.rename_column("name", "age"),
        lambda: people.rename_column("nmae", "x"),
        lambda: people.drop_column("nmae"),
    ):
        with pytest.raises((ArgumentError, DTypeError)):
            change()
    one = db.table("one", x=int)
    with pytest.raises(ArgumentError, match="last column"):
        one.drop_column("x")


CHANGES: list[tuple[Any, Any, Any, Any, Any]] = [
    (int, float, [1, None, -7], [1.0, None, -7.0], (1 << 53) + 1),
    (float, int, [1.0, None, -0.0], [1, None, 0], 1.5),
    (int, str, [1, None], ["1", None], None),
    (str, int, ["1", None, "-2"], [1, None, -2], "1_0"),
    (str, float, ["1.5", "inf"], [1.5, float("inf")], "nan"),
    (float, str, [0.1, 1e300], ["0.1", "1e+300"], None),
    (int, bool, [0, 1, None], [False, True, None], 2),
    (bool, str, [True, False], ["true", "false"], None),
    (str, datetime.date, ["2026-01-02", None], [datetime.date(2026, 1, 2), None], "2026-02-30"),
    (str, datetime.datetime, ["2026-01-02 03:04:05"], [datetime.datetime(2026, 1, 2, 3, 4, 5)], "x"),
    (datetime.datetime, datetime.date, [datetime.datetime(2026, 1, 2)], [datetime.date(2026, 1, 2)],
     datetime.datetime(2026, 1, 2, 3)),
    (bytes, str, [b"a", None], ["a", None], b"\xff"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "values", "expected", "wrong"), CHANGES)
def test_types_are_changed_where_every_value_has_an_equal(
    db: Database, old: Any, new: Any, values: list[Any], expected: list[Any], wrong: Any
) -> None:
    table = db.table("t", a=int, x=old, z=str)
    table.insert_many([(k, v, f"z{k}") for k, v in enumerate(values)])
    last = table.insert(a=99, x=values[0])
    table.delete(last)
    db.sql("CREATE INDEX by_x ON t (x)")
    if wrong is not None:
        bad = table.insert(x=wrong)
        table.delete(bad)
        with pytest.raises(DTypeError, match=rf"row {bad} of column 'x' is no "):
            table.change_type("x", new)
        assert db.table("t", a=int, x=old, z=str).where("a", "not-null").rows() == table.where("a", "not-null").rows()
        table.undelete(bad)
        table.update(bad, x=values[0])
        table.delete(bad)
    table.change_type("x", new)
    assert [row["x"] for row in table] == expected
    assert [row["z"] for row in table] == [f"z{k}" for k in range(len(values))]
    assert table.undelete(last) == 1
    assert table.get(last)["x"] == expected[0]
    assert table.insert(a=1) > last
    assert db.sql("SELECT name FROM sqlite_master WHERE type = 'index'").tuples() == [("by_x",)]
    assert db.sql("PRAGMA integrity_check").tuples() == [("ok",)]


def test_no_number_is_given_twice_though_its_row_was_deleted() -> None:
    """Also after the table took the place of another, and the last row had gone before."""
    db = Database()
    table = db.table("t", x=int)
    assert table.insert_many([{"x": 1}, {"x": 2}, {"x": 3}]) == [1, 2, 3]
    table.delete(3)
    table.change_type("x", float)
    assert table.insert(x=4.0) == 4
    assert table.undelete(3) == 1
    assert [(row.id, row["x"]) for row in table.rows()] == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]


def test_what_another_changed_is_seen(tmp_path: Path) -> None:
    with Database(tmp_path / "a.odb") as one, Database(tmp_path / "a.odb") as two:
        ours = one.table("people", name=str, city=str)
        ours.insert(name="Ada", city="Rome")
        theirs = two.table("people")
        theirs.rename_column("city", "town")
        theirs.change_type("town", bytes)
        assert ours.columns == {"name": "str", "town": "bytes"}
        assert ours.rows() == [{"name": "Ada", "town": b"Rome"}]
        with pytest.raises(ArgumentError, match="no column is called 'city'"):
            ours.where("city", "==", "Rome")
        with pytest.raises(DTypeError, match="does not become"):
            ours.change_type("town", int)
