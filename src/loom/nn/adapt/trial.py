"""One trial: a learner in front of a stream, and what came of it.

Layer: nn. The loop is that of a controller: look, answer, learn, look again; whatever takes time moves the clock.
Invariant: with a virtual clock, a trial's numbers follow from learner, weights, stream and costs alone.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import NotFinite
from loom.core.late.dataclass import dataclass
from loom.nn.adapt.clock import RealClock, VirtualClock
from loom.nn.adapt.cost import Costs
from loom.nn.adapt.learner import Learner, one_hot
from loom.nn.adapt.streams import ACTIONS, TaskStream
from loom.nn.adapt.tracker import AdaptationTracker

__all__ = ["ADAPTING_MS", "DEADLINE_MS", "Trial", "run_trial"]

DEADLINE_MS = 20
"""The oldest an answer may be for a network to count as available."""
ADAPTING_MS = 500
"""The time after a change that is looked at alone."""
_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a trial.

    ``tracked``: what the tracker says; ``accuracy``: percent of right answers, of several agents those in which all are
    right; ``each``: percent of single agents' right answers; ``throughput``: answers a second; ``availability``: share
    of the time in which the last answer was at most ``DEADLINE_MS`` old; ``learning``: share of the time spent
    learning, in which a machine that does one thing at a time answers nothing; ``longest_gap_ms`` between answers.

    Of the changes of the task: ``recovered``: the share of those after which a window was right in at least half of its
    answers; ``recovery_ms``: the mean time until then of those; ``adapting``: percent of right answers in the windows
    that begin in the ``ADAPTING_MS`` after a change; ``lowest``: percent in the worst window of those. What there is
    nothing to measure of (no answers, no changes, no such windows) is None. ``score``: throughput times
    availability times accuracy (as a share): right answers a second, cut by the share of the time in which nobody
    answers. ``refused``: updates that would have made numbers NaN or infinite.
    """

    tracked: dict[str, Any]
    accuracy: float | None
    each: float | None
    throughput: float
    availability: float
    learning: float
    longest_gap_ms: float
    recovered: float | None
    recovery_ms: float | None
    adapting: float | None
    lowest: float | None
    score: float
    refused: int


def run_trial(
    learner: Learner, stream: TaskStream, costs: Costs | None, *, window_ms: int = 50, name: str = "", mode: str = ""
) -> Trial:
    """Put a learner that was started before a whole stream.

    Args:
        learner: Learner.
        stream: Stream of tasks.
        costs: Virtual time of an answer and of learning; None: in real time, of which it takes all.
        window_ms: Milliseconds of a window.
        name: Name of the learner, for the trial.
        mode: Name of its mode, for the trial.

    Returns:
        Trial: measures and windows.
    """
    clock = RealClock() if costs is None else VirtualClock()
    spent = Costs(0, 0) if costs is None else costs
    tracker = AdaptationTracker(window_ms, stream.total_ms, clock)
    tracker.set_model_info(name, mode)
    for since, number in stream.changes:
        tracker.schedule_task_change(since, number, stream.tasks[number])
    tracker.start(stream.tasks[0], 0)
    gaps, learning, refused, single, kept = [0], 0, 0, 0, _Kept(learner)
    total = stream.total_ms * _NS
    while (seen := tracker.elapsed()) < total:
        x, rows = stream.observe(seen), one_hot(stream.answer(seen))
        try:
            said = learner.answer(x, kept.late(rows))
        except NotFinite:
            refused += 1
            said = np.zeros(rows.size, np.float32)
        clock.advance(spent.answer)
        now = tracker.elapsed()
        if now >= total:
            break
        good = choices(said) == stream.answer(now)
        tracker.record_output(bool(good.all()))
        single += int(good.sum())
        gaps.append(now)
        if kept.add(x, rows):
            refused += not learner.at_once and kept.give()
            clock.advance(spent.learn)
            learning += min(tracker.elapsed(), total) - now
    each = _percent(single, (len(gaps) - 1) * stream.answers.shape[-1])
    return _summarize(tracker.finalize(), [*gaps, total], learning, refused, each, stream)


def choices(said: Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the answer of each agent: the first of the largest of its four numbers."""
    return said.reshape(-1, ACTIONS).argmax(1)


class _Kept:
    """What a learner has seen and not learnt from, and what was right of observations that are under way."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._late: deque[Array] = deque(maxlen=learner.delay + 1)
        self._pairs: list[tuple[Array, Array]] = []

    def late(self, rows: Array) -> Array | None:
        """Return what is right of the observation that the next answer is to, None of none."""
        self._late.append(rows)
        return self._late[0] if len(self._late) == self._late.maxlen else None

    def add(self, x: Array, rows: Array) -> bool:
        """Keep a pair; tell whether it is time to learn (of a learner that does so while it answers: that it did)."""
        if self._learner.at_once:
            return len(self._late) == self._late.maxlen
        self._pairs.append((x, rows))
        return len(self._pairs) == self._learner.block

    def give(self) -> bool:
        """Have the learner learn from what was kept; tell whether it refused, for numbers that were not finite."""
        pairs, self._pairs = self._pairs, []
        x, rows = (np.stack(part) for part in zip(*pairs, strict=True))
        shape = self._learner.outputs
        try:
            self._learner.learn(x.reshape(len(x), *self._learner.shape), rows.reshape(len(x), *shape))
        except NotFinite:
            return True
        return False


def _summarize(
    tracked: dict[str, Any], answered: list[int], learning: int, refused: int, each: float | None, stream: TaskStream
) -> Trial:
    total = answered[-1]
    gaps = [after - before for before, after in pairwise(answered)]
    late = sum(max(0, gap - DEADLINE_MS * _NS) for gap in gaps)
    outputs = tracked["total_outputs"]
    right = sum(w["correct"] for w in tracked["windows"])
    accuracy, throughput = _percent(right, outputs), outputs * 1e9 / total
    availability = 1.0 - late / total
    changes = tracked["task_changes"]
    times = [c["recovery_time"] for c in changes if c["recovery_time"] >= 0]
    adapting, lowest = _after_changes(tracked, stream)
    return Trial(
        tracked, accuracy, each, throughput, availability, learning / total, max(gaps) / _NS,
        len(times) / len(changes) if changes else None, sum(times) / len(times) / _NS if times else None,
        adapting, lowest, throughput * availability * (accuracy or 0.0) / 100.0, refused,
    )  # fmt: skip


def _after_changes(tracked: dict[str, Any], stream: TaskStream) -> tuple[float | None, float | None]:
    """Return the percent of right answers soon after changes, and that of the worst window with answers then; None
    without answers."""
    starts = [since * _NS for since, _ in stream.changes]
    begins = [sum(w["duration"] for w in tracked["windows"][:k]) for k in range(len(tracked["windows"]))]
    near = [
        w
        for begin, w in zip(begins, tracked["windows"], strict=True)
        if w["outputs"] and any(start <= begin < start + ADAPTING_MS * _NS for start in starts)
    ]
    outputs, right = sum(w["outputs"] for w in near), sum(w["correct"] for w in near)
    return _percent(right, outputs), min([w["accuracy"] for w in near], default=None)


def _percent(part: int, of: int) -> float | None:
    return 100.0 * part / of if of else None
