"""Pictures of measures, as PNG, by matplotlib, an optional package.

Layer: nn. Figures are drawn without a screen and without matplotlib's global state. Invariant: nothing here measures:
a picture shows the numbers that it is given.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError
from loom.core.given import is_list
from loom.core.given import path as path_of
from loom.core.optional import load
from loom.formats.file_writes import write_file
from loom.nn.measure.classes import ClassReport
from loom.nn.measure.confidence import Calibration
from loom.nn.measure.correlation import Correlation
from loom.nn.measure.deviation import DeviationMetrics
from loom.nn.measure.ranking import RocCurve

__all__ = ["plot_buckets", "plot_calibration", "plot_confusion", "plot_correlation", "plot_losses", "plot_roc"]

_MOST_NUMBERED = 20
"""Rows of a matrix whose cells show their numbers."""
_MOST_CURVES = 20
_INCHES = 6.4, 4.8
_DOTS = 100

Path = str | os.PathLike[str] | None


class Losses(Protocol):
    """What a training went through: ``loom.nn.train.History``."""

    loss: list[float]
    validation_loss: list[float]


def plot_confusion(report: ClassReport, path: Path = None) -> bytes:
    """Return a PNG of a confusion matrix, each row's shares as shades.

    Args:
        report: Report of classes.
        path: File to write, in place of one there; None: none.

    Raises:
        ArgumentError: Not a report.
        StateError: The package matplotlib is missing.
        FileError: Nothing can be written there.
    """
    _require(report, ClassReport, "plot_confusion")
    counts = report.confusion
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axes = _figure(len(counts))
    texts = [[f"{v:,}" for v in row] for row in counts.tolist()]
    _draw_matrix(figure, axes, shares, texts, report.names, (0.0, 1.0), "Blues")
    axes.set(xlabel="said", ylabel="true", title=f"accuracy {report.accuracy:.4g}")
    return _png(figure, path, "plot_confusion")


def plot_correlation(correlation: Correlation, path: Path = None) -> bytes:
    """Return a PNG of correlations as colours, blue below 0 and red above.

    Args:
        correlation: Correlation.
        path: File to write, in place of one there; None: none.

    Raises:
        ArgumentError: Not a correlation.
        StateError: The package matplotlib is missing.
        FileError: Nothing can be written there.
    """
    _require(correlation, Correlation, "plot_correlation")
    figure, axes = _figure(len(correlation.labels))
    texts = [[f"{v:.2f}" for v in row] for row in correlation.matrix.tolist()]
    _draw_matrix(figure, axes, correlation.matrix, texts, correlation.labels, (-1.0, 1.0), "RdBu_r")
    axes.set(title=f"{correlation.method}, {correlation.samples} samples")
    return _png(figure, path, "plot_correlation")


def plot_roc(curves: RocCurve | Mapping[Any, RocCurve], path: Path = None) -> bytes:
    """Return a PNG of a ROC curve, or of several by name (at most 20, those of the least area first).

    Args:
        curves: ROC curve, or several by name.
        path: File to write, in place of one there; None: none.

    Raises:
        ArgumentError: Not curves, or none.
        StateError: The package matplotlib is missing.
        FileError: Nothing can be written there.
    """
    if not isinstance(curves, (RocCurve, Mapping)):
        raise ArgumentError("plot_roc", "not what it draws", expected="RocCurve, or several by name",
                            got=type(curves).__name__, remedy="Pass what roc_curve or roc_curves gives")  # fmt: skip
    given = {"": curves} if isinstance(curves, RocCurve) else dict(curves)
    for curve in given.values():
        _require(curve, RocCurve, "plot_roc")
    if not given:
        raise ArgumentError("plot_roc", "no curves", expected="at least 1", got="none", remedy="Pass a RocCurve")
    figure, axes = _figure()
    chosen = sorted(given.items(), key=lambda item: item[1].auc)[:_MOST_CURVES]
    for name, curve in chosen:
        label = f"{name} {curve.auc:.4f}".strip()
        axes.step(curve.false_positive_rate, curve.true_positive_rate, where="post", label=label)
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC, areas")
    axes.legend(loc="lower right", fontsize=8)
    return _png(figure, path, "plot_roc")


def plot_buckets(metrics: DeviationMetrics, path: Path = None) -> bytes:
    """Return a PNG of the samples of each bucket of deviation.

    Args:
        metrics: Metrics, of ``deviation_metrics``.
        path: File to write, in place of one there; None: none.

    Raises:
        ArgumentError: Not metrics.
        StateError: The package matplotlib is missing.
        FileError: Nothing can be written there.
    """
    _require(metrics, DeviationMetrics, "plot_buckets")
    figure, axes = _figure()
    bars = axes.bar(list(metrics.counts), list(metrics.counts.values()), color="#1f77b4")
    axes.bar_label(bars)
    axes.set(xlabel="deviation", ylabel="samples", title=f"score {metrics.score:.4g} of 100")
    return _png(figure, path, "plot_buckets")


def plot_losses(history: Losses, path: Path = None) -> bytes:
    """Return a PNG of the losses of a training's epochs; numbers that are not finite leave gaps.

    Args:
        history: History of a training.
        path: File to write, in place of one there; None: none.

    Raises:
        ArgumentError: Not a history.
        StateError: The package matplotlib is missing.
        FileError: Nothing can be written there.
    """
    lines = [getattr(history, name, None) for name in ("loss", "validation_loss")]
    if not all(is_list(line) and all(isinstance(v, (int, float)) for v in line) for line in lines):
        raise ArgumentError("plot_losses", "not what it draws", expected="a training's history",
                            got=type(history).__name__, remedy="Pass what train gives")  # fmt: skip
    figure, axes = _figure()
    for name, line in (("loss", history.loss), ("validation", history.validation_loss)):
        if line:
            axes.plot(range(1, len(line) + 1), [v if math.isfinite(v) else math.nan for v in line], label=name,
                      marker="." if len(line) < 50 else "")  # fmt: skip
    axes.set(xlabel="epoch", ylabel="loss")
    if history.loss:
        axes.legend()
    return _png(figure, path, "plot_losses")


def plot_calibration(calibration: Calibration, path: Path = None) -> bytes:
    """Return a PNG of how often what was said with so much confidence was so.

    Args:
        calibration: Calibration.
        path: File to write, in place of one there; None: none.

    Raises:
        ArgumentError: Not a calibration.
        StateError: The package matplotlib is missing.
        FileError: Nothing can be written there.
    """
    _require(calibration, Calibration, "plot_calibration")
    figure, axes = _figure()
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":")
    axes.plot(calibration.confidence, calibration.accuracy, marker="o")
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1),
             title=f"expected calibration error {calibration.expected_error:.4g}")  # fmt: skip
    return _png(figure, path, "plot_calibration")


def _require(value: object, kind: type, where: str) -> None:
    if not isinstance(value, kind):
        raise ArgumentError(where, "not what it draws", expected=kind.__name__, got=type(value).__name__,
                            remedy=f"Pass a {kind.__name__}")  # fmt: skip


def _figure(rows: int = 0) -> tuple[Any, Any]:
    """Return a figure with axes, larger for many rows of a matrix; StateError without matplotlib."""
    figures: Any = load("matplotlib.figure", "loom.nn.measure.plots")
    side = min(max(rows * 0.45 + 1.5, _INCHES[1]), 20.0)
    figure = figures.Figure(figsize=(side * 1.2, side) if rows else _INCHES, dpi=_DOTS, layout="constrained")
    return figure, figure.add_subplot()


def _draw_matrix(
    figure: Any, axes: Any, values: Array, texts: Sequence[Sequence[str]], names: Sequence[str],
    limits: tuple[float, float], colours: str,
) -> None:  # fmt: skip
    image = axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1])
    figure.colorbar(image, ax=axes)
    short = [_plain(name) for name in names]
    places = list(range(len(short)))
    axes.set_xticks(places, short, rotation=45 if len(short) > 6 or max(map(len, short)) > 6 else 0)
    axes.set_yticks(places, short)
    if len(short) > _MOST_NUMBERED:
        return
    middle = limits[0] + (limits[1] - limits[0]) * 0.75
    for r, row in enumerate(texts):
        for c, text in enumerate(row):
            colour = "white" if abs(float(values[r, c])) > middle else "black"
            axes.text(c, r, text, ha="center", va="center", color=colour, fontsize=8)


def _plain(name: str) -> str:
    """Return a name, shortened, without what matplotlib takes for mathematics."""
    return (name if len(name) <= 16 else f"{name[:15]}.").replace("$", r"\$")


def _png(figure: Any, path: Path, where: str) -> bytes:
    held = io.BytesIO()
    figure.savefig(held, format="png", metadata={"Software": None})
    if path is not None:
        write_file(path_of(path, where), held.getvalue(), where)
    return held.getvalue()
