"""Profiles: how long each dispatch took on its device, as rows, a table, or a trace for a browser.

Layer: runtime. While a profile is open, programs run in a form that tells times, in which every timed dispatch runs
by itself. Invariant: profiling changes no result, and costs nothing where no profile is open.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loom.core.errors import StateError
from loom.core.late.dataclass import dataclass

if TYPE_CHECKING:
    from loom.runtime.plans.plan import Plan
    from loom.runtime.port.device import DeviceProgram, DeviceSubmission
    from loom.runtime.port.times import Times

__all__ = ["OPEN", "KernelTotal", "Profile", "ProfileRow", "active_profile", "profile"]

_SLICE_SECONDS = 0.05
OPEN: list[Profile] = []
"""Profiles that are open."""


def active_profile() -> Profile | None:
    """Return the innermost open profile."""
    return OPEN[-1] if OPEN else None


def profile() -> Profile:
    """Return a profile to use in a ``with``: all programs that any thread starts inside it are timed.

    >>> import loom
    >>> with loom.profile() as p:
    ...     _ = loom.gpu_sum([1.0, 2.0])
    >>> p.rows[0].device
    'cpu'
    """
    return Profile()


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """One dispatch: times in microseconds, ``begin`` since the profile was opened.

    ``nbytes`` counts the memory bound, ``groups`` is None where the device read it. ``stands_for`` is above 1 where
    only some of very many dispatches were timed. ``run`` counts the submissions of the profile.
    """

    kernel: str
    program: str
    device: str
    run: int
    dispatch: int
    begin: float
    duration: float
    nbytes: int
    groups: tuple[int, int, int] | None
    stands_for: float


@dataclass(frozen=True, slots=True)
class KernelTotal:
    """All dispatches of a kernel on a device: times in microseconds, ``total`` estimated where ``timed < count``."""

    kernel: str
    device: str
    count: int
    timed: int
    total: float
    least: float
    mean: float
    most: float
    nbytes: int

    @property
    def gigabytes_per_second(self) -> float:
        """Memory bound per time: what it would take to touch all of it once."""
        return self.nbytes * self.count / self.total / 1e3 if self.total else 0.0


class Profile:
    """See ``profile``. What was recorded is there when the ``with`` is over."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._programs: dict[int, tuple[DeviceProgram, DeviceProgram]] = {}
        self._runs: list[tuple[DeviceSubmission, Plan, str, int]] = []
        self._rows: list[ProfileRow] | None = None
        self._begun = 0

    def __enter__(self) -> Profile:
        if self._begun:
            raise StateError("loom.profile", "a profile is used once", remedy="Open another with loom.profile()")
        self._begun = time.perf_counter_ns()
        OPEN.append(self)
        return self

    def __exit__(self, *_exc: object) -> None:
        OPEN.remove(self)
        rows: list[ProfileRow] = []
        origins: dict[str, int] = {}
        for number, (run, plan, name, begun) in enumerate(self._runs):
            while not run.wait(_SLICE_SECONDS):
                pass
            times = run.times()
            if times is not None and len(times.numbers):
                origin = 0 if times.host_clock else origins.setdefault(times.device, int(times.begins[0]) - begun)
                rows += _rows(times, plan, name, number, origin + self._begun)
        self._rows = rows
        self._runs, self._programs = [], {}

    # what programs ask

    def program(self, inner: DeviceProgram, plan: Plan, name: str) -> DeviceProgram:
        """Return a program that does what ``inner`` does, and is timed.

        Args:
            inner: Program of a device.
            plan: Plan it was built from.
            name: Name for the rows.
        """
        with self._lock:
            if id(inner) not in self._programs:
                self._programs[id(inner)] = inner, inner.profiled()
            timed = self._programs[id(inner)][1]
        return _Timed(timed, lambda run, begun: self._runs.append((run, plan, name, begun)))

    # what it tells

    @property
    def rows(self) -> list[ProfileRow]:
        """The dispatches, in the order of their runs; StateError while the profile is open."""
        if self._rows is None:
            raise StateError("loom.profile", "the profile is open", remedy="Look at it after its with block")
        return self._rows

    def totals(self) -> list[KernelTotal]:
        """Return the sums by kernel and device, the longest first."""
        groups: dict[tuple[str, str], list[ProfileRow]] = {}
        for row in self.rows:
            groups.setdefault((row.kernel, row.device), []).append(row)
        found = [_total(kernel, device, rows) for (kernel, device), rows in groups.items()]
        return sorted(found, key=lambda t: -t.total)

    def table(self) -> str:
        """Return the totals as text, one kernel a line; a ``~`` marks what only some dispatches were timed for."""
        totals = self.totals()
        whole = sum(t.total for t in totals) or 1.0
        lines = [["kernel", "device", "count", "total us", "share", "mean us", "least us", "most us", "bytes", "GB/s"]]
        lines += [
            [
                t.kernel, t.device, str(t.count), ("~" if t.timed < t.count else "") + f"{t.total:.1f}",
                f"{100 * t.total / whole:.1f}%", f"{t.mean:.2f}", f"{t.least:.2f}", f"{t.most:.2f}", str(t.nbytes),
                f"{t.gigabytes_per_second:.1f}",
            ]
            for t in totals
        ]  # fmt: skip
        widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
        texts = [
            "  ".join(c.ljust(w) if n < 2 else c.rjust(w) for n, (c, w) in enumerate(zip(line, widths, strict=True)))
            for line in lines
        ]
        return "\n".join(text.rstrip() for text in texts)

    def to_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the rows as a trace that chrome://tracing and ui.perfetto.dev show: devices as processes, programs as
        threads.

        Args:
            path: File to write, in place of one there.

        Source: Google, "Trace Event Format" (complete events, times in microseconds).
        """
        import json

        from loom.storage.atomic import replace_file

        replace_file(Path(path), json.dumps({"traceEvents": _events(self.rows), "displayTimeUnit": "ns"}).encode())


class _Timed:
    """A profiled program that reports its runs."""

    def __init__(self, inner: DeviceProgram, note: Callable[[DeviceSubmission, int], None]) -> None:
        self.inner = inner
        self.note = note

    def launch(self, previous: DeviceSubmission | None) -> DeviceSubmission:
        """Start a run."""
        begun = time.perf_counter_ns()
        run = self.inner.launch(previous)
        self.note(run, begun)
        return run

    def run(self, begun: Callable[[DeviceSubmission], None]) -> None:
        """Run; the caller waits."""
        at = time.perf_counter_ns()

        def enter(run: DeviceSubmission) -> None:
            self.note(run, at)
            begun(run)

        self.inner.run(enter)

    @property
    def domain(self) -> object | None:
        """Where its runs are in order."""
        return self.inner.domain

    def profiled(self) -> DeviceProgram:
        """Return itself."""
        return self

    def woven(self, plan: Callable[[], Plan], programs: Sequence[DeviceProgram]) -> None:
        """Nothing: profiled programs run one by one."""


def _rows(times: Times, plan: Plan, name: str, run: int, origin: int) -> list[ProfileRow]:
    """Return a run's rows; ``origin`` is when the profile was opened, on the clock of the times."""
    places = _places(plan)
    begins, durations = (times.begins - origin) / 1e3, (times.ends - times.begins) / 1e3
    found: list[ProfileRow] = []
    columns = (times.numbers.tolist(), begins.tolist(), durations.tolist(), times.weights.tolist())
    for number, begin, duration, weight in zip(*columns, strict=True):
        kernel, nbytes, groups = places(number)
        found.append(ProfileRow(kernel, name, times.device, run, number, begin, duration, nbytes, groups, weight))
    return found


