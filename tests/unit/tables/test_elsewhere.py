"""Columns elsewhere: as arrays, as Arrow streams, on devices, where folds have the bits of the same rows anywhere."""

from __future__ import annotations

import datetime
import gc
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError
from loom.tables import Database
from loom.tables.arrow import writing as arrow

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, 6)
ROWS: list[tuple[Any, ...]] = [
    ("Oslo", 3, 1.5, True, NOW.date(), NOW),
    ("Rome", -7, None, False, None, None),
    (None, None, 2.25, None, datetime.date(1969, 12, 31), datetime.datetime(1969, 12, 31)),
    ("Oslo", 1 << 62, -1.0, True, NOW.date(), None),
    ("", 3, -0.0, None, None, NOW),
    ("Bern", (1 << 62) + 1, math.inf, False, datetime.date(2030, 1, 1), NOW),
]
TYPES = {
    "city": str, "whole": int, "real": float, "truth": bool, "day": datetime.date, "stamp": datetime.datetime
}  # fmt: skip

CONDITIONS: list[tuple[Any, ...]] = [
    ("city", "==", "Oslo"), ("city", "!=", "Oslo"), ("city", "==", "Paris"), ("city", "!=", "Paris"),
    ("city", "<", "Oslo"), ("city", ">=", "C"), ("city", "contains", "o"), ("city", "in", ["Rome", None, "x"]),
    ("city", "not-in", ["Oslo", "x"]), ("city", "between", ("Bern", "Oslo")), ("city", "is-null"), ("city", "==", None),
    ("city", "in", []), ("city", "not-in", []), ("city", "in", ["x"]), ("city", ">", "Rome"),
    ("whole", ">", 2.5), ("whole", ">=", 3), ("whole", "<", 3.0), ("whole", "==", 3.0), ("whole", "==", 2.5),
    ("whole", "!=", 2.5), ("whole", "<=", math.inf), ("whole", ">", math.inf), ("whole", ">", 2.0**62),
    ("whole", "<", 1e300), ("whole", "in", [3, 2.5, 1 << 62]), ("whole", "not-in", [3, None]), ("whole", "not-null"),
    ("whole", "between", (-7.5, 3.5)), ("whole", "<", -1e300), ("whole", ">=", 2.0**63),
    ("real", ">", 1), ("real", "<=", 1.5), ("real", "==", 0), ("real", "<", (1 << 53) + 1),
    ("real", ">=", (1 << 53) + 1),
    ("real", "==", (1 << 53) + 1), ("real", "in", [2.25, None]), ("real", "is-null"), ("real", "!=", 1.5),
    ("real", "not-in", [None]), ("city", "not-in", [None]), ("city", "in", [None]),
    ("real", "==", math.inf), ("real", ">", (1 << 62) + 1),
    ("truth", "==", True), ("truth", "!=", True), ("truth", "<", True), ("truth", "in", [False, None]),
    ("truth", "not-in", [False]), ("truth", "between", (False, True)),
    ("day", "==", NOW.date()), ("day", "<", datetime.date(1970, 1, 1)), ("day", "in", [NOW.date()]),
    ("stamp", ">=", NOW), ("stamp", "between", (datetime.datetime(1960, 1, 1), NOW)), ("stamp", "!=", NOW),
]  # fmt: skip


@pytest.fixture(scope="module")
def table() -> Any:
    made = Database().table("t", TYPES)
    made.insert_many(ROWS)
    return made


def test_conditions_find_the_rows_that_sqlite_finds(table: Any, on: str) -> None:
    columns = table.to_device(on=on)
    for condition in CONDITIONS:
        assert columns.where(*condition).ids() == table.where(*condition).ids(), condition
    both = columns.where("whole", ">", 0).where("city", "==", "Oslo")
    assert both.ids() == [1, 4]
    assert both.count() == len(both) == 2
    assert both.to_numpy("city").tolist() == ["Oslo", "Oslo"]


def test_columns_come_back_from_the_device(table: Any, on: str) -> None:
    columns = table.where("whole", "<", 1 << 60).to_device(on=on)
    plain = table.where("whole", "<", 1 << 60).to_numpy()
    for name in TYPES:
        assert columns.to_numpy(name).dtype == plain[name].dtype
        np.testing.assert_array_equal(columns.to_numpy(name), plain[name])
    assert columns["whole"].numpy().tolist() == [3, -7, 3]
    assert columns.columns["city"] == "str"
    with pytest.raises(ArgumentError, match="no column 'cty' was moved"):
        columns.where("cty", "==", "x")
    with pytest.raises(DTypeError, match="a column of str has no mean"):
        columns.aggregate("city", "mean")


