"""Threads for work of their own, which Ctrl-C in the main thread leaves whole.

Layer: core. Invariant: what was asked for is done or cancelled, and told, whenever Ctrl-C is pressed.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from functools import partial
from typing import ParamSpec, TypeVar

from loom.core.process.critical import CRITICAL, Latch

__all__ = ["ThreadPool"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _PoolTask(Future[_T]):
    """What a pool was asked for. Who asked waits for a latch, and takes the result in a section."""

    def __init__(self) -> None:
        super().__init__()
        self._latch = Latch()

    def do(self, work: Callable[[], _T]) -> None:
        """Do the work, in a thread of the pool, unless it was cancelled."""
        if not self.set_running_or_notify_cancel():
            return
        try:
            found = work()
        except BaseException as error:
            self.set_exception(error)
        else:
            self.set_result(found)
        finally:
            self._latch.set()

    def follow(self, begun: Future[None]) -> None:
        """Be cancelled with what was to do it."""
        if begun.cancelled():
            self.cancel()

    def cancel(self) -> bool:
        with CRITICAL:
            done = super().cancel()
            if done:
                self._latch.set()
            return done

    def result(self, timeout: float | None = None) -> _T:
        if not self._latch.wait(timeout):
            raise NotYet
        with CRITICAL:
            return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        if not self._latch.wait(timeout):
            raise NotYet
        with CRITICAL:
            return super().exception(0)


class ThreadPool(ThreadPoolExecutor):
    """Threads for work of their own: an executor that Ctrl-C in the main thread leaves whole, with its futures."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Have a function called by a thread; return the future of its result."""
        with CRITICAL:
            task: _PoolTask[_T] = _PoolTask()
            super().submit(task.do, partial(fn, *args, **kwargs)).add_done_callback(task.follow)
            return task

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Begin nothing more; ``wait`` for what was begun."""
        with CRITICAL:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
        if wait:
            super().shutdown(wait=True)
