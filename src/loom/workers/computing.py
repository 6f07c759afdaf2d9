"""Calls given to workers until all have a result: sent, sent again where a worker was lost, doubled where one is slow,
and audited.

Layer: workers. Invariant: the results are those of the calls, in their order, whoever computed them and how often.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from loom.core.errors import DeviceError, LoomTimeout
from loom.core.late.dataclass import dataclass
from loom.core.tracebacks import warn_caller
from loom.workers.audit import AuditPlan, WorkerFault
from loom.workers.members import Member, Members
from loom.workers.worker import CallAnswer, InterruptedWorkerError, Reported, UnfitWorkerError, answer_digest

__all__ = ["Computation", "Judge", "WorkerCall"]

_TICK = 1.0
"""Seconds after which workers that are slow or silent are looked for."""
_MOST_LOSSES = 5
"""Of one call: then it is the call that ends its workers."""
_SLOW = 3.0
"""Times the usual duration, and at least a second: a call that takes longer is given to an idle worker as well."""

Judge = Callable[..., Any]
"""Computes a call in this process: it has the last word where two workers differ."""


@dataclass(eq=False)
class WorkerCall:
    """One call; ``by``: who gave the result that is taken, ``checked``: two computed it and agreed.

    ``value``: Ray's reference of the result; ``summary``: what was reported beside it; ``digest``: of both;
    ``prefers``: the number of the worker that is to have it if it has nothing else to do.
    """

    number: int
    arguments: tuple[Any, ...]
    prefers: int | None = None
    summary: Any = None
    seconds: float = 0.0
    by: Member | None = None
    value: Any = None
    digest: str = ""
    checked: bool = False
    losses: int = 0
    audited: bool = False
    started: float = 0.0
    copies: int = 0

    @property
    def value_digest(self) -> str:
        """The digest that was told of the result itself."""
        return self.digest.partition(" ")[0]

    @property
    def is_done(self) -> bool:
        """Whether its result is taken."""
        return self.by is not None and (self.checked or not self.audited)


@dataclass(eq=False)
class _Sent:
    order: int
    call: WorkerCall
    member: Member
    value: Any
    is_second: bool
    wants_digest: bool


class Computation:
    """Computes ``calls`` of a method of what the workers keep under ``key``.

    ``judge`` computes one here. ``patience``: seconds after which a worker that says nothing is taken for lost.
    ``prefers``: of each call, the number of a worker; ``is_fit``: tells which workers may be given calls; ``make_fit``:
    asked when none may, tells whether some may now.
    """

    def __init__(
        self, members: Members, plan: AuditPlan, key: str, method: str, calls: Sequence[tuple[Any, ...]],
        judge: Judge | None, patience: float, prefers: Sequence[int | None] | None = None,
        is_fit: Callable[[Member], bool] | None = None, make_fit: Callable[[], bool] | None = None,
    ) -> None:  # fmt: skip
        self.members, self.plan, self.key, self.method = members, plan, key, method
        wanted = prefers or [None] * len(calls)
        self.calls = [WorkerCall(n, *each) for n, each in enumerate(zip(calls, wanted, strict=True))]
        self._is_fit, self._make_fit = is_fit or _is_any, make_fit
        self.faults: list[WorkerFault] = []
        self._judge, self._patience = judge, patience
        self._ray = members.joined.ray
        self._prefers = prefers is not None
        self._queue = deque(self.calls)
        self._seconds: deque[WorkerCall] = deque()  # calls that wait for a second worker
        self._sent: dict[Any, _Sent] = {}
        self._orders = itertools.count()
        self._durations: list[float] = []
        self._depth = 1 if len(calls) <= 4 * max(1, len(members.ready())) else 2

    def run(self) -> list[WorkerCall]:
        """Compute all; return the calls with the references of their results, in order."""
        try:
            while any(not call.is_done for call in self.calls):
                self._assign()
                self._wait()
        finally:
            self.members.busy |= {ref: sent.member for ref, sent in self._sent.items()}
        return self.calls

    # giving work

    def _able(self) -> list[Member]:
        return [m for m in self.members.ready() if self._is_fit(m)]

    def _assign(self) -> None:
        for _ in range(self._depth):
            for member in self._able():
                if len(member.sent) < self._depth:
                    self._give_one(member)
        if self._sent or self.members.starting() or self.members.busy:
            return
        self._compute_seconds_here()
        if not self._able() and any(not call.is_done for call in self.calls):
            if self._make_fit is not None and self._make_fit():
                return
            raise DeviceError(self.members.where, "no workers are left", expected="at least one",
                              got=self._why_none(), remedy="Start the pool anew")  # fmt: skip
        if self._seconds and not self._queue:
            raise DeviceError(self.members.where, "a result cannot be audited: there is no second worker",
                              expected="two workers", got="one", remedy="Add one, or leave audit out")  # fmt: skip

    def _give_one(self, member: Member) -> None:
        for call in self._seconds:
            if call.by is not member:
                self._seconds.remove(call)
                self._send(call, member, is_second=True, wants_digest=True)
                return
        call = self._next_for(member)
        if call is not None:
            self._queue.remove(call)
            call.audited = call.audited or self.plan.next_is_audited(member.number)
            self._send(call, member, is_second=False, wants_digest=call.audited)

    def _next_for(self, member: Member) -> WorkerCall | None:
        """Return the first call that is the worker's, or that is nobody's who has nothing else to do."""
        while self._queue and self._queue[0].is_done:
            self._queue.popleft()
        if not self._prefers:
            return self._queue[0] if self._queue else None
        idle = {m.number for m in self._able() if not m.sent}
        own = (c for c in self._queue if c.prefers == member.number)
        return next(own, None) or next((c for c in self._queue if c.prefers not in idle), None)

    def _send(self, call: WorkerCall, member: Member, *, is_second: bool, wants_digest: bool) -> None:
        answer, value = member.handle.call.options(num_returns=2).remote(
            self.key, self.method, wants_digest, *call.arguments
        )
        self._sent[answer] = _Sent(next(self._orders), call, member, value, is_second, wants_digest)
        if not member.sent:
            member.heard = time.monotonic()
        member.sent.add(answer)
        call.started = call.started or time.monotonic()

    # taking answers

    def _wait(self) -> None:
        self.members.require_head()
        refs = [*self._sent, *self.members.busy, *(m.about for m in self.members.starting())]
        if not refs:
            return
        ready, _ = self._ray.wait(refs, num_returns=1, timeout=_TICK)
        if len(refs) > 1 and ready:
            ready, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in ready:
            if ref in self._sent:
                self._take(ref)
            elif ref in self.members.busy:
                self.members.take_late_answer(ref)
        for member in self.members.starting():
            if member.about in ready:
                self.members.welcome(member)
        self._look_after()

    def _take(self, ref: Any) -> None:
        sent = self._sent.pop(ref)
        sent.member.sent.discard(ref)
        if sent.member.state == "faulty":  # it was named while this waited: nothing that it gives is taken
            self._resend(sent, sent.member.why, was_running=False)
            return
        try:
            answer: CallAnswer = self._ray.get(ref)
        except Exception as error:
            self._lost(ref, sent, error)
            return
        self.members.note_call(sent.member, answer.seconds)
        if isinstance(answer.error, UnfitWorkerError):
            self._sent[ref] = sent
            self.members.lose(sent.member, str(answer.error))
            self._forget(sent.member, was_running=isinstance(answer.error, InterruptedWorkerError))
            return
        if answer.error is not None:
            raise answer.error
        self._durations.append(answer.seconds)
        call = sent.call
        if sent.is_second and call.by is not None:
            self._compare(call, sent, answer)
        elif not call.is_done and call.by is None and sent.member.is_alive and sent.wants_digest >= call.audited:
            call.by, call.value, call.digest = sent.member, sent.value, answer.digest
            call.summary, call.seconds = answer.summary, answer.seconds
            if call.audited:
                self._seconds.append(call)

    def _lost(self, ref: Any, sent: _Sent, error: Exception) -> None:
        """A worker did not answer: it is dead, or the answer has no room."""
        where, name = self.members.where, type(error).__name__
        if self._is_of_room(error):
            raise DeviceError(where, f"the object store has no room for a result ({name})",
                              expected="room in /dev/shm, or on the disk that Ray spills to", got="none",
                              remedy="Cut the work into smaller calls, or start Ray with a larger store",
                              ) from error  # fmt: skip
        if isinstance(error, self._ray.exceptions.RayTaskError):
            cause: Any = getattr(error, "cause", None)
            raise DeviceError(where, f"{sent.member} cannot answer ({cause})", expected="a result that travels",
                              got=type(cause).__name__,
                              remedy="Return arrays, numbers, texts, lists and dicts") from error  # fmt: skip
        self.members.lose(sent.member, f"{name}: {_line(error)}")
        self._sent[ref] = sent
        self._forget(sent.member)

    def _is_of_room(self, error: Exception) -> bool:
        kinds = (self._ray.exceptions.ObjectStoreFullError, self._ray.exceptions.OutOfDiskError)
        return isinstance(error, kinds) or isinstance(getattr(error, "cause", None), kinds)

    def _forget(self, member: Member, *, was_running: bool = True) -> None:
        """Send again what a worker that is no more was given; the first of it, which it was at, may have ended it."""
        given = [self._sent.pop(ref) for ref in [ref for ref, sent in self._sent.items() if sent.member is member]]
        for place, sent in enumerate(sorted(given, key=lambda sent: sent.order)):
            self._resend(sent, member.why, was_running=was_running and place == 0)

    def _resend(self, sent: _Sent, why: str, *, was_running: bool) -> None:
        call = sent.call
        call.losses += was_running
        if call.losses > _MOST_LOSSES:
            raise DeviceError(self.members.where, f"call {call.number} ends each worker that computes it",
                              expected="a result", got=f"{call.losses} workers lost, the last one by {why}",
                              remedy="Compute it here to see what it does: it may need too much memory",
                              )  # fmt: skip
        if sent.is_second and not call.checked:
            self._seconds.append(call)
        elif call.by is None:
            self._queue.appendleft(call)

    # audits

    def _compare(self, call: WorkerCall, sent: _Sent, answer: CallAnswer) -> None:
        digest = answer.digest
        if call.digest == digest or call.checked:
            call.checked = True
            return
        first = call.by
        assert first is not None
        truth = self._truth(call, first, sent.member)
        if truth == call.digest:
            call.checked = True
            self._convict(sent.member, call, digest, truth)
        elif truth == digest:
            said = call.digest
            call.by, call.value, call.digest, call.checked = sent.member, sent.value, digest, True
            call.summary, call.seconds = answer.summary, answer.seconds
            self._convict(first, call, said, truth)
        else:
            raise DeviceError(self.members.where, f"three computations of call {call.number} differ",
                              expected=f"{first} and {sent.member} to agree with a third", got="three results",
                              remedy="Does it draw random numbers, or read the clock?")  # fmt: skip

    def _truth(self, call: WorkerCall, first: Member, second: Member) -> str:
        """Return the digest of a call computed a third time: by a third worker, else here."""
        for third in [m for m in self._able() if m is not first and m is not second]:
            answer, _ = third.handle.call.options(num_returns=2).remote(self.key, self.method, True, *call.arguments)
            try:
                told: CallAnswer = self._ray.get(answer, timeout=self._patience)
            except Exception:  # it is lost too, which the next call that it is given tells
                continue
            if told.error is None:
                return told.digest
        if self._judge is None:
            raise DeviceError(self.members.where, f"{first} and {second} differ in call {call.number}, and there is no "
                              "third to say which is right", expected="three workers", got="two",
                              remedy="Add a worker")  # fmt: skip
        return self._digest_here(call)

    def _digest_here(self, call: WorkerCall) -> str:
        assert self._judge is not None
        made = self._judge(*call.arguments)
        return answer_digest(made.summary, made.value) if isinstance(made, Reported) else answer_digest(None, made)

    def _convict(self, member: Member, call: WorkerCall, said: str, truth: str) -> None:
        """Name a worker whose result was wrong, end it, and compute again what else it gave unchecked."""
        facts = member.facts
        assert facts is not None
        fault = WorkerFault(member.number, facts.device, facts.node, facts.pid, call.number, said, truth)
        self.faults.append(fault)
        self.members.send_away(member, "faulty", str(fault))
        self._forget(member)
        for other in self.calls:
            if other.by is member and not other.checked:
                other.by = other.value = None
                if other in self._seconds:
                    self._seconds.remove(other)
                self._queue.append(other)
        warn_caller(f"loom.workers: {fault}. It is left out, and what it computed is computed again.")

    def _compute_seconds_here(self) -> None:
        """Where there is no second worker the judge is it."""
        others = self._able()
        while self._seconds and self._judge is not None and not any(m is not self._seconds[0].by for m in others):
            call = self._seconds.popleft()
            assert call.by is not None
            truth = self._digest_here(call)
            if truth == call.digest:
                call.checked = True
                continue
            member, said = call.by, call.digest
            call.by = call.value = None
            self._queue.append(call)
            self._convict(member, call, said, truth)

    # slow and silent ones

    def _look_after(self) -> None:
        now = time.monotonic()
        for member in self.members.ready():
            if member.sent and now - member.heard > self._patience:
                self.members.lose(member, f"it said nothing for {self._patience:g} seconds")
                self._forget(member)
        silent = [m for m in self.members.starting() if now - m.heard > self._patience]
        for member in silent:
            self.members.lose(member, f"it did not start within {self._patience:g} seconds")
        if silent and not self.members.ready() and not self.members.starting():
            raise LoomTimeout(self.members.where, "no worker started", expected="at least one",
                              got=self._why_none(), remedy="See loom cluster status")  # fmt: skip
        if not self._queue and not self._seconds:
            self._double(now)

    def _double(self, now: float) -> None:
        """Give the calls that take too long to workers that have nothing else to do."""
        idle = [m for m in self._able() if not m.sent]
        if not idle:
            return
        usual = sorted(self._durations)[len(self._durations) // 2] if self._durations else 0.0
        late = max(1.0, _SLOW * usual)
        slow = [s for s in self._sent.values() if not s.call.is_done and now - s.call.started > late]
        for sent in sorted(slow, key=lambda s: s.call.started):
            if not idle:
                return
            if sent.call.copies < 1 and not (sent.is_second and idle[-1] is sent.call.by):
                sent.call.copies += 1
                self._send(sent.call, idle.pop(), is_second=sent.is_second, wants_digest=sent.wants_digest)

    def _why_none(self) -> str:
        told = [f"{m}: {m.why}" for m in self.members if m.why]
        return "; ".join(told[-3:]) or "none"


def _is_any(member: Member) -> bool:
    return member.is_alive


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:300]
