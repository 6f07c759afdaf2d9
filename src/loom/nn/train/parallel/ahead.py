"""What the workers of one node are told to do ahead: courses of many batches, which they make by themselves.

Layer: nn. Calls cost more than small batches do: so workers that share memory are given as many batches at a time as
take about a quarter of a second, up to the first that is audited. A batch that a course could not make is computed by
calls of its own. Invariant: losses and states are those of the changes foreseen, one after the other.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from loom.nn.train.parallel.auditing import Auditor
from loom.nn.train.parallel.messages import AuditRecord, Change, CourseTold, WorkerCourse
from loom.workers import WorkerPool
from loom.workers.members import Member

__all__ = ["Ahead"]

_SECONDS = 0.25
"""That a course is to take: so long a training may go on after it was told to stop."""
_MOST_CHANGES = 256
_FIRST_CHANGES = 2
"""Of a first course, of which nobody knows how long a batch takes."""
_COURSES_KEPT = 4
"""Of so many the quickest tells how long a change takes: the first ones compile."""
_MOST_FAILURES = 3
"""Courses in a row that made no change: then there are none any more."""
_MOST_WORKERS = 64
"""Of one node, each of which has a line to each other one."""


class Ahead:
    """Courses of a training by the workers of ``pool``, of what they keep under ``key``.

    ``told``: changes that are made already and were not yet asked for, with their losses; None for one of no batch.
    """

    def __init__(self, pool: WorkerPool, key: str, seconds: float, auditor: Auditor) -> None:
        self._pool, self._key, self._seconds, self._auditor = pool, key, seconds, auditor
        self.told: deque[tuple[Change, float | None]] = deque()
        self.state: tuple[int, Any] | None = None
        """The version of a state that was asked for at the end of an epoch, and a reference of it."""
        self.checks: dict[int, tuple[int, str]] = {}
        """Of workers: the version of a state, and sums over its bits."""
        self.version = 0
        """That the training came to by the last course."""
        self.giver: Member | None = None
        """Who gave the state."""
        self.behind: set[int] = set()
        """Workers that did not make all of the last course."""
        self.audited: tuple[Change, list[tuple[int, int]], dict[Member, AuditRecord]] | None = None
        """The audited change of the last course, the micro-batches of its members, by rank, and what these tell."""
        self.losses: dict[Member, str] = {}
        """Of those who made all of the last course, the losses that they told."""
        self._coming: deque[Change] = deque()
        self._source: Iterator[Change] = iter(())
        self._met: tuple[tuple[int, ...], str, tuple[str, ...]] = ((), "", ())
        self._step_seconds: deque[float] = deque(maxlen=_COURSES_KEPT)
        self._failures = 0

    def foresee(self, changes: Iterable[Change]) -> None:
        """Take it that these changes are to come, in this order, in this epoch."""
        self._coming, self._source = deque(), iter(changes)

    def forget(self, change: Change) -> None:
        """Take it that a change was made otherwise."""
        if self._peek(1) and self._coming[0].version == change.version:
            self._coming.popleft()
        else:
            self.foresee(())

    def _peek(self, count: int) -> Sequence[Change]:
        while len(self._coming) < count:
            following = next(self._source, None)
            if following is None:
                break
            self._coming.append(following)
        return list(self._coming)[:count]

    def go(self, version: int, members: Sequence[Member], speeds: Sequence[float]) -> dict[Member, CourseTold]:
        """Have a course made by workers that are all of a version; return what each tells, nothing if none was made."""
        self.audited, self.losses = None, {}
        changes, is_audited = self._auditor.cut(self._next(version, members))
        if not any(c.batch is not None for c in changes):
            return {}
        paths = self._meet(members)
        if not paths:
            return {}
        is_last = len(self._peek(len(changes) + 1)) == len(changes)
        meeting = self._met[1]
        course = WorkerCourse(tuple(changes), meeting, paths, tuple(speeds), is_last, self._seconds, is_audited)
        answers = self._pool.gather(self._key, "course", {m: (course, rank) for rank, m in enumerate(members)})
        return self._take_answers(course, members, answers)

    def _next(self, version: int, members: Sequence[Member]) -> Sequence[Change]:
        """Return what is to be made next: as much as takes its time."""
        if self._failures >= _MOST_FAILURES or not 0 < len(members) <= _MOST_WORKERS:
            return []
        if len({None if m.facts is None else m.facts.node for m in members}) > 1:
            return []
        count = int(_SECONDS / min(self._step_seconds)) if self._step_seconds else _FIRST_CHANGES
        changes = self._peek(min(_MOST_CHANGES, max(1, count)))
        return changes if changes and changes[0].version == version else []

    def _meet(self, members: Sequence[Member]) -> tuple[str, ...]:
        """Return where workers meet; ask them if these are others than met before."""
        numbers = tuple(m.number for m in members)
        if self._met[0] != numbers and len(members) == 1:
            self._met = numbers, os.urandom(8).hex(), ("",)
        elif self._met[0] != numbers:
            told = self._pool.gather(self._key, "meeting_place", dict.fromkeys(members, ()))
            paths = tuple(told[m][0].summary for m in members if m in told)
            if len(paths) < len(members) or not all(paths):
                self._failures += 1
                return ()
            self._met = numbers, os.urandom(8).hex(), paths
        return self._met[2]

    def _take_answers(
        self, course: WorkerCourse, members: Sequence[Member], answers: Mapping[Member, tuple[Any, Any]]
    ) -> dict[Member, CourseTold]:
        """Note what a course came to: the version of who came furthest is that of the training."""
        found: dict[Member, CourseTold] = {m: answer.summary for m, (answer, _) in answers.items()}
        begin = course.changes[0].version
        best = max((told.version for told in found.values()), default=begin)
        self.version = best
        if len(found) < len(members) or any(told.why for told in found.values()):
            self._met = (), "", ()
        first = next((told for told in found.values() if told.version == best), None)
        self.behind = {m.number for m in members if m not in found or found[m].version != best} if first else set()
        losses = iter(first.losses if first else ())
        made = 0
        for change in course.changes:
            is_made = change.version < best
            loss = next(losses, None) if change.batch is not None else None
            if not is_made and loss is None:
                break
            self.told.append((change, loss))  # a loss that is not finite is told, and changed nothing
            made += is_made
            self._coming.popleft()
        self._failures = 0 if self.told else self._failures + 1
        if made:
            self._step_seconds.append(max(answer.seconds for answer, _ in answers.values()) / made)
        self._note_audit(course, members, found)
        self.checks = {m.number: (told.version, told.checks) for m, told in found.items() if told.checks}
        giver = self.giver = members[0]
        is_whole = giver in found and bool(found[giver].checks)
        self.state = (found[giver].version, answers[giver][1]) if is_whole else None
        return found

    def _note_audit(self, course: WorkerCourse, members: Sequence[Member], found: Mapping[Member, CourseTold]) -> None:
        """Note what is told of an audited change; one of which not all tell is not audited, and the next one is."""
        last = course.changes[-1]
        records: dict[Member, AuditRecord] = {}
        for member, told in found.items():
            if told.record is not None and told.losses:
                records[member] = replace(told.record, loss=told.losses[-1] if last.batch is not None else 0.0)
        is_whole = course.is_audited and records.keys() == set(members)
        made = [change for change in course.changes if change.version < self.version]
        if course.is_audited and not is_whole and last in made:
            made.remove(last)
        self._auditor.count(made, is_audited=is_whole)
        ranges = [(0, 0)] * len(members) if last.batch is None else course.ranges(last.batch, is_audited=True)
        self.audited = (last, ranges, {m: records[m] for m in members}) if is_whole else None
        self.losses = {m: repr(told.losses) for m, told in found.items() if told.version == self.version}
