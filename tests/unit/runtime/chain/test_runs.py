"""Running chains: launch, poll, wait, timeouts, order, threads, cancelling, and what programs keep alive."""

from __future__ import annotations

import gc
import re
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, LoomTimeout, StateError


@loom.kernel(workgroup=1)
def spin(x: loom.InOut[loom.u32], turns: loom.u32) -> None:
    for _ in range(turns):
        loom.atomic_add(x, 0, 1)


@loom.kernel(workgroup=4)
def affine(x: loom.InOut[loom.u32], a: loom.u32, b: loom.u32) -> None:
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] * a + b


def chain_of(kernel: Any, data: Any, params: list[Any], times: int = 1, on: str = "cpu", groups: int = 1) -> Any:
    chain = loom.Chain(on, name="work")
    with chain.repeat(times):
        chain.dispatch(kernel, [data], params, groups)
    return chain.build()


def test_launch_poll_and_wait(on: str) -> None:
    data = np.arange(8, dtype=np.uint32)
    program = chain_of(affine, data, [2, 1], on=on, groups=2)
    submission = program.launch()
    while not submission.poll():
        time.sleep(0.001)
    assert submission.done
    submission.wait()
    submission.wait(0)
    assert data.tolist() == [2 * i + 1 for i in range(8)]


def test_a_program_runs_any_number_of_times(on: str) -> None:
    data = np.array([1], np.uint32)
    program = chain_of(affine, data, [2, 0], on=on)
    for _ in range(5):
        program.run()
        program.launch()
    program.launch().wait()
    assert data[0] == 2**11


def test_an_empty_chain_builds_and_runs(on: str) -> None:
    program = loom.Chain(on).build()
    assert program.dispatches == 0
    program.run()
    program.launch().wait(5)


def test_wait_gives_up_in_time_and_the_run_goes_on() -> None:
    data = np.zeros(1, np.uint32)
    submission = chain_of(spin, data, [1_000_000], 40).launch()
    began = time.monotonic()
    with pytest.raises(LoomTimeout) as caught:
        submission.wait(0.02)
    assert time.monotonic() - began < 5
    assert str(caught.value) == (
        "[work.wait] still running: expected done within 0.02 s. Wait again: the work goes on and nothing is lost."
    )
    assert not submission.poll()
    submission.wait(np.float32(60))
    assert data[0] == 40_000_000


@pytest.mark.parametrize("timeout", [-1, float("nan"), "1", True])
def test_unusable_timeouts(timeout: Any) -> None:
    submission = chain_of(affine, np.zeros(1, np.uint32), [1, 1]).launch()
    with pytest.raises(ArgumentError) as caught:
        submission.wait(timeout)
    assert str(caught.value) == (
        f"[work.wait] unusable timeout: expected seconds, at least 0, or None, got {timeout!r}. Pass a float."
    )


def test_runs_of_one_chain_happen_in_order_of_launch() -> None:
    data = np.zeros(1, np.uint32)
    chain = loom.Chain("cpu")
    programs = []
    for k in range(20):
        chain.dispatch(affine, [data], [3, k])
        programs.append(chain.build())
    last = [p.launch() for p in programs][-1]
    last.wait()
    expected = 0
    for k in range(20):
        expected = (expected * 3 + k) % 2**32
    assert data[0] == expected


def test_launching_one_program_from_many_threads(on: str) -> None:
    for _ in range(10):
        data = np.zeros(4, np.uint32)
        program = chain_of(affine, data, [1, 1], on=on)

        def work(program: loom.Program = program) -> None:
            for _ in range(5):
                program.run()
                program.launch().wait(30)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert data.tolist() == [40] * 4


def test_chains_side_by_side_share_the_workers() -> None:
    arrays = [np.zeros(1, np.uint32) for _ in range(24)]
    submissions = [chain_of(spin, x, [1000 + k], 20).launch() for k, x in enumerate(arrays)]
    for submission in submissions:
        submission.wait(60)
    assert [int(x[0]) for x in arrays] == [20 * (1000 + k) for k in range(24)]


