"""``AdaptationTracker``: accuracy of a stream of answers in windows of time, and what changes of the task do to it.

Layer: nn. Invariant: what it says follows from the clock's readings and the answers alone, in integers of nanoseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from loom.core.errors import ArgumentError, StateError
from loom.core.given import flag, text
from loom.core.late.dataclass import dataclass
from loom.core.numbers import whole
from loom.nn.adapt.clock import RealClock

__all__ = ["RECOVERED", "AdaptationTracker"]

RECOVERED = 50.0
"""Percent of right answers in a window from which on a network has recovered from a change."""
_NS = 1_000_000
"""Nanoseconds of a millisecond."""
_MOST_WINDOWS = 1_000_000
_NEVER = -1


@dataclass(frozen=True, slots=True)
class _Task:
    since: int
    id: int
    name: str


class AdaptationTracker:
    """Counts answers in windows of ``window_ms`` over ``total_ms`` milliseconds (the last one may be shorter).

    ``clock``: a function that returns whole nanoseconds, ``VirtualClock()`` for instance; None is the machine's.
    Call ``schedule_task_change`` for each change, then ``start``, then ``record_output`` for each answer, at last
    ``finalize``. ArgumentError for times that are no whole milliseconds above 0, and for clocks that tell no
    whole numbers; StateError for calls out of that
    order, or if the clock goes back.

    Args:
        window_ms: Milliseconds of a window, at least 1.
        total_ms: Milliseconds in all, at least 1.
        clock: Function that returns whole nanoseconds; None: the machine's clock.

    Raises:
        ArgumentError: Not whole milliseconds, or too many windows; not a clock.

    >>> from loom.nn.adapt import VirtualClock
    >>> clock = VirtualClock()
    >>> tracker = AdaptationTracker(50, 200, clock)
    >>> tracker.schedule_task_change(100, 1, "avoid")
    >>> tracker.start("chase", 0)
    >>> for correct in (True, True, False, True):
    ...     _ = tracker.record_output(correct)
    ...     clock.advance(50_000_000)
    >>> found = tracker.finalize()
    >>> found["avg_accuracy"], found["task_changes"][0]["recovery_time"]
    (75.0, 50000000)
    """

    def __init__(self, window_ms: int, total_ms: int, clock: Callable[[], int] | None = None) -> None:
        where = "AdaptationTracker"
        self._window = whole(window_ms, f"{where}, window_ms", least=1) * _NS
        self._total = whole(total_ms, f"{where}, total_ms", least=1) * _NS
        if self._total > self._window * _MOST_WINDOWS:
            raise ArgumentError(where, "too many windows", expected=f"at most {_MOST_WINDOWS}",
                                got=-(-self._total // self._window), remedy="Make windows longer")  # fmt: skip
        self._clock: Callable[[], int] = RealClock() if clock is None else clock
        if not callable(self._clock):
            raise ArgumentError(f"{where}, clock", "not a clock", expected="a function that returns nanoseconds",
                                got=repr(clock)[:80],
                                remedy="Pass VirtualClock(), or time.perf_counter_ns")  # fmt: skip
        count = -(-self._total // self._window)
        self._outputs, self._correct = [0] * count, [0] * count
        self._tasks: list[_Task] = []
        self._began: int | None = None
        self._last = 0
        self._current: _Task | None = None
        self._model, self._mode = "", ""
        self.late = 0
        """Answers after the end, which count for nothing."""

    def set_model_info(self, model: str, mode: str) -> None:
        """Name the model and the mode it learns by; both stand in what ``finalize`` returns.

        Args:
            model: Name of the model.
            mode: Name of the mode.

        Raises:
            DTypeError: Not a text.
        """
        self._model = text(model, "AdaptationTracker.set_model_info, model")
        self._mode = text(mode, "AdaptationTracker.set_model_info, mode")

    def schedule_task_change(self, offset_ms: int, task_id: int, task_name: str) -> None:
        """Have the task be ``task_id`` from ``offset_ms`` after the start on; changes may come in any order.

        Args:
            offset_ms: Milliseconds from the start on, from 1 to below the total.
            task_id: Number of the task.
            task_name: Name of the task.

        Raises:
            ArgumentError: Not a whole number, or one out of range; there is a change at that time.
            DTypeError: A name that is no text.
            StateError: The time is running.
        """
        where = "AdaptationTracker.schedule_task_change"
        if self._began is not None:
            raise StateError(where, "the time is running", expected="changes before start", got="one after it",
                             remedy="Schedule all changes, then start")  # fmt: skip
        offset = whole(offset_ms, f"{where}, offset_ms", least=1, most=self._total // _NS - 1) * _NS
        if any(task.since == offset for task in self._tasks):
            raise ArgumentError(where, "there is a change at that time", expected="one task at a time",
                                got=f"two at {offset_ms} ms", remedy="Choose another time")  # fmt: skip
        task = _Task(offset, whole(task_id, f"{where}, task_id"), text(task_name, f"{where}, task_name"))
        self._tasks = sorted([*self._tasks, task], key=lambda t: t.since)

    def start(self, task: str, task_id: int = 0) -> None:
        """Begin to count time, with a task.

        Args:
            task: Name of the first task.
            task_id: Number of it.

        Raises:
            ArgumentError: Not a whole number, or a clock that tells none.
            DTypeError: A name that is no text.
            StateError: The time is running.
        """
        where = "AdaptationTracker.start"
        if self._began is not None:
            raise StateError(where, "the time is running", expected="one start", got="another",
                             remedy="Make a new tracker")  # fmt: skip
        first = _Task(0, whole(task_id, f"{where}, task_id"), text(task, f"{where}, task"))
        self._began = self._now()
        self._tasks = [first, *self._tasks]
        self._current = first

    def _now(self) -> int:
        return whole(self._clock(), "AdaptationTracker, clock", remedy="Use a clock of nanoseconds: VirtualClock(), "
                     "or time.perf_counter_ns")  # fmt: skip

    def elapsed(self) -> int:
        """Return the nanoseconds since the start.

        Raises:
            ArgumentError: A clock that tells no whole number.
            StateError: The time is not running, or the clock went back.
        """
        if self._began is None:
            raise StateError("AdaptationTracker", "the time is not running", expected="start first", got="no start",
                             remedy="Call start(task, id)")  # fmt: skip
        now = self._now() - self._began
        if now < self._last:
            raise StateError("AdaptationTracker", "the clock went back", expected=f"at least {self._last} ns", got=now,
                             remedy="Use a clock that does not")  # fmt: skip
        self._last = now
        return now

    @property
    def is_over(self) -> bool:
        """Whether all of the time has passed."""
        return self.elapsed() >= self._total

    def record_output(self, correct: bool) -> int:
        """Count an answer given now; return the id of the task as it was before, at the answer before this one.

        An answer after the end counts for nothing but ``late``.

        Args:
            correct: Whether the answer was right.

        Returns:
            Number of the task at the answer before this one, of the first one at the first.

        Raises:
            ArgumentError: Not a truth; a clock that tells no whole number.
            StateError: The time is not running, or the clock went back.
        """
        correct = flag(correct, "AdaptationTracker.record_output, correct")
        now = self.elapsed()
        assert self._current is not None
        before, self._current = self._current, self._at(now)
        if now >= self._total:
            self.late += 1
            return before.id
        window = now // self._window
        self._outputs[window] += 1
        self._correct[window] += correct
        return before.id

    def get_current_task(self) -> int:
        """Return the id of the task that the schedule says is the one now.

        Raises:
            ArgumentError: A clock that tells no whole number.
            StateError: The time is not running, or the clock went back.
        """
        return self._at(self.elapsed()).id

    def _at(self, ns: int) -> _Task:
        return next(task for task in reversed(self._tasks) if task.since <= ns)

    def finalize(self) -> dict[str, Any]:
        """Return what was counted, as JSON can hold it. Accuracies are in percent, durations in nanoseconds.

        ``model_name``, ``mode_name``, ``total_outputs``, ``avg_accuracy`` (mean of windows that have outputs),
        ``duration`` (since the start); ``windows``: of each its ``window_index``, ``duration``, ``outputs``,
        ``correct``, ``accuracy`` (0 without outputs), ``outputs_per_sec``, ``current_task`` and ``task_id`` (those at
        its start); ``task_changes``: of each ``at_time``, ``from_task``, ``to_task``, the windows before and after it
        (``pre_change_window``, ``post_change_window``: -1 for none) with their accuracies (``pre_accuracy``,
        ``post_accuracy``), ``recovery_windows`` (how many windows after ``post_change_window`` the first with at least
        50% comes, before the next change; -1: never) and ``recovery_time`` (those windows' time; -1: never).
        A window in which the task changes is neither before nor after the change.

        Raises:
            ArgumentError: A clock that tells no whole number.
            StateError: The time is not running, or the clock went back.
        """
        duration = self.elapsed()
        windows = [self._window_summary(i) for i in range(len(self._outputs))]
        met = [w["accuracy"] for w in windows if w["outputs"]]
        return {
            "model_name": self._model, "mode_name": self._mode, "total_outputs": sum(self._outputs),
            "avg_accuracy": math.fsum(met) / len(met) if met else 0.0, "windows": windows,
            "task_changes": [self._change(k, windows) for k in range(1, len(self._tasks))], "duration": duration,
        }  # fmt: skip

    def _window_summary(self, index: int) -> dict[str, Any]:
        start = index * self._window
        duration = min(self._window, self._total - start)
        outputs, correct, task = self._outputs[index], self._correct[index], self._at(start)
        return {
            "window_index": index, "duration": duration, "outputs": outputs, "correct": correct,
            "accuracy": 100.0 * correct / outputs if outputs else 0.0,
            "outputs_per_sec": outputs * 1_000_000_000 / duration,
            "current_task": task.name, "task_id": task.id,
        }  # fmt: skip

    def _change(self, number: int, windows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return what task ``number`` met when it began."""
        task, before = self._tasks[number], self._tasks[number - 1]
        end = self._tasks[number + 1].since if number + 1 < len(self._tasks) else self._total
        pre, post = task.since // self._window - 1, -(-task.since // self._window)
        after = [w for w in windows[post:] if w["window_index"] * self._window < end]
        post = post if after else _NEVER
        good = (i for i, w in enumerate(after) if w["outputs"] and w["accuracy"] >= RECOVERED)
        recovery = next(good, _NEVER)
        return {
            "at_time": task.since, "from_task": before.name, "to_task": task.name, "pre_change_window": pre,
            "post_change_window": post,
            "pre_accuracy": windows[pre]["accuracy"] if pre >= 0 else 0.0,
            "post_accuracy": after[0]["accuracy"] if after else 0.0,
            "recovery_windows": recovery, "recovery_time": _NEVER if recovery < 0 else recovery * self._window,
        }  # fmt: skip
