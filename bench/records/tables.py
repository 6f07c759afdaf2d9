"""``loom.tables`` beside ``sqlite3`` by hand, and its columns on the device beside DuckDB.

Rows go into new files that hold what SQLite writes by default (``synchronous=FULL``, a rollback journal) on the side by
hand; DuckDB holds its table in memory, as columns of its own.
"""

from __future__ import annotations

import csv
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness import THREADS, Side, alternate
from bench.report import Bar, Family, Row, main
from loom.tables import Database
from loom.tables.columns.types import COLUMN_TYPES
from loom.tables.device.columns import move_columns

ROWS, LINES, ELEMENTS, KEYS = 10**5, 10**6, 10**7, 1000
Call = Callable[[], Any]


def run(family: Family) -> None:
    """Measure rows in, a file in, a filter and groups."""
    with tempfile.TemporaryDirectory() as folder:
        _insert(family, Path(folder))
        _import(family, Path(folder))
    _columns(family)
    family.notes.append("speed is the peer's time divided by loom's, by the median over rounds of blocks")
    family.notes.append("files of the side by hand have neither types that are checked nor rows that come back")


def _row(what: str, ours: Call, peer: str, theirs: Call, bar: float, *, blocks: int, calls: int) -> Row:
    timings = alternate([Side("loom", ours), Side(peer, theirs)], blocks=blocks, calls=calls)
    speed = 1 / timings.median_of_ratios("loom", peer)
    measured: dict[str, float | int | str] = {f"{name}_ms": timings.median(name) * 1e3 for name in timings.blocks}
    measured["runs"] = timings.runs("loom")
    return Row(what, measured, (Bar(f"at least {bar} of the speed of {peer}", bar, speed, at_least=True),))


def _insert(family: Family, folder: Path) -> None:
    rows = [(k, f"name {k}", k * 0.5, f"city {k % 1000}") for k in range(ROWS)]
    fresh = count()

    def ours() -> None:
        with Database(folder / f"ours{next(fresh)}.odb") as db:
            db.table("t", number=int, name=str, score=float, city=str).insert_many(rows)

    def theirs() -> None:
        with closing(sqlite3.connect(folder / f"theirs{next(fresh)}.db")) as connection:
            connection.execute(
                "CREATE TABLE t (id INTEGER PRIMARY KEY, number INTEGER, name TEXT, score REAL, city TEXT)"
            )
            connection.executemany("INSERT INTO t (number, name, score, city) VALUES (?, ?, ?, ?)", rows)
            connection.commit()

    family.rows.append(_row("insert_many of 10^5 rows", ours, "sqlite3 executemany", theirs, 0.8, blocks=7, calls=1))


def _import(family: Family, folder: Path) -> None:
    path = folder / "people.csv"
    scores = np.random.default_rng(1).random(LINES).round(5).tolist()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "name", "score", "city"])
        writer.writerows((k, f"name {k}", scores[k], f"city{k % 1000}") for k in range(LINES))
    fresh = count()

    def ours() -> None:
        target = folder / f"imported{next(fresh)}.odb"
        with Database(target) as db:
            db.import_csv(path, "t")
        target.unlink()

    def theirs() -> None:
        target = folder / f"read{next(fresh)}.db"
        with closing(sqlite3.connect(target)) as connection, path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            next(reader)
            connection.execute("CREATE TABLE t (number INTEGER, name TEXT, score REAL, city TEXT)")
            connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", reader)
            connection.commit()
        target.unlink()

    family.rows.append(_row("CSV import, 10^6 x 4", ours, "csv and executemany", theirs, 2.0, blocks=5, calls=1))


def _columns(family: Family) -> None:
    import duckdb
    import pyarrow as pa

    rng = np.random.default_rng(2)
    values, others = rng.random(ELEMENTS), rng.random(ELEMENTS) * 100
    keys = rng.integers(0, KEYS, ELEMENTS)
    peer = duckdb.connect()
    peer.execute(f"SET threads = {THREADS}")
    peer.register("given", pa.table({"a": others, "b": values, "k": keys}))
    peer.execute("CREATE TABLE t AS SELECT * FROM given")
    kinds = {"a": ("float", others), "b": ("float", values), "k": ("int", keys)}
    columns = move_columns({n: (COLUMN_TYPES[t], x) for n, (t, x) in kinds.items()}, range(ELEMENTS), "cpu")

    def filtered() -> float:
        return columns.where("a", ">", 50.0).aggregate("b", "avg")

    def grouped() -> Any:
        return columns.group_by("k", "b", "avg")

    mean = peer.execute("SELECT avg(b) FROM t WHERE a > 50").fetchall()[0][0]
    assert abs(filtered() - mean) < 1e-9
    means = peer.execute("SELECT k, avg(b) FROM t GROUP BY k ORDER BY k").fetchnumpy()
    assert np.abs(grouped().values - means["avg(b)"]).max() < 1e-9
    for what, ours, sql, bar in [
        ("device column: filter and average of 10^7", filtered, "SELECT avg(b) FROM t WHERE a > 50", 0.7),
        ("device column: averages of 10^7 by 1,000 keys", grouped, "SELECT k, avg(b) FROM t GROUP BY k", 0.5),
    ]:
        family.rows.append(
            _row(what, ours, "duckdb", lambda sql=sql: peer.execute(sql).fetchall(), bar, blocks=5, calls=3)
        )


if __name__ == "__main__":
    main("tables", run)
