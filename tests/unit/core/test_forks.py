"""Locks over forks: free in the child, whole on both sides, and no fork that waits for ever."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Generator
from typing import Any

import pytest

from loom.core.process.forks import hold_over_forks, renew_after_forks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")


@pytest.fixture(autouse=True)
def quiet() -> Generator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that a process of several threads is forked
        yield


def in_child(work: Callable[[], bool]) -> bool:
    """Tell whether ``work`` holds in a child."""
    pid = os.fork()
    if not pid:
        os._exit(0 if work() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_what_a_lock_guards_is_whole_in_a_child() -> None:
    lock, pair = hold_over_forks(threading.Lock()), [0, 0]
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            with lock:
                pair[0] += 1
                time.sleep(0.001)
                pair[1] += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(10):
            assert in_child(lambda: lock.acquire(timeout=5) and pair[0] == pair[1])
    finally:
        stop.set()
        thread.join()
    assert lock.acquire(timeout=5)


def test_no_order_of_locks_holds_a_fork_up() -> None:
    first, second = hold_over_forks(threading.RLock()), hold_over_forks(threading.RLock())
    stop = threading.Event()

    def nest(outer: Any, inner: Any) -> None:
        while not stop.is_set():
            with outer:
                time.sleep(0.002)
                if inner.acquire(timeout=0.5):  # never for long, as both threads could wait for each other
                    inner.release()
            time.sleep(0.001)

    threads = [threading.Thread(target=nest, args=pair) for pair in ((first, second), (second, first))]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    try:
        assert all(in_child(lambda: first.acquire(timeout=5) and second.acquire(timeout=5)) for _ in range(5))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert time.monotonic() - began < 30


def test_an_object_makes_its_locks_anew_in_a_child() -> None:
    class Owner:
        lock: threading.Lock

        def make(self) -> None:
            self.lock = threading.Lock()

    owner = Owner()
    renew_after_forks(owner, Owner.make)
    with owner.lock:
        assert in_child(lambda: owner.lock.acquire(timeout=5))
    assert owner.lock.acquire(timeout=5)
