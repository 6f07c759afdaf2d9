"""The listings of both database chapters, under the names Loom began with."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from loom import flow
from loom.core.errors import ArgumentError, DTypeError, IndexOutside, LoomError, StateError
from loom.flow.tables import (
    db_aggregate,
    db_count,
    db_create,
    db_delete,
    db_distinct,
    db_import_csv,
    db_insert,
    db_load,
    db_load_all,
    db_save,
    db_save_all_add,
    db_save_all_start,
    db_select,
    db_select_column,
    db_select_row,
    db_table,
    db_update,
    db_where,
)
from loom.flow.vectors import (
    loomdb_capture,
    loomdb_create,
    loomdb_create_vectors,
    loomdb_flush,
    loomdb_gpu_search,
    loomdb_needs_flush,
    loomdb_normalize,
    loomdb_restore_meta,
    loomdb_restore_vectors,
    loomdb_result_count,
    loomdb_result_id,
    loomdb_result_meta,
    loomdb_result_score,
    loomdb_search,
)

A, B, C = [1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 2.0]


def captured():
    ldb = loomdb_create(3.0, 3.0)
    vectors = loomdb_create_vectors()
    loomdb_capture(ldb, vectors, "emb_001", A, "batch=42")
    loomdb_capture(ldb, vectors, "emb_002", B, "batch=42")
    loomdb_capture(ldb, vectors, "emb_003", C, "batch=43")
    return ldb, vectors


def hits(ldb):
    count = loomdb_result_count(ldb)
    return [(loomdb_result_id(ldb, i), loomdb_result_score(ldb, i), loomdb_result_meta(ldb, i)) for i in range(count)]


def test_the_quick_start_of_loomdb() -> None:
    ldb, vectors = captured()
    assert loomdb_search(ldb, vectors, [2.0, 0.0, 0.0], 5.0, "cosine") == 3.0
    found = hits(ldb)
    assert [name for name, _, _ in found] == ["emb_001", "emb_002", "emb_003"]
    assert [score for _, score, _ in found] == pytest.approx([1.0, 0.6, 0.0], abs=1e-6)
    assert found[0][2] == "batch=42"
    assert loomdb_gpu_search(ldb, vectors, [0.0, 0.0, 1.0], 10.0) == 3.0
    assert loomdb_result_id(ldb, 0.0) == "emb_003"


def test_each_metric() -> None:
    ldb, vectors = captured()
    loomdb_search(ldb, vectors, C, 1.0, "dot")
    assert hits(ldb) == [("emb_003", 4.0, "batch=43")]
    loomdb_capture(ldb, vectors, "emb_004", [0.0, 0.0, 4.0])
    loomdb_search(ldb, vectors, C, 1.0, "dot")
    assert hits(ldb) == [("emb_004", 8.0, "")]
    loomdb_search(ldb, vectors, C, 2.0, "euclidean")
    assert hits(ldb) == [("emb_003", 0.0, "batch=43"), ("emb_004", 2.0, "")]


def test_persistence(tmp_path: Path) -> None:
    ldb, vectors = captured()
    assert loomdb_needs_flush(ldb) == 1.0
    path = tmp_path / "cache" / "embeddings"
    path.parent.mkdir()
    assert loomdb_flush(ldb, vectors, path) == 3.0
    assert loomdb_needs_flush(ldb) == 0.0
    loomdb_search(ldb, vectors, B, 3.0, "cosine")
    before = hits(ldb)
    ldb = loomdb_restore_meta(path)
    vectors = loomdb_restore_vectors(path)
    loomdb_search(ldb, vectors, B, 3.0, "cosine")
    assert hits(ldb) == before
    assert {p.name for p in path.parent.iterdir()} >= {"embeddings.ldb"}


def test_normalizing() -> None:
    ldb, vectors = captured()
    assert loomdb_normalize(ldb, vectors) == 3.0
    loomdb_search(ldb, vectors, [0.0, 0.0, 5.0], 1.0, "dot")
    assert hits(ldb) == [("emb_003", 5.0, "batch=43")]


def test_vectors_of_another_database_are_refused() -> None:
    ldb, vectors = captured()
    with pytest.raises(ArgumentError, match="these vectors are not of this database"):
        loomdb_search(loomdb_create(3.0, 9.0), vectors, A, 1.0)
    with pytest.raises(DTypeError, match="expected a database of loomdb_create"):
        loomdb_capture(vectors, ldb, "x", A)
    with pytest.raises(StateError, match="nothing was searched"):
        loomdb_result_id(ldb, 0)
    with pytest.raises(ArgumentError, match="unusable k"):
        loomdb_search(ldb, vectors, A, 0.0)
    with pytest.raises(ArgumentError, match="'manhattan' is not known"):
        loomdb_search(ldb, vectors, A, 1.0, "manhattan")
    loomdb_search(ldb, vectors, A, 1.0)
    with pytest.raises(ArgumentError, match="there is no such hit"):
        loomdb_result_score(ldb, 1.0)


def users():
    db = db_create()
    found = db_table(db, "users", ["name", "age", "email"])
    row = {}
    row["name"] = "Alice"
    row["age"] = 30.0
    row["email"] = "alice@example.com"
    assert db_insert(found, row) == 0
    db_insert(found, {"name": "Bob", "age": 20})
    db_insert(found, {"name": "Alina", "age": 40.0})
    return found


def test_the_quick_start_of_octodb(tmp_path: Path) -> None:
    table = users()
    assert db_where(table, "age", ">", 25.0) == [0, 2]
    assert db_aggregate(table, "age", "avg") == 30.0
    assert db_select(table, ["age", "name"], [">", "contains"], [25.0, "Ali"]) == [0, 2]
    assert db_save(table, tmp_path / "users.odb") == 3.0
    restored = db_load(tmp_path / "users.odb")
    assert db_select_row(restored, 0) == {"name": "Alice", "age": 30.0, "email": "alice@example.com"}
    with sqlite3.connect(tmp_path / "users.odb") as other:
        assert other.execute("select name from users order by age").fetchall() == [("Bob",), ("Alice",), ("Alina",)]


def test_every_function_of_the_table(tmp_path: Path) -> None:
    table = users()
    assert db_select_column(table, "name", 2.0) == ["Alice", "Bob"]
    assert db_update(table, 1.0, {"age": 21.0, "email": None}) == 1.0
    assert db_select_row(table, 1) == {"name": "Bob", "age": 21.0, "email": None}
    assert db_delete(table, 0) == 1.0
    assert db_count(table) == 2
    assert db_where(table, "age", ">", 0) == [1, 2]
    assert sorted(db_distinct(table, "name")) == ["Alina", "Bob"]
    assert [db_aggregate(table, "age", op) for op in ("sum", "avg", "min", "max", "count")] == [61, 30.5, 21, 40, 2]
    with pytest.raises(LoomError):
        db_select_row(table, 0)
    assert db_insert(table, {"name": "Eve"}) == 3
    (tmp_path / "more.csv").write_text('name,age\n"Du, Mo",7\nIda,8\n')
    assert db_import_csv(table, tmp_path / "more.csv") == 2
    assert db_where(table, "name", "==", "Du, Mo") == [4]


def test_several_tables_in_one_file(tmp_path: Path) -> None:
    db = db_create()
    first, second = db_table(db, "a", ["x"]), db_table(db, "b", ["y", "z"])
    db_insert(first, {"x": 1.0})
    db_insert(second, {"y": "one", "z": True})
    saving = db_save_all_start(tmp_path / "all.odb")
    assert [db_save_all_add(saving, first), db_save_all_add(saving, second)] == [1.0, 2.0]
    found = db_load_all(tmp_path / "all.odb")
    assert {name: db_select_row(table, 0) for name, table in found.items()} == {
        "a": {"x": 1.0}, "b": {"y": "one", "z": True},
    }  # fmt: skip
    with pytest.raises(ArgumentError, match="Use db_load_all"):
        db_load(tmp_path / "all.odb")


def test_what_tables_refuse(tmp_path: Path) -> None:
    db = db_create()
    table = db_table(db, "t", ["x", "y"])
    assert (db_count(table), db_where(table, "x", ">", 1), db_select_column(table, "y", 3)) == (0, [], [])
    with pytest.raises(ArgumentError, match="never had a row"):
        db_save(table, tmp_path / "t.odb")
    with pytest.raises(ArgumentError, match="no value tells what the columns hold"):
        db_insert(table, {})
    with pytest.raises(ArgumentError, match="no column is called 'z'"):
        db_insert(table, {"z": 1.0})
    db_insert(table, {"x": 1.0})
    with pytest.raises(DTypeError):
        db_insert(table, {"x": "one"})
    with pytest.raises(ArgumentError, match="there is a table 't' already"):
        db_table(db, "t", ["x"])
    assert db_count(table) == 1


def test_names_are_those_of_flow() -> None:
    assert flow.loomdb_create is loomdb_create
    assert flow.db_create is db_create
    with pytest.raises(AttributeError):
        _ = flow.db_nothing


def test_a_row_that_is_refused_leaves_no_type_and_an_index_is_told_as_it_was_given() -> None:
    users = db_table(db_create(), "users", ["name", "age", "email"])
    with pytest.raises(LoomError):
        db_insert(users, {"name": "Ada", "age": float("nan"), "email": "\ud800"})
    assert users.table is None
    assert db_insert(users, {"name": "Ada"}) == 0
    with pytest.raises(LoomError):
        db_insert(users, {"name": 5, "email": "x"})  # a text by now
    with pytest.raises(LoomError):
        db_update(users, 0, {"name": 5, "email": "x"})
    assert db_insert(users, {"email": 1.5}) == 1  # no refused row said that it holds texts
    assert db_update(users, 0, {"age": None}) == 1.0
    db_delete(users, 1)
    for call in (lambda i: db_select_row(users, i), lambda i: db_delete(users, i), lambda i: db_update(users, i, {})):
        for index in (1, 9.0):
            with pytest.raises(IndexOutside, match=f"'users' has no row at index {int(index)}"):
                call(index)
    with pytest.raises(LoomError, match="no fields"):
        db_update(users, 0, ["name"])  # type: ignore[arg-type]


def test_a_name_is_declared_once() -> None:
    db = db_create()
    first = db_table(db, "t", ["x"])
    with pytest.raises(ArgumentError, match="a table 'T' was declared already, with x"):
        db_table(db, "T", ["y"])
    db_insert(first, {"x": 1.0})
    with pytest.raises(ArgumentError, match="there is a table 't' already"):
        db_table(db, "t", ["x"])
    other = db_table(db, "u", ["x"])
    db.table("u", x=float).insert(x=5.0)  # by another door
    with pytest.raises(ArgumentError, match="there is a table 'u' already"):
        db_insert(other, {"x": 1.0})
    del other
    db.drop("u")
    assert db_insert(db_table(db, "u", ["y"]), {"y": "a"}) == 0
    assert db_insert(db_table(db_create(), "t", ["z"]), {"z": 1.0}) == 0


def test_conditions_are_looked_at_whether_or_not_there_are_values() -> None:
    table = db_table(db_create(), "t", ["name", "age", "email"])
    for _ in range(2):  # without rows, then with some
        for call in (
            lambda: db_where(table, "age", "~", 1.0), lambda: db_where(table, "email", "~", 1.0),
            lambda: db_select(table, ["email", "age"], ["==", "~"], ["a", 1.0]),
            lambda: db_select(table, ["email", "email"], ["~", "=="], ["a", "b"]),
        ):  # fmt: skip
            with pytest.raises(ArgumentError, match="'~' is not known"):
                call()
        with pytest.raises(ArgumentError, match="no column is called 'nope'"):
            db_select(table, ["email", "nope"], ["==", "=="], ["a", 1.0])
        with pytest.raises(DTypeError, match="only texts and bytes contain"):
            db_where(table, "email", "contains", 1.0)
        with pytest.raises(ArgumentError, match="'median' is not known"):
            db_aggregate(table, "email", "median")
        assert [db_aggregate(table, "email", op) for op in ("sum", "count", "avg", "min")] == [0.0, 0, None, None]
        rows = list(range(db_count(table)))
        assert db_where(table, "email", "==", None) == db_where(table, "email", "is-null", None) == rows
        assert db_where(table, "email", "in", ["a", None]) == rows
        assert db_where(table, "email", "!=", "a") == db_where(table, "email", ">", 1.0) == []
        assert db_distinct(table, "email") == [None] * bool(rows)
        db_insert(table, {"name": "Ada"})
        db_insert(table, {"age": 3.0})
    assert db_select(table, ["email", "name"], ["==", "=="], [None, "Ada"]) == [0, 2]
    db_update(table, 1, {"email": "x"})
    assert db_where(table, "email", "==", None) == [0, 2, 3], "a column with a type has missing values likewise"


def test_columns_without_values_come_back(tmp_path: Path) -> None:
    db = db_create()
    table, other = db_table(db, "t", ["name", "age", "email"]), db_table(db, "u", ["a", "b"])
    db_insert(table, {"age": 36.0})
    db_insert(other, {"b": True})
    db_save(table, tmp_path / "t.odb")
    for _ in range(2):
        found = db_load(tmp_path / "t.odb")
        assert found.columns == ["name", "age", "email"]
        db_save(found, tmp_path / "t.odb")
    db_insert(found, {"email": "a@b"})
    assert db_select_row(found, 1) == {"name": None, "age": None, "email": "a@b"}
    saving = db_save_all_start(tmp_path / "all.odb")
    for each in (table, other):
        db_save_all_add(saving, each)
    db_insert(table, {"name": "Ada", "email": "c@d"})
    db_save(table, tmp_path / "t.odb")
    loaded = db_load_all(tmp_path / "all.odb")
    assert {name: each.columns for name, each in loaded.items()} == {"t": ["name", "age", "email"], "u": ["a", "b"]}
    assert db_load(tmp_path / "t.odb").columns == ["name", "age", "email"]
    assert loaded["u"].database.tables() == ["t", "u"]
    loaded["u"].database.drop("u")
    assert db_insert(db_table(loaded["t"].database, "u", ["c"]), {"c": 1.0}) == 0


def test_a_csv_that_is_refused_leaves_no_type(tmp_path: Path) -> None:
    table = db_table(db_create(), "t", ["name", "age"])
    (tmp_path / "a.csv").write_text("name,age\nAnn, 31\n")
    with pytest.raises(DTypeError, match=r"line 2 of .*has blanks"):
        db_import_csv(table, tmp_path / "a.csv")
    assert table.table is None
    db_insert(table, {"age": 1.0})
    with pytest.raises(DTypeError, match=r"line 2 of .*does not fit"):
        db_import_csv(table, tmp_path / "a.csv")
    assert table.table is not None
    assert list(table.table.columns) == ["age"]
    db_update(table, 0, {"name": "Bob"})
    (tmp_path / "a.csv").write_text("name,age\n 31,31\n")
    assert db_import_csv(table, tmp_path / "a.csv") == 1
    assert db_where(table, "name", "==", " 31") == [1], "a column that is of texts takes them"
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(ArgumentError, match="is empty"):
        db_import_csv(table, tmp_path / "a.csv")
