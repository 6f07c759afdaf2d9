"""What a benchmark found, as a table, as JSON, and as a picture.

Layer: nn. Invariant: JSON that was written is read back as it was, and only of the version that is known.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loom.core.errors import ArgumentError, FileError
from loom.core.optional import require
from loom.formats.file_writes import write_file
from loom.nn.adapt.suite import MEASURES, VERSION

__all__ = ["read_results", "robustness", "save_png", "table", "write_results"]

_MARKS = ("world", "layers", "type", "noise", "mode")


def table(results: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows: means, with the deviation over seeds of accuracy and score.

    Args:
        results: Results of ``run_benchmark``.
    """
    columns = [*_MARKS, "accuracy %", "adapting %", "recovery ms", "available %", "answers/s", "score", "refused"]
    return columns, [_cells(row) for row in results["rows"]]


def _cells(row: Mapping[str, Any]) -> list[str]:
    recovery, recovered_share = row["recovery_ms"]["mean"], row["recovered"]["mean"]
    never = 0.0 if recovered_share is None else 1.0 - recovered_share
    missed = f" ({never:.0%} never)" if never > 0 else ""
    recovered = f"{recovery:.0f}{missed}" if recovery is not None else "never" if missed else "-"
    return [
        *(f"{row[name]:g}" if name == "noise" else str(row[name]) for name in _MARKS), _spread(row["accuracy"], 1),
        _spread(row["adapting"], 1), recovered,
        f"{100 * row['availability']['mean']:.1f}", f"{row['throughput']['mean']:.0f}", _spread(row["score"], 0),
        str(row["refused"]),
    ]  # fmt: skip


def _spread(found: Mapping[str, Any], digits: int) -> str:
    return "-" if found["mean"] is None else f"{found['mean']:.{digits}f} +- {found['std']:.{digits}f}"


def robustness(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return of each world, architecture, type and mode that was run with and without noise the accuracy with it, the
    mean over its levels, in percent of that without (``robustness``).

    Args:
        results: Results of ``run_benchmark``.

    Returns:
        Rows with ``robustness``.
    """
    found: dict[tuple[Any, ...], dict[float, float]] = {}
    for row in results["rows"]:
        key = tuple(row[n] for n in _MARKS if n != "noise")
        if row["accuracy"]["mean"] is not None:
            found.setdefault(key, {})[row["noise"]] = row["accuracy"]["mean"]
    names = [n for n in _MARKS if n != "noise"]
    return [
        dict(zip(names, key, strict=True)) | {"robustness": _share(levels)}
        for key, levels in found.items()
        if len(levels) > 1 and levels.get(0.0)
    ]


def _share(levels: Mapping[float, float]) -> float:
    noisy = [accuracy for level, accuracy in levels.items() if level > 0]
    return 100.0 * math.fsum(noisy) / len(noisy) / levels[0.0]


def write_results(results: Mapping[str, Any], path: Path) -> None:
    """Write results as JSON, the file at once.

    Args:
        results: Results of ``run_benchmark``.
        path: File, in place of one there.

    Raises:
        FileError: It cannot be written.
    """
    text = json.dumps(results, indent=1) + "\n"
    write_file(path, text.encode(), "loom.nn.adapt.write_results", durable=False)


def read_results(path: Path) -> dict[str, Any]:
    """Return results that ``write_results`` wrote; FileNotFoundError if there is no file.

    Args:
        path: File.

    Raises:
        FileError: Another file.
    """
    try:
        found = json.loads(path.read_bytes())
        if found["benchmark"] != "adapt" or found["version"] != VERSION:
            raise ValueError(f"benchmark {found['benchmark']!r}, version {found['version']!r}")
        if set(found["settings"]) < {"seeds", "total_ms", "window_ms", "changes", "real_time"}:
            raise ValueError("settings")
        for row in found["rows"]:
            _require_row(row)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"[:120]
        raise FileError(str(path), f"no results of 'loom bench adapt' ({what})", expected=f"version {VERSION}",
                        remedy="Name another file") from None  # fmt: skip
    return found


def _require_row(row: Mapping[str, Any]) -> None:
    """See that a row has what a row has, of the types that it has; KeyError, TypeError or ValueError else."""
    _cells(row)
    numbers = [row["rate"], row["delay"], *(row[name][part] for name in MEASURES for part in ("mean", "std"))]
    texts = [row[name] for name in _MARKS if name != "noise"]
    counts = [row[name]["count"] for name in MEASURES]
    if not (
        all(v is None or (isinstance(v, (int, float)) and math.isfinite(v)) for v in [*numbers, *row["windows"]])
        and all(isinstance(v, str) for v in texts)
        and all(isinstance(v, int) and v >= 0 for v in counts)
    ):
        raise ValueError(f"the row {texts}")


def save_png(results: Mapping[str, Any], path: Path) -> None:
    """Draw the accuracy of each window, a line for each mode, a picture for each architecture and world (of the first
    type and noise that there are).

    Args:
        results: Results of ``run_benchmark``.
        path: File, in place of one there.

    Raises:
        ArgumentError: No rows.
        FileError: The package matplotlib is missing.
    """
    rows = list(results["rows"])
    if not rows:
        raise ArgumentError("loom bench adapt, --png", "there is nothing to draw", expected="at least one row",
                            got="none", remedy="Run it first")  # fmt: skip
    first = rows[0]["type"], rows[0]["noise"]
    shown = [row for row in rows if (row["type"], row["noise"]) == first]
    worlds, layers = _distinct(shown, "world"), _distinct(shown, "layers")
    figure, axes = plots().subplots(
        len(layers), len(worlds), figsize=(6 * len(worlds), 2.2 * len(layers) + 0.8), squeeze=False, sharex=True,
        sharey=True,
    )  # fmt: skip
    settings = results["settings"]
    for row in shown:
        axis = axes[layers.index(row["layers"])][worlds.index(row["world"])]
        times = [k * settings["window_ms"] / 1000 for k in range(len(row["windows"]))]
        axis.plot(times, [math.nan if v is None else v for v in row["windows"]], label=row["mode"], linewidth=1)
        axis.set_title(f"{row['layers']}, {row['world']}", fontsize=9)
    for axis in axes.flat:
        for k in range(settings["changes"]):
            at = settings["total_ms"] * (k + 1) // (settings["changes"] + 1)
            axis.axvline(at / 1000, color="grey", linewidth=0.8, linestyle=":")
        axis.set_ylim(0, 100)
    axes[0][0].legend(fontsize=7, ncols=2)
    figure.supxlabel("seconds" if settings["real_time"] else "seconds of virtual time", fontsize=9)
    figure.supylabel(f"right answers, % ({settings['seeds']} seeds)", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, format="png", dpi=100, metadata={"Software": None})


def plots() -> Any:
    """Return matplotlib's pyplot, which needs no screen; FileError if it is not installed."""
    require("matplotlib", "loom bench adapt, --png")
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _distinct(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return list(dict.fromkeys(row[name] for row in rows))