def _places(plan: Plan) -> Callable[[int], tuple[str, int, tuple[int, int, int] | None]]:
    """Return a function that tells of a dispatch's number its kernel, the bytes it binds, and its groups."""
    facts: dict[int, tuple[str, int]] = {}

    def tell(number: int) -> tuple[str, int, tuple[int, int, int] | None]:
        at = number
        for repeats, steps in plan.segments:
            if at < repeats * len(steps):
                turn, position = divmod(at, len(steps))
                dispatch = steps[position].dispatch
                if id(dispatch) not in facts:
                    pairs = zip(dispatch.kernel.buffers, dispatch.bindings, strict=True)
                    facts[id(dispatch)] = dispatch.kernel.name, sum(m.dtype.nbytes * b.elements for m, b in pairs)
                x, y, z = dispatch.groups[turn].tolist()
                return *facts[id(dispatch)], None if dispatch.indirect is not None else (x, y, z)
            at -= repeats * len(steps)
        raise IndexError(number)

    return tell


def _total(kernel: str, device: str, rows: Sequence[ProfileRow]) -> KernelTotal:
    durations = [row.duration for row in rows]
    count = round(sum(row.stands_for for row in rows))
    total = sum(row.duration * row.stands_for for row in rows)
    nbytes = round(sum(row.nbytes * row.stands_for for row in rows) / max(1, count))
    return KernelTotal(
        kernel, device, count, len(rows), total, min(durations), total / max(1, count), max(durations), nbytes
    )


def _events(rows: Sequence[ProfileRow]) -> list[dict[str, Any]]:
    devices = {name: n for n, name in enumerate(dict.fromkeys(row.device for row in rows))}
    programs = {key: n for n, key in enumerate(dict.fromkeys((row.device, row.program) for row in rows))}
    events: list[dict[str, Any]] = [
        {"name": "process_name", "ph": "M", "pid": n, "tid": 0, "args": {"name": f"device {name}"}}
        for name, n in devices.items()
    ]
    events += [
        {"name": "thread_name", "ph": "M", "pid": devices[device], "tid": n, "args": {"name": program}}
        for (device, program), n in programs.items()
    ]
    events += [
        {
            "name": row.kernel, "cat": "dispatch", "ph": "X", "pid": devices[row.device],
            "tid": programs[row.device, row.program], "ts": row.begin, "dur": row.duration,
            "args": {"run": row.run, "dispatch": row.dispatch, "bytes": row.nbytes, "groups": row.groups,
                     "stands for": row.stands_for},
        }
        for row in rows
    ]  # fmt: skip
    return events
