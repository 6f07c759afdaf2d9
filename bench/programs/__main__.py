"""``python -m bench.programs [name ...] [--json] [--rounds N]``: fourteen programs beside numba and gcc."""

from __future__ import annotations

import sys
from importlib import import_module

from bench.harness import Side, Timings, alternate
from bench.programs.work import Work, compile_c, has_numba
from bench.report import Bar, Family, Row, main

PROGRAMS = (
    "mandelbrot", "nbody", "stencil", "histogram", "transpose", "kmeans", "life", "pi", "levenshtein",
    "black_scholes", "blur", "group_by", "pagerank", "sha256",
)  # fmt: skip
BLOCKS, CALLS, SPAN_S = 7, 3, 0.03
TO_NUMBA, TO_GCC, TO_TUNED = 1.0, 1.3, 1.2


def run(family: Family) -> None:
    """Measure the programs asked for, all by default."""
    words = sys.argv[1:]
    blocks = int(words[words.index("--rounds") + 1]) if "--rounds" in words[:-1] else BLOCKS
    for name in [w for w in words if w in PROGRAMS] or PROGRAMS:
        work: Work = import_module(f"bench.programs.{name}").work()
        work.check()
        timings = alternate([Side(n, call) for n, call in work.sides.items()], blocks=blocks, calls=CALLS, span=SPAN_S)
        family.rows.append(_row(work, timings))
    if not has_numba():
        family.notes.append("numba is not installed: not compared")
    if compile_c("void run(void) {}") is None:
        family.notes.append("there is no gcc: not compared")
    family.notes.append("ratios are of the least times: what the programs take where nothing else runs")


def _row(work: Work, timings: Timings) -> Row:
    measured: dict[str, float | int | str] = {f"{n}_ms": timings.median(n) * 1e3 for n in timings.blocks}
    measured |= {f"{n}_least_ms": timings.least(n) * 1e3 for n in timings.blocks}
    bars: list[Bar] = []
    for side in [n for n in work.sides if n.startswith("first")]:
        for peer, limit in (("numba", TO_NUMBA), ("gcc", TO_GCC), ("tuned", TO_TUNED)):
            if peer in work.sides:
                text = f"{side} at most {limit:g} of {peer}'s time"
                bars.append(Bar(text, limit, timings.least(side) / timings.least(peer)))
    return Row(work.name, measured, tuple(bars))


if __name__ == "__main__":
    main("programs", run)
