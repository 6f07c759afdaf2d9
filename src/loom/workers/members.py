"""The workers of a pool: started, welcomed or refused, lost, replaced, added and sent away.

Layer: workers. Invariant: a worker is given no work before it has said what it is, and is of the same versions as
this process.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import Any

from loom.core.errors import DeviceError, LoomError
from loom.core.late.dataclass import dataclass
from loom.core.tracebacks import warn_caller
from loom.workers.joining import JoinedRay
from loom.workers.looking import NAMESPACE
from loom.workers.versions import versions
from loom.workers.worker import TELLING, CallAnswer, DeviceWorker, UnfitWorkerError, WorkerFacts

__all__ = ["Held", "Member", "Members", "facts_of", "reason_of"]

_LOSSES_IN_A_ROW = 4
"""Of each worker, without one call that ended between them: then something else is wrong than a worker."""
_SECONDS_BETWEEN_LOOKS = 5.0
_SECONDS_WITHOUT_HEAD = 20.0
"""After which a head is taken to be gone; after 60 Ray ends the process."""


@dataclass(eq=False)
class Member:
    """A worker as the pool knows it. ``state``: ``starting``, ``ready``, ``lost``, ``refused``, ``faulty`` or ``gone``.

    ``heard``: when it last answered, or was given work after a rest; ``calls``: those that it has ended.
    """

    number: int
    device: str
    handle: Any
    about: Any
    state: str = "starting"
    facts: WorkerFacts | None = None
    why: str = ""
    heard: float = 0.0
    calls: int = 0
    seconds: float = 0.0
    sent: set[Any] = field(default_factory=set[Any])
    is_leaving: bool = False

    @property
    def is_alive(self) -> bool:
        """Whether it works, or is about to."""
        return self.state in ("starting", "ready")

    def __str__(self) -> str:
        """Return how messages name it."""
        if self.facts is None:
            return f"worker {self.number} ({self.device})"
        return f"worker {self.number} ({self.device}, node {self.facts.node}, process {self.facts.pid})"


@dataclass(frozen=True)
class Held:
    """What every worker keeps under a key: ``build(*arguments())``, the arguments asked for when a worker joins."""

    build: Callable[..., Any]
    arguments: Callable[[], tuple[Any, ...]]


class Members:
    """The workers of one pool; ``held``: what each keeps, by key."""

    def __init__(self, joined: JoinedRay, actor: type, threads: int, where: str) -> None:
        self.joined, self.where, self.threads = joined, where, threads
        self.held: dict[str, Held] = {}
        self.all: list[Member] = []
        self.busy: dict[Any, Member] = {}  # with calls of a computation that is over
        self._actor: Any = joined.ray.remote(concurrency_groups={TELLING: 1})(_with_telling(actor))
        self._name = os.urandom(4).hex()
        self._lock = threading.RLock()
        self._losses = 0
        self._looked = self._answered = time.monotonic()

    def require_head(self) -> None:
        """See now and then that Ray's head is there; DeviceError if it was not for long: Ray would end this process."""
        now = time.monotonic()
        if now - self._looked < _SECONDS_BETWEEN_LOOKS:
            return
        if now - self._looked > 2 * _SECONDS_BETWEEN_LOOKS:  # nobody looked for a while
            self._answered = now
        self._looked = now
        if self.joined.answers():
            self._answered = now
        elif now - self._answered > _SECONDS_WITHOUT_HEAD:
            raise DeviceError(self.where, "Ray's head is gone", expected=f"an answer at {self.joined.address}",
                              got=f"none for {now - self._answered:.0f} seconds",
                              remedy="Start Ray again; a training with checkpoint= goes on from its folder with "
                              "resume=True, with any number of workers")  # fmt: skip

    def __iter__(self) -> Iterator[Member]:
        with self._lock:
            return iter(tuple(self.all))

    def ready(self) -> list[Member]:
        """Return those that can be given work."""
        return [m for m in self if m.state == "ready"]

    def starting(self) -> list[Member]:
        """Return those that have not yet said what they are."""
        return [m for m in self if m.state == "starting"]

    def needs(self, device: str) -> dict[str, float]:
        """Return what a worker asks of Ray; a Ray of our own has no CPUs to share out."""
        cpus = 0 if self.joined.is_started else self.threads
        return {"num_cpus": cpus, "num_gpus": 1 if device.partition(":")[0] == "cuda" else 0}

    def start(self, device: str) -> Member:
        """Begin to start a worker; it is ``welcome``d when it has said what it is."""
        with self._lock:
            number = len(self.all)
            handle = self._actor.options(
                name=f"{self._name}/{number}",
                namespace=NAMESPACE,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy="SPREAD",
                **self.needs(device),
            ).remote(number, _name_there(device), self.threads)
            member = Member(number, device, handle, handle.about.remote(), heard=time.monotonic())
            self.all.append(member)
            return member

    def welcome(self, member: Member) -> None:
        """Take what a worker has said of itself: give it what all keep, or refuse it."""
        try:
            said: WorkerFacts | LoomError = self.joined.ray.get(member.about)
        except Exception as error:
            if _is_unbuildable(error):
                self._refuse(member, reason_of(error))
            else:
                self.lose(member, reason_of(error))
            return
        if isinstance(said, LoomError):
            self._refuse(member, str(said))
            return
        differences = versions().differences(said.versions)
        member.facts = said
        if differences:
            self._refuse(member, f"it is of other versions: {'; '.join(differences)}")
            return
        for key, held in self.held.items():
            self.give(member, key, held)
        member.state, member.heard = "ready", time.monotonic()

    def give(self, member: Member, key: str, held: Held) -> None:
        """Have a worker keep something; what it tells of it comes with its next call."""
        member.handle.hold.remote(key, held.build, *held.arguments())

    def _refuse(self, member: Member, why: str) -> None:
        member.state, member.why = "refused", why
        self._end(member)

    def lose(self, member: Member, why: str) -> None:
        """Take it that a worker is no more, and start another in its place; DeviceError if they die again and again."""
        if not member.is_alive:
            return
        member.state, member.why = ("gone", "it was sent away") if member.is_leaving else ("lost", why)
        member.sent.clear()
        self._end(member)
        if member.is_leaving:
            return
        self._losses += 1
        if self._losses > _LOSSES_IN_A_ROW * max(1, len(self.ready()) + 1):
            raise DeviceError(self.where, f"workers die one after another, the last one: {why}",
                              expected="calls that end", got=f"{self._losses} workers lost without one",
                              remedy="See Ray's logs (/tmp/ray/session_latest/logs) for what ends them",
                              )  # fmt: skip
        self.start(member.device)

    def take_late_answer(self, ref: Any) -> None:
        """Take the answer of a call that nobody waits for any more."""
        member = self.busy.pop(ref)
        member.sent.discard(ref)
        try:
            answer: CallAnswer = self.joined.ray.get(ref)
        except Exception as error:
            self.lose(member, reason_of(error))
            return
        self.note_call(member, answer.seconds)
        if isinstance(answer.error, UnfitWorkerError):
            self.lose(member, str(answer.error))

    def note_call(self, member: Member, seconds: float) -> None:
        """Note that a worker ended a call."""
        self._losses = 0
        member.heard = time.monotonic()
        member.calls, member.seconds = member.calls + 1, member.seconds + seconds

    def send_away(self, member: Member, state: str, why: str) -> None:
        """End a worker for good."""
        if member.is_alive:
            member.state, member.why = state, why
            member.sent.clear()
            self._end(member)

    def leave(self, member: Member) -> None:
        """End a worker that is not wanted any more; what it was given is found lost, and given to others."""
        member.is_leaving = True
        self._kill(member)
        if not member.sent:
            self.send_away(member, "gone", "it was sent away")

    def _end(self, member: Member) -> None:
        self.busy = {ref: m for ref, m in self.busy.items() if m is not member}
        self._kill(member)

    def _kill(self, member: Member) -> None:
        try:
            self.joined.ray.kill(member.handle)
        except Exception:  # it is no more
            return

    def close(self) -> None:
        """End all workers."""
        for member in self:
            self.send_away(member, "gone", "the pool was closed")

    def settle(self, seconds: float) -> None:
        """Wait until all that start have started; warn of each that is refused."""
        end = time.monotonic() + seconds
        while (there := self.starting()) and (left := end - time.monotonic()) > 0:
            refs = [m.about for m in there]
            done, _ = self.joined.ray.wait(refs, num_returns=1, timeout=left)
            for member in there:
                if member.about in done:
                    self.welcome(member)

    def report_refused(self) -> None:
        """Warn, once, of each worker refused."""
        for member in self:
            if member.state == "refused" and member.why:
                warn_caller(f"loom.workers: {member} is left out: {member.why}")
                member.why = ""


