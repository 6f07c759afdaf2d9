"""Where functions of f16 and bf16, computed in f32, would be rounded to the wrong neighbour; run it to write the table.

A row is the first and the last of neighbouring inputs, and how many units in the last place the f32 results of all of
them are moved by (in size) before they are rounded to 16 bits: mostly one, as what is rounded twice lies on a midpoint.
Of functions that are even or odd, bit for bit, rows are of the sizes of inputs. Invariant: with its rows a function is
correctly rounded for every input, by trying all of them against the references of the tests.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from remez import write

from functions.narrow import INPUTS, nearest, rounded, widened
from loom.core.dtype import DType, bf16, f16
from loom.kernels.functions import FUNCTIONS, function
from loom.kernels.maps.rounding import MIRRORED
from loom.patterns.maps.map import gpu_map

__all__ = ["tables"]

Array = np.ndarray[Any, Any]


def tables() -> dict[str, list[float]]:
    """Return every table of ``coefficients/halves.py``: rows of three numbers, one after the other."""
    found: dict[str, list[float]] = {}
    for name in sorted(FUNCTIONS):
        for dtype in (f16, bf16):
            rows = _rows(name, dtype) if function(name).arity == 1 else []
            if rows:
                found[f"{name}_{dtype}".upper()] = [number for row in rows for number in row]
    return found


def _rows(name: str, dtype: DType) -> list[tuple[float, float, float]]:
    x, want = widened(INPUTS, dtype), nearest(name, dtype)
    with np.errstate(invalid="ignore"):
        results = np.asarray(gpu_map(x, name)).view(np.uint32)
    plain = ~np.isnan(x)
    if name in MIRRORED:
        plain &= ~np.signbit(x)
    order = np.flatnonzero(plain)[np.argsort(x[plain], kind="stable")]
    rows: list[tuple[float, float, float]] = []
    step, first, last = 0, 0.0, 0.0
    for at in order:
        if step and not _is_right(results[at], step, want[at], dtype):
            rows.append((first, last, float(step)))
            step = 0
        if not _is_right(results[at], 0, want[at], dtype):
            if not step:
                step, first = _step(results[at], want[at], dtype), float(x[at])
            last = float(x[at])
    return [*rows, (first, last, float(step))] if step else rows


def _is_right(result: Any, step: int, want: Any, dtype: DType) -> bool:
    moved = np.array([(int(result) + step) % 2**32], np.uint32).view(np.float32)
    return rounded(moved, dtype)[0] == want


def _step(result: Any, want: Any, dtype: DType) -> int:
    """Return the least that makes a result right, or what makes it the number wanted."""
    for step in (1, -1):
        if _is_right(result, step, want, dtype):
            return step
    return int(widened(np.array([want]), dtype).view(np.uint32)[0]) - int(result)


if __name__ == "__main__":
    write("halves", tables())
