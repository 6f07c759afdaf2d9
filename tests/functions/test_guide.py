"""The guide states the bars that the tests prove."""

from __future__ import annotations

import re
from pathlib import Path

import loom
from loom.ir.frontend.elementary import Elementary
from loom.kernels.functions import FUNCTIONS, function

GUIDE = Path(__file__).parents[2] / "docs/guide/functions.md"


def test_every_name_is_an_elementary_function_of_its_module() -> None:
    for name, module in FUNCTIONS.items():
        found = function(name)
        assert isinstance(found, Elementary)
        assert found.__name__ == name
        assert found.__module__ == f"loom.kernels.functions.{module}"
        assert getattr(loom, name) is found
        assert found.__doc__


def test_the_table_of_bars() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]*) ?\|$", GUIDE.read_text(), re.MULTILINE)
    stated = {name: (float(single), float(double) if double else None) for name, single, double in rows}
    declared = {n: (function(n).ulps[loom.f32], function(n).ulps.get(loom.f64)) for n in FUNCTIONS}
    assert stated == declared


def test_what_docstrings_say_of_bars() -> None:
    for name in FUNCTIONS:
        text, bars = function(name).__doc__ or "", function(name).ulps
        for single, double in re.findall(r"at most ([\d.]+) ulp off(?: \(f64: ([\d.]+)\))?", text):
            assert float(single) == bars[loom.f32], name
            assert float(double or single) == bars[loom.f64], name
