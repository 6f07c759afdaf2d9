"""What a family hands over: rows of figures with the bar each must meet, and the machine they were taken on.

Invariant: a bar is printed next to its measurement with the word met, missed or not measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.machine import load_average, machine_facts, use_threads

__all__ = ["Bar", "Family", "Row", "main", "print_family", "wanted_device"]


@dataclass(frozen=True, slots=True)
class Bar:
    """A requirement and the value measured (None: it could not be); at most ``limit``, or ``at_least`` it."""

    text: str
    limit: float
    value: float | None
    at_least: bool = False

    @property
    def verdict(self) -> str:
        """Met, missed or not measured."""
        if self.value is None:
            return "not measured"
        return "met" if (self.value >= self.limit if self.at_least else self.value <= self.limit) else "missed"

    def as_json(self) -> dict[str, Any]:
        """Return the bar for JSON."""
        return {"text": self.text, "limit": self.limit, "value": self.value, "verdict": self.verdict}


@dataclass(frozen=True, slots=True)
class Row:
    """One piece of work: what was measured, names with their units."""

    what: str
    measured: dict[str, float | int | str]
    bars: tuple[Bar, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the row for JSON."""
        return {"what": self.what, "measured": self.measured, "bars": [b.as_json() for b in self.bars]}


@dataclass(slots=True)
class Family:
    """The result of a family."""

    name: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def main(name: str, run: Callable[[Family], None]) -> None:
    """Run a family in this process and print it; ``--json`` prints JSON.

    A wrong answer is an AssertionError and a failed run.
    """
    use_threads()
    family = Family(name)
    before = load_average()
    run(family)
    whole = {
        "family": name,
        "machine": machine_facts(),
        "load_before": before,
        "load_after": load_average(),
        "rows": [row.as_json() for row in family.rows],
        "notes": family.notes,
    }
    if "--json" in sys.argv[1:]:
        print(json.dumps(whole, indent=2))
    else:
        print_family(whole)


def wanted_device() -> str:
    """Return the device named by ``--device NAME``, the CPU if none is."""
    words = sys.argv[1:]
    return words[words.index("--device") + 1] if "--device" in words[:-1] else "cpu"


def print_family(whole: dict[str, Any]) -> None:
    """Print a family's JSON as text."""
    machine = whole["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    print(f"{whole['family']}: {machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads a side")
    before, after = _loads(whole["load_before"]), _loads(whole["load_after"])
    print(f"  load average {before} before, {after} after; {versions}; OpenBLAS kernels: {machine['openblas']}")
    for row in whole["rows"]:
        print(f"  {row['what']}")
        print("    " + ", ".join(f"{name.replace('_', ' ')} {_number(v)}" for name, v in row["measured"].items()))
        for bar in row["bars"]:
            value = "" if bar["value"] is None else f" ({_number(bar['value'])})"
            print(f"    {bar['verdict']}: {bar['text']}{value}")
    for note in whole["notes"]:
        print(f"  note: {note}")
    sys.stdout.flush()


def _loads(values: list[float]) -> str:
    return " ".join(f"{v:.2f}" for v in values)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else str(value)