def test_folds_have_one_meaning_everywhere(on: str) -> None:
    draw = np.random.default_rng(3)
    n = 300 if on == "interp" else 6000
    key, real = draw.integers(0, 40, n), draw.standard_normal(n) * 10.0 ** draw.integers(-8, 9, n)
    whole = draw.integers(-(1 << 62), 1 << 62, n)
    table = Database().table("t", key=int, name=str, real=float, whole=int)
    table.insert_many({"key": key, "name": [f"n{k}" for k in key], "real": real, "whole": whole})
    columns = table.to_device(on=on)
    keep = real > 0
    chosen = columns.where("real", ">", 0)
    for asked, x in ((columns, real), (table, real), (chosen, real[keep]), (table.where("real", ">", 0), real[keep])):
        assert asked.aggregate("real", "sum").hex() == float(loom.gpu_sum(x)).hex()
        assert asked.aggregate("real", "avg").hex() == float(loom.gpu_mean(x)).hex()
        assert (asked.aggregate("real", "min"), asked.aggregate("real", "max")) == (x.min(), x.max())
        assert asked.aggregate("real", "count") == x.size
        keys, sums = asked.group_by("key", "real", "sum")
        part = key if x is real else key[keep]
        assert keys.tolist() == np.unique(part).tolist()
        assert [v.hex() for v in sums.tolist()] == [float(loom.gpu_sum(x[part == k])).hex() for k in keys]
    total = sum(whole.tolist())
    assert abs(total) > 1 << 63
    assert columns.aggregate("whole", "sum") == table.aggregate("whole", "sum") == total
    assert columns.aggregate("whole", "mean") == float(Fraction(total, n))
    keys, means = columns.group_by("name", "whole", "mean")
    for name, mean in zip(keys, means, strict=True):
        of = whole[key == int(name[1:])].tolist()
        assert mean == float(Fraction(sum(of), len(of)))
    assert columns.group_by("key", "whole", "sum").values.tolist() == [sum(whole[key == k].tolist()) for k in range(40)]
    assert columns.group_by("key").values.tolist() == np.bincount(key).tolist()


def test_folds_of_few_and_missing(table: Any) -> None:
    for asked in (table, table.to_device(on="cpu")):
        assert asked.aggregate("whole", "sum") == (1 << 63) + 3 - 7 + 1 + 3
        assert asked.aggregate("whole", "count") == 5
        assert asked.aggregate("truth", "sum") == 2
        assert asked.aggregate("truth", "mean") == 0.5
        assert asked.where("city", "==", "x").aggregate("real", "sum") == 0.0
        assert asked.where("city", "==", "x").aggregate("real", "mean") is None
        assert asked.where("city", "==", "x").aggregate("city", "max") is None
        assert (asked.aggregate("city", "min"), asked.aggregate("city", "max")) == ("", "Rome")
        assert asked.aggregate("day", "max") == datetime.date(2030, 1, 1)
        assert asked.aggregate("stamp", "max") == NOW
        keys, values = asked.group_by("city", "real", "max")
        assert keys.tolist() == ["", "Bern", "Oslo", "Rome"]
        assert values.tolist()[:3] == [-0.0, math.inf, 1.5]
        assert math.isnan(values[3]), "no row of Rome has one"
        keys, values = asked.group_by("truth", "whole", "sum")
        assert (keys.tolist(), values.tolist()) == ([False, True], [(1 << 62) - 6, (1 << 62) + 3])
        assert asked.group_by("day").values.tolist() == [1, 2, 1]
        assert asked.where("city", "==", "x").group_by("city").values.tolist() == []


def test_arrays(table: Any) -> None:
    found = table.to_numpy("city", "real", "truth", "day", "stamp")
    assert np.isnan(found["real"]).tolist() == [False, True] + [False] * 4
    assert found["city"].tolist() == [row[0] for row in ROWS]
    assert found["truth"].tolist() == [row[3] for row in ROWS]
    assert found["day"].dtype == np.dtype("datetime64[D]")
    assert found["stamp"][0] == np.datetime64(NOW)
    assert np.isnat(found["stamp"]).sum() == 2
    assert table.where("city", "==", "Oslo").to_numpy("city").dtype == np.dtype("<U4")
    assert table.to_numpy("real", missing=0.5).tolist()[1] == 0.5


def test_whole_numbers_with_missing_ones(table: Any) -> None:
    with pytest.raises(DTypeError, match="float64 lacks one of them: expected at most 2"):
        table.to_numpy("whole")
    assert table.to_numpy("whole", missing=0).tolist() == [row[1] or 0 for row in ROWS]
    few = table.where("whole", "<", 5).to_numpy("whole")
    assert few.dtype == np.int64
    odd = Database().table("t", s=str)
    odd.insert(s="a\0")
    assert odd.to_numpy("s").tolist() == ["a\0"]


