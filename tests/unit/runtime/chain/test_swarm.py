"""Programs of several units launched together: the same memory as one after another, and what is refused."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError, StateError
from loom.runtime.chain.swarm import weave
from loom.runtime.plans.plan import Plan


@loom.kernel(workgroup=4)
def affine(registers: loom.InOut[loom.u32], a: loom.u32, b: loom.u32) -> None:
    i = loom.global_id()
    if i < len(registers):
        registers[i] = registers[i] * a + b


@loom.kernel(workgroup=1)
def check(registers: loom.InOut[loom.u32], b: loom.u32) -> None:
    assert registers[0] == b, "not so"


@pytest.fixture
def units(device: Any) -> Iterator[list[loom.Unit]]:
    """Five units."""
    with ExitStack() as stack:
        yield [stack.enter_context(loom.boot(registers=8, device=device)) for _ in range(5)]


def record(unit: loom.Unit, number: int) -> loom.Program:
    """A chain of its own: other lengths, numbers of steps and parameters for each unit."""
    turns = 3 + number % 3
    params = np.stack([np.arange(turns) + 3, np.arange(turns) + number], axis=1).astype(np.uint32)
    with unit.repeat(turns, params=params) as turn:
        unit.dispatch(affine, list(turn.params), groups=2)
        if number % 2:
            unit.dispatch(affine, [5, number], groups=1)
    unit.dispatch(affine, [7, 1], groups=2)
    return unit.build()


def test_a_swarm_leaves_what_its_programs_leave(units: list[loom.Unit], device: Any) -> None:
    programs = [record(unit, n) for n, unit in enumerate(units)]
    for program in programs:
        program.run()
        program.run()
    expected = [unit.read().tolist() for unit in units]
    for unit in units:
        unit.fill(0)
    together = loom.swarm(programs)
    assert together.is_woven == (device.kind in ("vulkan", "cuda"))
    together.run()
    together.run()
    assert [unit.read().tolist() for unit in units] == expected


def test_runs_of_a_unit_stay_in_order(units: list[loom.Unit]) -> None:
    programs = [record(unit, n) for n, unit in enumerate(units)]
    together = loom.swarm(programs)
    order = [together.launch, programs[1].launch, together.launch, together.launch, programs[4].launch, together.launch]
    for launch in order:
        launch()
    found = [unit.read().tolist() for unit in units]
    for unit in units:
        unit.fill(0)
    for n, program in enumerate(programs):
        for _ in range(4 + (n in (1, 4))):
            program.run()
    assert [unit.read().tolist() for unit in units] == found


def test_submissions_are_in_the_order_of_the_programs(units: list[loom.Unit]) -> None:
    submissions = loom.swarm([record(unit, n) for n, unit in enumerate(units)]).launch()
    assert len(submissions) == len(units)
    for submission in reversed(submissions):
        submission.wait(10)
        assert submission.poll()


def test_a_fault_belongs_to_its_unit(units: list[loom.Unit]) -> None:
    for n, unit in enumerate(units):
        unit.dispatch(check, [int(n == 3)])
    together = loom.swarm([unit.build() for unit in units])
    assert not together.is_woven
    submissions = together.launch()
    for n, submission in enumerate(submissions):
        if n != 3:
            submission.wait()
    with pytest.raises(loom.LoomError, match="not so"):
        submissions[3].wait()


def test_checked_programs_run_one_by_one(units: list[loom.Unit], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_CHECK", "1")
    assert not loom.swarm([record(unit, n) for n, unit in enumerate(units)]).is_woven


def test_what_is_no_swarm(units: list[loom.Unit], device: Any) -> None:
    program = record(units[0], 0)
    told = "[loom.swarm] not programs of different units: expected at least one, and one of each unit, got {}. "
    told += "Record what one unit does in one program."
    for programs, got in [([], "0 programs of 0 units"), ([program, program], "2 programs of 1 units")]:
        with pytest.raises(ArgumentError) as caught:
            loom.swarm(programs)
        assert str(caught.value) == told.format(got)
    with pytest.raises(DTypeError) as caught_type:
        loom.swarm([units[0]])  # type: ignore[list-item]
    assert str(caught_type.value) == (
        "[loom.swarm] not a program: expected what unit.build() returned, got Unit. Build each unit first."
    )
    storage = device.allocate(32)
    chains = [loom.Chain(device), loom.Chain(device)]
    for chain in chains:
        chain.dispatch(affine, [storage], [1, 1])
    with pytest.raises(ArgumentError) as caught:
        loom.swarm([chain.build() for chain in chains])
    assert str(caught.value) == (
        "[loom.swarm] two programs share memory and one writes it: expected memory of its own for each, "
        "got a binding of both. Launch them one after the other."
    )


def test_a_swarm_ends_with_its_units(units: list[loom.Unit]) -> None:
    together = loom.swarm([record(unit, n) for n, unit in enumerate(units)])
    together.run()
    units[2].shutdown()
    with pytest.raises(StateError, match="its unit is shut down"):
        together.launch()


def random_plan(rng: random.Random, storages: list[Any]) -> Plan:
    chain = loom.Chain("cpu")
    for _ in range(rng.randint(0, 3)):
        with chain.repeat(rng.randint(1, 4)):
            for _ in range(rng.randint(1, 3)):
                chain.dispatch(affine, [rng.choice(storages)], [rng.randint(0, 9), 1])
    program = chain.build()
    assert program.plan is not None
    return program.plan


def ordered(plan: Plan) -> list[tuple[Any, bool]]:
    """Dispatches in order: memory with parameters, which tell one from another, and whether each waits."""
    found = []
    for repeats, steps in plan.segments:
        for turn in range(repeats):
            for step in steps:
                d = step.dispatch
                found.append(((id(d.bindings[0].storage), d.params[turn].tolist()), bool(step.waits[turn])))
    return found


@pytest.mark.parametrize("seed", range(40))
def test_woven_dispatches_keep_order_and_waits(seed: int) -> None:
    rng = random.Random(seed)
    memory = [[loom.device("cpu").allocate(32) for _ in range(2)] for _ in range(3)]
    plans = [random_plan(rng, storages) for storages in memory]
    woven = ordered(weave(plans))
    assert len(woven) == sum(plan.count for plan in plans)
    for plan, storages in zip(plans, memory, strict=True):
        mine = {id(s) for s in storages}
        waited, found = False, []
        for what, waits in woven:
            waited = waited or waits
            if what[0] in mine:
                found.append((what, waited))
                waited = False
        for (what, waits), (other, has_waited) in zip(ordered(plan), found, strict=True):
            assert what == other
            assert has_waited or not waits
