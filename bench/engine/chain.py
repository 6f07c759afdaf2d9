"""95,370 small dependent dispatches in one submission: recorded by ``repeat``, built, run.

95,370 is the length of a sieve of 10^10. Every dispatch reads what the one before it wrote. On the CPU
two threads run it; ``--device cuda`` or ``vulkan`` takes a GPU, where recording is what the driver takes for every
dispatch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

import loom
from bench.harness import Side, time_calls
from bench.report import Bar, Family, Row, main, wanted_device

DISPATCHES = 95_370
LANES = 64
LIMITS_US = {"cpu": (0.5, 1.0), "vulkan": (0.3, 2.5), "cuda": (0.3, 0.9)}
"""Microseconds for each dispatch to be recorded and to be run."""
RUNS = 15
TURNS = 4
"""Turns of the loop in the variants that two threads share: the device does not know how long a loop runs."""


@loom.kernel(workgroup=LANES)
def step(state: loom.InOut[loom.u32], number: loom.u32):
    """One step of a generator of random numbers, per lane."""
    i = loom.global_id()
    if i < len(state):
        state[i] = state[i] * 1664525 + number


@loom.kernel(workgroup=LANES)
def loop(state: loom.InOut[loom.u32], number: loom.u32, turns: loom.u32):
    """Several steps, counted by a parameter."""
    i = loom.global_id()
    if i < len(state):
        x = state[i]
        for _ in range(turns):
            x = x * 1664525 + number
        state[i] = x


def run(family: Family) -> None:
    """Measure one group, four and sixteen, and two and sixteen of a kernel with a loop."""
    for groups in (1, 4, 16):
        family.rows.append(_measure(step, (), groups, 1))
    for groups in (2, 16):
        family.rows.append(_measure(loop, (TURNS,), groups, TURNS))
    if loom.device(wanted_device()).kind == "cpu":
        family.notes.append("a dispatch this small without loops runs on one thread; one with a loop is shared")


def _measure(kernel: Any, extra: tuple[int, ...], groups: int, turns: int) -> Row:
    """Record, build and run one variant several times; check what the first run leaves."""
    numbers = np.arange(DISPATCHES, dtype=np.uint32)
    params = np.stack([numbers, *(np.full_like(numbers, e) for e in extra)], axis=1)
    start = np.arange(groups * LANES, dtype=np.uint32)
    state = loom.device(wanted_device()).allocate(start.nbytes)
    state.write(0, start.view(np.uint8))
    program, _ = _record(kernel, state, params, groups)
    program.run()
    _check(state.read(0, start.nbytes).view(np.uint32), numbers, turns)
    recorded, built = zip(*(_record(kernel, state, params, groups)[1] for _ in range(RUNS)), strict=True)
    ran = time_calls(Side("run", program.run), RUNS)["run"]
    return _row(f"{kernel.name}, {groups} group{'s' * (groups > 1)} of {LANES}", recorded, built, ran)


def _record(
    kernel: Any, state: Any, params: np.ndarray[Any, Any], groups: int
) -> tuple[loom.Program, tuple[float, float]]:
    """Return a program of all dispatches, and the seconds that recording and building took."""
    chain = loom.Chain(wanted_device())
    start = time.perf_counter()
    with chain.repeat(DISPATCHES, params=params) as segment:
        chain.dispatch(kernel, [state], segment.params, groups=groups)
    recorded = time.perf_counter()
    program = chain.build()
    return program, (recorded - start, time.perf_counter() - recorded)


def _check(state: np.ndarray[Any, Any], numbers: np.ndarray[Any, Any], turns: int) -> None:
    """Compare with a jump through the generator: x -> a x + c applied ``turns`` times, per dispatch."""
    power, total = 1, 0
    for _ in range(turns):
        power, total = power * 1664525, total * 1664525 + 1
    power, total = power % 2**32, total % 2**32
    scale, offset = 1, 0
    for number in numbers.tolist():
        scale = scale * power % 2**32
        offset = (offset * power + number * total) % 2**32
    expected = np.arange(state.size, dtype=np.uint32) * np.uint32(scale) + np.uint32(offset)
    assert np.array_equal(state, expected), "the chain gives a wrong state"


def _row(what: str, recorded: Sequence[float], built: Sequence[float], ran: Sequence[float]) -> Row:
    record, build, run_ = (median(times) / DISPATCHES * 1e6 for times in (recorded, built, ran))
    measured: dict[str, float | int | str] = {
        "record_us_each": record,
        "build_us_each": build,
        "run_us_each": run_,
        "run_ms_whole": median(ran) * 1e3,
        "dispatches": DISPATCHES,
        "runs": RUNS,
    }
    most_record, most_run = LIMITS_US[loom.device(wanted_device()).kind]
    recording = f"at most {most_record} us each to record through repeat and build"
    bars = (Bar(recording, most_record, record + build), Bar(f"at most {most_run:g} us each to run", most_run, run_))
    return Row(what, measured, bars)


if __name__ == "__main__":
    main("chain", run)
