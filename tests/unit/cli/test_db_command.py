"""``loom db``: imports, queries and lists tables; errors are one line."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from loom.cli.main import app
from loom.tables import Database


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["db", *map(str, arguments)])


def test_a_file_is_imported_and_asked(tmp_path: Path) -> None:
    source, file = tmp_path / "people.csv", tmp_path / "app.odb"
    source.write_text('name,age,zip\nAda,36,007\n"Bob, B.",,010\n')
    done = run("import", source, file, "--types", "zip=str")
    assert (done.exit_code, done.output) == (0, "2 rows in people: name str, age int, zip str\n")
    done = run("query", file, "select name, age from people order by name")
    assert done.output.splitlines() == ["name     age", "Ada      36", "Bob, B."]
    done = run("query", file, "select * from people where zip = ?", "--param", "007", "--json")
    assert json.loads(done.output) == [{"_id": 1, "name": "Ada", "age": 36, "zip": "007"}]
    done = run("query", file, "select name, age from people", "--csv")
    assert done.output == 'name,age\nAda,36\n"Bob, B.",\n'
    assert run("query", file, "update people set age = 1").output == "2 rows changed\n"
    assert run("import", source, file, "--append").exit_code == 0
    with Database(file) as db:
        db.table("people").delete(1)
    assert run("tables", file).output.splitlines() == [
        "table   rows  deleted  columns",
        "people  3     1        name str, age int, zip str",
    ]
    assert json.loads(run("tables", file, "--json").output)[0]["columns"] == {"name": "str", "age": "int", "zip": "str"}


def test_who_asks_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "app.odb"
    with Database(file) as db:
        db.table("t", x=int).insert(x=1)
    with closing(sqlite3.connect(file)) as other:
        other.execute("UPDATE t SET x = 2")
        other.commit()
    before = file.read_bytes()
    assert run("query", file, " -- all\nselect x from t", "--csv").output == "x\n2\n"
    assert run("tables", file).exit_code == 0
    assert file.read_bytes() == before
    assert run("query", file, "delete from t").output == "1 rows changed\n"
    with Database(file, verify=True) as db:
        assert db.table("t").count() == 0


def test_errors_are_one_line(tmp_path: Path) -> None:
    source, file = tmp_path / "a.csv", tmp_path / "app.odb"
    source.write_text("a,b\n1,2\n3\n")
    for arguments, said in [
        (("import", source, file), "line 3 has 1 cells, the first 2"),
        (("import", source, file, "--types", "a"), "'a' is no type of a column"),
        (("import", source, file, "--append"), "no table is called 'a'"),
        (("query", tmp_path / "none.odb", "select 1"), "there is no file"),
        (("tables", tmp_path / "none.odb"), "there is no file"),
        (("query", file, "selct"), "syntax error"),
        (("query", file, "select 1", "--json", "--csv"), "two forms"),
        (("query", file, "select 9e999 as x", "--json"), "JSON has no infinity"),
        (("query", source, "select 1"), "damaged"),
        (("import", tmp_path / "none.csv", file), "none.csv"),
    ]:
        done = run(*arguments)
        assert done.exit_code == 2, arguments
        assert said in done.output
        assert done.output.count("\n") == 1
    assert not (tmp_path / "none.odb").exists()


def test_a_terminal_obeys_no_text_of_a_table(tmp_path: Path) -> None:
    with Database(tmp_path / "app.odb") as db:
        db.table("t", s=str).insert(s="a\x1b[31mb\nc\0é")
    done = run("query", tmp_path / "app.odb", "select s from t")
    assert done.output.splitlines() == ["s", "a\\x1b[31mb c\\x00é"]
