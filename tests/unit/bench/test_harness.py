"""The arithmetic of the benchmarks, with clocks that only move when a side says so."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3]))

from bench.harness import Side, Timings, alternate, time_calls
from bench.machine import machine_facts
from bench.report import Bar, Family, Row, main, print_family


class Clock:
    """Stands still until a call takes its time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def __call__(self) -> float:
        return self.now

    def side(self, name: str, *seconds: float) -> Side:
        """Return a side whose calls take ``seconds`` in turn, over and over."""
        calls = 0

        def call() -> None:
            nonlocal calls
            self.now += seconds[calls % len(seconds)]
            self.order.append(name)
            calls += 1

        return Side(name, call)


def test_sides_alternate_in_blocks_and_the_first_call_of_each_does_not_count() -> None:
    clock = Clock()
    timings = alternate([clock.side("a", 9, 1, 2), clock.side("b", 7, 4, 6)], blocks=2, calls=2, clock=clock)
    assert "".join(clock.order) == "aaabbbaaabbb"
    assert timings.blocks == {"a": [[1, 2], [1, 2]], "b": [[4, 6], [4, 6]]}
    assert timings.runs("a") == 4
    assert timings.median("b") == 5


def test_ratios() -> None:
    timings = Timings({"mine": [[1, 1, 1], [2, 2, 2], [30, 30, 30]], "peer": [[2, 2, 2], [1, 1, 1], [10, 10, 10]]})
    assert timings.ratio_of_medians("mine", "peer") == 1  # 2 / 2
    assert timings.median_of_ratios("mine", "peer") == 2  # of 0.5, 2, 3


def test_drift_of_the_machine_cancels_in_the_median_of_ratios() -> None:
    clock = Clock()
    mine, peer = clock.side("mine", 3, 3, 30, 30, 300, 300), clock.side("peer", 1, 1, 10, 10, 100, 100)
    timings = alternate([mine, peer], blocks=3, calls=1, clock=clock)
    assert timings.median_of_ratios("mine", "peer") == 3


def test_times_that_a_side_measures_itself_are_kept_under_their_names() -> None:
    side = Side("process", lambda: {"its own": 0.25})
    found = time_calls(side, 3, Clock())
    assert found == {"process": [0, 0, 0], "its own": [0.25, 0.25, 0.25]}


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [
        (2.0, False, "met"),
        (2.1, False, "missed"),
        (2.0, True, "met"),
        (1.9, True, "missed"),
        (None, True, "not measured"),
    ],
)
def test_bars(value: float | None, at_least: bool, verdict: str) -> None:
    assert Bar("two", 2.0, value, at_least=at_least).verdict == verdict


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back what ``main`` sets in the environment."""
    for name in ("LOOM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(sys, "argv", ["bench", "--json"])


def _measure(family: Family) -> None:
    family.rows.append(Row("work", {"loom_ms": 1.23456, "runs": 3}, (Bar("at most 1", 1, 2), Bar("at most 3", 3, 2))))
    family.notes.append("a remark")


@pytest.mark.usefixtures("settings")
def test_a_report_carries_machine_load_rows_and_verdicts(capsys: pytest.CaptureFixture[str]) -> None:
    main("sample", _measure)
    whole = json.loads(capsys.readouterr().out)
    assert whole["machine"]["threads"] == 2
    assert {"python", "loom", "llvmlite"} <= set(whole["machine"]["versions"])
    assert len(whole["load_before"]) == len(whole["load_after"]) == 3
    assert [bar["verdict"] for bar in whole["rows"][0]["bars"]] == ["missed", "met"]
    print_family(whole)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == [
        "  work",
        "    loom ms 1.23, runs 3",
        "    missed: at most 1 (2)",
        "    met: at most 3 (2)",
        "  note: a remark",
    ]


def test_the_machine_is_named() -> None:
    facts = machine_facts()
    assert facts["cpu"]
    assert facts["cores"] >= 1
