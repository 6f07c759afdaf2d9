"""Critical sections, and what stands on them: Ctrl-C at every place where Python looks for signals leaves things whole.

A trace function finds these places: behind calls, at the beginning of a function and at the end of a turn of a loop.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path

import pytest

from loom.core.process.critical import CRITICAL, Latch
from loom.core.process.thread_pools import ThreadPool

_PRESSES = """
import dis, faulthandler, signal, sys, threading
from loom.core.process.critical import CRITICAL, Latch, start_thread
from loom.core.process.thread_pools import ThreadPool
from loom.runtime.drivers.copying import do_all

signal.signal(signal.SIGINT, signal.default_int_handler)
faulthandler.dump_traceback_later(50, exit=True)

def press_at(place, work):
    '''Do work, with Ctrl-C at a place of it; tell whether it has so many.'''
    seen, before = 0, {}
    def trace(frame, event, _):
        nonlocal seen
        frame.f_trace_opcodes = True
        if event == "opcode":
            last = before.get(id(frame), "")
            before[id(frame)] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if last.startswith(("CALL", "RESUME", "JUMP_BACKWARD")):
                seen += 1
                if seen == place:
                    sys.settrace(None)
                    signal.raise_signal(signal.SIGINT)
        return trace
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    return seen == place

def everywhere(work, check, step=1):
    place = 1
    while press_at(place, work):
        check()
        place += step
    print(place > 20)
"""


def _outcome(script: str, folder: Path) -> str:
    path = folder / "script.py"
    path.write_text(_PRESSES + script)
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_press_anywhere_in_the_work_of_a_crew(tmp_path: Path) -> None:
    script = """
crew = ThreadPool(3)
def work(crew=crew):
    out = []
    do_all(crew, [lambda: out.append(1)] * 2, meanwhile=lambda: out.append(1))
    assert len(out) == 3
everywhere(work, work)
everywhere(lambda: work(ThreadPool(2)), work, step=5)
"""
    assert _outcome(script, tmp_path) == "True\nTrue\n"


def test_a_press_anywhere_in_a_future(tmp_path: Path) -> None:
    script = """
crew = ThreadPool(1)
def work():
    future = crew.submit(divmod, 7, 2)
    assert future.result() == (3, 1) and future.exception() is None
everywhere(work, work)
"""
    assert _outcome(script, tmp_path) == "True\n"


def test_a_press_anywhere_in_a_flag_and_the_start_of_a_thread(tmp_path: Path) -> None:
    script = """
def work():
    flag, ended = Latch(), Latch()
    thread = threading.Thread(target=lambda: (flag.set(), ended.set()))
    begun.append((thread, ended))
    start_thread(thread)
    assert flag.wait(5)
def check():
    for thread, ended in begun:
        assert thread.ident is None or ended.wait(5)
    begun.clear()
begun = []
everywhere(work, check)
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert CRITICAL._depth == 0
"""
    assert _outcome(script, tmp_path) == "True\n"


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """Return the signals that a handler of the user's gets."""
    found: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: found.append(number))
    yield found
    signal.signal(signal.SIGINT, before)


def test_the_handler_is_called_at_the_end_of_the_last_section(handled: list[int]) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with CRITICAL:
        with CRITICAL:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        assert not handled
    assert handled == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is handler
    signal.raise_signal(signal.SIGINT)
    assert len(handled) == 2


def test_looking_calls_the_handler(handled: list[int]) -> None:
    with CRITICAL:
        CRITICAL.look()
        signal.raise_signal(signal.SIGINT)
        CRITICAL.look()
        assert handled == [signal.SIGINT]
    assert handled == [signal.SIGINT]


def test_a_handler_set_in_a_section_stays(handled: list[int]) -> None:
    others: list[int] = []
    with CRITICAL:
        signal.signal(signal.SIGINT, lambda number, _frame: others.append(number))
    signal.raise_signal(signal.SIGINT)
    assert (handled, others) == ([], [signal.SIGINT])


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_is_no_handler_is_left_alone(handled: list[int], handler: signal.Handlers) -> None:
    signal.signal(signal.SIGINT, handler)
    with CRITICAL:
        assert signal.getsignal(signal.SIGINT) is handler
    assert not handled


def test_sections_of_other_threads_are_none(handled: list[int]) -> None:
    handler, seen = signal.getsignal(signal.SIGINT), list[object]()

    def section() -> None:
        with CRITICAL:
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=section)
    thread.start()
    thread.join()
    assert seen == [handler]


def test_a_flag_that_nobody_sets_in_time() -> None:
    flag = Latch()
    start = time.monotonic()
    assert not flag.wait(0.12)
    assert 0.1 < time.monotonic() - start < 5
    assert not flag.wait(0)
    flag.set()
    flag.set()
    assert flag.wait()
    assert flag


def test_a_crew_tells_what_its_work_raised_and_drops_what_it_is_not_to_do() -> None:
    gate = Latch()
    with ThreadPool(1) as crew:
        first, second, third = crew.submit(gate.wait), crew.submit(lambda: 1 // 0), crew.submit(int)
        assert not first.done()
        with pytest.raises(NotYet):
            first.result(0.01)
        assert third.cancel()
        gate.set()
        assert first.result()
        with pytest.raises(ZeroDivisionError):
            second.result()
        assert isinstance(second.exception(), ZeroDivisionError)
    assert third.cancelled()
    assert list(ThreadPool(2).map(abs, [-1, 2])) == [1, 2]


def test_what_a_crew_is_shut_down_before_is_cancelled() -> None:
    gate, crew = Latch(), ThreadPool(1)
    first, second = crew.submit(gate.wait), crew.submit(int)
    crew.shutdown(wait=False, cancel_futures=True)
    gate.set()
    assert first.result()
    assert second.cancelled()
