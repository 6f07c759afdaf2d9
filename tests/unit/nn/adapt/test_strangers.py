"""What strangers found: clocks, measures of nothing, and files of results that were damaged or are of more."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from loom.cli.main import app
from loom.core.errors import ArgumentError, FileError
from loom.nn.adapt import AdaptationTracker, CostModel, Settings, run_benchmark
from loom.nn.adapt.report import read_results, table, write_results

SMALL: dict[str, Any] = {"seeds": 1, "layers": ["dense"], "modes": ["normal"], "worlds": ["classes"], "total_ms": 60}


def test_clocks_tell_whole_numbers() -> None:
    with pytest.raises(ArgumentError, match="not a clock"):
        AdaptationTracker(50, 200, 5)  # type: ignore[arg-type]
    readings = iter([1.5, 0, 10])
    tracker = AdaptationTracker(50, 200, lambda: next(readings))  # type: ignore[arg-type, return-value]
    with pytest.raises(ArgumentError, match="clock"):
        tracker.start("chase")
    tracker.start("chase")  # a start that failed was none
    assert tracker.record_output(True) == 0
    for clock in (time.time, lambda: None):
        with pytest.raises(ArgumentError, match="clock"):
            AdaptationTracker(50, 200, clock).start("chase")  # type: ignore[arg-type]


def test_what_was_not_measured_is_none() -> None:
    for told in ({"total_ms": 1, "changes": 0}, {"changes": 0}, {"window_ms": 1000}):
        found = run_benchmark(Settings(**SMALL | told))
        row = found["rows"][0]
        assert row["adapting"] == row["lowest"] == {"mean": None, "std": None, "count": 0}
        assert (row["recovered"]["mean"] is None) == ("changes" in told)
        assert "-" in table(found)[1][0]
    nothing = run_benchmark(Settings(**SMALL, cost=CostModel(operation_ns={"f32": 10**6})))["rows"][0]
    assert nothing["accuracy"]["mean"] is nothing["each"]["mean"] is None
    assert nothing["score"]["mean"] == 0.0


@pytest.mark.parametrize("told", [
    {"rates": {"normal": 0.1, "NormalBP": 0.1}}, {"types": ["int8"], "layers": ["lstm"]},
    {"cost": CostModel(operation_ns={"f64": 1})},
])  # fmt: skip
def test_settings_that_cannot_be_run_are_refused_at_once(told: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        Settings(**SMALL | told)


def test_time_moves_on() -> None:
    with pytest.raises(ArgumentError, match="no time"):
        CostModel(operation_ns={"f32": 0}, layer_ns=0)


def test_damaged_results(tmp_path: Path) -> None:
    whole, path = run_benchmark(Settings(**SMALL)), tmp_path / "x.json"
    write_results(whole, path)
    assert read_results(path) == whole
    row = whole["rows"][0]
    texts = [json.dumps(whole | change) for change in (
        {"settings": {}}, {"settings": 5}, {"rows": 5}, {"rows": [5]}, {"rows": [{**row, "windows": ["a"]}]},
        {"rows": [{n: v for n, v in row.items() if n != "windows"}]}, {"rows": [row | {"mode": ["normal"]}]},
        {"rows": [row | {"each": {"mean": "1", "std": 0.0, "count": 1}}]},
    )]  # fmt: skip
    for text in (*texts, "", "[]", "null", "\ufffd", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(FileError, match="no results of"):
            read_results(path)


def test_resuming_keeps_other_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.json"

    def run(*told: str) -> int:
        given = ["--seeds", "1", "--layers", "dense", "--worlds", "classes", "--total-ms", "60", "--json", str(path)]
        return CliRunner().invoke(app, ["bench", "adapt", *given, *told]).exit_code

    assert run("--modes", "normal") == 0
    first = read_results(path)["rows"]
    assert run("--modes", "step", "--resume") == 0
    assert [r["mode"] for r in read_results(path)["rows"]] == ["step", "normal"]
    assert read_results(path)["rows"][1:] == first
