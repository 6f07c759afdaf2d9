"""Texts as keys, and columns of files. Oracles: the csv module's own reading, numpy, and Python's dictionaries."""

from __future__ import annotations

import csv
import random
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom import data
from loom.core.errors import DTypeError, LoomError

WORDS = ["oak", "elm", "", "ash", "Äsche", "oak tree", "日本", "elm"]


@pytest.fixture(params=["pyarrow", "itself"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pyarrow":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    else:
        monkeypatch.setitem(sys.modules, "pyarrow.csv", None)
    return str(request.param)


def test_groups_of_texts(on: str) -> None:
    draw = random.Random(1)
    keys = [draw.choice(WORDS) for _ in range(300)]
    values = [draw.randrange(100) for _ in keys]
    expected: dict[str, list[int]] = defaultdict(list)
    for key, value in zip(keys, values, strict=True):
        expected[key].append(value)
    for given in (keys, np.array(keys), np.array(keys, object)):
        found, sums = data.group_by(given, values, on=on).sum()
        assert found.tolist() == sorted(expected)
        assert sums.tolist() == [sum(expected[k]) for k in sorted(expected)]
    counts = data.group_by(keys, on=on).count()
    assert counts.values.tolist() == [len(expected[k]) for k in sorted(expected)]


def test_pairs_of_texts() -> None:
    left, right = ["b", "a", "x", "b"], np.array(["a", "b", "b"])
    pairs = data.join(left, right)
    assert pairs.left.tolist() == [0, 0, 1, 3, 3]
    assert pairs.right.tolist() == [1, 2, 0, 1, 2]
    assert data.join(left, right, "left").right.tolist() == [1, 2, 0, -1, 1, 2]
    with pytest.raises(LoomError, match="not all of it is text"):
        data.join(left, [1, 2])


def test_columns_of_other_libraries() -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    codes, values = data.factorize(arrow.array(WORDS))
    assert [values[c] for c in codes] == WORDS
    assert values.tolist() == sorted(set(WORDS))
    assert data.group_by(arrow.array(["b", "a", "b"]), [1, 2, 3]).sum().values.tolist() == [2, 4]


def test_missing_texts_are_refused() -> None:
    for wrong in (["a", None], ["a", 1.0], np.array(["a", None], object)):
        with pytest.raises(DTypeError, match="not all of it is text: expected texts, got numbers or missing"):
            data.factorize(wrong)


def test_a_file_of_many_kinds(tmp_path: Path, reader: str) -> None:
    file = tmp_path / "a.csv"
    rows = [
        ["whole", "real", "some", "truth", "name"], ["1", "1.5", "7", "true", 'a "b", c'],
        ["-20", "1e3", "", "false", "line\nbreak"],
        ["9223372036854775807", ".5", "3", "true", ""], ["+4", "nan", "NA", "false", "12"],
    ]  # fmt: skip
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows(rows)
    found = data.read_csv(file)
    assert list(found) == rows[0]
    assert found["whole"].dtype == np.int64
    assert found["whole"].tolist() == [1, -20, 2**63 - 1, 4]
    assert np.array_equal(found["real"], [1.5, 1000.0, 0.5, np.nan], equal_nan=True)
    assert np.array_equal(found["some"], [7.0, np.nan, 3.0, np.nan], equal_nan=True)
    assert found["truth"].tolist() == [True, False, True, False]
    assert found["name"].tolist() == ['a "b", c', "line\nbreak", "", "12"]
    some = data.read_csv(file, columns=["name", "real"], dtypes={"real": "f32"}, on="cpu")
    assert list(some) == ["name", "real"]
    assert some["real"].dtype == loom.f32
    assert isinstance(some["real"], loom.Array)


def test_ways_of_writing(tmp_path: Path, reader: str) -> None:
    file = tmp_path / "b.csv"
    file.write_bytes("\ufeffa;b\r\n1;ä\r\n2;ö\r\n".encode())
    found = data.read_csv(file, separator=";")
    assert {k: v.tolist() for k, v in found.items()} == {"a": [1, 2], "b": ["ä", "ö"]}
    bare = data.read_csv(file, separator=";", header=False)
    assert bare["1"].tolist() == ["b", "ä", "ö"]
    (tmp_path / "empty.csv").write_bytes(b"")
    assert data.read_csv(tmp_path / "empty.csv") == {}
    (tmp_path / "head.csv").write_bytes(b"a,b\n")
    assert {k: v.size for k, v in data.read_csv(tmp_path / "head.csv").items()} == {"a": 0, "b": 0}


def test_odd_cells_mean_the_same_to_every_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    draw = random.Random(4)
    odd = ["1", "+1", "-0", " 1", "1_0", "0x10", "1.", ".5", "1e400", "-inf", "NaN", "", "NA", "true", "TRUE", "yes"]
    odd += ["9" * 20, "é", "1,2", 'q"q', "\uff11", "\u0661"]
    for n in range(60):
        rows = [[draw.choice(odd) for _ in range(3)] for _ in range(draw.randrange(1, 4))]
        with (tmp_path / "odd.csv").open("w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([["a", "b", "c"], *rows])
        one = data.read_csv(tmp_path / "odd.csv")
        with monkeypatch.context() as without:
            without.setitem(sys.modules, "pyarrow.csv", None)
            two = data.read_csv(tmp_path / "odd.csv")
        assert list(one) == list(two), n
        for name in one:
            assert one[name].dtype == two[name].dtype
            assert one[name].tobytes() == two[name].tobytes(), (rows, one, two)


WRONG: dict[str, Any] = {
    "of two lengths": (b"a,b\n1,2\n3\n", {}, "cannot be read"),
    "not text": (b"a\n\xff\xfe\n", {}, "cannot be read"),
    "twice one name": (b"a,a\n1,2\n", {}, "two columns have one name"),
    "no such column": (b"abc\n1\n", {"columns": ["abd"]}, r"no column is called 'abd'. Did you mean 'abc'"),
    "no such dtype column": (b"a\n1\n", {"dtypes": {"b": "f32"}}, "no column is called 'b'"),
    "beyond the type": (
        b"a\n1\n300\n",
        {"dtypes": {"a": "u8"}},
        r"'a'\] line 3 does not fit: expected u8, got '300'",
    ),
    "no number": (b"a\n1\nx\n", {"dtypes": {"a": "f64"}}, "line 3 does not fit: expected f64, got 'x'"),
    "names as one text": (b"a\n1\n", {"columns": "a"}, "not names"),
    "a long separator": (b"a\n1\n", {"separator": "::"}, "not one plain character"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_read_is_told(tmp_path: Path, reader: str, what: str) -> None:
    content, options, said = WRONG[what]
    (tmp_path / "c.csv").write_bytes(content)
    with pytest.raises(LoomError, match=said):
        data.read_csv(tmp_path / "c.csv", **options)


def test_a_file_that_is_not_there(tmp_path: Path, reader: str) -> None:
    with pytest.raises(FileNotFoundError):
        data.read_csv(tmp_path / "no.csv")
    with pytest.raises(DTypeError, match="not a path"):
        data.read_csv(5)  # type: ignore[arg-type]


def test_empty_lines_are_left_out(tmp_path: Path, reader: str) -> None:
    file = tmp_path / "d.csv"
    file.write_bytes(b'\na,b\n\n1,x\n\r\n2,"y\nz"\n\n3,w\n\n')
    found = data.read_csv(file)
    assert {name: column.tolist() for name, column in found.items()} == {"a": [1, 2, 3], "b": ["x", "y\nz", "w"]}
    file.write_bytes(b'a,b\ntrue,"y\nz"\n\n2,3\n')
    with pytest.raises(DTypeError, match="line 2 does not fit: expected u8"):
        data.read_csv(file, dtypes={"b": "u8"})
    with pytest.raises(DTypeError, match="line 5 does not fit: expected bool, got '2'"):
        data.read_csv(file, dtypes={"a": "bool"})


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (b"a,b", {"a": [], "b": []}),
        (b"\n", {}),
        (b'a\n""\n1\n', {"a": [None, 1.0]}),
        (b"a\nx\0y\n", {"a": ["x\0y"]}),
        (b"k\n" + b"oak\nelm\n" * 90, {"k": ["oak", "elm"] * 90}),
        (b"k\n" + b'7\n"8"\nNA\n' * 60, {"k": [7, 8, None] * 60}),
    ],
)
def test_files_that_readers_saw_differently(
    tmp_path: Path, reader: str, content: bytes, columns: dict[str, list[Any]]
) -> None:
    (tmp_path / "e.csv").write_bytes(content)
    found = data.read_csv(tmp_path / "e.csv")
    assert {k: [None if str(c) == "nan" else c for c in v.tolist()] for k, v in found.items()} == columns


@pytest.mark.parametrize("cell", ["1_000", "1e60"])
def test_cells_that_a_type_lacks(tmp_path: Path, reader: str, cell: str) -> None:
    (tmp_path / "f.csv").write_text(f"a\n1\n{cell}\n")
    with pytest.raises(DTypeError, match="line 3 does not fit: expected f32"):
        data.read_csv(tmp_path / "f.csv", dtypes={"a": "f32"})


def test_a_text_that_numpy_shortens(tmp_path: Path, reader: str) -> None:
    (tmp_path / "g.csv").write_bytes(b"a\nx\ny\0\n")
    with pytest.raises(DTypeError, match="line 3 ends in a NUL"):
        data.read_csv(tmp_path / "g.csv")
