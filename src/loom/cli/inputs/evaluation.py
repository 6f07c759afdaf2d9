"""What ``loom eval`` prints and writes of an evaluation.

Layer: cli. Invariant: numbers that are asked for and cannot be had are an error, not left out.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from loom.cli.inputs.output import print_table
from loom.core.errors import ArgumentError

if TYPE_CHECKING:
    from loom.nn.measure.deviation import DeviationMetrics
    from loom.nn.train.measures import Evaluation

__all__ = ["facts_of", "print_evaluation", "write_evaluation", "write_plots"]


def print_evaluation(found: Evaluation, names: tuple[str, ...], *, worst: int, summary: bool, auc: bool) -> None:
    """Print an evaluation, with what is asked for besides; ``names``: of the classes, if they have any."""
    typer.echo(f"{found.samples} samples, loss {found.loss:.6g}")
    if found.deviation is not None:
        typer.echo(f"score {found.deviation.score:.4g} of 100, {found.deviation.failures} off by more than 100 %")
    if found.confusion is not None:
        _print_classes(found, names)
    if auc:
        for name, curve in found.roc().items():
            typer.echo(f"ROC area {name}: {curve.auc:.6f}")
        typer.echo(f"expected calibration error {found.calibration().expected_error:.6f}")
    if summary:
        typer.echo(_deviation(found, "--summary").summary(worst or 5))
    elif worst:
        rows = _deviation(found, "--worst").worst(worst)
        table = [[str(p.sample_index), f"{p.expected:g}", f"{p.actual:.6g}", f"{p.deviation:.1f} %"] for p in rows]
        print_table(["sample", "expected", "predicted", "deviation"], table)


def _print_classes(found: Evaluation, names: tuple[str, ...]) -> None:
    report = found.report()
    typer.echo(f"accuracy {report.accuracy:.6g}")
    called = names or report.names
    measures = zip(report.precision.tolist(), report.recall.tolist(), report.f1.tolist(), strict=True)
    rows = [
        [name, *map(str, row), *(f"{v:.4f}" for v in each)]
        for name, row, each in zip(called, report.confusion.tolist(), measures, strict=False)
    ]
    print_table(["class", *called[: len(rows)], "precision", "recall", "f1"], rows)


def _deviation(found: Evaluation, option: str) -> DeviationMetrics:
    if found.deviation is None:
        raise ArgumentError(f"loom eval, {option}", "there is more than one target for each sample",
                            expected="one number or class", got="several", remedy="Leave it out")  # fmt: skip
    return found.deviation


def facts_of(found: Evaluation, *, worst: int, auc: bool) -> dict[str, Any]:
    """Return all of an evaluation as JSON takes it, with what is asked for besides."""
    facts = found.to_dict()
    if worst:
        facts["worst"] = [asdict(p) for p in _deviation(found, "--worst").worst(worst)]
    if auc:
        facts |= {"auc": {name: curve.auc for name, curve in found.roc().items()},
                  "calibration": found.calibration().to_dict()}  # fmt: skip
    return facts


def write_evaluation(facts: dict[str, Any], path: Path) -> None:
    """Write what ``facts_of`` gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{json.dumps(facts, indent=2, allow_nan=False)}\n", encoding="utf-8")


def write_plots(found: Evaluation, folder: Path) -> None:
    """Write what can be drawn of an evaluation into a folder, and print the files."""
    from loom.nn.measure import plots

    made: dict[str, bytes] = {}
    if found.confusion is not None:
        made["confusion"] = plots.plot_confusion(found.report())
        made["roc"] = plots.plot_roc(found.roc())
        made["calibration"] = plots.plot_calibration(found.calibration())
    if found.deviation is not None:
        made["buckets"] = plots.plot_buckets(found.deviation)
    if not made:
        raise ArgumentError("loom eval, --plot", "nothing can be drawn", expected="classes, or one target a sample",
                            got="several numbers a sample", remedy="Leave it out")  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in made.items():
        (folder / f"{name}.png").write_bytes(data)
        typer.echo(f"{folder / name}.png", err=True)
