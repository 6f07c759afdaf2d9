"""Transfers of a Support: done in the order asked for, whatever is launched meanwhile; failures are told."""

from __future__ import annotations

import concurrent.futures
import gc
import re
import subprocess
import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, AssertionFailed, DTypeError, LoomTimeout, ShapeError, StateError
from unit.support.support_kernels import grow, refuse

WORDS = 1024


def grower(unit: loom.Unit, by: int = 1, times: int = 50) -> loom.Program:
    with unit.repeat(times):
        unit.dispatch(grow, [0, WORDS, by], WORDS // 64)
    return unit.build()


def test_a_download_sees_what_was_launched_before_it_was_asked_for(support: loom.Support, on: str) -> None:
    unit = support.boot("work", WORDS, device=on)
    program = grower(unit)
    found = []
    for _ in range(10):
        program.launch()
        found.append(support.download("work"))
    for turn, transfer in enumerate(found):
        assert (transfer.result(20) == 50 * (turn + 1)).all()


def test_an_upload_comes_between_the_launches_around_it(support: loom.Support, on: str) -> None:
    unit = support.boot("work", WORDS, device=on)
    program = grower(unit, times=1)
    data = np.full(WORDS, 100, np.uint32)
    program.launch()
    support.upload(unit, data, binding="registers")
    data[:] = 7  # the caller's array is its own again
    program.launch()
    assert (support.download(unit).result(20) == 101).all()
    assert (unit.read() == 101).all()


def test_direct_calls_wait_for_transfers_asked_for_before(support: loom.Support) -> None:
    unit = support.boot("work", 4)
    for n in range(100):
        support.upload(unit, [n, n], binding="registers")
        assert unit.read(0, 2).tolist() == [n, n]


def test_transfers_of_one_thread_in_their_order(support: loom.Support) -> None:
    for name in "ab":
        support.boot(name, 1)
    threads = set()
    support.upload("a", [1], binding="registers").add_done_callback(lambda _: threads.add(threading.current_thread()))
    first = support.download("a")
    support.upload("a", [2], binding="registers")
    last = support.download("a")
    assert concurrent.futures.wait([first, last], 20).not_done == set()
    assert (first.result()[0], last.result()[0]) == (1, 2)
    assert [t.name for t in threads] in (["loom I/O"], ["MainThread"])


def test_waiting_for_a_unit_ends_in_time(support: loom.Support) -> None:
    unit = support.boot("work", 1)

    @loom.kernel(workgroup=1)
    def spin(registers: loom.InOut[loom.u32]) -> None:
        for _ in range(80_000_000):
            loom.atomic_add(registers, 0, 1)

    unit.dispatch(spin)
    unit.build().launch()
    with pytest.raises(LoomTimeout, match=re.escape("[support.wait] still running: expected done within 0.01 s.")):
        support.wait("work", timeout=0.01).result()
    assert unit.in_flight == 1
    with pytest.raises(ArgumentError, match="unusable timeout"):
        support.wait("work", timeout=-1.0)
    support.wait("work", timeout=60).result()
    assert unit.in_flight == 0
    support.wait("work", timeout=0.0).result()  # it is over
    assert unit.read().tolist() == [80_000_000]


def test_wait_for_a_submission_and_for_a_unit(support: loom.Support, on: str) -> None:
    unit = support.boot("work", WORDS, device=on)
    program = grower(unit)
    submission = program.launch()
    assert support.wait(submission).result(20) is None
    assert submission.done
    program.launch()
    support.wait("work").result(20)
    assert unit.in_flight == 0


def test_a_fault_reaches_the_transfer_and_leaves_other_units_alone(support: loom.Support, on: str) -> None:
    bad, good = support.boot("bad", 1, device=on), support.boot("good", WORDS, device=on)
    bad.dispatch(refuse)
    bad.build().launch()
    program = grower(good, times=3)
    program.launch()
    with pytest.raises(AssertionFailed, match="not so"):
        support.download("bad").result(20)
    assert (support.download("good").result(20) == 3).all()
    assert support.download("bad").result(20).tolist() == [0]


def test_failures_nobody_asked_about_come_out_at_the_end() -> None:
    support = loom.Support()
    support.boot("work", 1)
    support.upload("work", [1, 2], binding="registers")
    with pytest.raises(ShapeError, match=r"\[work.write\] range outside 'registers'"):
        support.shutdown()
    with loom.Support() as support:
        support.boot("work", 1)
        heard = support.upload("work", [1, 2], binding="registers")
        assert isinstance(heard.exception(20), ShapeError)


def test_what_is_under_way_says_more_than_a_failed_transfer() -> None:
    def work() -> None:
        with loom.Support() as support:
            support.boot("work", 1)
            support.upload("work", [1, 2], binding="registers")
            raise KeyError("first")

    with pytest.raises(KeyError, match="first"):
        work()


def test_cancelled_transfers_are_not_done_and_hold_nobody_up(support: loom.Support) -> None:
    unit = support.boot("work", 1)
    gate = threading.Event()
    support._io.ask("hold", lambda _: gate.wait(20))
    late = support.upload(unit, [9], binding="registers")
    assert late.cancel()
    gate.set()
    assert unit.read().tolist() == [0]


def test_chains_are_built_side_by_side(support: loom.Support, on: str) -> None:
    units = [support.boot(f"work {n}", WORDS, device=on) for n in range(5)]
    for n, unit in enumerate(units):
        with unit.repeat(n + 1):
            unit.dispatch(grow, [0, WORDS, 1], WORDS // 64)
    programs = support.build_all(units)
    assert [p.dispatches for p in programs] == [1, 2, 3, 4, 5]
    for program in programs:
        program.launch()
    assert [int(support.download(u, 0, 1).result(20)[0]) for u in units] == [1, 2, 3, 4, 5]
    assert support.build_all([]) == []


def test_when_one_build_fails_the_others_are_built(support: loom.Support, monkeypatch: pytest.MonkeyPatch) -> None:
    units = [support.boot(name, WORDS) for name in "abc"]
    for unit in units:
        unit.dispatch(grow, [0, WORDS, 1], WORDS // 64)

    def fail() -> Any:
        raise DTypeError("b", "no")

    monkeypatch.setattr(units[1], "build", fail)
    with pytest.raises(DTypeError, match="no"):
        support.build_all(list("abc"))
    assert [u.recorded for u in units] == [0, 1, 0]


def test_one_support_per_application(support: loom.Support) -> None:
    with pytest.raises(StateError) as caught:
        loom.Support()
    assert str(caught.value) == (
        "[loom.Support] the application has a Support already: expected one at a time. Use it, or shut it down first."
    )
    support.shutdown()
    loom.Support().shutdown()


def test_a_forgotten_support_goes() -> None:
    forgotten = loom.Support()
    forgotten.boot("work", 1)
    thread, seen = forgotten._io._thread, weakref.ref(forgotten)
    del forgotten
    gc.collect()
    assert seen() is None
    thread.join(20)
    assert not thread.is_alive()
    loom.Support().shutdown()


def test_shutdown_twice_and_everything_after_it(support: loom.Support) -> None:
    unit = support.boot("work", 1)
    asked = support.download("work")
    support.shutdown()
    support.shutdown()
    assert asked.result().tolist() == [0]
    assert not unit.is_open
    with pytest.raises(
        StateError, match=r"\[support.boot\] it is shut down: expected a running Support. Open a new one."
    ):
        support.boot("more", 1)
    with pytest.raises(StateError, match=r"\[support.snapshot\] it is shut down"):
        support.snapshot("a")
    assert repr(support) == "<loom Support: no units, shut down>"


def test_adopted_units_stay_the_callers(support: loom.Support) -> None:
    with loom.boot(2, name="mine") as unit:
        support.adopt("theirs", unit)
        support.upload("theirs", [3], binding="registers").result(20)
        assert unit.read(0, 1).tolist() == [3]
        support.shutdown()
        assert unit.is_open


def test_units_shut_down_are_served_no_more(support: loom.Support) -> None:
    support.boot("work", 1).shutdown()
    assert support.units == {}
    support.snapshot("of nothing").result(20)
    assert support.boot("work", 2).read().tolist() == [0, 0]


CASES: dict[str, tuple[Any, type[Exception], str]] = {
    "unknown unit": (
        lambda s: s.download("wrok"), ArgumentError,
        "[support.download] no unit of this Support is called 'wrok'. Did you mean 'work'?",
    ),
    "a number": (lambda s: s.wait(3), ArgumentError, "[support.wait] no unit of this Support is called '3'."),
    "name taken": (
        lambda s: s.boot("work", 1), ArgumentError,
        "[support.boot] the name is taken: expected a new name, got work. Choose another.",
    ),
    "no name": (lambda s: s.boot("", 1), ArgumentError, "[support.boot] not a name: expected a str, got ''. Name it."),
    "no unit": (
        lambda s: s.adopt("x", 3), DTypeError,
        "[support.adopt 'x'] not a unit: expected what loom.boot returned, got int.",
    ),
    "shape": (
        lambda s: s.present("work", (0, 4)), ShapeError,
        "[work.present] not the shape of a picture: expected (height, width), both at least 1, got (0, 4). "
        "Pass a pair of ints.",
    ),
    "snapshot's name": (lambda s: s.snapshot(3), ArgumentError, "[support.snapshot] not a name: expected a str"),
    "snapshot of": (lambda s: s.snapshot("a", ["x"]), ArgumentError, "[support.snapshot] no unit of this Support"),
    "facts": (
        lambda s: s.checkpoint("p", facts={1, 2}), ArgumentError, "[support.checkpoint] facts that JSON cannot hold",
    ),
    "timeout": (
        lambda s: s.wait(s.units["work"].build().launch(), -1).result(20),
        ArgumentError, "unusable timeout",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_misuse_says_what_to_do(support: loom.Support, case: tuple[Any, type[Exception], str]) -> None:
    support.boot("work", 4)
    call, kind, text = case
    with pytest.raises(kind) as caught:
        call(support)
    assert text in str(caught.value)


def test_workers_and_budget_are_checked() -> None:
    with pytest.raises(ArgumentError, match=r"\[loom.Support\] unusable workers"):
        loom.Support(workers=-1)
    with pytest.raises(ArgumentError, match=r"\[loom.Support\] unusable snapshot_nbytes"):
        loom.Support(snapshot_nbytes=1.5)  # type: ignore[arg-type]


def test_a_wait_that_is_too_long_says_so(support: loom.Support) -> None:
    unit = support.boot("work", WORDS)
    with unit.repeat(1_000_000):
        unit.dispatch(grow, [0, WORDS, 1], WORDS // 64)
    submission = unit.build().launch()
    with pytest.raises(LoomTimeout):
        support.wait(submission, timeout=0).result(20)
    submission.cancel()


def test_the_process_ends_with_transfers_under_way() -> None:
    code = (
        "import loom, sys\ns = loom.Support()\nu = s.boot('work', 4, device=sys.argv[1])\n"
        "s.upload(u, [1, 2], binding='registers')\ns.upload(u, [1] * 9, binding='registers')\nprint('over')"
    )
    done = subprocess.run([sys.executable, "-c", code, "cpu"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "over\n")
    assert done.stderr.startswith("a transfer nobody asked about failed: [work.write] range outside 'registers'")
