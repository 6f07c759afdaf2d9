"""When the dispatches of a profiled run began and ended, as a driver tells it.

Layer: runtime. Invariant: the intervals of one run do not overlap.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.late.dataclass import dataclass

__all__ = ["MOST_TIMED", "Times", "sample"]

MOST_TIMED = 4096
"""Dispatches of one run that a device with a limited number of time stamps tells the time of."""


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """``numbers`` of dispatches in the plan, when they began and ended (ns), and how many dispatches each stands for.

    ``host_clock``: the times are those of ``time.perf_counter_ns``; else of a clock of the device's own.
    """

    device: str
    numbers: np.ndarray[Any, Any]
    begins: np.ndarray[Any, Any]
    ends: np.ndarray[Any, Any]
    weights: np.ndarray[Any, Any]
    host_clock: bool


def sample(owners: np.ndarray[Any, Any], most: int = MOST_TIMED) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return which rows to time and how many rows each of them stands for.

    ``owners`` tells what each row is a turn of. Up to ``most`` rows: all of them. More: of each owner its share, at
    least one, evenly spaced.
    """
    if len(owners) <= most:
        return np.arange(len(owners)), np.ones(len(owners))
    chosen: list[np.ndarray[Any, Any]] = []
    weights: list[np.ndarray[Any, Any]] = []
    for owner in np.unique(owners):
        rows = np.flatnonzero(owners == owner)
        wanted = max(1, most * len(rows) // len(owners))
        places: np.ndarray[Any, Any] = np.linspace(0, len(rows) - 1, wanted)
        picked = np.unique(np.round(places).astype(np.int64))
        chosen.append(rows[picked])
        weights.append(np.full(len(picked), len(rows) / len(picked)))
    order = np.argsort(np.concatenate(chosen), kind="stable")
    return np.concatenate(chosen)[order], np.concatenate(weights)[order]
