"""Profiles: one row a dispatch, times that fit the clock, totals, traces browsers can read, nothing changed.

Oracles: what was dispatched, the host's clock, and Google's "Trace Event Format".
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import AssertionFailed, StateError
from loom.runtime.port.profile import active_profile
from loom.runtime.port.times import sample


@loom.kernel(workgroup=64)
def add(registers: loom.InOut[loom.u32], k: loom.u32) -> None:
    i = loom.global_id()
    if i < len(registers):
        registers[i] = registers[i] + k


@loom.kernel(workgroup=64)
def scale(globals: loom.InOut[loom.u32], k: loom.u32) -> None:  # noqa: A002
    i = loom.global_id()
    if i < len(globals):
        globals[i] = globals[i] * k


@loom.kernel(workgroup=1)
def refuse(registers: loom.InOut[loom.u32], k: loom.u32) -> None:
    registers[0] = registers[0] + 1
    assert registers[0] < k


def test_rows_and_totals(device: Any) -> None:
    with loom.boot(128, 256, device=device, name="mine") as unit:
        unit.fill(1, binding="globals")
        unit.dispatch(add, [1], 2)
        with unit.repeat(3, params=np.array([[2], [3], [4]], np.uint32)) as turn:
            unit.dispatch(scale, [turn.params[0]], (4, 1, 1))
            unit.dispatch(add, [5], 2)
        program = unit.build()
        program.run()
        begun = time.perf_counter()
        with loom.profile() as p:
            program.run()
            program.launch()
        passed = (time.perf_counter() - begun) * 1e6
        assert active_profile() is None
        program.run()
        assert unit.read(0, 1).tolist() == [4 * 16]
        assert unit.read(0, 1, binding="globals").tolist() == [24**4]
    assert [(r.kernel, r.run, r.dispatch) for r in p.rows] == [
        (name, run, n) for run in range(2) for n, name in enumerate(("add", *("scale", "add") * 3))
    ]
    assert {(r.program, r.device, r.stands_for) for r in p.rows} == {("mine", device.name, 1.0)}
    assert {(r.kernel, r.nbytes, r.groups) for r in p.rows} == {("add", 512, (2, 1, 1)), ("scale", 1024, (4, 1, 1))}
    assert all(r.duration >= 0 for r in p.rows)
    assert sum(r.duration for r in p.rows) <= passed
    for before, after in zip(p.rows, p.rows[1:], strict=False):
        assert before.begin + before.duration <= after.begin + 0.001  # in order, none inside another
    totals = {t.kernel: t for t in p.totals()}
    assert (totals["add"].count, totals["add"].timed, totals["scale"].count) == (8, 8, 6)
    assert totals["add"].total == pytest.approx(sum(r.duration for r in p.rows if r.kernel == "add"))
    assert totals["add"].least <= totals["add"].mean <= totals["add"].most


def test_table() -> None:
    with loom.profile() as p:
        loom.gpu_sum(np.ones(100_000, np.float32))
    lines = p.table().splitlines()
    assert lines[0].split() == [
        "kernel", "device", "count", "total", "us", "share", "mean", "us", "least", "us", "most", "us", "bytes", "GB/s",
    ]  # fmt: skip
    assert len(lines) == 1 + len({r.kernel for r in p.rows})
    assert p.rows[0].program == "gpu_sum"


def test_trace(tmp_path: Path) -> None:
    with loom.boot(64, 64, name="one") as unit, loom.boot(64, 64, name="two", device="interp") as other:
        programs = []
        for each in (unit, other):
            each.dispatch(add, [1])
            each.dispatch(scale, [1])
            programs.append(each.build())
        with loom.profile() as p:
            for program in programs:
                program.run()
    p.to_chrome_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())
    assert trace["displayTimeUnit"] == "ns"
    events = trace["traceEvents"]
    named = [(e["name"], e["pid"], e["tid"], e["args"]["name"]) for e in events if e["ph"] == "M"]
    assert named == [
        ("process_name", 0, 0, "device cpu"), ("process_name", 1, 0, "device interp"), ("thread_name", 0, 0, "one"),
        ("thread_name", 1, 1, "two"),
    ]  # fmt: skip
    whole = [e for e in events if e["ph"] == "X"]
    assert [(e["name"], e["pid"], e["tid"], e["cat"]) for e in whole] == [
        ("add", 0, 0, "dispatch"), ("scale", 0, 0, "dispatch"), ("add", 1, 1, "dispatch"), ("scale", 1, 1, "dispatch"),
    ]  # fmt: skip
    for event in whole:
        assert isinstance(event["ts"], float)
        assert event["ts"] >= 0
        assert event["dur"] >= 0
        assert set(event["args"]) == {"run", "dispatch", "bytes", "groups", "stands for"}
    assert len(events) == 8


def test_faults_come_out_and_leave_what_ran(device: Any) -> None:
    with loom.boot(1, 64, device=device) as unit:
        unit.dispatch(scale, [1])
        unit.dispatch(refuse, [1])
        unit.dispatch(add, [1])
        program = unit.build()
        with loom.profile() as p, pytest.raises(AssertionFailed):
            program.run()
    assert p.rows[0].kernel == "scale"


def test_an_open_profile_is_not_read() -> None:
    with loom.profile() as p:
        with pytest.raises(StateError, match=r"the profile is open\. Look at it after its with block"):
            _ = p.rows
        with loom.profile() as inner:
            loom.gpu_sum([1.0])
    assert p.rows == []
    assert len(inner.rows) == 1
    with pytest.raises(StateError, match="a profile is used once"), p:
        pass


def test_sampling() -> None:
    owners = np.array(([0, 1] * 5000) + [2])
    rows, weights = sample(owners, 1000)
    assert len(rows) <= 1001
    assert (np.diff(rows) > 0).all()
    for owner, count in ((0, 5000), (1, 5000), (2, 1)):
        mine = owners[rows] == owner
        assert weights[mine].sum() == pytest.approx(count)
        assert mine.any()
    rows, weights = sample(owners, 20_000)
    assert rows.tolist() == list(range(10_001))
    assert set(weights.tolist()) == {1.0}


def test_very_many_dispatches(device: Any) -> None:
    if device.name == "interp":
        pytest.skip("slow there, and nothing is sampled")
    with loom.boot(64, device=device) as unit:
        with unit.repeat(6000):
            unit.dispatch(add, [1])
        program = unit.build()
        with loom.profile() as p:
            program.run()
        assert unit.read(63, 1).tolist() == [6000]
    (total,) = p.totals()
    assert total.count == 6000
    assert total.timed == {"cpu": 6000, "webgpu": 2048}.get(device.name, 4096)
    assert ("~" in p.table()) == (device.name != "cpu")


@loom.kernel(workgroup=4)
def mark(registers: loom.InOut[loom.u32]) -> None:
    registers[loom.global_id()] = 7


def test_an_indirect_dispatch_is_one_row_without_the_check_of_its_counts(device: Any) -> None:
    x, counts = np.zeros(8, np.uint32), np.array([2, 1, 1], np.uint32)
    chain = loom.Chain(device)
    chain.dispatch_indirect(mark, [x], [], counts)
    chain.dispatch(mark, [x], [], 1)
    program = chain.build()
    with loom.profile() as p:
        program.run()
    assert [(r.kernel, r.dispatch) for r in p.rows] == [("mark", 0), ("mark", 1)]
    assert x.tolist() == [7] * 8
