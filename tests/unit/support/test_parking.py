"""Parking, the pool, limits and what ``loom.stats`` tells."""

from __future__ import annotations

import json
from typing import Any

import pytest

import loom
from loom.core.errors import ArgumentError, DeviceError, DTypeError, LoomError, StateError
from loom.support.parking import POOL
from unit.support.support_kernels import grow


def test_a_parked_unit_sleeps_with_all_it_has(on: str) -> None:
    with loom.boot(64, device=on, name="u") as unit:
        unit.dispatch(grow, [0, 64, 3])
        program = unit.build()
        unit.dispatch(grow, [0, 64, 4])
        program.launch()
        loom.park(unit)
        assert loom.stats().parked == 1
        with pytest.raises(StateError) as caught:
            unit.read()
        assert str(caught.value) == (
            "[u.read] the unit is parked: expected a running unit. Call loom.unpark(unit) first."
        )
        for call in (unit.build, lambda: unit.fill(0), lambda: unit.dispatch(grow, [0, 64, 1]), unit.memory):
            with pytest.raises(StateError, match="the unit is parked"):
                call()
        assert loom.unpark(unit) is unit
        unit.build().run()
        assert unit.read(0, 2).tolist() == [7, 7]


def test_a_parked_unit_can_be_shut_down() -> None:
    unit = loom.boot(1)
    loom.park(unit)
    unit.shutdown()
    assert not unit.is_open


def test_a_spawned_unit_is_zeroed_and_the_released_one_dead(on: str) -> None:
    old = loom.spawn(100, 7, bindings={"x": (loom.u32, 3)}, device=on)
    old.fill(5)
    old.fill(6, binding="globals")
    held = loom.stats().nbytes
    loom.release(old)
    assert (len(POOL), loom.stats().pooled, loom.stats().nbytes) == (1, 1, held - 12)
    with pytest.raises(StateError, match="is shut down"):
        old.read()
    new = loom.spawn(100, 7, device=on)
    assert len(POOL) == 0
    assert not new.read().any()
    assert not new.read(binding="globals").any()
    new.dispatch(grow, [0, 100, 2], groups=2)
    new.build().run()
    assert set(new.read().tolist()) == {2}
    new.shutdown()


@pytest.mark.needs("compiled")
def test_only_memory_of_the_same_size_and_device_is_used_again(on: str) -> None:
    loom.release(loom.spawn(8, 8, device=on))
    for sizes, device in (((8, 9), on), ((9, 8), on), ((8, 8), "interp")):
        loom.spawn(*sizes, device=device).shutdown()
        assert len(POOL) == 1
    loom.spawn(8, 8, device=on).shutdown()
    assert len(POOL) == 0


def test_warm_keeps_memory_ready(on: str) -> None:
    loom.warm(3, 16, 4, device=on)
    assert (len(POOL), POOL.nbytes) == (3, 3 * 80)
    loom.warm(2, 16, 4, device=on)
    assert len(POOL) == 3
    units = [loom.spawn(16, 4, device=on) for _ in range(3)]
    assert len(POOL) == 0
    for unit in units:
        unit.shutdown()


def test_too_many_to_warm_are_refused() -> None:
    with pytest.raises(loom.LoomError, match=r"\[loom.warm, count\] too many units: expected at most 16384, got 16385"):
        loom.warm(16_385, 1)
    assert len(POOL) == 0


def test_no_more_units_than_allowed() -> None:
    loom.max_units(2)
    with loom.boot(1), loom.boot(1):
        with pytest.raises(DeviceError) as caught:
            loom.boot(1, name="third")
        assert str(caught.value) == (
            "[boot of 'third'] too many units: expected at most 2 at once, got 3. "
            "Shut units down, or raise the limit with loom.max_units."
        )
    with loom.boot(1):
        loom.max_units(None)
        with loom.boot(1), loom.boot(1):
            assert len(loom.stats().units) == 3


def test_no_more_memory_than_the_budget(on: str) -> None:
    loom.vram_budget(1000)
    with loom.boot(100, device=on):
        with pytest.raises(DeviceError) as caught:
            loom.boot(100, 60, device=on, name="big")
        assert str(caught.value) == (
            "[big, memory] over the memory budget: expected at most 1000 bytes in all, got 800 held and 240 more. "
            "Shut units down, or raise the limit with loom.vram_budget."
        )
        del caught
        loom.boot(150, device=on).shutdown()  # what was refused holds nothing
        with pytest.raises(DeviceError, match=r"\[box, memory\] over the memory budget"):
            loom.mailbox(200, 1, device=on, name="box")


def test_snapshots_count_in_the_budget() -> None:
    with loom.Support() as support:
        support.boot("work", 100)
        loom.vram_budget(700)
        with pytest.raises(DeviceError, match=r"\[support.snapshot 'a'\] over the memory budget"):
            support.snapshot("a").result(20)
        assert support.snapshots == []


def test_memory_of_released_units_gives_way() -> None:
    loom.release(loom.spawn(100))
    loom.vram_budget(500)
    with loom.boot(120):
        assert len(POOL) == 0


def test_a_failed_boot_leaves_nothing() -> None:
    before = loom.stats()
    with pytest.raises(LoomError):
        loom.boot(1000, bindings={"x": (loom.u32, -1)})
    with pytest.raises(LoomError):
        loom.boot(2**58)
    assert loom.stats() == before


def test_stats_tell_what_is_alive(on: str) -> None:
    with loom.boot(64, 64, device=on, name="work") as unit:
        unit.dispatch(grow, [0, 64, 1])
        found = loom.stats()
        assert [u.name for u in found.units] == ["work"]
        assert (found.units[0].nbytes, found.units[0].recorded, found.units[0].in_flight) == (512, 1, 0)
        assert found.units[0].device == unit.device.name
        with unit.repeat(2000):
            unit.dispatch(grow, [0, 64, 1])
        submission = unit.build().launch()
        loom.stats()
        submission.wait(60)
        assert loom.stats().in_flight == 0
        assert json.loads(json.dumps(loom.stats().as_dict()))["units"][0]["name"] == "work"


CASES: dict[str, tuple[Any, type[LoomError], str]] = {
    "budget": (
        lambda: loom.vram_budget(-1), ArgumentError,
        "[loom.vram_budget] unusable limit: expected a number of bytes, at least 0, or None, got -1. Pass an int.",
    ),
    "units": (lambda: loom.max_units(1.5), ArgumentError, "[loom.max_units] unusable limit: expected a number"),
    "park": (lambda: loom.park(3), DTypeError, "[loom.park] not a unit: expected what loom.boot or"),
    "release": (lambda: loom.release("u"), DTypeError, "[loom.release] not a unit"),
    "spawn": (lambda: loom.spawn(-1), ArgumentError, "[loom.spawn] unusable registers"),
    "warm": (lambda: loom.warm(-1, 4), ArgumentError, "[loom.warm] unusable count: expected a number of units"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_misuse_says_what_to_do(case: tuple[Any, type[LoomError], str]) -> None:
    call, kind, text = case
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


def test_parking_twice_and_waking_what_is_awake() -> None:
    with loom.boot(1, name="u") as unit:
        with pytest.raises(StateError, match=r"\[loom.unpark\] unit 'u' is not parked: expected a parked unit"):
            loom.unpark(unit)
        loom.park(unit)
        with pytest.raises(StateError, match=r"\[u.park\] the unit is parked"):
            loom.park(unit)
    with pytest.raises(StateError, match="is shut down"):
        loom.release(unit)
