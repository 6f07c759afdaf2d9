"""Arrow streams taken in: every type that a column has, sliced, in chunks, coded; against pyarrow's own reading."""

from __future__ import annotations

import datetime
import random
import sys
from functools import cache
from typing import Any

import pytest

from loom.core.errors import ArgumentError, DTypeError
from loom.tables import Database
from loom.tables.arrow import writing as written
from loom.tables.arrow.reading import columns_of_stream

pa = pytest.importorskip("pyarrow")

DAY, MOMENT = datetime.date(1969, 12, 31), datetime.datetime(1969, 12, 31, 23, 59, 59, 999_999)


@cache
def kinds() -> list[tuple[Any, list[Any]]]:
    """Return types of columns, and values that they have."""
    return [
        *((getattr(pa, f"int{bits}")(), [0, -1, -(1 << bits - 1), (1 << bits - 1) - 1]) for bits in (8, 16, 32, 64)),
        *((getattr(pa, f"uint{bits}")(), [0, 1, (1 << bits) - 1]) for bits in (8, 16, 32, 64)),
        (pa.float32(), [0.0, -1.5, float("inf")]),
        (pa.float64(), [0.1, 5e-324, -float("inf")]), (pa.bool_(), [True, False]),
        *((kind, ["", "é", "a\0", "x" * 12, "long" * 9])
          for kind in (pa.string(), pa.large_string(), pa.string_view())),
        *((kind, [b"", b"\xff\0", b"x" * 13]) for kind in (pa.binary(), pa.large_binary(), pa.binary_view())),
        (pa.binary(3), [b"abc", b"\0\0\0"]), (pa.null(), [None]),
        *((kind, [DAY, datetime.date.min, datetime.date.max]) for kind in (pa.date32(), pa.date64())),
        (pa.timestamp("us"), [MOMENT, datetime.datetime.min, datetime.datetime.max]),
        (pa.timestamp("ms"), [datetime.datetime(2020, 1, 1, 0, 0, 0, 1000), datetime.datetime(1, 1, 1)]),
        (pa.timestamp("s"), [datetime.datetime(1900, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59)]),
        (pa.timestamp("ns"), [MOMENT, datetime.datetime(2020, 1, 1)]),
    ]  # fmt: skip


def drawn(rng: random.Random, kind: Any, values: list[Any], count: int) -> Any:
    """Return an array of a kind: whole, a slice of a longer one, or coded by a dictionary or by runs."""
    pad = rng.choice([0, 0, 3, 9])
    listed = [rng.choice(values) if rng.random() < 0.7 else None for _ in range(count + 2 * pad)]
    made = pa.array(listed, kind)
    way = rng.choice(["plain", "plain", "codes", "runs"])
    if way == "codes" and not str(kind).endswith("view") and kind != pa.null():
        made = made.dictionary_encode()
    elif way == "runs" and kind in (pa.int64(), pa.string(), pa.float64()):
        from pyarrow import compute

        made = compute.run_end_encode(made)
    return made.slice(pad, count)


def plain(value: Any) -> Any:
    """Return pandas' moments, which pyarrow makes of nanoseconds, as Python's."""
    return value.to_pydatetime() if hasattr(value, "to_pydatetime") else value


