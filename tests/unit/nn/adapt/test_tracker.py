"""The tracker's windows, changes and recoveries, counted by hand."""

from __future__ import annotations

import json

import pytest

from loom.core.errors import ArgumentError, StateError
from loom.flow import dnvm
from loom.nn.adapt import AdaptationTracker, VirtualClock

MS = 1_000_000


def _filled(answers: str, *, window: int = 50, changes: tuple[int, ...] = (100,), step: int = 25) -> dict[str, object]:
    clock = VirtualClock()
    tracker = AdaptationTracker(window, len(answers) * step, clock)
    tracker.set_model_info("net", "step")
    for n, at in enumerate(changes):
        tracker.schedule_task_change(at, n + 1, f"task {n + 1}")
    tracker.start("task 0", 0)
    for letter in answers:
        if letter != "-":
            tracker.record_output(letter == "y")
        clock.advance(step * MS)
    return tracker.finalize()


def test_counts_windows_and_recovery() -> None:
    found = _filled("yyyn" + "nn" + "nn" + "yn" + "--")
    windows = found["windows"]
    assert [w["outputs"] for w in windows] == [2, 2, 2, 2, 2, 0]
    assert [w["accuracy"] for w in windows] == [100.0, 50.0, 0.0, 0.0, 50.0, 0.0]
    assert found["avg_accuracy"] == 40.0  # of the five windows that have outputs
    assert found["total_outputs"] == 10
    assert found["duration"] == 300 * MS
    assert windows[1]["current_task"] == "task 0"
    assert windows[2]["task_id"] == 1
    assert windows[0]["outputs_per_sec"] == 40.0
    assert found["task_changes"] == [{
        "at_time": 100 * MS, "from_task": "task 0", "to_task": "task 1", "pre_change_window": 1,
        "post_change_window": 2, "pre_accuracy": 50.0, "post_accuracy": 0.0, "recovery_windows": 2,
        "recovery_time": 100 * MS,
    }]  # fmt: skip
    assert (found["model_name"], found["mode_name"]) == ("net", "step")
    assert json.loads(json.dumps(found)) == found


def test_never_recovers_and_the_next_task_is_no_recovery() -> None:
    first, second = _filled("yy" + "nn" + "yy", changes=(50, 100))["task_changes"]
    assert first["recovery_windows"] == first["recovery_time"] == -1
    assert second["recovery_windows"] == 0
    assert second["recovery_time"] == 0


def test_a_change_within_a_window_has_its_sides_outside_it() -> None:
    (change,) = _filled("yyyyyy", changes=(60,))["task_changes"]
    assert (change["pre_change_window"], change["post_change_window"]) == (0, 2)
    (early,) = _filled("yyyyyy", changes=(10,))["task_changes"]
    assert (early["pre_change_window"], early["pre_accuracy"]) == (-1, 0.0)
    (late,) = _filled("yyyyyy", changes=(140,))["task_changes"]
    assert (late["post_change_window"], late["recovery_windows"]) == (-1, -1)


def test_tells_the_task_before_and_now() -> None:
    clock = VirtualClock()
    tracker = AdaptationTracker(10, 30, clock)
    tracker.schedule_task_change(20, 7, "b")
    tracker.start("a", 3)
    assert tracker.record_output(True) == 3
    clock.advance(20 * MS)
    assert tracker.get_current_task() == 7
    assert tracker.record_output(True) == 3  # that of the answer before
    assert tracker.record_output(True) == 7
    clock.advance(10 * MS)
    assert tracker.is_over
    assert tracker.record_output(True) == 7
    assert tracker.late == 1
    assert tracker.finalize()["total_outputs"] == 3


def test_the_last_window_may_be_shorter() -> None:
    clock = VirtualClock()
    tracker = AdaptationTracker(50, 75, clock)
    tracker.start("a")
    clock.advance(60 * MS)
    tracker.record_output(False)
    last = tracker.finalize()["windows"][-1]
    assert last["duration"] == 25 * MS
    assert last["outputs_per_sec"] == 40.0


def test_refuses_what_cannot_be_counted() -> None:
    with pytest.raises(ArgumentError, match="window_ms"):
        AdaptationTracker(0, 100)
    with pytest.raises(ArgumentError, match="too many windows"):
        AdaptationTracker(1, 10**9)
    tracker = AdaptationTracker(10, 100, lambda: next(times))
    times = iter([5, 4, 4])
    for at in (0, 100):
        with pytest.raises(ArgumentError, match="offset_ms"):
            tracker.schedule_task_change(at, 1, "b")
    tracker.schedule_task_change(50, 1, "b")
    with pytest.raises(ArgumentError, match="there is a change at that time"):
        tracker.schedule_task_change(50, 2, "c")
    with pytest.raises(StateError, match="not running"):
        tracker.record_output(True)
    tracker.start("a")
    with pytest.raises(StateError, match="the clock went back"):
        tracker.record_output(True)
    with pytest.raises(StateError, match="running"):
        tracker.schedule_task_change(60, 1, "b")
    with pytest.raises(StateError, match="running"):
        tracker.start("a")
    with pytest.raises(ArgumentError, match="correct"):
        tracker.record_output(1)  # type: ignore[arg-type]


def test_the_seeds_name_is_the_tracker_and_the_clock_may_be_the_machines() -> None:
    assert dnvm.AdaptationTracker is AdaptationTracker
    tracker = AdaptationTracker(50, 60_000)
    tracker.start("chase", 0)
    assert tracker.record_output(True) == 0
    assert 0 < tracker.finalize()["duration"] < 60_000 * MS
