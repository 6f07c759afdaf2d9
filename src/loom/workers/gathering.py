"""A call given to each of some workers, of which every one is to answer for itself.

Layer: workers. Unlike those of ``computing`` a call that is lost is not given to another. Invariant: a worker that
answers nothing is lost, or known to be busy; it is never waited for without end.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from loom.workers.members import Member, Members, reason_of
from loom.workers.worker import CallAnswer, UnfitWorkerError

__all__ = ["gather"]

_TICK = 1.0
"""Seconds after which workers that are slow or silent are looked for."""
_GRACE = 3.0
"""Times what the first took, and at least a second: what others take longer is not waited for."""


def gather(
    members: Members, key: str, method: str, asked: Mapping[Member, tuple[Any, ...]], patience: float
) -> dict[Member, tuple[CallAnswer, Any]]:
    """Return how the call of a method of what workers keep went with each, and references of results.

    Those that are lost, or that take much longer than others, are not among them: these are busy until they answer.
    The first error that a call raises is raised, once all have ended.
    """
    ray = members.joined.ray
    sent: dict[Any, tuple[Member, Any]] = {}
    begun = time.monotonic()
    for member, arguments in asked.items():
        answer, value = member.handle.call.options(num_returns=2).remote(key, method, False, *arguments)
        sent[answer] = member, value
        member.heard = begun
        member.sent.add(answer)
    found: dict[Member, tuple[CallAnswer, Any]] = {}
    errors: list[BaseException] = []
    late = begun + patience
    try:
        while sent and time.monotonic() < late:
            members.require_head()
            refs = [*sent, *members.busy, *(m.about for m in members.starting())]
            ready, _ = ray.wait(refs, num_returns=1, timeout=min(_TICK, max(0.01, late - time.monotonic())))
            if len(refs) > 1 and ready:
                ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
            for ref in ready:
                if ref in sent:
                    member, value = sent.pop(ref)
                    _take(members, member, ref, value, found, errors)
                elif ref in members.busy:
                    members.take_late_answer(ref)
            for member in members.starting():
                if member.about in ready:
                    members.welcome(member)
            if found or errors:
                taken = time.monotonic() - begun
                late = min(late, begun + taken + max(1.0, _GRACE * taken))
    finally:
        members.busy |= {ref: member for ref, (member, _) in sent.items()}
    for member, _ in sent.values():
        if time.monotonic() - member.heard >= patience:
            members.lose(member, f"it said nothing for {patience:g} seconds")
    if errors:
        raise errors[0]
    return found


def _take(
    members: Members, member: Member, ref: Any, value: Any, found: dict[Member, tuple[CallAnswer, Any]],
    errors: list[BaseException],
) -> None:  # fmt: skip
    member.sent.discard(ref)
    try:
        answer: CallAnswer = members.joined.ray.get(ref)
    except Exception as error:
        members.lose(member, reason_of(error))
        return
    members.note_call(member, answer.seconds)
    if isinstance(answer.error, UnfitWorkerError):
        members.lose(member, str(answer.error))
    elif answer.error is not None:
        errors.append(answer.error)
    else:
        found[member] = answer, value
