"""The worker threads: starts them, hands them submissions, waits. The work itself is ``walker/pool.ll``.

Layer: runtime. One pool serves the process; a fork gets a pool of its own. Invariant: a submission's
memory stays alive until its state says done.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import platform
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from loom.core import options
from loom.core.errors import DeviceError
from loom.core.process.forks import hold_over_forks
from loom.runtime.drivers.cpu.code import LinkedCode, link
from loom.runtime.drivers.cpu.walker import walker_source
from loom.runtime.port.cache import ArtifactCache
from loom.targets.base import LOG_HEADER_WORDS, Artifact
from loom.targets.llvm.machine import emit, host_machine

__all__ = ["Pool", "SubmissionCells", "pool"]


class SubmissionCells(ctypes.Structure):
    """What the walker calls %Submission, and after it a log with room for no word.

    State: 0 waiting or running, 2 done. Excess: 0, or 1 more than the number of an indirect dispatch that asked for
    too many groups. Clock: 0, or where the times go at which batches begin.
    """

    _fields_ = [
        *((name, ctypes.c_uint64) for name in (
            "records", "count", "log", "state", "next", "successor", "cancel", "executed", "excess", "clock",
        )),
        ("empty_log", ctypes.c_uint64 * LOG_HEADER_WORDS),
    ]  # fmt: skip


_ENTRIES = ("loom_pool_size", "loom_pool_start", "loom_pool_stop", "loom_submit", "loom_run", "loom_wait")
_FIRST_CALLER_SLOT, _SLOTS = 64, 96
_INLINE_NANOSECONDS = 50_000_000


def _walker_code() -> LinkedCode:
    """Return the walker's code: as it is written, which is as fast as optimised and much sooner there."""
    machine = host_machine(optimised=False)
    source = walker_source(platform.system(), platform.machine(), machine.triple)
    artifact = ArtifactCache().artifact(
        f"walker {machine} {source}",
        lambda: Artifact("object", emit(source, machine, "object"), "walker"),
    )
    return link(artifact.data, *_ENTRIES)


class Pool:
    """``threads`` workers, of which a caller that runs a submission itself replaces one."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._code = _walker_code()
        pointer, word = ctypes.c_void_p, ctypes.c_int64
        self._start = self._function("loom_pool_start", word, pointer, word)
        self._stop = self._function("loom_pool_stop", None, pointer)
        self._submit = self._function("loom_submit", None, pointer, pointer, pointer)
        self._run = self._function("loom_run", ctypes.c_int32, pointer, pointer, word, word)
        self._wait = self._function("loom_wait", ctypes.c_int32, pointer, pointer, word)
        size = self._function("loom_pool_size", word)()
        self._memory = np.zeros(size + 64, np.uint8)
        self._address = (self._memory.ctypes.data + 63) & ~63
        self._free_slots = list(range(_FIRST_CALLER_SLOT, _SLOTS))
        self._started = False
        self._is_starting = False
        self._lock = threading.RLock()

    def _function(self, name: str, result: type | None, *arguments: type) -> Callable[..., Any]:
        return ctypes.CFUNCTYPE(result, *arguments)(self._code.address(name))

    def _ensure_started(self) -> None:
        with self._lock:
            if not (self._started or self._is_starting):
                self._is_starting = True
                try:
                    started = self._start(self._address, self.threads)
                finally:
                    self._is_starting = False
                if started < self.threads:
                    raise DeviceError(
                        "device 'cpu'", "threads could not be started", expected=self.threads, got=started,
                        remedy="Lower LOOM_THREADS or raise the process limit",
                    )  # fmt: skip
                self._started = True

    def submit(self, submission: int, previous: int) -> None:
        """Queue the submission at an address, after ``previous`` (0: none)."""
        if not self._started:
            self._ensure_started()
        if self._is_starting and not previous:  # a finalizer in the middle of that: there may be no worker yet
            self.run(submission)
        else:
            self._submit(self._address, submission, previous)

    def run(self, submission: int) -> None:
        """Run a submission in the calling thread, the other workers helping.

        A long one is handed to the workers after a while, so that the caller can look at signals; it may
        still be under way when this returns.
        """
        if not self._started:
            self._ensure_started()
        try:
            slot = self._free_slots.pop()
        except IndexError:  # many threads run at once: let the workers do it
            self._submit(self._address, submission, None)
            return
        try:
            self._run(self._address, submission, slot, _INLINE_NANOSECONDS)
        finally:
            self._free_slots.append(slot)

    def wait(self, submission: int, seconds: float) -> bool:
        """Wait for a submission at most ``seconds``; tell whether it is done."""
        return bool(self._wait(self._address, submission, int(seconds * 1e9)))

    def stop(self) -> None:
        """End the workers."""
        if self._started:
            self._started = False
            self._stop(self._address)


_pools: dict[int, Pool] = {}
_pools_lock = hold_over_forks(threading.RLock())


def pool() -> Pool:
    """Return the pool of this process, with as many threads as ``LOOM_THREADS`` says now."""
    threads = options.thread_count()
    found = _pools.get(threads)
    if found is None:
        with _pools_lock:
            found = _pools.get(threads) or _pools.setdefault(threads, Pool(threads))
    return found


@atexit.register
def _stop_pools() -> None:
    for each in _pools.values():
        each.stop()


def _after_fork() -> None:
    """A child has no worker threads: forget the parent's pools without stopping them."""
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
