"""Snapshots, undo and redo: every bit back, all units of one moment, within a budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DeviceError, StateError
from loom.support.parking import POOL
from unit.support.support_kernels import fall, grow

WORDS = 256


def test_restore_gives_every_bit_back(support: loom.Support, on: str) -> None:
    unit = support.boot("work", WORDS, 8, bindings={"x": (loom.u8, 5)}, device=on)
    unit.dispatch(fall, [0.75], groups=4)
    program = unit.build()
    nan = np.array([0x7FC0_1234, 0x8000_0000, 1], np.uint32)
    unit.write(nan, binding="globals")
    unit.write([1, 2, 3, 4, 255], binding="x")
    program.launch()
    support.snapshot("first")
    program.launch()  # waits for the snapshot
    second = support.download(unit).result(20)
    unit.fill(9, binding="globals")
    unit.fill(9, binding="x")
    support.restore("first").result(20)
    assert unit.read(0, 3, binding="globals").tolist() == nan.tolist()
    assert unit.read(binding="x").tolist() == [1, 2, 3, 4, 255]
    program.run()
    assert unit.read().tolist() == second.tolist()


def test_undo_and_redo_walk_the_line(support: loom.Support, on: str) -> None:
    unit = support.boot("state", 1, device=on)
    for n in range(4):
        unit.write([n * 10], binding="registers")
        support.snapshot(f"s{n}")
    assert [support.undo().result(20) for _ in range(3)] == ["s2", "s1", "s0"]
    assert unit.read().tolist() == [0]
    assert [support.redo().result(20) for _ in range(2)] == ["s1", "s2"]
    assert unit.read().tolist() == [20]
    unit.write([77], binding="registers")
    support.snapshot("other").result(20)
    assert support.snapshots == ["s0", "s1", "s2", "other"]
    assert support.undo().result(20) == "s2"
    support.restore("s0").result(20)
    assert support.redo().result(20) == "s1"
    assert unit.read().tolist() == [10]


def test_ends_of_the_line(support: loom.Support) -> None:
    unit = support.boot("state", 1)
    with pytest.raises(StateError) as caught:
        support.undo().result(20)
    assert str(caught.value) == (
        "[support.undo] nothing to undo: expected a snapshot before, got 0 of 0. "
        "Take snapshots with support.snapshot(name)."
    )
    support.snapshot("only").result(20)
    with pytest.raises(StateError, match=r"\[support.redo\] nothing to redo: expected one that was undone, got 1 of 1"):
        support.redo().result(20)
    with pytest.raises(ArgumentError) as unknown:
        support.restore("onyl").result(20)
    assert str(unknown.value) == "[support.restore] no snapshot is called 'onyl'. Did you mean 'only'?"
    assert unit.read().tolist() == [0]


def test_a_name_given_again_replaces_the_snapshot(support: loom.Support) -> None:
    unit = support.boot("state", 1)
    for n in (1, 2):
        unit.write([n], binding="registers")
        support.snapshot("same")
    unit.write([3], binding="registers")
    support.restore("same").result(20)
    assert unit.read().tolist() == [2]
    assert support.snapshots == ["same"]


def test_all_units_are_of_one_moment(support: loom.Support, on: str) -> None:
    units = [support.boot(name, WORDS, device=on) for name in "abc"]
    programs = []
    for unit in units:
        unit.dispatch(grow, [0, WORDS, 1], groups=4)
        programs.append(unit.build())
    for turn in range(6):
        for program in programs:
            program.launch()
        support.snapshot(f"turn {turn}")
    for program in programs:
        program.run()
    for turn in (2, 5, 0):
        support.restore(f"turn {turn}").result(20)
        assert [set(unit.read().tolist()) for unit in units] == [{turn + 1}] * 3


def test_chosen_units_alone(support: loom.Support) -> None:
    a, b = (support.boot(name, 1) for name in "ab")
    support.snapshot("a alone", units=["a"])
    for unit in (a, b):
        unit.write([5], binding="registers")
    support.restore("a alone").result(20)
    assert (a.read()[0], b.read()[0]) == (0, 5)


def test_the_heap_is_left_alone(support: loom.Support) -> None:
    unit = support.boot("work", 1, heap=np.arange(4, dtype=np.uint32))
    support.snapshot("a").result(20)
    unit.set_heap(np.arange(8, dtype=np.uint32))
    support.restore("a").result(20)
    assert len(unit.read(binding="heap")) == 8


def test_the_oldest_go_when_the_budget_is_full() -> None:
    with loom.Support(snapshot_nbytes=3 * 4 * WORDS) as support:
        unit = support.boot("state", WORDS)
        held = loom.stats().nbytes
        for n in range(5):
            unit.fill(n)
            support.snapshot(f"s{n}").result(20)
        assert support.snapshots == ["s2", "s3", "s4"]
        assert loom.stats().nbytes == held + 3 * 4 * WORDS
        support.restore("s2").result(20)
        assert set(unit.read().tolist()) == {2}


def test_a_snapshot_larger_than_the_budget_is_refused() -> None:
    with loom.Support(snapshot_nbytes=100) as support:
        support.boot("state", WORDS)
        with pytest.raises(DeviceError) as caught:
            support.snapshot("big").result(20)
        assert str(caught.value) == (
            "[support.snapshot 'big'] larger than all snapshots may be: expected at most 100 bytes, got 1024. "
            "Raise snapshot_nbytes, or name fewer units."
        )
        assert support.snapshots == []


def test_a_unit_that_is_gone_cannot_be_restored(support: loom.Support) -> None:
    support.boot("a", 1)
    b = support.boot("b", 1)
    support.snapshot("both").result(20)
    b.shutdown()
    with pytest.raises(StateError, match=r"\[b.memory\] the unit is shut down"):
        support.restore("both").result(20)


@pytest.mark.parametrize("on", ["vulkan"], indirect=True)
def test_copies_stay_on_a_device_with_memory_of_its_own(device: Any) -> None:
    """As on a discrete adapter: no memory of the device is mapped, copies go from buffer to buffer."""
    from loom.runtime.drivers.vulkan import VulkanDevice

    device = VulkanDevice(device.adapter, "discrete", tested=False)
    try:
        device.memory.unified = False
        with loom.boot(1000, device=device) as a, loom.boot(1000, device=device) as b, loom.Support() as support:
            a.write(np.arange(1000, dtype=np.uint32), binding="registers")
            b.copy_from(a, start=3, count=500, offset=11)
            expected = [0] * 11 + list(range(3, 503)) + [0] * 489
            assert b.read().tolist() == expected
            support.adopt("b", b)
            support.snapshot("before").result(20)
            b.fill(9)
            support.restore("before").result(20)
            assert b.read().tolist() == expected
        loom.release(loom.spawn(64, device=device))
        with loom.spawn(64, device=device) as fresh:
            assert not fresh.read().any()
    finally:
        POOL.clear()
        device.close()
    assert not +device.live
