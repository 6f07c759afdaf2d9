"""A worker: a process that owns one Loom device, keeps what it was given, and calls it.

Layer: workers. It is made an actor by ``loom.workers.pool``, imported on its own machine from its own Loom. Invariant:
an error of a call is its answer, and ends nothing but the call.
"""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Callable
from typing import Any

from loom.core.errors import ArgumentError, LoomError
from loom.core.given import is_array, is_mapping
from loom.core.late.dataclass import dataclass
from loom.core.optional import require
from loom.runtime.plans.library import calls_begun
from loom.workers.audit import result_digest
from loom.workers.versions import Versions, versions

__all__ = [
    "TELLING",
    "CallAnswer",
    "DeviceWorker",
    "InterruptedWorkerError",
    "Reported",
    "UnfitWorkerError",
    "WorkerFacts",
    "WorkerReport",
    "answer_digest",
]

TELLING = "telling"
"""The concurrency group of Ray that answers while a call is under way."""


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What a worker tells of itself when it has started."""

    number: int
    device: str
    description: str
    host: str
    node: str
    pid: int
    threads: int
    versions: Versions


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """How a call went: ``error``, None if there was none; ``digest`` of the result, if asked for; how long it took;
    ``summary``: what it reports beside its result."""

    error: BaseException | None
    digest: str
    seconds: float
    summary: Any = None


@dataclass(frozen=True, slots=True)
class Reported:
    """A result whose ``summary``, a few numbers, is told to who asked, while ``value`` may stay where it is."""

    summary: Any
    value: Any


def answer_digest(summary: object, value: object) -> str:
    """Return the digest of a result, and after a space that of what is told beside it, if anything is."""
    return result_digest(value) + ("" if summary is None else " " + result_digest(summary))


class UnfitWorkerError(Exception):
    """What a worker answers that has not, or no longer, what calls need: another is to take its place."""


class InterruptedWorkerError(UnfitWorkerError):
    """What a worker answers whose call was interrupted: what it keeps may be half changed."""


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker tells whoever asks, also while it computes."""

    number: int
    device: str
    host: str
    node: str
    pid: int
    threads: int
    calls: int
    seconds: float
    is_computing: bool


class DeviceWorker:
    """Owns the device called ``device``, with so many threads of the processor."""

    def __init__(self, number: int, device: str, threads: int) -> None:
        self.number, self.name, self.threads = number, device, threads
        self._calls, self._seconds, self._begun = 0, 0.0, 0.0
        self._held: dict[str, Any] = {}
        self._unbuilt: dict[str, Exception] = {}
        os.environ["LOOM_DEVICE"] = device
        os.environ["LOOM_THREADS"] = str(threads)

    def about(self) -> WorkerFacts | LoomError:
        """Open the device; return what the worker is, or why it cannot be used."""
        from loom.runtime.registry import device

        try:
            info = device(self.name).describe()
        except LoomError as error:
            return error
        return WorkerFacts(self.number, info.name, info.description, socket.gethostname(), self._node(), os.getpid(),
                           self.threads, versions())  # fmt: skip

    def report(self) -> WorkerReport:
        """Return what it has done so far; another thread than the one that computes asks."""
        begun = self._begun
        running = time.perf_counter() - begun if begun else 0.0
        return WorkerReport(self.number, self.name, socket.gethostname(), self._node(), os.getpid(), self.threads,
                            self._calls, round(self._seconds + running, 3), bool(begun))  # fmt: skip

    def _node(self) -> str:
        require("ray", "loom.cluster")
        import ray

        return str(ray.get_runtime_context().get_node_id())[:12]

    def hold(self, key: str, build: Callable[..., Any], *args: Any) -> None:
        """Keep what ``build`` makes of arguments, under a key; an error is what each call of it answers."""
        try:
            self._held[key] = build(*args)
            self._unbuilt.pop(key, None)
        except Exception as error:
            self._unbuilt[key] = error

    def drop(self, key: str) -> None:
        """Forget what is kept under a key, if anything is."""
        self._unbuilt.pop(key, None)
        held = self._held.pop(key, None)
        close = getattr(held, "close", None)
        if callable(close):
            close()

    def call(self, key: str, method: str, wants_digest: bool, *args: Any) -> tuple[CallAnswer, Any]:
        """Call a method of what is kept under a key; return how it went, and its result."""

        def work() -> Any:
            if key in self._unbuilt:
                raise self._unbuilt[key]
            if key not in self._held:
                raise UnfitWorkerError(f"worker {self.number} keeps nothing under {key!r}")
            return getattr(self._held[key], method)(*args)

        return self._answer(work, wants_digest=wants_digest)

    def _answer(self, work: Callable[[], Any], *, wants_digest: bool) -> tuple[CallAnswer, Any]:
        start, fast = time.perf_counter(), calls_begun()
        self._begun = start
        value: Any = None
        summary, digest, error = None, "", None
        try:
            made = work()
            if isinstance(made, Reported):
                summary, made = made.summary, made.value
            value = self.as_sent(made)
            digest = answer_digest(summary, value) if wants_digest else ""
            if wants_digest and calls_begun() != fast:
                raise ArgumentError("audit", "a result was computed with guarantee='fast' or order='any'",
                                    expected="exact results", got="bits that nobody vouches for",
                                    remedy="Leave audit, guarantee or order out")  # fmt: skip
        except KeyboardInterrupt as found:  # of a signal, or of the call
            error = InterruptedWorkerError(
                f"it was interrupted ({': '.join(['KeyboardInterrupt', *map(str, found.args)])})"
            )
        except BaseException as found:  # whatever it is, it ends the call alone
            if isinstance(found, SystemExit) and vars(found):
                raise  # Ray's own, which ends the worker
            error = _portable(found)
        seconds = time.perf_counter() - start
        self._calls, self._seconds, self._begun = self._calls + 1, self._seconds + seconds, 0.0
        return CallAnswer(error, digest, seconds, summary), value

    def as_sent(self, value: Any) -> Any:
        """Return what is sent of a result: arrays of the device as those of the host."""
        if is_array(value):
            return value
        if is_mapping(value):
            return {name: self.as_sent(each) for name, each in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self.as_sent(each) for each in value)
        to_host = getattr(value, "numpy", None)
        return to_host() if callable(to_host) else value


def _portable(error: BaseException) -> BaseException:
    """Return an error that another process can read, with the lines it came from: itself, or its text."""
    import pickle

    lines = "".join(traceback.format_tb(error.__traceback__)[2:])
    if hasattr(error, "add_note") and not isinstance(error, LoomError):
        error.add_note(f"in a worker:\n{lines}")
    try:
        if isinstance(error, Exception):  # one that would end who asks travels as a text
            pickle.loads(pickle.dumps(error))
            return error
    except Exception:
        pass
    return RuntimeError(f"{type(error).__name__}: {error}")
