"""Streams of the emulated driver do what CUDA's may: late, in any order that nothing forbids, and never otherwise."""

from __future__ import annotations

from functools import partial

import pytest

import loom
from emulation.driver.binding import Binding, Emulated
from emulation.driver.code import Compiled
from emulation.driver.installing import installed
from emulation.driver.streams import Event, Order, Scheduler, Stream
from emulation.ptx.memory import EmulationError
from loom.core.errors import DeviceError
from loom.runtime.drivers.cuda.gpus import find_gpus


def _two(scheduler: Scheduler) -> list[Stream]:
    scheduler.streams += [Stream(0), Stream(0)]
    return scheduler.streams


def test_nothing_is_done_before_it_is_waited_for() -> None:
    scheduler, done = Scheduler(), list[str]()
    first, second = _two(scheduler)
    event = Event(0, timed=False)
    scheduler.submit(first, lambda: done.append("a"))
    scheduler.record(first, event)
    scheduler.submit(first, lambda: done.append("late"))
    scheduler.wait(second, event)
    scheduler.submit(second, lambda: done.append("b"))
    assert done == []
    scheduler.drain([second])
    assert done == ["a", "b"], "and no more than the other stream needs"


def test_a_seed_draws_every_order_that_is_not_forbidden() -> None:
    """Three pieces in one stream, two in another, of which the last waits for the first's second: 10 orders, less 6."""
    found: set[str] = set()
    for seed in range(300):
        scheduler, done = Scheduler(seed, Order.DRAWN), list[str]()
        first, second = _two(scheduler)
        event = Event(0, timed=False)
        for letter in "abc":
            scheduler.submit(first, partial(done.append, letter))
            if letter == "b":
                scheduler.record(first, event)
        scheduler.submit(second, partial(done.append, "x"))
        scheduler.wait(second, event)
        scheduler.submit(second, partial(done.append, "y"))
        scheduler.drain([first, second])
        found.add("".join(done))
    wanted = {word[:at] + "x" + word[at:] for word in ("abcy", "abyc") for at in range(5)}
    assert found == {w for w in wanted if w.index("x") < w.index("y")}


def test_a_wait_is_for_the_event_as_it_was_recorded_then() -> None:
    scheduler, done = Scheduler(), list[str]()
    first, second = _two(scheduler)
    event = Event(0, timed=False)
    scheduler.wait(second, event)  # never recorded: nothing to wait for
    scheduler.record(first, event)
    scheduler.submit(first, lambda: done.append("a"))
    scheduler.wait(second, event)
    scheduler.record(first, event)
    scheduler.drain([second])
    assert done == []


def test_what_went_wrong_is_told_by_later_calls_and_by_all_of_them() -> None:
    machine = Emulated(Compiled())
    cuda = Binding(machine)
    _, context = cuda.cuDevicePrimaryCtxRetain(0)
    cuda.cuCtxPushCurrent(context)
    _, stream = cuda.cuStreamCreate(1)

    def wrong() -> None:
        raise EmulationError("read beyond x", 716)

    machine.submit(machine.stream(stream), wrong)
    assert cuda.cuMemAlloc(16)[0] == 0, "nothing is known of it yet"
    assert cuda.cuStreamSynchronize(stream) == (716,)
    assert cuda.cuMemAlloc(16) == (716, None)
    assert b"read beyond x" in cuda.cuGetErrorString(716)[1]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda cuda: cuda.cuStreamCreate(1), 201),
        (lambda cuda: cuda.cuDeviceGet(7), 101),
        (lambda cuda: cuda.cuEventDestroy(5), 400),
    ],
)
def test_calls_that_cuda_refuses_are_refused(call: object, code: int) -> None:
    assert callable(call)
    assert call(Binding(Emulated(Compiled())))[0] == code


def test_loom_finds_the_driver_that_stands_for_nvidias() -> None:
    machine = Emulated(Compiled(), count=2)
    with installed(machine):
        assert [gpu.name for gpu in find_gpus()] == ["Compiled GPU sm_90"] * 2
    with installed(Emulated(Compiled(), chip=(7, 5))), pytest.raises(DeviceError, match=r"8\.0 or newer is needed"):
        loom.device("cuda")
