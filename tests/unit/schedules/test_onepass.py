"""Scans and sorts that read their input once give the bits of those that do not; oracles: the canonical scan, numpy.

On a GPU that is not there its PTX is interpreted, in which groups and lanes take turns that are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import loom
from emulation.driver.binding import Emulated
from emulation.driver.installing import installed
from emulation.driver.interpreted import Interpreted
from emulation.driver.streams import Order as Turns
from loom.core.dtype import DType, f32, i32, u16, u32, u64
from loom.kernels.sort.keys import Order, Records
from loom.runtime.drivers.cuda import selftest
from loom.schedules.axis import Rows
from loom.schedules.recorder import Recorder, StorageLike
from loom.schedules.scan import Scanning, record_scan
from loom.schedules.sorting.sort import plan_sort
from loom.schedules.sorting.sweep import SweepPlan
from unit.patterns.canonical import canonical_scan, same_bits
from unit.schedules.drafted import chained, drafted

Array = np.ndarray[Any, Any]


def wide(n: int) -> Array:
    """Numbers of very different size, so that any change of order shows."""
    rng = np.random.default_rng(n)
    return (rng.standard_normal(n) * 2.0 ** rng.integers(-9, 9, n)).astype(np.float32)


def scanned(x: Array, name: str, dtype: DType, on: str) -> list[Array]:
    """Return the scan by groups that wait, from a chain and from a draft."""

    def record(recorder: Recorder, memory: Sequence[StorageLike]) -> None:
        record_scan(recorder, *memory, Rows(1, x.size), Scanning(name, dtype, dtype, dtype), threads=True, once=True)

    return [run(record, [x], [x], on)[0] for run in (chained, drafted)]


def swept(x: Array, plan: SweepPlan, payload: bool, on: str) -> Array:
    """Return what the plan makes of keys, by the second run of a program."""
    device = loom.device(on)
    given, out = device.allocate(x.nbytes), device.allocate(x.size * (8 if payload else x.itemsize))
    given.write(0, x.view(np.uint8))
    chain = loom.Chain(device)
    room = [device.allocate(nbytes) for nbytes in plan.sizes]
    plan.record(chain, given, None, None if payload else out, out if payload else None, room)
    with chain.build() as program:
        program.run()
        program.run()
    return out.read(0, out.nbytes).view(np.int64 if payload else x.dtype)


def keys(dtype: DType, n: int) -> Array:
    """Keys of all digits, some of which are alike in all."""
    drawn = np.random.default_rng(n).integers(0, 1 << 63, n, np.uint64) * np.uint64(2)
    drawn[: n // 3] %= 300
    return drawn.astype(dtype.numpy)


@pytest.mark.parametrize("n", [2 * 4096, 67 * 4096 + 5])
def test_scan(n: int) -> None:
    x = wide(n)
    for found in scanned(x, "sum", f32, "interp"):
        assert same_bits(found, canonical_scan(x))


def test_scan_of_integers() -> None:
    x = np.random.default_rng(1).integers(-(1 << 31), 1 << 31, 3 * 4096 + 1).astype(np.int32)
    for found in scanned(x, "max", i32, "interp"):
        assert same_bits(found, np.maximum.accumulate(x))


@pytest.mark.slow
def test_scan_of_runs_of_runs() -> None:
    """More than 64 runs of 64 tiles: half a minute of compiling and scanning."""
    x = wide(2 * 4096 * 4096 + 4096 * 70 + 9)
    for found in scanned(x, "sum", f32, "cpu"):
        assert same_bits(found, canonical_scan(x))


@pytest.mark.parametrize(("dtype", "payload"), [(u32, None), (u64, None), (u16, None), (u32, "index")])
def test_sort(dtype: DType, payload: str | None) -> None:
    x = keys(dtype, 3001)
    plan = SweepPlan.of(Records(Order(dtype), payload), x.size, keys_out=payload is None, items=3)
    wanted = np.argsort(x, kind="stable") if payload else np.sort(x)
    assert np.array_equal(swept(x, plan, payload is not None, "interp"), wanted)


def test_sort_of_keys_and_values() -> None:
    x, values = keys(u32, 2003), np.random.default_rng(5).integers(0, 1 << 16, 2003).astype(np.uint16)
    plan = SweepPlan.of(Records(Order(u32, descending=True), u16), x.size, keys_out=True, items=3)

    def record(recorder: Recorder, memory: Sequence[StorageLike]) -> None:
        room = [recorder.device.allocate(nbytes) for nbytes in plan.sizes]
        plan.record(recorder, *memory, room)

    order = np.argsort(~x, kind="stable")
    for run in (chained, drafted):
        found = run(record, [x, values], [x, values], "interp")
        assert np.array_equal(found[0], x[order])
        assert np.array_equal(found[1], values[order])


def test_a_plan_reads_once_where_that_can_be() -> None:
    caps = loom.device("interp").caps
    cases = [(None, 1, 1 << 22, True), (None, 2, 1 << 22, False), (u64, 1, 1 << 22, False), (None, 1, 1 << 17, False)]
    for payload, rows, n, once in cases:
        records = Records(Order(u32), payload)
        plan = plan_sort(records, rows, n, keys_out=True, caps=caps, where="test", once=True)
        assert isinstance(plan, SweepPlan) is once


def test_no_lanes_race() -> None:
    """Nor do any between near barriers: a lane that looks for others is past their bits, and they past its count."""
    drawn = keys(u32, 600)
    plan = SweepPlan.of(Records(Order(u32)), drawn.size, keys_out=True, items=2)
    with loom.debug(nan=False):
        assert np.array_equal(swept(drawn, plan, payload=False, on="interp"), np.sort(drawn))
        x = wide(2 * 4096 + 5)
        assert same_bits(scanned(x, "sum", f32, "interp")[0], canonical_scan(x))


@pytest.fixture(params=[None, 1, 2])
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name a GPU whose PTX is interpreted: all groups side by side, or few at a time, in a drawn order."""
    monkeypatch.setattr(selftest, "test_gpu", lambda _device: ())  # has tests of its own, and takes seconds
    monkeypatch.setattr("emulation.ptx.run._MOST_TURNS", 100_000)
    with installed(Emulated(Interpreted(request.param), seed=3, order=Turns.DRAWN)):
        yield "cuda"


def test_on_a_gpu(gpu: str) -> None:
    x = wide(3 * 4096 + 5)
    assert same_bits(scanned(x, "sum", f32, gpu)[0], canonical_scan(x))
    drawn = keys(u32, 1500)
    plan = SweepPlan.of(Records(Order(u32)), drawn.size, keys_out=True, items=2)
    assert np.array_equal(swept(drawn, plan, payload=False, on=gpu), np.sort(drawn))
