"""What Python's own errors told of wrong arguments and places is told by errors of Loom, whose remedies work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loom import flow
from loom.core.errors import ArgumentError, FileError, LoomError
from loom.flow.vectors import FlowVectors
from loom.nn.adapt.report import write_results
from loom.nn.train import History
from loom.support.presenters import PngSequence
from loom.tables import Database


@pytest.mark.parametrize("wrong", [5, None, "k", {"k": 1}])
@pytest.mark.parametrize("at", range(3))
def test_conditions_are_three_lists(at: int, wrong: Any) -> None:
    db = flow.db_create()
    table = flow.db_table(db, "t", ["k"])
    flow.db_insert(table, {"k": 1})
    told: list[Any] = [["k"], ["=="], [1]]
    assert flow.db_select(table, *told) == flow.db_select(table, *(iter(each) for each in told)) == [0]
    told[at] = wrong
    with pytest.raises(ArgumentError, match=rf"\[db_select, {('cols', 'ops', 'vals')[at]}\] not several"):
        flow.db_select(table, *told)
    with pytest.raises(ArgumentError, match="expected three lists of one length, got 1, 1 and 0"):
        flow.db_select(table, ["k"], ["=="], [])


def test_times_that_no_clock_has(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    flow.loom_await(flow.loom_async_write(path, [1.0, 2.0]), 10**400)
    assert flow.loom_await(flow.loom_async_read(path), 1e300).tolist() == [1, 2]
    unit = flow.loom_boot(1, 8)
    with pytest.raises(ArgumentError, match=r"unusable pace: expected microseconds, at least 0"):
        flow.loom_pace(unit, 10**400)
    flow.loom_pace(unit, None)
    flow.loom_shutdown(unit)


def test_a_path_of_bytes_names_the_same_files(tmp_path: Path) -> None:
    path = str(tmp_path / "v")
    db, vectors = flow.loomdb_create(2, 8), flow.loomdb_create_vectors()
    flow.loomdb_capture(db, vectors, "a", [1.0, 2.0])
    flow.loomdb_flush(db, vectors, path)
    restored = flow.loomdb_restore_vectors(path.encode())  # type: ignore[arg-type]
    assert isinstance(restored, FlowVectors)
    assert restored.path == flow.loomdb_restore_meta(path.encode()).path == path  # type: ignore[arg-type]


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    nowhere = tmp_path / "file" / "x"
    db = Database()
    db.table("t", a=int).insert(a=1)
    history = History()
    pictures = PngSequence(nowhere)
    for place, call in {
        "tables.export_csv": lambda: db.table("t").export_csv(nowhere),
        "loom.nn.train.History.save_png": lambda: history.save_png(nowhere),
        "loom.nn.adapt.write_results": lambda: write_results({}, nowhere),
        "loom.PngSequence.show": lambda: pictures.show(_Frame()),  # type: ignore[arg-type]
    }.items():
        with pytest.raises(FileError, match=r"cannot be written.*Choose another place") as caught:
            call()
        assert str(caught.value).startswith(f"[{place}] ")
    with pytest.raises(LoomError):
        history.save_png(5)  # type: ignore[arg-type]
    assert db.table("t").export_csv(tmp_path / "x.csv") == 1
    history.save_png(tmp_path / "x.png")
    assert np.frombuffer((tmp_path / "x.png").read_bytes(), np.uint8)[0] == 137


class _Frame:
    def png(self) -> bytes:
        return b"png"