def test_arrow_streams_are_taken_by_others(table: Any) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    kept = len(arrow._KEPT)
    for given in (table, table.to_arrow(), table.where("_id", ">", 0), Database().table("e", TYPES)):
        taken = pa.table(given)
        expected = [] if taken.num_rows == 0 else [dict(zip(TYPES, row, strict=True)) for row in ROWS]
        assert taken.to_pylist() == expected
        taken.validate(full=True)
        assert str(taken.schema.field("stamp").type) == "timestamp[us]"
    assert pa.schema(table.to_arrow("city")).names == ["city"]
    unused = table.to_arrow("city").__arrow_c_stream__()
    del unused, taken
    gc.collect()
    assert len(arrow._KEPT) == kept, "what was lent is let go"
    assert not arrow._STRUCTS


def test_polars_takes_them(table: Any) -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    frame = polars.DataFrame(table)
    assert frame.rows() == ROWS
    back = Database().table("t", TYPES)
    back.insert_many(frame)
    assert back.rows() == table.rows()


def test_sql(table: Any) -> None:
    db = Database()
    t = db.table("t", x=int, s=str)
    t.insert_many([(1, "a"), (2, "b'; drop table t; --"), (3, None)])
    t.delete(1)
    assert db.sql("SELECT count(*) AS n FROM t").rows() == [{"n": 2}], "what is deleted is read nowhere"
    assert db.sql("SELECT x FROM t WHERE s = :s", {"s": "b'; drop table t; --"}).tuples() == [(2,)]
    assert db.sql("UPDATE t SET x = ? WHERE x = ?", [np.int64(7), 3]).changed == 1
    found = db.sql("SELECT x, s, x + 0.5 AS y FROM t ORDER BY x")
    assert found.columns == ["x", "s", "y"]
    assert found.to_numpy()["y"].tolist() == [2.5, 7.5]
    assert len(found) == 2
    for statement, params, error, match in [
        ("SELECT * FROM none", [], ArgumentError, "no such table: none"),
        ("SELECT ?", [], ArgumentError, "binding"),
        ("SELECT ?", [object()], DTypeError, "cannot be bound"),
        ("SELECT ?", "x", ArgumentError, "not values to bind"),
        ("SELECT 1; SELECT 2", [], ArgumentError, "one statement"),
        ("BEGIN", [], RuntimeError, "transaction"),
        ("COMMIT", [], ArgumentError, "no transaction"),
        ("INSERT INTO t (x) VALUES ('text')", [], ArgumentError, "do not fit"),
    ]:
        with pytest.raises(error, match=match):
            db.sql(statement, params)
    with pytest.raises(ArgumentError, match="one name"):
        db.sql("SELECT 1 AS a, 2 AS a").rows()
    assert t.count() == 2


def test_a_group_without_values_stays(db: Database) -> None:
    kinds = {"age": int, "height": float, "name": str, "born": datetime.date, "paid": bool, "raw": bytes}
    table = db.table("t", {"city": str, **kinds})
    table.insert(city="Oslo")
    table.insert(city="Rome", age=3, height=1.5, name="x", born=datetime.date(2020, 1, 1), paid=True, raw=b"a")
    table.insert(age=5)
    for rows in (table, table.to_device(on="cpu"), table.where("_id", "<", 3)):
        columns = kinds if rows is table else [name for name in kinds if name != "raw"]
        for name in columns:
            keys, counts = rows.group_by("city", name, "count")
            assert (keys.tolist(), counts.tolist()) == (["Oslo", "Rome"], [0, 1])
            for op in ("min", "max"):
                keys, values = rows.group_by("city", name, op)
                assert keys.tolist() == ["Oslo", "Rome"]
                assert repr(values.tolist()) == repr(table.where("city", "not-null").to_numpy(name).tolist())
        for name, total in (("age", 3), ("height", 1.5), ("paid", 1)):
            assert rows.group_by("city", name, "sum").values.tolist() == [0, total]
            assert repr(rows.group_by("city", name, "mean").values.tolist()) == f"[nan, {total / 1}]"
    only = table.where("city", "==", "Oslo")
    assert [part.tolist() for part in only.group_by("city", "height", "sum")] == [["Oslo"], [0.0]]
    assert [part.tolist() for part in only.group_by("city", "name", "max")] == [["Oslo"], [None]]
    assert only.where("age", "not-null").group_by("city", "age").keys.tolist() == []
    table.insert(city="Bern", age=(1 << 53) + 1)
    with pytest.raises(DTypeError, match="float64 lacks one of them"):
        table.group_by("city", "age", "max")
    assert table.where("age", "not-null").group_by("city", "age", "max").values.tolist() == [(1 << 53) + 1, 3]