def _with_telling(actor: type) -> type:
    """Have a worker's reports be asked for beside its calls, as ``ray.method`` does it."""
    report: Any = actor.__dict__.get("report", DeviceWorker.report)
    report.__ray_concurrency_group__ = TELLING
    return actor


def _name_there(device: str) -> str:
    """Return what a device is called where it is: Ray shows a worker the one GPU that it was given."""
    return "cuda" if device.partition(":")[0] == "cuda" else device


def _is_unbuildable(error: Exception) -> bool:
    """Tell whether no worker can be made there, of one that has not died: its Loom is missing, or too old to say so."""
    return bool(getattr(error, "actor_init_failed", False)) or not hasattr(error, "actor_id")


def reason_of(error: BaseException) -> str:
    """Return an error as one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "Error" in line and ":" in line]
    return f"{type(error).__name__}: {(told or lines or [''])[-1][:300]}"


def facts_of(member: Member) -> Mapping[str, Any]:
    """Return a worker as plain data."""
    facts = member.facts
    return {
        "worker": member.number, "device": member.device, "state": member.state, "calls": member.calls,
        "seconds": round(member.seconds, 3), "why": member.why,
        "node": "" if facts is None else facts.node, "host": "" if facts is None else facts.host,
        "pid": 0 if facts is None else facts.pid, "threads": 0 if facts is None else facts.threads,
        "description": "" if facts is None else facts.description,
    }  # fmt: skip
