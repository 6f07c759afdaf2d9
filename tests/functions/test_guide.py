"""The guide states the bars that the tests prove."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import loom
from functions.ulps import measured
from loom.ir.frontend.elementary import Elementary
from loom.kernels.functions import FUNCTIONS, function

GUIDE = Path(__file__).parents[2] / "docs/guide/functions.md"


ROWS = {
    row[0].strip("`"): row[1:]
    for row in (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in GUIDE.read_text().splitlines()
        if re.match(r"\| `\w+` \|", line)
    )
}
"""The table: of f32, then of f64, the bar, the largest error that was seen, and the operands there."""


def test_every_name_is_an_elementary_function_of_its_module() -> None:
    for name, module in FUNCTIONS.items():
        found = function(name)
        assert isinstance(found, Elementary)
        assert found.__name__ == name
        assert found.__module__ == f"loom.kernels.functions.{module}"
        assert getattr(loom, name) is found
        assert found.__doc__


def test_the_table_of_bars() -> None:
    stated = {name: (float(row[0]), float(row[3])) for name, row in ROWS.items()}
    declared = {n: (function(n).ulps[loom.f32], function(n).ulps[loom.f64]) for n in FUNCTIONS}
    assert stated == declared


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_the_worst_inputs_are_as_bad_as_the_table_says(name: str) -> None:
    """mpmath tells the error at each; bars without a proof are five in a hundred above it."""
    for dtype, (bar, worst, at) in zip((loom.f32, loom.f64), (ROWS[name][:3], ROWS[name][3:]), strict=True):
        operands = [np.array([float(word)], dtype.numpy) for word in at.strip("`").split(", ")]
        found = measured(name, 0.0, *operands)
        assert found.ulps == pytest.approx(float(worst), abs=2e-4), dtype
        is_proved = name in ("hypot", "rsqrt") or (dtype == loom.f32 and function(name).arity == 1)
        assert float(bar) >= (1 if is_proved else 1.05) * float(worst), dtype


def test_what_docstrings_say_of_bars() -> None:
    for name in FUNCTIONS:
        text, bars = function(name).__doc__ or "", function(name).ulps
        for single, double in re.findall(r"at most ([\d.]+) ulp off(?: \(f64: ([\d.]+)\))?", text):
            assert float(single) == bars[loom.f32], name
            assert float(double or single) == bars[loom.f64], name
