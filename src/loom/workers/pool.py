"""A pool of workers: Ray actors that own one Loom device each.

Layer: workers. Invariant: what a computation gives depends on its calls alone: workers may be killed, added, slow or
of different devices.
"""

from __future__ import annotations

import itertools
import os
import pickle
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, cast

from loom.core import options
from loom.core.errors import ArgumentError, DeviceError, DTypeError, LoomTimeout, StateError
from loom.core.given import is_int, is_tuple, items, text
from loom.core.numbers import real, whole
from loom.core.tracebacks import warn_caller
from loom.runtime.registry import driver
from loom.workers.audit import AuditPlan, WorkerFault, result_digest
from loom.workers.computing import Computation, Judge, WorkerCall
from loom.workers.gathering import gather
from loom.workers.joining import join_ray
from loom.workers.members import Held, Member, Members, facts_of
from loom.workers.worker import DeviceWorker

__all__ = ["WorkerPool", "devices_of"]

MOST_WORKERS = 4096
_keys = itertools.count()
_TOGETHER = -1
"""Stands for all workers where calls are counted that they make together."""


class WorkerPool:
    """Workers on the Ray at ``address``, or on one that is started on this machine and ended by ``close``.

    ``workers``: how many, on ``device``, or the name of each one's device (``["cpu", "vulkan"]``). ``threads``: of the
    processor, for each; on this machine its cores are else shared out, on a cluster it is 1, or what Ray should give
    each. ``audit``: the share of each worker's calls, and of the batches of a training, that a second one computes as
    well, chosen by ``seed``. ``patience``: seconds after which a worker that says nothing is taken for lost.
    ``store_nbytes``: of the object store of a Ray started here.

    DeviceError where Ray is missing, cannot be reached, or has not what the workers need; where a worker's device is
    missing; where its versions are others. Nothing is left running then.

    Args:
        workers: Number of workers, or the name of each one's device.
        address: Ray's head, host:port; None: one that is started on this machine, and ended by ``close``.
        threads: Threads of the processor for each; None: its cores are shared out here, on a cluster it is 1.
        audit: Share, from 0 to 1, of each worker's calls that a second one computes as well.
        seed: Whole number that chooses which, at least 0.
        patience: Seconds, at least 1, after which a worker that says nothing is taken for lost.
        store_nbytes: Bytes of the object store of a Ray started here; None: as Ray has it.
        device: Name of the workers' device, where ``workers`` is a number; None: the default device.
        where: Name that errors have.
        actor: Class of what runs on each worker.

    Raises:
        ArgumentError: A number is out of range; an address, or an object store, that cannot be used.
        DTypeError: A name that is no text.
        DeviceError: Ray is missing, cannot be reached, or has not what the workers need; a worker's device is missing,
            or its versions are others.
        LoomTimeout: Workers did not start in time.
    """

    def __init__(
        self, workers: int | Sequence[str] = 2, *, address: str | None = None, threads: int | None = None,
        audit: float = 0.0, seed: int = 0, patience: float = 600.0, store_nbytes: int | None = None,
        device: str | None = None, where: str = "loom.workers", actor: type = DeviceWorker,
    ) -> None:  # fmt: skip
        self.where = where
        names = devices_of(workers, device, where)
        self._plan = AuditPlan(
            real(audit, f"{where}, audit", least=0.0, most=1.0), whole(seed, f"{where}, seed", least=0)
        )
        self._patience = real(patience, f"{where}, patience", least=1.0)
        address = None if address is None else text(address, f"{where}, address")
        if threads is not None:
            threads = whole(threads, f"{where}, threads", least=1, most=options.MAX_THREADS)
        if store_nbytes is not None:
            store_nbytes = whole(store_nbytes, f"{where}, store_nbytes", least=1)
        self._joined = join_ray(where, address, len(names), store_nbytes)
        own = max(1, _cores() // len(names)) if self._joined.is_started else 1
        self._members = Members(self._joined, actor, threads or own, where)
        self._turn = threading.Lock()
        self.faults: list[WorkerFault] = []
        self.is_closed = False
        try:
            self._require_resources(names)
            for name in names:
                self._members.start(name)
            self._require_start()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        """Return how many workers it has, and where."""
        return f"<loom.workers.WorkerPool of {len(self)} workers on Ray at {self.address}>"

    def __len__(self) -> int:
        """Return how many workers there are, those that start among them."""
        return sum(m.is_alive for m in self._members)

    def __enter__(self) -> WorkerPool:
        """Return the pool, which the end of the ``with`` closes."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    @property
    def address(self) -> str:
        """Where Ray's head is: host:port."""
        return self._joined.address

    @property
    def ray(self) -> Any:
        """The package ``ray``, joined."""
        return self._joined.ray

    @property
    def patience(self) -> float:
        """Seconds after which a worker that says nothing is taken for lost."""
        return self._patience

    @property
    def audit(self) -> float:
        """The share of calls that are computed twice."""
        return self._plan.share

    def close(self) -> None:
        """End the workers, and Ray if it was started here; nothing is done the second time."""
        if not self.is_closed:
            self.is_closed = True
            if not self._joined.is_of_parent:
                self._members.close()
            self._joined.close()

    # membership

    def add(self, device: str | None = None) -> int:
        """Start one more worker, and return its number at once: it takes part in what is computed when it is ready.

        Args:
            device: Name of its device; None: that of the first worker.

        Returns:
            Number of the worker.

        Raises:
            ArgumentError: Not usable as a device's name.
            DTypeError: Not a text.
            DeviceError: There is no such device, or Ray has not what it needs.
            StateError: The pool is closed, or of the process that this one was forked from.
        """
        self._open("add")
        (name,) = devices_of(1 if device is None else [device], self._members.all[0].device, f"{self.where}, add")
        self._require_resources([name])
        return self._members.start(name).number

    def remove(self, worker: int) -> None:
        """Send a worker away; what it had at hand others compute. ArgumentError if there is none of this number.

        Args:
            worker: Number of the worker, as of ``status``.

        Raises:
            ArgumentError: No worker that is there has this number.
            StateError: The pool is closed, or of the process that this one was forked from.
        """
        self._open("remove")
        worker = whole(worker, f"{self.where}, remove", least=0, remedy="See status()")
        for member in self._members:
            if member.is_alive and member.number == worker:
                self._members.leave(member)
                return
        raise ArgumentError(f"{self.where}, remove", "no worker has this number", got=worker,
                            expected=f"one of {[m.number for m in self._members if m.is_alive]}",
                            remedy="See status()")  # fmt: skip

    def wait(self, seconds: float | None = None) -> int:
        """Wait until no worker is starting any more; return how many are ready.

        Args:
            seconds: Most seconds, at least 0; None: the pool's patience.

        Returns:
            Number of workers that are ready.

        Raises:
            ArgumentError: Not a number of seconds.
            StateError: The pool is closed, or of the process that this one was forked from.
        """
        self._open("wait")
        self._members.settle(self._patience if seconds is None else real(seconds, f"{self.where}, wait", least=0))
        return len(self._members.ready())

    def status(self) -> list[dict[str, Any]]:
        """Return what is known of each worker that ever was, as plain data."""
        return [dict(facts_of(m)) for m in self._members]

    def _require_resources(self, names: Sequence[str]) -> None:
        wanted: dict[str, float] = {}
        for name in names:
            for resource, count in self._members.needs(name).items():
                wanted[resource] = wanted.get(resource, 0) + count
        there = self._joined.resources()
        short = [
            f"{count:g} {name}" for name, count in (("CPU", wanted["num_cpus"]), ("GPU", wanted["num_gpus"]))
            if count > there.get(name, 0)
        ]  # fmt: skip
        if short:
            got = ", ".join(f"{there.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
            raise DeviceError(self.where, "Ray has not what these workers need", expected=" and ".join(short), got=got,
                              remedy="Ask for fewer workers or threads, or add nodes with ray start --address ...",
                              )  # fmt: skip

    def _require_start(self) -> None:
        """Wait for the first workers; an error if one of them was refused or did not come."""
        self._members.settle(self._patience)
        late = self._members.starting()
        refused = [m for m in self._members if m.state == "refused"]
        if refused:
            raise DeviceError(self.where, f"{refused[0]} cannot be used: {refused[0].why}",
                              remedy="Install the same Loom on all nodes, and name devices that they have",
                              )  # fmt: skip
        if late:
            free = {name: count for name, count in self.ray.available_resources().items() if name in ("CPU", "GPU")}
            raise LoomTimeout(self.where, f"{len(late)} workers did not start within {self._patience:g} seconds",
                              expected="resources that are free", got=f"{free} free",
                              remedy="Wait for other work of this Ray, or ask for fewer")  # fmt: skip

    # computing

    def hold(self, build: Callable[..., Any], arguments: Callable[[], tuple[Any, ...]] = tuple) -> str:
        """Have each worker keep ``build(*arguments())``, those that join later too; return the key it is called by."""
        self._open("hold")
        key = f"held {next(_keys)}"
        held = self._members.held[key] = Held(build, arguments)
        given = arguments()
        try:
            for member in self._members.ready():
                member.handle.hold.remote(key, held.build, *given)
        except BaseException:
            del self._members.held[key]  # those that join later would be given it
            raise
        return key

    def drop(self, key: str) -> None:
        """Have the workers forget what they keep under a key."""
        self._members.held.pop(key, None)
        if not self.is_closed:
            for member in self._members.ready():
                member.handle.drop.remote(key)

    def compute(
        self, key: str, method: str, calls: Sequence[tuple[Any, ...]], *, judge: Judge | None = None
    ) -> list[Any]:
        """Return the results, in order, of calls of a method of what workers keep.

        Each call is computed by any one worker; those of workers that die, by others. ``judge`` computes one here, and
        decides where an audit finds two results. The first error that a call raises is raised.
        """
        done = self.run(key, method, calls, judge=judge)
        values = self.fetch([call.value for call in done])
        liars = self._senders_of_others(done, values)
        if again := [n for n, call in enumerate(done) if call.by in liars]:
            for n, value in zip(again, self.compute(key, method, [calls[n] for n in again], judge=judge), strict=True):
                values[n] = value
        return values

    def _senders_of_others(self, calls: Sequence[WorkerCall], values: Sequence[Any]) -> set[Member | None]:
        """Leave those out of whom an audited result came with other bits than were told of it; return them."""
        found: set[Member | None] = set()
        for call, value in zip(calls, values, strict=True):
            if call.audited and call.by not in found and (came := result_digest(value)) != call.value_digest:
                assert call.by is not None
                self.convict(call.by, call.number, said=came, truth=call.value_digest)
                found.add(call.by)
        return found

    def run(
        self, key: str, method: str, calls: Sequence[tuple[Any, ...]], *, judge: Judge | None = None,
        prefers: Sequence[int | None] | None = None, is_fit: Callable[[Member], bool] | None = None,
        audit: float | None = None, make_fit: Callable[[], bool] | None = None,
    ) -> list[WorkerCall]:  # fmt: skip
        """Compute as ``compute`` does, and leave the results where they are: return the calls, each of which has a
        reference of its result.

        ``prefers``: the worker that each is for, if it has nothing else to do. ``is_fit``: which workers may be given
        any; ``make_fit``: asked when none may, tells whether some may now. ``audit``: the share of calls that are
        computed twice, None for the pool's.
        """
        self._open("compute")
        with self._taking_turn():
            plan = self._plan if audit is None else AuditPlan(audit)
            found = Computation(
                self._members, plan, key, method, calls, judge, self._patience, prefers, is_fit, make_fit
            )
            try:
                return found.run()
            finally:
                self.faults += found.faults
                self._members.report_refused()

    @contextmanager
    def _taking_turn(self) -> Generator[None, None, None]:
        if not self._turn.acquire(blocking=False):
            raise StateError(self.where, "the pool computes for another thread", expected="one computation at a time",
                             got="another under way", remedy="Wait for its end, or open another pool")  # fmt: skip
        try:
            yield
        finally:
            self._turn.release()

    def gather(self, key: str, method: str, asked: Mapping[Member, tuple[Any, ...]]) -> dict[Member, Any]:
        """Have each of some workers call a method for itself; return how that went (``CallAnswer``), and references of
        results, of those that have ended it."""
        self._open("compute")
        with self._taking_turn():
            try:
                return gather(self._members, key, method, asked, self._patience)
            finally:
                self._members.report_refused()

    def calls_before_audit(self) -> int:
        """Return how many of the next calls that all workers make together are not audited."""
        return self._plan.calls_before_audit(_TOGETHER)

    def count_calls(self, count: int) -> None:
        """Note that all workers made calls together."""
        self._plan.count(_TOGETHER, count)

    def fetch(self, refs: Sequence[Any]) -> list[Any]:
        """Return what references are of; LoomTimeout if they do not come, DeviceError if they are lost."""
        try:
            return list(self.ray.get(list(refs), timeout=self._patience))
        except self.ray.exceptions.GetTimeoutError:
            raise LoomTimeout(self.where, "results do not arrive", expected=f"all within {self._patience:g} seconds",
                              got="none for so long", remedy="See whether the network is whole",
                              ) from None  # fmt: skip
        except self.ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, (TypeError, AttributeError, pickle.PicklingError)):
                why = str(cause).strip().splitlines() or [""]
                raise DTypeError(self.where, "what the function returned cannot travel", expected="what can be pickled",
                                 got=f"{type(cause).__name__}: {why[-1][:200]}",
                                 remedy="Return arrays, numbers, texts, lists and dicts") from None  # fmt: skip
            raise DeviceError(self.where, f"results are lost with the machine that had them ({type(error).__name__})",
                              remedy="Compute again") from error  # fmt: skip

    def ready(self) -> list[Member]:
        """Return the workers that can be given work."""
        return self._members.ready()

    def ask(self, member: Member, key: str, method: str, *arguments: Any, is_watched: bool = False) -> Any:
        """Have one worker call a method after what it was given before; return a reference of what it gives.

        ``is_watched``: whoever waits for other calls notices if this one is lost.
        """
        answer, value = member.handle.call.options(num_returns=2).remote(key, method, False, *arguments)
        if is_watched:
            self._members.busy[answer] = member
        return value

    def lose(self, member: Member, why: str) -> None:
        """Take it that a worker cannot be used any more, and start another in its place."""
        self._members.lose(member, why)

    def convict(self, member: Member, call: int, *, said: str, truth: str) -> None:
        """Leave a worker out whose result was wrong."""
        facts = member.facts
        assert facts is not None
        fault = WorkerFault(member.number, facts.device, facts.node, facts.pid, call, said, truth)
        self.faults.append(fault)
        self._members.send_away(member, "faulty", str(fault))
        warn_caller(f"{self.where}: {fault}. It is left out.")

    def map(self, function: Callable[..., Any], chunks: Any) -> list[Any]:
        """Return ``function(chunk)`` of each chunk, in order; tuples are its arguments.

        The function runs on the workers, where ``LOOM_DEVICE`` is their device; it is to give the same for the same
        chunk. ArgumentError for what is no function.

        Args:
            function: Function of a chunk that can be pickled.
            chunks: List of chunks, or what yields them; of a tuple each element is an argument.

        Returns:
            List of results in the order of the chunks.

        Raises:
            ArgumentError: Not a function; not several chunks.
            DTypeError: A function, a chunk or a result that cannot be pickled.
            DeviceError: No worker is left, or results are lost with a machine.
            LoomTimeout: Results do not arrive.
            StateError: The pool is closed, or computes for another thread.
        """
        if not callable(function):
            raise ArgumentError(f"{self.where}, map", "not a function", expected="a function of a chunk",
                                got=repr(function)[:200], remedy="Write map(function, chunks)")  # fmt: skip
        several = list(cast("Iterator[Any]", chunks)) if isinstance(chunks, Iterator) else chunks  # its errors are told
        calls: list[tuple[Any, ...]] = [
            c if is_tuple(c) else (c,) for c in items(several, f"{self.where}, map", "chunks")
        ]
        try:
            key = self.hold(_identity, lambda: (function,))
            try:
                return self.compute(key, "__call__", calls, judge=function)
            finally:
                self.drop(key)
        except TypeError as error:
            if not str(error).startswith("Could not serialize the argument"):
                raise
            what = str(error).partition(" for a task or actor")[0].removeprefix("Could not serialize the argument ")
            raise DTypeError(f"{self.where}, map", "a function or a chunk cannot travel to workers", got=what[:200],
                             expected="what can be pickled, and all that it holds",
                             remedy="Make it in the function, on the worker") from None  # fmt: skip

    def require_open(self, where: str) -> None:
        """StateError for a closed pool, and in a process forked from the one that opened it."""
        if self.is_closed:
            raise StateError(where, "the pool is closed", expected="an open one", got="a closed one",
                             remedy="Open another")  # fmt: skip
        self._joined.require_own_process(where)

    def _open(self, what: str) -> None:
        self.require_open(f"{self.where}, {what}")


def devices_of(workers: int | Sequence[str], device: str | None, where: str) -> list[str]:
    """Return the names of workers' devices; ArgumentError for none, DeviceError for a kind there is not."""
    if is_int(workers) or not isinstance(workers, (list, tuple)):
        count = whole(workers, f"{where}, workers", least=1, most=MOST_WORKERS, remedy='Write 2, or ["cpu", "vulkan"]')
        names = [device or options.default_device()] * count
    else:
        names = [text(name, f"{where}, workers") for name in items(workers, f"{where}, workers", "devices")]
    if not 1 <= len(names) <= MOST_WORKERS:
        raise ArgumentError(f"{where}, workers", "not usable", expected=f"1 to {MOST_WORKERS} workers",
                            got=len(names), remedy="Name at least one device")  # fmt: skip
    for name in dict.fromkeys(names):
        if name not in ("auto", "gpu"):
            driver(name, f"{where}, workers")
    return names


def _identity(value: Any) -> Any:
    return value


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1
