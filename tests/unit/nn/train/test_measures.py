"""Deviation metrics and confusion by hand; curves as pictures that others can read."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from loom.core.errors import ShapeError
from loom.nn.measure import deviation_metrics
from loom.nn.train.loop.curves import draw_curves
from loom.nn.train.loop.history import History
from loom.nn.train.measures import confusion_of


def test_deviation_of_numbers() -> None:
    found = deviation_metrics([[10.0], [11.5], [7.0], [30.0], [0.0], [np.nan]], [10, 10, 10, 10, 0, 1])
    assert [r.deviation for r in found.results] == [0.0, 15.0, 30.0, 200.0, 0.0, 100.0]
    assert [r.bucket for r in found.results] == ["0-10%", "10-20%", "20-30%", "100%+", "0-10%", "50-100%"]
    assert found.score == pytest.approx((100 + 85 + 70 + 0 + 100 + 0) / 6)
    assert (found.failures, found.correct_count, found.total_samples) == (1, 2, 6)
    assert found.avg_deviation == pytest.approx(345 / 6)
    assert found.accuracy == 2 / 6


def test_deviation_of_classes_takes_the_first_largest() -> None:
    found = deviation_metrics([[0.5, 0.5, 0.1], [0.0, 0.1, 0.9]], [0, 1])
    assert [r.actual for r in found.results] == [0.0, 2.0]
    told = json.loads(json.dumps(found.to_dict()))
    assert told["buckets"]["100%+"] == {"range_min": 100.0, "range_max": 1e9, "count": 0, "samples": []}
    assert told["buckets"]["50-100%"]["samples"] == [1]
    assert told["results"][1] == {
        "sample_index": 1, "expected": 1.0, "actual": 2.0, "deviation": 100.0, "bucket": "50-100%",
    }  # fmt: skip
    with pytest.raises(ShapeError, match="not one expected number for each sample"):
        deviation_metrics([[1.0]], [1, 2])


def test_confusion() -> None:
    assert confusion_of(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]), 3).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]


@pytest.mark.parametrize("series", [[[3.0, 2.0, 1.0], [2.5, np.nan, 2.0]], [[]], [[1.0]], [[-1.0, 4.0]], [[0.0, 0.0]]])
def test_curves_are_pictures(series: list[list[float]]) -> None:
    data = draw_curves(series)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    size = int.from_bytes(data[33:37], "big")
    pixels = np.frombuffer(zlib.decompress(data[41 : 41 + size]), np.uint8).reshape(360, 1 + 640 * 4)[:, 1:]
    drawn = (pixels.reshape(360, 640, 4)[..., :3] == (31, 119, 180)).all(-1).any()
    assert drawn == bool(series[0])


def pixels_of(png: bytes) -> np.ndarray:
    size = int.from_bytes(png[33:37], "big")
    return (
        np.frombuffer(zlib.decompress(png[41 : 41 + size]), np.uint8)
        .reshape(360, 1 + 640 * 4)[:, 1:]
        .reshape(360, 640, 4)
    )


def test_curves_say_which_is_which() -> None:
    blue, red = (31, 119, 180), (214, 39, 40)
    both = pixels_of(draw_curves([[2.0, 1.0], [1.5, 1.25]], ["loss", "validation"]))
    bare = pixels_of(draw_curves([[2.0, 1.0], [1.5, 1.25]]))
    legend = both[20:60, 500:620, :3]
    for colour in (blue, red):
        rows, columns = np.nonzero((legend == colour).all(-1))
        assert len(set(rows.tolist())) == 2
        assert len(set(columns.tolist())) == 22  # a stroke
    assert (legend == (60, 60, 60)).all(-1).sum() > 200  # ink of letters
    assert np.array_equal(both[80:, :500], bare[80:, :500])
    alone = pixels_of(draw_curves([[2.0, 1.0], []], ["loss", "validation"]))[20:60, 560:620, :3]
    assert not (alone == red).all(-1).any()


def test_history_is_data_and_a_file(tmp_path: Path) -> None:
    history = History(loss=[0.1, 1 / 3], rate=[0.5, 0.25])
    assert History.from_dict(json.loads(json.dumps(history.to_dict()))) == history
    history.save_png(tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes() == history.png()
