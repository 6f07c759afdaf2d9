"""Many threads on one unit and on several: nothing is lost, nothing is torn, nobody waits for ever.

Oracle: invariants. Every run adds the same to every word, so words that differ were read in the middle of a run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

import loom
from loom.core.errors import StateError
from unit.support.support_kernels import grow, sum_up

WORDS = 4096


def together(*works: Callable[[], None]) -> None:
    """Run functions side by side; raise what one of them raised."""
    failed: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "threads wait for each other"
    if failed:
        raise failed[0]


def halves(unit: loom.Unit) -> loom.Program:
    """Record a run that adds 1 to every word, one half after the other."""
    for first in (0, WORDS // 2):
        unit.dispatch(grow, [first, WORDS // 2, 1], groups=WORDS // 128)
    return unit.build()


def test_reads_are_never_torn_by_launches_of_another_thread(on: str) -> None:
    with loom.boot(registers=WORDS, device=on) as unit:
        program, seen = halves(unit), []

        def launch() -> None:
            for _ in range(60):
                program.launch()

        def read() -> None:
            for _ in range(30):
                seen.append(unit.read())

        together(launch, read, read)
        assert all((words == words[0]).all() for words in seen)
        assert (unit.read() == 60).all()


def test_a_reader_sees_counts_that_only_grow(on: str) -> None:
    with loom.boot(registers=WORDS, device=on) as unit:
        program, seen = halves(unit), []

        def launch() -> None:
            for _ in range(40):
                program.run()

        together(launch, lambda: seen.extend(int(unit.read(0, 1)[0]) for _ in range(40)))
        assert seen == sorted(seen)


def test_writes_and_fills_of_other_threads_are_whole(on: str) -> None:
    with loom.boot(registers=WORDS, globals=WORDS, device=on) as unit:
        unit.dispatch(sum_up, [WORDS], groups=WORDS // 64)
        program = unit.build()
        ones, twos = np.full(WORDS, 1, np.uint32), np.full(WORDS, 2, np.uint32)
        together(
            lambda: [unit.write(ones) for _ in range(20)] and None,
            lambda: [unit.fill(2, binding="globals") for _ in range(20)] and None,
            lambda: [program.launch() for _ in range(40)] and None,
        )
        words = unit.read()
        assert (words == words[0]).all()
        assert unit.read(binding="globals").tolist() in (ones.tolist(), twos.tolist())


def test_dispatches_of_many_threads_are_all_recorded(on: str) -> None:
    with loom.boot(registers=WORDS, device=on) as unit:
        together(*[lambda: [unit.dispatch(grow, [0, WORDS, 1], WORDS // 64) for _ in range(25)] and None] * 4)
        assert unit.recorded == 100
        program = unit.build()
        assert program.dispatches == 100
        program.run()
        assert (unit.read() == 100).all()


def test_units_of_their_own_go_on_side_by_side(on: str) -> None:
    units = [loom.boot(registers=WORDS, device=on) for _ in range(4)]

    def work(unit: loom.Unit, by: int) -> None:
        for _ in range(10):
            unit.dispatch(grow, [0, WORDS, by], WORDS // 64)
            unit.build().run()

    together(*[lambda u=u, n=n: work(u, n + 1) for n, u in enumerate(units)])
    assert [int(u.read(0, 1)[0]) for u in units] == [10, 20, 30, 40]
    for unit in units:
        unit.shutdown()


def test_copies_both_ways_at_once_do_not_wait_for_each_other(on: str) -> None:
    a, b = (loom.boot(registers=WORDS, device=on) for _ in range(2))
    a.fill(1)
    b.fill(2)
    together(
        lambda: [a.copy_from(b) for _ in range(50)] and None,
        lambda: [b.copy_from(a) for _ in range(50)] and None,
    )
    for words in (a.read(), b.read()):
        assert (words == words[0]).all()
    a.shutdown()
    b.shutdown()


def test_shutdown_while_others_use_the_unit(on: str) -> None:
    unit = loom.boot(registers=WORDS, device=on)
    program = halves(unit)
    begun = threading.Event()

    def use_for_ever() -> None:
        while True:
            program.launch()
            unit.read(0, 1)
            begun.set()

    def use() -> None:
        with pytest.raises(StateError, match="is shut down"):
            use_for_ever()

    def stop() -> None:
        assert begun.wait(20)
        unit.shutdown()

    together(use, use, stop)


def test_copy_from_within_one_unit(on: str) -> None:
    with loom.boot(registers=8, device=on) as unit:
        unit.write([1, 2, 3, 4], binding="registers")
        unit.copy_from(unit, start=0, count=4, offset=2)
        assert unit.read().tolist() == [1, 2, 1, 2, 3, 4, 0, 0]


def test_copy_between_devices() -> None:
    with loom.boot(registers=4, device="interp") as a, loom.boot(registers=4, device="cpu") as b:
        a.write([5, 6, 7, 8], binding="registers")
        b.copy_from(a, start=1, count=2)
        assert b.read().tolist() == [6, 7, 0, 0]
