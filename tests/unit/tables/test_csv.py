"""CSV in and out: every cell as it was, a bad line told by its number, and nothing half imported."""

from __future__ import annotations

import csv
import datetime
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from loom.core.errors import ArgumentError, DTypeError, LoomError
from loom.tables import Database


@pytest.fixture(params=["pyarrow", "csv"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Read by pyarrow, or as if it were not installed."""
    if request.param == "csv":
        monkeypatch.setitem(sys.modules, "pyarrow.csv", None)
    else:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    return request.param


def write(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_types_are_inferred_or_given(db: Database, tmp_path: Path, reader: str) -> None:
    text = 'n,x,name,ok,zip\r\n1,1.5,"a ""b"", c",true,007\r\n-2,,"two\nlines",false,010\r\n3,NA,,true,\r\n'
    path = write(tmp_path / "people.csv", text)
    table = db.import_csv(path)
    assert table.name == "people"
    assert table.columns == {"n": "int", "x": "float", "name": "str", "ok": "bool", "zip": "str"}
    typed = db.import_csv(path, "typed", types={"zip": str, "n": "float"})
    assert typed.rows() == [
        {"n": 1.0, "x": 1.5, "name": 'a "b", c', "ok": True, "zip": "007"},
        {"n": -2.0, "x": None, "name": "two\nlines", "ok": False, "zip": "010"},
        {"n": 3.0, "x": None, "name": None, "ok": True, "zip": None},
    ]
    with pytest.raises(ArgumentError, match="there is a table 'people' already"):
        db.import_csv(path)
    with pytest.raises(ArgumentError, match="no column 'zap'"):
        db.import_csv(path, "more", types={"zap": str})


def test_rows_go_into_a_table_that_is_there(people: Any, tmp_path: Path, reader: str) -> None:
    assert people.import_csv(write(tmp_path / "a.csv", "age,name\n1,Fay\n,Gil\n")) == 2
    assert people.where("_id", ">", 5).rows() == [
        {"name": "Fay", "age": 1, "height": None, "city": None},
        {"name": "Gil", "age": None, "height": None, "city": None},
    ]
    assert people.import_csv(write(tmp_path / "b.csv", "Hal,2,1,Oslo\n"), header=False) == 1
    assert people.import_csv(write(tmp_path / "c.csv", "age;name\n"), separator=";") == 0
    assert people.count() == 8


BAD: dict[str, tuple[str, str]] = {
    "short": ("name,age\nA,1\nB\nC,3\n", "line 3 has 1 cells, the first 2"),
    "long": ("name,age\nA,1\nB,2,3\n", "line 3 has 3 cells, the first 2"),
    "after two lines": ('name,age\n"A\nA",1\nB\n', "line 4 has 1 cells"),
    "no number": ('name,age\n"A\nA",1\nB,x\n', "line 4 of .* does not fit: expected int of 64 bits, got 'x'"),
    "too large": ("name,age\nA,9223372036854775808\n", "line 2 of .* does not fit"),
    "half a quote": ('name,age\nA,1\n"B,2\nC,3\n', "line .*unexpected end of data|line .*cells"),
    "text after a quote": ('name,age\nA,1\n"B"B,2\n', "line 3: ',' expected after '\"'"),
    "an underscore": ("name,age\nA,1\nB,1_0\n", "line 3 of .*got '1_0'"),
    "no such column": ("name,aeg\nA,1\n", "no column is called 'aeg'. Did you mean 'age'"),
    "twice": ("name,name\nA,B\n", "one name"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_line_is_told_and_nothing_imported(people: Any, tmp_path: Path, reader: str, case: str) -> None:
    text, said = BAD[case]
    with pytest.raises(LoomError, match=said):
        people.import_csv(write(tmp_path / "bad.csv", text))
    assert people.count() == 5


def test_a_bad_line_far_down_leaves_no_table(db: Database, tmp_path: Path, reader: str) -> None:
    lines = [f"{k},x" for k in range(3000)]
    lines[2500] = "2500"
    with pytest.raises(ArgumentError, match="line 2502 has 1 cells"):
        db.import_csv(write(tmp_path / "bad.csv", "\n".join(["a,b", *lines])))
    lines[2500] = "x,x"
    with pytest.raises(DTypeError, match=r"line 2502 of .*got 'x'"):
        db.import_csv(write(tmp_path / "bad.csv", "\n".join(["a,b", *lines])), types={"a": int})
    assert db.tables() == []


def test_encodings(db: Database, tmp_path: Path, reader: str) -> None:
    text = "name,n\nÄda €,1\n"
    for k, (encoding, given) in enumerate([
        ("utf-8", None), ("utf-8-sig", None), ("utf-8-sig", "utf-8"), ("utf-16", None), ("utf-16-le", "utf-16-le"),
        ("cp1252", "cp1252"), ("iso8859-15", "latin9"),
    ]):  # fmt: skip
        table = db.import_csv(write(tmp_path / "a.csv", text.encode(encoding)), f"t{k}", encoding=given)
        assert table.rows() == [{"name": "Äda €", "n": 1}], encoding
    with pytest.raises(ArgumentError, match="line 2 is no utf-8"):
        db.import_csv(write(tmp_path / "a.csv", text.encode("cp1252")), "bad")
    with pytest.raises(ArgumentError, match="no encoding is called so"):
        db.import_csv(tmp_path / "a.csv", "bad", encoding="utf-9")
    with pytest.raises(OSError, match="none"):
        db.import_csv(tmp_path / "none.csv")
    assert "bad" not in db.tables()


def test_what_is_exported_is_imported_as_it_was(db: Database, tmp_path: Path, reader: str) -> None:
    draw = random.Random(5)
    words = [
        "a",
        'say "x"',
        "one,two",
        "line\nbreak",
        "cr\rlf\r\n",
        " space ",
        "é😀",
        "NA",
        "007",
        "'",
        ";",
        "\\",
        '"',
        ",",
    ]
    types = {"s": str, "i": int, "x": float, "b": bool, "y": bytes, "d": datetime.date, "t": datetime.datetime}
    table = db.table("t", types)

    def some(value: Any) -> Any:
        return None if draw.random() < 0.2 else value

    rows = [
        (
            some("".join(draw.choices(words, k=2))), some(draw.getrandbits(64) - (1 << 63)),
            some(draw.uniform(-1, 1) * 10.0 ** draw.randint(-300, 300)), some(draw.random() < 0.5),
            some(draw.randbytes(3)),
            some(datetime.date.fromordinal(draw.randint(1, 3_000_000))),
            some(datetime.datetime.min + datetime.timedelta(microseconds=draw.getrandbits(56))),
        )
        for _ in range(300)
    ]  # fmt: skip
    table.insert_many(rows)
    assert table.export_csv(tmp_path / "out.csv") == 300
    again = db.import_csv(tmp_path / "out.csv", "again", types=types)
    assert again.rows() == table.rows()
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == list(types)
    assert table.where("i", ">", 0).export_csv(tmp_path / "out.csv", "i", "x", separator="\t", header=False) > 0
    assert "\t" in (tmp_path / "out.csv").read_text()
    before = (tmp_path / "out.csv").read_bytes()
    with pytest.raises(ArgumentError, match="ascii lacks a character"):
        table.export_csv(tmp_path / "out.csv", encoding="ascii")
    assert (tmp_path / "out.csv").read_bytes() == before


def test_progress_and_many_parts(tmp_path: Path, reader: str) -> None:
    n = 150_000
    path = write(tmp_path / "many.csv", "a,b\n" + "".join(f"{k},n{k % 7}\n" for k in range(n)))
    told: list[tuple[int, int]] = []
    with Database(tmp_path / "app.odb") as db:
        table = db.import_csv(path, "t", progress=lambda done, total: told.append((done, total)))
        assert told == [(65536, n), (131072, n), (n, n)]
        assert table.count() == n
        assert table.aggregate("a", "sum") == n * (n - 1) // 2
        assert table.get(n) == {"a": n - 1, "b": f"n{(n - 1) % 7}"}
        assert db.sql("PRAGMA journal_mode").tuples() == [("wal",)]
        assert db.sql("PRAGMA integrity_check").tuples() == [("ok",)]


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["01", "2"], "str", ["01", "2"]),  # postcodes, numbers of parts
        (["0", "-0", "+5", "10"], "int", [0, 0, 5, 10]),
        (["-007", "1.5"], "str", ["-007", "1.5"]),
        (["0.5", "00.5", "0"], "float", [0.5, 0.5, 0.0]),
        (["1.5", "9007199254740993"], "str", ["1.5", "9007199254740993"]),  # float64 lacks it
        (["1.5", "9007199254740992"], "float", [1.5, 2.0**53]),
        (["12345678901234567890"], "str", ["12345678901234567890"]),
        (["18446744073709551616"], "float", [2.0**64]),
        (["1e400", "1"], "str", ["1e400", "1"]),
        (["inf", "-Infinity", "1e308"], "float", None),
        (["true", "", "FALSE"], "bool", [True, None, False]),
        (["", ""], "str", [None, None]),
    ],
)
def test_a_column_holds_what_is_written(tmp_path: Path, reader: str, cells: list[str], kind: str, values: Any) -> None:
    path = write(tmp_path / "t.csv", "id,c\n" + "".join(f"{k},{cell}\n" for k, cell in enumerate(cells)))
    table = Database().import_csv(path)
    assert table.columns["c"] == kind
    if values is not None:
        assert [row["c"] for row in table] == values
    if "1e400" in cells:
        with pytest.raises(DTypeError, match=r"line 2 of .* does not fit"):
            Database().import_csv(path, types={"c": float})


def test_files_of_other_shapes(tmp_path: Path, reader: str) -> None:
    db, text = Database(), "a,b\n1,é\n"
    for code in ("utf-16", "utf-32", "utf-8-sig"):  # with their marks
        assert db.import_csv(write(tmp_path / f"{code}.csv", text.encode(code)), code).rows() == [{"a": 1, "b": "é"}]
    for code in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):  # without
        path = write(tmp_path / f"{code}.csv", "x\ny\n".encode(code))
        for header in (True, False):
            with pytest.raises(ArgumentError, match="NULs between its letters"):
                db.import_csv(path, "never", header=header)
        assert db.import_csv(path, f"named {code}", encoding=code, header=False).count() == 2
    with pytest.raises(ArgumentError, match="not one plain character"):
        db.import_csv(path, "never", separator="\0")
    with pytest.raises(ArgumentError, match="is empty"):
        db.import_csv(write(tmp_path / "empty.csv", ""))
    long = "long " * (1 << 19)
    t = db.table("long", s=str, n=int)
    t.insert_many([(long, 1), ("\ufeffmark", 2), ("a", 3)])
    t.export_csv(tmp_path / "long.csv")
    assert db.import_csv(tmp_path / "long.csv", "again").rows() == t.rows()
    t.where("n", "==", 2).export_csv(tmp_path / "mark.csv", header=False)
    assert db.table("again").import_csv(tmp_path / "mark.csv", header=False) == 1
    assert db.table("again").get(4) == t.get(2)
    assert "never" not in db.tables()


@pytest.mark.parametrize(
    ("body", "line", "said"),
    [
        ("name,age\nAnn, 31\nBob, 22\n", 2, "numbers: expected '31', got ' 31'"),
        ("name,age\nAnn,31\nBob,22 \n", 3, "numbers: expected '22', got '22 '"),
        ("name,age\nAnn,1.5\nBob,  \n", 3, "numbers: expected '', got '  '"),
        ("name,age\n" + "A,1\n" * 200 + "B, NA\n", 202, "numbers: expected 'NA', got ' NA'"),
        ('name,age\n"A\nB",1\nC," 2"\n', 4, "numbers: expected '2', got ' 2'"),
        ("name,age\nAnn, true\nBob,\n", 2, "truths: expected 'true', got ' true'"),
    ],
)
def test_numbers_with_blanks_beside_them_are_no_texts_in_silence(
    tmp_path: Path, body: str, line: int, said: str
) -> None:
    source = tmp_path / "a.csv"
    source.write_text(body)
    with Database() as db:
        with pytest.raises(DTypeError, match=f"'age'. line {line} of .*has blanks, without which all cells are {said}"):
            db.import_csv(source, "t")
        assert db.tables() == []
        assert db.import_csv(source, "t", types={"age": str}).columns == {"name": "str", "age": "str"}


@pytest.mark.parametrize("cells", [[" 0150", "1"], [" x", "1"], [" ", "  "], ["a ", "b"], ["1 2", "3"]])
def test_texts_with_blanks_are_texts(tmp_path: Path, cells: list[str]) -> None:
    (tmp_path / "a.csv").write_text("x,y\n" + "".join(f"{cell},1\n" for cell in cells))
    assert Database().import_csv(tmp_path / "a.csv").columns["x"] == "str"