def test_a_change_of_threads_between_launches_keeps_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.zeros(1, np.uint32)
    chain = loom.Chain("cpu")
    for k, threads in enumerate("121212"):
        monkeypatch.setenv("LOOM_THREADS", threads)
        with chain.repeat(50):
            chain.dispatch(spin, [data], [1000])
        chain.dispatch(affine, [data], [2, k])
        last = chain.build().launch()
    last.wait(30)
    expected = 0
    for k in range(6):
        expected = 2 * (expected + 50_000) + k
    assert data[0] == expected


def test_a_program_dropped_while_it_runs_runs_to_the_end() -> None:
    data = np.zeros(1, np.uint32)
    program = chain_of(spin, data, [200_000], 30)
    submission = program.launch()
    del program
    gc.collect()
    submission.wait(60)
    assert data[0] == 6_000_000


def test_everything_dropped_while_it_runs_runs_to_the_end() -> None:
    data = np.zeros(1, np.uint32)
    chain_of(spin, data, [100_000], 20).launch()
    gc.collect()
    until = time.monotonic() + 30
    while data[0] < 2_000_000 and time.monotonic() < until:
        time.sleep(0.005)
    assert data[0] == 2_000_000


@pytest.mark.parametrize("how", ["run", "launch"])
def test_memory_goes_with_the_chain(on: str, how: str) -> None:
    data = np.zeros(4, np.uint32)
    gone = weakref.ref(data)
    program = chain_of(affine, data, [1, 1], on=on)
    program.run() if how == "run" else program.launch().wait()
    del program, data
    assert gone() is None


def test_cancel_stops_before_a_later_dispatch() -> None:
    data = np.zeros(1, np.uint32)
    submission = chain_of(spin, data, [100_000], 100_000).launch()
    while not data[0]:
        time.sleep(0.001)
    submission.cancel()
    submission.wait(30)
    assert 0 < data[0] < 100_000 * 100_000
    assert data[0] % 100_000 == 0


def test_a_run_after_a_cancelled_one() -> None:
    data = np.zeros(1, np.uint32)
    program = chain_of(spin, data, [1000], 50)
    first = program.launch()
    first.cancel()
    first.wait(30)
    data[0] = 0
    program.run()
    assert data[0] == 50_000


def test_a_freed_program_says_so(on: str) -> None:
    program = chain_of(affine, np.zeros(1, np.uint32), [1, 1], on=on)
    with program:
        program.run()
    program.free()
    for verb, call in (("run", program.run), ("launch", program.launch)):
        with pytest.raises(StateError) as caught:
            call()
        assert str(caught.value) == f"[work.{verb}] the program was freed. Record and build it again."
    assert program.dispatches == 1


def test_free_waits_for_the_run() -> None:
    data = np.zeros(1, np.uint32)
    program = chain_of(spin, data, [200_000], 20)
    program.launch()
    program.free()
    assert data[0] == 4_000_000


def test_a_timeout_names_the_unit() -> None:
    unit = loom.boot(1, name="main unit")
    unit.dispatch(spin, [30_000_000], bind={"x": "registers"})
    submission = unit.build().launch()
    with pytest.raises(LoomTimeout, match=re.escape("[main unit.wait] still running")):
        submission.wait(0)
    unit.shutdown()


class _Interrupted:
    """A program of a device during whose run Ctrl-C comes, and what its run is then asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def run(self, begun: Callable[[Any], None]) -> None:
        begun(self)
        raise KeyboardInterrupt

    def wait(self, seconds: float) -> bool:
        self.asked.append(("wait", seconds))
        return "cancel" in self.asked

    def cancel(self) -> None:
        self.asked.append("cancel")


def test_ctrl_c_waits_for_what_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    program = loom.Chain("cpu").build()
    inner = _Interrupted()
    monkeypatch.setattr(program, "_inner", inner)
    with pytest.raises(KeyboardInterrupt):
        program.run()
    assert inner.asked[-2:] == ["cancel", ("wait", 1.0)]