@pytest.mark.parametrize("seed", range(6))
def test_streams_are_read_as_pyarrow_reads_them(seed: int) -> None:
    rng = random.Random(seed)
    before = pa.total_allocated_bytes()
    for _ in range(6):
        chosen = [rng.choice(kinds()) for _ in range(rng.randint(1, 5))]
        sizes = [rng.choice([0, 1, 7, 8, 9, 70]) for _ in range(rng.randint(0, 3))]
        table = pa.table(
            {
                f"c{k}": pa.chunked_array(
                    [pa.array(drawn(rng, kind, values, n).to_pylist(), kind) for n in sizes], kind
                )
                for k, (kind, values) in enumerate(chosen)
            }
        )
        one = pa.table({f"c{k}": drawn(rng, kind, values, 20) for k, (kind, values) in enumerate(chosen)})
        for each in (table, one, one.slice(3, 11)):
            expected = {name: [plain(v) for v in each.column(name).to_pylist()] for name in each.column_names}
            assert repr(columns_of_stream(each, "test")) == repr(expected)
        batch = pa.RecordBatch.from_struct_array(pa.array([{"a": k, "b": str(k)} for k in range(9)]).slice(2, 5))
        assert columns_of_stream(batch, "test") == {"a": [2, 3, 4, 5, 6], "b": ["2", "3", "4", "5", "6"]}
        del table, one, each, batch
    assert pa.total_allocated_bytes() <= before


def test_what_a_column_would_change_is_refused() -> None:
    t = Database().table("t", z=datetime.datetime, d=datetime.date, f=float, s=str)
    far = 1 << 62
    for name, column in {
        "z": pa.array([0, 1], pa.timestamp("ns")), "d": pa.array([1], pa.int64()).cast(pa.date64(), safe=False),
        "f": pa.array([1]).cast(pa.decimal128(20)), "s": pa.array([["a"]]),
    }.items():  # fmt: skip
        with pytest.raises(DTypeError, match=r"finer than a microsecond|no whole day|fits no column"):
            t.insert_many(pa.table({name: column}))
    for unit in ("s", "ms", "us"):
        with pytest.raises(DTypeError, match="of no year from 1 to 9999"):
            t.insert_many(pa.table({"z": pa.array([0, None, far], pa.timestamp(unit))}))
    with pytest.raises(DTypeError, match="of no year from 1 to 9999"):
        t.insert_many(pa.table({"d": pa.array([1 << 30], pa.int32()).cast(pa.date32())}))
    with pytest.raises(DTypeError, match=r"with a time zone \(UTC\)"):
        t.insert_many(pa.table({"z": pa.array([0], pa.timestamp("us", "UTC"))}))
    with pytest.raises(ArgumentError, match="two columns are called 's'"):
        t.insert_many(pa.table([["a"], ["b"]], names=["s", "s"]))
    with pytest.raises(DTypeError, match="without a name"):
        columns_of_stream(pa.chunked_array([[1]]), "test")
    assert t.count() == 0


def test_a_stream_that_fails_is_told_and_let_go() -> None:
    def batches() -> Any:
        yield pa.record_batch({"a": [1, 2]})
        raise RuntimeError("the line broke")

    before = pa.total_allocated_bytes()
    t = Database().table("t", a=int)
    with pytest.raises(DTypeError, match="the line broke"):
        t.insert_many(pa.RecordBatchReader.from_batches(pa.schema([("a", pa.int64())]), batches()))
    assert t.count() == 0
    assert pa.total_allocated_bytes() <= before


def test_streams_need_no_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    frame = polars.DataFrame({"s": ["é" * 20, None, "a"], "i": [1, 2, None], "z": [MOMENT, None, MOMENT]})
    result = duckdb.sql("SELECT 'a' AS s, 5::BIGINT AS i, TIMESTAMP '2020-01-01' AS z").to_arrow_table()
    db = Database()
    t = db.table("t", s=str, i=int, z=datetime.datetime)
    kept = len(written._KEPT), len(written._STRUCTS)
    for name in [each for each in sys.modules if each == "pyarrow" or each.startswith("pyarrow.")]:
        monkeypatch.setitem(sys.modules, name, None)
    t.insert_many(frame)
    t.insert_many(result)
    t.insert_many(t.where("i", "==", 5))
    t.insert_many(db.sql("SELECT 'sql' AS s"))
    assert [tuple(row.values()) for row in t] == [
        *frame.rows(), *[("a", 5, datetime.datetime(2020, 1, 1))] * 2, ("sql", None, None)
    ]  # fmt: skip
    assert (len(written._KEPT), len(written._STRUCTS)) == kept
