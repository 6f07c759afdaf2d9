"""Pictures are pictures, of any names; ``loom eval`` writes them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import loom
from loom.cli.main import app
from loom.core.errors import ArgumentError, FileError, StateError
from loom.nn.measure import (
    DeviationMetrics,
    calibration,
    classification_report,
    correlate,
    deviation_metrics,
    plot_buckets,
    plot_calibration,
    plot_confusion,
    plot_correlation,
    plot_losses,
    plot_roc,
    roc_curve,
    roc_curves,
)
from loom.nn.train import History

NAMES = ["$x^2$", "<b>", "long name " * 5]
TRUE = np.arange(30) % 3
CHANCES = np.random.default_rng(1).dirichlet(np.ones(3), 30)


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report = classification_report(TRUE, CHANCES.argmax(1), names=NAMES)
    made = [
        plot_confusion(report, tmp_path / "confusion.png"),
        plot_roc(dict(zip(NAMES, roc_curves(TRUE, CHANCES).values(), strict=True))),
        plot_roc(roc_curve(TRUE > 0, CHANCES[:, 0])),
        plot_calibration(calibration(TRUE, CHANCES)),
        plot_buckets(deviation_metrics(CHANCES, TRUE)),
        plot_losses(History(loss=[2.0, float("nan"), 1.0], validation_loss=[3.0, float("inf")])),
        plot_losses(History()),
        plot_correlation(correlate(CHANCES, NAMES)),
    ]
    assert all(data[:8] == b"\x89PNG\r\n\x1a\n" for data in made)
    assert (tmp_path / "confusion.png").read_bytes() == made[0]
    with pytest.raises(FileError):
        plot_confusion(report, tmp_path)
    for draw in (plot_confusion, plot_buckets, plot_correlation, plot_calibration):
        with pytest.raises(ArgumentError, match="expected"):
            draw(3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="no curves"):
        plot_roc({})


def test_without_matplotlib_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(StateError, match=r"pip install 'loom-compute\[plots\]'"):
        plot_buckets(deviation_metrics([1.0], [1]))


def test_the_command(tmp_path: Path) -> None:
    layers: list[Any] = [{"type": "dense", "output_size": 3}]
    net = loom.Network.from_json(
        {"format": "loom/1", "seed": 1, "input": {"shape": [2]}, "classes": ["a", "b", "c"], "layers": layers}
    )
    net.save(tmp_path / "net.json")
    x = np.random.default_rng(2).standard_normal((30, 2))
    np.savez(tmp_path / "data.npz", x=x, y=TRUE)

    def run(*more: Any, code: int = 0) -> str:
        words = ["eval", tmp_path / "net.json", "--data", tmp_path / "data.npz", *more]
        result = CliRunner().invoke(app, list(map(str, words)))
        assert result.exit_code == code, result.output
        return result.output

    text = run("--worst", 3, "--auc")
    assert "precision" in text
    assert text.count("ROC area") == 3
    assert text.splitlines()[-4].split() == ["sample", "expected", "predicted", "deviation"]
    assert "=== Model Evaluation Summary ===" in run("--summary", "--out", tmp_path / "made" / "found.json")
    found = json.loads((tmp_path / "made" / "found.json").read_text())
    assert DeviationMetrics.from_dict(found["deviation"]) == net.evaluate(x, TRUE).deviation
    run("--plot", tmp_path / "pictures")
    names = sorted(p.name for p in (tmp_path / "pictures").iterdir())
    assert names == ["buckets.png", "calibration.png", "confusion.png", "roc.png"]
    assert "not such a file" in run("--out", tmp_path / "found.txt", code=2)
