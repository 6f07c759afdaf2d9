"""What SQL made on tables goes along with copies, or the copy is refused and names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from loom.core.errors import ArgumentError
from loom.tables import Database


def made_in(db: Database) -> list[tuple[str, str]]:
    """Return the indexes, triggers and views that a caller made."""
    asked = (
        "SELECT type, name FROM sqlite_master WHERE type <> 'table' AND name NOT LIKE '@_%' ESCAPE '@' ORDER BY 1, 2"
    )
    return [(kind, name) for kind, name in db.sql(asked).tuples() if not name.startswith("sqlite_")]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Give a file of two tables, with an index, two views, one of them of both, and two triggers."""
    path = tmp_path / "source.odb"
    with Database(path) as db:
        db.table("t", k=int).insert(k=1)
        db.table("u", n=int)
        db.sql("CREATE UNIQUE INDEX one ON t(k)")
        db.sql("CREATE VIEW ks AS SELECT k FROM t")
        db.sql("CREATE VIEW both AS SELECT ks.k, u.n FROM ks JOIN u")
        db.sql("CREATE TRIGGER add_ten AFTER INSERT ON u BEGIN UPDATE t SET k = k + 10; END")
        db.sql("CREATE TRIGGER into_ks INSTEAD OF INSERT ON ks BEGIN INSERT INTO t (k) VALUES (new.k); END")
    return path


def drop(path: Path, *statements: str) -> None:
    with Database(path) as db:
        for statement in statements:
            db.sql(statement)


@pytest.mark.parametrize("way", ["load", "load by name", "save", "save by name", "save over"])
def test_all_of_it_goes_along(source: Path, tmp_path: Path, way: str) -> None:
    names = ("t", "u") if "name" in way else ()
    with Database() as db:
        if way.startswith("load"):
            assert db.load(source, *names) == ["t", "u"]
        else:
            target = tmp_path / "copy.odb"
            with Database(source) as first:
                if way == "save over":
                    Database(target).table("old", x=int).insert(x=1)
                first.save(target, *names)
            db = Database(target)
        kinds = [("index", "one"), ("trigger", "add_ten"), ("trigger", "into_ks"), ("view", "both"), ("view", "ks")]
        assert made_in(db) == kinds
        with pytest.raises(ArgumentError, match=r"UNIQUE constraint failed: t\.k"):
            db.table("t").insert(k=1)
        db.table("u").insert(n=5)
        db.sql("INSERT INTO ks VALUES (99)")
        assert db.sql("SELECT * FROM both").tuples() == [(11, 5), (99, 5)]
        db.close()


def test_one_table_takes_what_is_its_own(source: Path) -> None:
    drop(source, "DROP VIEW both")
    with Database() as db:
        db.load(source, "t")
        assert made_in(db) == [("index", "one"), ("trigger", "into_ks"), ("view", "ks")]


def test_what_needs_another_table_is_refused_by_name(source: Path, tmp_path: Path) -> None:
    db, first = Database(), Database(source)
    for copy in (lambda: db.load(source, "t"), lambda: first.save(tmp_path / "copy.odb", "t")):
        with pytest.raises(ArgumentError, match=r"the view 'both' needs the table 'u', which is not copied.*Name that"):
            copy()
    with pytest.raises(ArgumentError, match="the view 'both' needs the table 't'"):
        db.load(source, "u")
    first.sql("DROP VIEW both")
    with pytest.raises(ArgumentError, match="the trigger 'add_ten' needs the table 't', which is not copied"):
        db.load(source, "u")
    assert db.tables() == []
    assert not (tmp_path / "copy.odb").exists()
    first.close()


def test_names_that_are_taken_and_tables_of_others_are_refused(source: Path) -> None:
    db = Database()
    db.table("z", k=int)
    db.sql("CREATE INDEX one ON z(k)")
    with pytest.raises(ArgumentError, match=r"the name of the index 'one' is taken.*DROP INDEX"):
        db.load(source)
    assert db.tables() == ["z"]
    db.sql("DROP INDEX one")
    assert db.load(source) == ["t", "u"]
    drop(source, "CREATE TABLE plain (x)", "INSERT INTO plain VALUES (1)")
    with pytest.raises(ArgumentError, match=r"the table 'plain' is not of Loom.*load\(path, 'name'\)"):
        Database().load(source)
    drop(source, "CREATE VIEW of_plain AS SELECT x FROM plain", "DROP TABLE plain")
    with pytest.raises(ArgumentError, match="the view 'of_plain' needs the table 'plain'"):
        Database().load(source)
    assert Database().load(source, "t", "u") == ["t", "u"]


def test_columns_change_under_views_and_triggers(db: Database) -> None:
    table = db.table("t", k=int, v=str)
    table.insert_many([(1, "5"), (2, "6")])
    table.delete(2)
    db.sql("CREATE VIEW w AS SELECT k, v FROM t")
    db.table("o", a=int)
    db.sql("CREATE TRIGGER g AFTER INSERT ON o BEGIN UPDATE t SET k = k + 1; END")
    db.sql("CREATE INDEX by_v ON t(v)")
    table.change_type("v", int)
    db.table("o").insert(a=1)
    assert db.sql("SELECT * FROM w").tuples() == [(2, 5)]
    assert table.deleted().rows() == [{"k": 2, "v": 6}]
    for kind, name in (("index", "by_v"), ("view", "w")):
        with pytest.raises(ArgumentError, match=rf"the {kind} '{name}' needs what would change.*DROP {kind.upper()}"):
            table.drop_column("v")
        db.sql(f"DROP {kind} {name}")
    table.drop_column("v")
    assert table.rows() == [{"k": 2}]


def test_what_sqlite_bounds_is_told_in_words_of_tables(db: Database) -> None:
    table = db.table("t", k=int)
    table.insert_many([(k,) for k in range(5)])
    query = table.where("k", ">", 1)
    for k in range(2000):
        query = query.where("k", "!=", 3 + k % 2 * 100)
    assert query.ids() == [3, 5]
    with pytest.raises(ArgumentError, match=r"larger than what a cell holds.*Keep it in a file"):
        db.sql("SELECT zeroblob(1100000000)")
