"""Deviation metrics: by hand, as text, and as JSON, ours and that of the first generation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError, DTypeError, FileError, ShapeError
from loom.nn.measure import BUCKETS, DeviationMetrics, deviation_metrics

EXPECTED = [10, 10, 10, 10, 0, 1, 8]
ACTUAL = [[10.0], [11.5], [7.0], [30.0], [0.0], [np.nan], [np.inf]]


def test_worst_and_buckets() -> None:
    found = deviation_metrics(ACTUAL, EXPECTED)
    assert [p.sample_index for p in found.worst(3)] == [3, 5, 6]
    assert found.worst(0) == ()
    assert len(found.worst(np.int64(99))) == 7
    assert found.samples_in("50-100%") == [5, 6]
    assert {name: len(found.samples_in(name)) for name in BUCKETS} == found.counts
    assert sum(found.counts.values()) == found.total_samples
    for bad in (-1, 1.5, "2", True):
        with pytest.raises(ArgumentError):
            found.worst(bad)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="0-10%"):
        found.samples_in("0-10")


def test_edges_belong_to_the_lower_bucket() -> None:
    edges = [100 + high for _, high in BUCKETS.values()][:-1]
    found = deviation_metrics(np.array(edges)[:, None], [100] * 6)
    assert [r.bucket for r in found.results] == list(BUCKETS)[:6]


def test_the_summary_reads_as_the_older_programs() -> None:
    """Sums, bars of 2 % a character, the worst, the first five of each bucket (004, "Evaluation Output Example")."""
    expected = np.full(100, 100.0)
    actual = np.repeat([100, 115, 125, 135, 145, 180, 300], [45, 18, 12, 8, 6, 8, 3]).astype(float)
    lines = deviation_metrics(actual, expected).summary(2).splitlines()
    assert lines[:2] == ["=== Model Evaluation Summary ===", "Total Samples: 100"]
    assert "Failures (>100% deviation): 3 (3.0%)" in lines
    assert [line.rstrip() for line in lines[7:14]] == [
        "     0-10%:   45 samples (45.0%)  " + "█" * 22,
        "    10-20%:   18 samples (18.0%)  " + "█" * 9,
        "    20-30%:   12 samples (12.0%)  " + "█" * 6,
        "    30-40%:    8 samples (8.0%)   " + "█" * 4,
        "    40-50%:    6 samples (6.0%)   " + "█" * 3,
        "   50-100%:    8 samples (8.0%)   " + "█" * 4,
        "     100%+:    3 samples (3.0%)   " + "█" * 1,
    ]
    assert "=== Worst 2 Predictions ===" in lines
    assert "1. Sample #97: Expected 100, Predicted 300, Deviation: 200.0%" in lines
    assert "   0-10%: 45 samples - [0 1 2 3 4] ... (40 more)" in lines
    assert lines[-1] == "   100%+: 3 samples - [97 98 99]"


def test_json_is_read_back(tmp_path: Path) -> None:
    found = deviation_metrics(ACTUAL, EXPECTED)
    text = found.to_json()
    assert json.loads(text)["results"][6]["actual"] == 1e9  # infinity
    again = DeviationMetrics.from_json(text)
    assert again == found
    assert again.to_json() == text
    found.save(tmp_path / "evaluation.json")
    assert DeviationMetrics.load(str(tmp_path / "evaluation.json")) == found
    true = deviation_metrics([[1e9]], [5])  # no infinity: its deviation tells
    assert DeviationMetrics.from_json(true.to_json()) == true


def test_a_file_of_the_first_generation_is_read() -> None:
    """Numbers of Go: whole ones without a point, results in any order, sums rounded elsewhere."""
    text = """{"buckets": {"0-10%": {"range_min": 0, "range_max": 10, "count": 1, "samples": [7]},
      "100%+": {"range_min": 100, "range_max": 1000000000, "count": 1, "samples": [3]}},
      "score": 49.99999, "total_samples": 2, "failures": 1, "results": [
      {"sample_index": 7, "expected": 5, "actual": 5, "deviation": 0, "bucket": "0-10%"},
      {"sample_index": 3, "expected": 2, "actual": 9, "deviation": 350, "bucket": "100%+"}],
      "avg_deviation": 175, "correct_count": 1, "accuracy": 0.5}"""
    found = DeviationMetrics.from_json(text)
    assert (found.score, found.failures, found.samples_in("100%+")) == (50.0, 1, [3])


@pytest.mark.parametrize("change", [
    {"score": 90}, {"failures": 0}, {"total_samples": 3}, {"results": []}, {"results": None}, {"score": "x"},
    {"results": [{"expected": "1", "actual": 1}]}, {"results": [1]}, {"correct_count": True},
])  # fmt: skip
def test_a_changed_file_is_told(change: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        DeviationMetrics.from_dict(deviation_metrics(ACTUAL, EXPECTED).to_dict() | change)


def test_bad_input(tmp_path: Path) -> None:
    for outputs, expected in (([], []), ([[1.0]], [1, 2]), (1.0, 1.0), (np.zeros((2, 0)), [1, 2])):
        with pytest.raises(ShapeError):
            deviation_metrics(outputs, expected)
    with pytest.raises(DTypeError):
        deviation_metrics(["a"], ["b"])
    with pytest.raises(ArgumentError, match="not JSON"):
        DeviationMetrics.from_json("{")
    with pytest.raises(DTypeError):
        DeviationMetrics.from_json(3)  # type: ignore[arg-type]
    with pytest.raises(FileError):
        DeviationMetrics.load(tmp_path / "nothing.json")
    with pytest.raises(FileError):
        deviation_metrics([1.0], [1]).save(tmp_path)
    assert deviation_metrics([True, False], [1, 1]).accuracy == 0.5
    assert deviation_metrics(np.zeros(300_000), np.ones(300_000)).counts["50-100%"] == 300_000
