"""``loom.explain`` over the fourteen programs of ``bench/programs``: what each line becomes, counted by hand."""

from __future__ import annotations

from collections import Counter
from importlib import import_module

import pytest
from typer.testing import CliRunner

import loom
from loom.cli.main import app
from loom.core.errors import ArgumentError
from loom.targets.llvm.machine import host_machine

EXPECTED = {
    ("mandelbrot", "first"): {"branch apart": 1, "loop apart": 1, "row": 1},
    ("nbody", "first"): {"branch apart": 1, "row": 2, "loop together": 1, "uniform": 1},
    ("nbody", "tuned"): {"branch apart": 1, "row": 6, "loop together": 1, "uniform": 4},
    ("stencil", "first"): {"branch apart": 2, "row": 5},
    ("histogram", "first"): {"loop apart": 1, "mostly row": 1, "atomic own": 1, "row": 1, "atomic table": 1},
    ("transpose", "first"): {"branch apart": 2, "row": 3, "steps": 1},
    ("kmeans", "first"): {
        "branch apart": 2, "loop together": 1, "row": 6, "uniform": 2, "choice": 1, "atomic own": 3, "atomic table": 1,
    },
    ("life", "first"): {"branch apart": 1, "mostly row": 3, "row": 4},
    ("life", "remainder"): {"branch apart": 1, "mostly row": 1, "row": 2},
    ("life", "tuned"): {"branch apart": 2, "row": 6, "mostly row": 3},
    ("pi", "first"): {"loop together": 1, "choice": 1, "atomic once": 1},
    ("levenshtein", "first"): {"branch apart": 2, "row": 5, "steps": 1},
    ("black_scholes", "first"): {"branch apart": 1, "row": 5},
    ("blur", "first"): {"branch apart": 1, "mostly row": 1, "row": 1},
    ("group_by", "first"): {"branch apart": 1, "row": 2, "atomic table": 1},
    ("pagerank", "first"): {"branch apart": 1, "row": 2, "loop lane by lane": 1, "one by one": 2},
    ("sha256", "first"): {"branch apart": 1, "record": 9, "private register": 3},
}  # fmt: skip
"""Remarks by kind; a line says the same of the same memory once."""

pytestmark = pytest.mark.skipif(host_machine().simd_lanes < 4, reason="lanes are not vectors on this machine")


@pytest.mark.parametrize(("program", "name"), EXPECTED, ids=str)
def test_every_decision_of_the_programs(program: str, name: str) -> None:
    explained = loom.explain(getattr(import_module(f"bench.programs.{program}"), name))
    assert Counter(r.kind for r in explained.remarks) == EXPECTED[program, name]
    assert explained.width > 1


def test_the_lines_are_those_of_the_source() -> None:
    @loom.kernel(workgroup=64)
    def scattered(at: loom.In[loom.u32], x: loom.In[loom.f32], y: loom.Out[loom.f32]):
        i = loom.global_id()
        y[at[i]] = x[at[i]]

    explained = loom.explain(scattered)
    costly = [
        (next(x.source.strip() for x in explained.lines if x.line == n), r.kind, r.about) for n, r in explained.costly
    ]
    assert costly == [("y[at[i]] = x[at[i]]", "gather", "x"), ("y[at[i]] = x[at[i]]", "scatter", "y")]


def test_the_text_marks_what_costs_and_gives_advice_once() -> None:
    @loom.kernel(workgroup=64)
    def parts(x: loom.In[loom.f32], y: loom.Out[loom.f32]):
        i = loom.global_id()
        y[i * 8] = x[i * 8]
        y[i * 8 + 1] = x[i * 8 + 1]

    explained = loom.explain(parts)
    text = str(explained)
    assert "!   x: every 8th element, one access a lane" in text
    assert text.count("Lay the data out so that neighbours") == 1
    assert text.splitlines()[0] == f"parts: {explained.width} lanes run as one vector on this CPU"


def test_notebooks_get_a_table_with_the_source_escaped() -> None:
    shown = loom.explain(import_module("bench.programs.life").first)._repr_html_()
    assert shown.startswith("<table>")
    assert "if x &lt; w and y &lt; h:" in shown


def test_a_group_of_one_lane_runs_lane_by_lane() -> None:
    @loom.kernel(workgroup=1)
    def alone(x: loom.In[loom.f32], y: loom.Out[loom.f32]):
        y[loom.group_id()] = x[loom.group_id() * 3]

    explained = loom.explain(alone)
    assert explained.width == 1
    assert not explained.costly


def test_divisions_and_asked_atomics_are_told() -> None:
    @loom.kernel(workgroup=64, order="any")
    def slow(x: loom.In[loom.i64], d: loom.i64, y: loom.Out[loom.i64], n: loom.InOut[loom.u32]):
        i = loom.global_id()
        y[i] = loom.idiv(x[i], d)
        at = loom.atomic_add(n, i % 3, loom.u32(1))
        y[at] = loom.i64(0)

    assert [r.kind for _, r in loom.explain(slow).costly] == ["division", "atomic locked", "scatter"]


def test_what_is_no_kernel_is_refused() -> None:
    with pytest.raises(ArgumentError, match="only kernels can be explained"):
        loom.explain(abs)  # type: ignore[arg-type]


def test_the_command_prints_the_same() -> None:
    module = import_module("bench.programs.pagerank")
    printed = CliRunner().invoke(app, ["explain", f"{module.__file__}:first"])
    assert printed.exit_code == 0
    assert printed.stdout.strip() == str(loom.explain(module.first))
