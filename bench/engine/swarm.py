"""Sixteen units, each with a chain of small dependent dispatches: launched together, and one after another.

Together: as one ``loom.swarm``, and by a launch for each followed by a wait for each. ``--device vulkan`` for a GPU.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import loom
from bench.harness import Side, alternate
from bench.report import Bar, Family, Row, main, wanted_device
from loom import InOut, u32

UNITS = 16
TIMES = 3.0
LANES = 64
SHAPES = ((20, 1), (200, 1), (200, 16), (1000, 1))
"""Dispatches of a chain, groups of a dispatch."""
BLOCKS, CALLS = 5, 5


@loom.kernel(workgroup=LANES)
def step(registers: InOut[u32], number: u32):
    """One step of a generator of random numbers, per lane."""
    i = loom.global_id()
    if i < len(registers):
        registers[i] = registers[i] * 1664525 + number


def run(family: Family) -> None:
    """Measure chains of several lengths and widths."""
    device = wanted_device()
    family.rows.extend(_measure(device, length, groups) for length, groups in SHAPES)
    family.notes.append(f"{UNITS} units on {device}; a swarm is one submission where the device's lanes are threads")


def _measure(device: str, length: int, groups: int) -> Row:
    units = [loom.boot(registers=groups * LANES, device=device) for _ in range(UNITS)]
    programs = [_record(unit, length, groups) for unit in units]
    swarm = loom.swarm(programs)
    sides = {
        "one_by_one": lambda: [program.launch().wait() for program in programs],
        "launched_together": lambda: _wait([program.launch() for program in programs]),
        "swarm": lambda: _wait(swarm.launch()),
    }
    _check(units, list(sides.values()), length)
    timings = alternate([Side(name, call) for name, call in sides.items()], blocks=BLOCKS, calls=CALLS)
    ratios = {name: 1 / timings.median_of_ratios(name, "one_by_one") for name in ("launched_together", "swarm")}
    for unit in units:
        unit.shutdown()
    measured: dict[str, float | int | str] = {f"{name}_ms": timings.median(name) * 1e3 for name in sides}
    measured |= {f"times_faster_{name}": ratio for name, ratio in ratios.items()}
    measured["us_each_one_by_one"] = timings.median("one_by_one") / (UNITS * length) * 1e6
    bar = Bar(f"together at least {TIMES:g} times faster than one by one", TIMES, max(ratios.values()), at_least=True)
    return Row(f"{UNITS} units, {length} dependent dispatches of {groups} x {LANES} lanes each", measured, (bar,))


def _record(unit: loom.Unit, length: int, groups: int) -> loom.Program:
    with unit.repeat(length, params=np.arange(length, dtype=np.uint32).reshape(-1, 1)) as turn:
        unit.dispatch(step, [turn.params[0]], groups)
    return unit.build()


def _wait(submissions: list[loom.Submission] | tuple[loom.Submission, ...]) -> None:
    for submission in submissions:
        submission.wait()


def _check(units: list[loom.Unit], ways: list[Callable[[], object]], length: int) -> None:
    """Every way must leave in every unit what the generator gives."""
    expected = 0
    for way in ways:
        way()
        for number in range(length):
            expected = (expected * 1664525 + number) % 2**32
        for unit in units:
            assert (unit.read() == expected).all(), "a chain gives a wrong state"


if __name__ == "__main__":
    main("swarm", run)
