"""What running kernels tell the host: prints, asserts and bounds reports; each comes out once, in order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import AssertionFailed, KernelFault, OutOfBounds


@loom.kernel(workgroup=4)
def expect(x: loom.In[loom.u32], k: loom.u32) -> None:
    i = loom.global_id()
    if i < len(x):
        assert x[i] != k, f"element {i} is {k}"


LINE = expect.fn.__code__.co_firstlineno + 4


@loom.kernel(workgroup=1)
def tell(k: loom.u32) -> None:
    print("run", k)


@loom.kernel(workgroup=1)
def chatter(x: loom.InOut[loom.u32]) -> None:
    x[loom.global_id()] = 1
    print(loom.global_id())


@loom.kernel(workgroup=64)
def beyond(x: loom.InOut[loom.u32]) -> None:
    x[loom.global_id() + 1] = 1


@pytest.fixture
def unit(on: str) -> Iterator[loom.Unit]:
    with loom.boot(8, device=on, name="u") as booted:
        booted.write([10, 11, 12, 13, 14, 15, 16, 17], binding="registers")
        yield booted


def expecting(unit: loom.Unit, k: int) -> loom.Program:
    unit.dispatch(expect, [k], 2, bind={"x": "registers"})
    return unit.build()


def finish(submission: loom.Submission) -> None:
    while not submission.done:
        time.sleep(0.001)


def test_a_failed_assert_names_kernel_lane_and_line(unit: loom.Unit) -> None:
    with pytest.raises(AssertionFailed) as caught:
        expecting(unit, 15).run()
    fault = caught.value
    assert (fault.lane, fault.line, fault.message) == (5, LINE, "element 5 is 15")
    assert str(fault) == f"[kernel 'expect' at {__file__}:{LINE}] assertion failed in lane 5: element 5 is 15."


def test_the_first_lane_that_fails_is_the_one_named(unit: loom.Unit) -> None:
    unit.fill(3)
    with pytest.raises(AssertionFailed) as caught:
        expecting(unit, 3).run()
    assert caught.value.lane == 0


def test_a_fault_is_raised_once_and_the_unit_goes_on(unit: loom.Unit) -> None:
    submission = expecting(unit, 10).launch()
    finish(submission)
    with pytest.raises(AssertionFailed, match="element 0 is 10"):
        submission.poll()
    assert submission.poll()
    submission.wait()
    assert unit.read(0, 1).tolist() == [10]
    expecting(unit, 9).run()


@pytest.mark.parametrize("call", ["wait", "poll", "run", "read", "write", "fill", "copy_from", "shutdown"])
def test_a_fault_nobody_waited_for_is_raised_by_the_next_call(on: str, call: str) -> None:
    unit = loom.boot(8, device=on)
    failing, fine = expecting(unit, 0), expecting(unit, 1)
    failing.launch()
    later = fine.launch()
    finish(later)
    calls = {
        "wait": later.wait, "poll": later.poll, "run": fine.run, "read": unit.read, "write": lambda: unit.write([]),
        "fill": lambda: unit.fill(0), "copy_from": lambda: unit.copy_from(unit), "shutdown": unit.shutdown,
    }  # fmt: skip
    with pytest.raises(AssertionFailed, match="element 0 is 0"):
        calls[call]()
    calls[call]()
    unit.shutdown()


def test_faults_of_many_runs_come_oldest_first(unit: loom.Unit) -> None:
    programs = [expecting(unit, 10 + k) for k in (3, 1, 2)]
    submissions = [p.launch() for p in programs]
    seen = []
    for _ in range(5):
        try:
            unit.read(0, 1)
        except AssertionFailed as fault:
            seen.append(fault.lane)
    assert seen == [3, 1, 2]
    for submission in submissions:
        submission.wait()


def test_an_earlier_run_does_not_raise_what_a_later_one_did(unit: loom.Unit) -> None:
    fine, failing = expecting(unit, 1).launch(), expecting(unit, 10).launch()
    finish(failing)
    fine.wait()
    with pytest.raises(AssertionFailed, match="element 0 is 10"):
        failing.wait()


def test_a_run_that_raises_an_older_fault_has_done_nothing(on: str) -> None:
    x, flag = np.zeros(2, np.uint32), np.zeros(4, np.uint32)
    chain = loom.Chain(on)
    chain.dispatch(expect, [flag], [0])
    failing = chain.build()
    chain.dispatch(chatter, [x], groups=1)
    second = chain.build()
    failing.launch()
    with pytest.raises(AssertionFailed):
        second.run()
    assert x.tolist() == [0, 0]
    second.run()
    assert x.tolist() == [1, 0]


def test_leaving_a_unit_by_an_exception_keeps_that_exception(on: str) -> None:
    def work() -> None:
        with loom.boot(8, device=on) as unit:
            expecting(unit, 0).launch()
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        work()


def test_dispatches_after_a_fault_are_not_run(on: str) -> None:
    x = np.zeros(4, np.uint32)
    chain = loom.Chain(on)
    chain.dispatch(expect, [x], [0])
    chain.dispatch(chatter, [x])
    with pytest.raises(AssertionFailed):
        chain.build().run()
    assert x.tolist() == [0] * 4


def test_other_units_are_unharmed(on: str) -> None:
    units = [loom.boot(8, device=on) for _ in range(4)]
    submissions = []
    for k, unit in enumerate(units):
        unit.fill(k)
        submissions.append(expecting(unit, 2).launch())
    failed = []
    for k, submission in enumerate(submissions):
        try:
            submission.wait(30)
        except AssertionFailed:
            failed.append(k)
    assert failed == [2]
    assert [u.read().tolist() for u in units] == [[k] * 8 for k in range(4)]
    for unit in units:
        unit.shutdown()


def test_prints_of_runs_nobody_waited_for_come_out_in_order(on: str, capsys: pytest.CaptureFixture[str]) -> None:
    unit = loom.boot(1, device=on)
    for k in range(5):
        unit.dispatch(tell, [k])
        unit.build().launch()
    unit.shutdown()
    assert capsys.readouterr().out == "".join(f"run {k}\n" for k in range(5))


def test_prints_come_in_order_of_lanes(on: str, capsys: pytest.CaptureFixture[str]) -> None:
    chain = loom.Chain(on)
    chain.dispatch(chatter, [np.zeros(500, np.uint32)], [], 500)
    chain.build().run()
    assert capsys.readouterr().out == "".join(f"{i}\n" for i in range(500))


def test_a_full_log_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    x = np.zeros(20_000, np.uint32)
    chain = loom.Chain("cpu")
    chain.dispatch(chatter, [x], [], len(x))
    program = chain.build()
    for _ in range(2):
        program.run()
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1] == f"[loom] the kernel log was full: {(20_000 * 4 - 65536) * 8} bytes were dropped"
        assert len(lines) == 65536 // 4 + 1
    assert x.all()


def test_a_fault_that_no_longer_fits_the_log_is_still_raised(capsys: pytest.CaptureFixture[str]) -> None:
    x = np.zeros(20_000, np.uint32)
    chain = loom.Chain("cpu")
    chain.dispatch(chatter, [x], [], len(x))
    chain.dispatch(expect, [x], [1])
    with pytest.raises(KernelFault) as caught:
        chain.build().run()
    assert str(caught.value) == (
        "[kernel log] an assert failed or an index lay outside a buffer, and the full log has no room to say where. "
        "Print less, or run it in loom.debug()."
    )
    assert "the kernel log was full" in capsys.readouterr().out


def test_indexes_outside_are_reported_when_asked_for(on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.zeros(64, np.uint32)
    chain = loom.Chain(on)
    chain.dispatch(beyond, [x])
    chain.build().run()
    assert x.tolist() == [0] + [1] * 63
    monkeypatch.setenv("LOOM_CHECK", "1")
    chain.dispatch(beyond, [x])
    with pytest.raises(OutOfBounds) as caught:
        chain.build().run()
    fault = caught.value
    assert (fault.lane, fault.memory, fault.index, fault.bound) == (63, "x", 64, 64)
    assert str(fault) == (
        f"[kernel 'beyond' at {__file__}:{fault.line}] store outside buffer 'x' in lane 63: "
        "expected an index from 0 to 63, got 64. Guard it, for example with: if i < len(x)."
    )


def equal_kernels() -> list[Any]:
    """Two kernels of one text, and so one hash, on different lines."""

    @loom.kernel(workgroup=1)
    def refuse(x: loom.In[loom.u32]) -> None:
        assert x[0] == 5

    first = refuse

    @loom.kernel(workgroup=1)
    def refuse(x: loom.In[loom.u32]) -> None:
        assert x[0] == 5

    return [first, refuse]


def test_kernels_equal_but_for_their_lines_name_their_own(on: str) -> None:
    kernels = equal_kernels()
    assert kernels[0].verified.hash == kernels[1].verified.hash
    for kernel in kernels:
        chain = loom.Chain(on)
        chain.dispatch(kernel, [np.zeros(1, np.uint32)], [], 1)
        with pytest.raises(AssertionFailed) as caught:
            chain.build().run()
        assert caught.value.line == kernel.fn.__code__.co_firstlineno + 2
