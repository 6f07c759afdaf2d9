"""The CPU device: compiles kernels, lays plans out as the walker's tables, runs them.

Layer: runtime. Invariant: a program's tables, and the storages and code they point to, live as long as
the program and every run of it.
"""

from __future__ import annotations

import atexit
import ctypes
import math
import os
import platform
import threading
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from loom.core import options
from loom.core.caps import Caps
from loom.core.errors import DeviceError, KernelFault, StateError
from loom.core.late import late
from loom.core.late.dataclass import dataclass
from loom.core.numerics import Guarantee
from loom.core.process.bound import ProcessBound
from loom.core.process.critical import start_thread
from loom.core.process.forks import hold_over_forks
from loom.ir.verified import VerifiedKernel
from loom.runtime.drivers.cpu.code import LinkedCode, link
from loom.runtime.drivers.cpu.ctrl_c import GRACE_SECONDS, Interrupts
from loom.runtime.drivers.cpu.pool import Pool, SubmissionCells, pool
from loom.runtime.drivers.cpu.records import bindings_of, grain_of, set_batches
from loom.runtime.drivers.loading import bounds_of, load_artifact, locations_of
from loom.runtime.memory.storage import HostSlot, HostStorage
from loom.runtime.plans.dispatch import Dispatch
from loom.runtime.plans.groups import excess_groups, largest_groups
from loom.runtime.plans.plan import Plan, PlanStep
from loom.runtime.port.cache import ArtifactCache
from loom.runtime.port.device import DeviceInfo, DeviceProgram, DeviceSubmission, DirectRun
from loom.targets.base import STOP_WORD, Artifact, Bounds, Site
from loom.targets.llvm.machine import Machine, cpu_caps, host_machine, llvm_fingerprint
from loom.targets.llvm.machine.layout import BARRIER_BEFORE, INDIRECT, INDIRECT_COUNTS, RECORD, WAITS

if TYPE_CHECKING:
    from loom.runtime.port import log as logs
    from loom.runtime.port import times as run_times
    from loom.runtime.port.log import Outcome
    from loom.runtime.port.times import Times
else:
    logs, run_times = late("loom.runtime.port", "log times")

__all__ = ["CpuDevice"]

_DONE = 2
_EMPTY_LOG = SubmissionCells.empty_log.offset
_SHORT_WORK = 1e7
"""Operations that a caller runs itself: some milliseconds."""
_NO_WORDS = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    """A kernel ready to run. ``operations`` estimates the work of a group, None if it has loops."""

    code: LinkedCode
    address: int
    sites: tuple[Site, ...]
    operations: float | None


MOST_LOADED = 8192
"""Kernels kept for the next program: each is two mappings of memory, and Linux gives a process 65,530."""


class CpuDevice(ProcessBound):
    """The processor of this computer."""

    name = "cpu"
    kind = "cpu"
    guarantee = Guarantee.BIT_EXACT

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, str, Bounds, Machine], _Loaded] = {}
        self._lock = hold_over_forks(threading.RLock())

    @property
    def machine(self) -> Machine:
        """What code is generated for."""
        return host_machine(options.simd_lanes(), optimised=options.optimise_code())

    @property
    def caps(self) -> Caps:
        """What kernels may know of this device."""
        return cpu_caps(self.machine, options.thread_count(), _cache_nbytes())

    @cached_property
    def _cache(self) -> ArtifactCache:
        return ArtifactCache()

    def describe(self) -> DeviceInfo:
        """Return what ``loom devices`` shows."""
        machine = self.machine
        limits = {
            "threads": options.thread_count(),
            "simd": f"{machine.simd_lanes} x 32 bit",
            "cpu": machine.cpu,
            "shared memory": f"{self.caps.shared_nbytes // 1024} KiB",
            "workgroup": f"{self.caps.max_workgroup_lanes} lanes",
            "cache per core": f"{self.caps.cache_nbytes // 1024} KiB",
        }
        return DeviceInfo(self.name, self.kind, f"{platform.machine()}, LLVM", "BIT_EXACT", limits)

    def allocate(self, nbytes: int, *, zeroed: bool = True) -> HostStorage:
        """Return memory, zeroed or with any contents; DeviceError if the system has not enough."""
        return HostStorage.allocate(nbytes, zeroed=zeroed)

    def adopt(self, array: np.ndarray[Any, Any]) -> HostStorage:
        """Return the array's memory, used in place."""
        return HostStorage.adopt(array)

    def build(self, plan: Plan) -> _CpuProgram:
        """Compile the kernels of a plan and lay out its table."""
        return _CpuProgram(self, plan)

    def load(self, kernel: VerifiedKernel, *, reports: bool = False) -> _Loaded:
        """Return a kernel ready to run: from memory, from disk, or compiled now."""
        bounds = bounds_of(kernel, reports=reports)
        key = (kernel.hash, locations_of(kernel, bounds), bounds, self.machine)
        found = self._loaded.get(key)
        if found is None:
            with self._lock:
                found = self._loaded.get(key) or self._loaded.setdefault(key, self._load(kernel, *key[1:]))
                for old in list(self._loaded)[: max(0, len(self._loaded) - MOST_LOADED)]:  # programs keep their own
                    self._loaded.pop(old, None)
        return found

    def _load(self, kernel: VerifiedKernel, locations: str, bounds: Bounds, machine: Machine) -> _Loaded:
        def compile_now() -> Artifact:
            from loom.targets.llvm.target import LlvmTarget  # the generator is needed only now

            return LlvmTarget(machine).compile(kernel, bounds)

        target = f"{machine} {llvm_fingerprint()}"
        return _link(kernel, load_artifact(self._cache, kernel, bounds, locations, target, compile_now))


def _link(kernel: VerifiedKernel, artifact: Artifact) -> _Loaded:
    code = link(artifact.data, artifact.entry)
    count = kernel.statements
    operations = None if count is None else max(1, count) * math.prod(kernel.workgroup) / artifact.facts["width"]
    return _Loaded(code, code.address(artifact.entry), artifact.sites, operations)


@cache
def _cache_nbytes() -> int:
    """Return the second-level cache of a core, as the system tells it (1 MiB if it does not)."""
    try:
        with open("/sys/devices/system/cpu/cpu0/cache/index2/size") as file:
            text = file.read().strip()
        return int(text.rstrip("KM")) * (1024 if text.endswith("K") else 1 << 20)
    except (OSError, ValueError):
        return 1 << 20


class _CpuProgram:
    """A plan as the walker reads it: records, bindings, parameters."""

    domain = None

    def __init__(self, owner: CpuDevice, plan: Plan, *, timed: bool = False) -> None:
        self.plan = plan
        self.owner = owner
        self.timed = timed
        self._pool = pool()
        self._process = _process
        self.keep: list[Any] = []
        self.slots: list[tuple[np.ndarray[Any, Any], int, HostSlot]] = []
        self.tables: list[tuple[slice, np.ndarray[Any, Any], np.ndarray[Any, Any], Dispatch]] = []
        self.sites: dict[int, tuple[Site, ...]] = {}
        self._places: list[tuple[memoryview, int, int]] = []
        self.records = np.zeros(plan.count, RECORD)
        self.talks = False
        work = np.zeros(plan.count)
        first = 0
        for repeats, steps in plan.segments:
            for position, step in enumerate(steps):
                rows = slice(first + position, first + repeats * len(steps), len(steps))
                work[rows] = self._fill(owner, rows, step)
            first += repeats * len(steps)
        self.records["number"] = np.arange(plan.count, dtype=np.uint32)
        self._work = float(work.sum())
        self.may_last = self._work > _SHORT_WORK
        if timed:
            self.records["flags"] |= BARRIER_BEFORE  # each dispatch has a time of its own
        set_batches(self.records, work)
        self.fresh = SubmissionCells(records=self.records.ctypes.data, count=plan.count)

    @property
    def threads(self) -> Pool:
        """The workers; those of this process, should it be a fork of the one that built the program."""
        if self._process is not _process:
            self._pool, self._process = pool(), _process
        return self._pool

    def _fill(self, owner: CpuDevice, place: slice, step: PlanStep) -> Any:
        """Fill in the records of a step; return the operations of each, infinite where unknown."""
        dispatch, rows = step.dispatch, self.records[place]
        loaded = owner.load(dispatch.kernel, reports=dispatch.reports)
        bindings = bindings_of(dispatch)
        for position, binding in enumerate(dispatch.bindings):
            if isinstance(binding.storage, HostSlot):
                self.slots.append((bindings["address"], position, binding.storage))
        params = np.ascontiguousarray(dispatch.params)
        self.keep += [loaded, bindings, params, dispatch]
        self.tables.append((place, bindings, params, dispatch))
        self.sites[id(step)] = loaded.sites
        self.talks = self.talks or bool(loaded.sites)
        rows["kernel"] = loaded.address
        rows["bindings"] = bindings.ctypes.data
        rows["params"] = params.ctypes.data + np.arange(len(rows), dtype=np.uint64) * np.uint64(8 * params.shape[1])
        rows["groups"] = dispatch.groups
        rows["total"] = dispatch.groups.astype(np.uint64).prod(axis=1)
        rows["flags"] = np.where(step.waits, BARRIER_BEFORE | WAITS, 0)
        if dispatch.indirect is not None:
            storage, offset = dispatch.indirect
            indirect = np.zeros(1, INDIRECT_COUNTS)
            indirect["address"] = storage.extent()[0] + offset
            indirect["largest"] = largest_groups(dispatch.kernel)
            self.keep.append(indirect)
            rows["indirect"] = indirect.ctypes.data
            rows["flags"] |= INDIRECT
        rows["flags"] |= grain_of(loaded.operations)
        is_known = loaded.operations is not None and dispatch.indirect is None
        return rows["total"] * loaded.operations if is_known else np.inf

    def _fill_slots(self) -> None:
        for addresses, position, slot in self.slots:
            addresses[position] = slot.address

    def _submission(self, memory: Sequence[Any] | None = None) -> _CpuSubmission:
        """Return a run to begin, which keeps the memory given, or what is attached to slots."""
        if memory is not None:
            for addresses, at, number in self._places:
                addresses[at] = memory[number].address
        elif self.slots:
            self._fill_slots()
            memory = [slot.owner for _, _, slot in self.slots]
        made = _CpuSubmission(self)
        made.attached = memory or ()
        return made

    def takes(self, slots: Sequence[HostSlot]) -> bool:
        """Be ready for memory for ``slots`` with a run; False for what tells something, or has indirect dispatches."""
        numbers = {id(slot): n for n, slot in enumerate(slots)}
        self._places = [(rows.data, at, numbers[id(slot)]) for rows, at, slot in self.slots]
        return not (self.talks or self.timed or any(self.records["flags"] & INDIRECT))

    def direct(self, slots: Sequence[HostSlot]) -> DirectRun | None:
        """Return a copy of one dispatch, or of few that tell nothing."""
        is_one = len(self.records) == 1 or not self.talks
        if self.timed or not is_one or any(self.records["flags"] & INDIRECT):
            return None
        from loom.runtime.drivers.cpu.programcopy import direct_run  # few programs call anything twice

        sites = next(iter(self.sites.values())) if self.talks else ()
        return direct_run(self.records, self.tables, slots, sites, self._work, self.keep)

    def profiled(self) -> _CpuProgram:
        """Return the plan built to tell how long each dispatch takes."""
        return _CpuProgram(self.owner, self.plan, timed=True)

    def sites_of(self, number: int) -> tuple[Site, ...]:
        """Return the sites of a dispatch's kernel."""
        return self.sites[id(self.plan.step_of(number))]

    def excess(self, number: int) -> KernelFault:
        """Return the fault of an indirect dispatch whose counts were beyond the limits."""
        x, y, z = self.records["groups"][number].tolist()
        return excess_groups(self.plan.step_of(number).dispatch.kernel, (x, y, z))

    def woven(self, plan: Callable[[], Plan], programs: Sequence[DeviceProgram]) -> None:
        """Nothing: the workers take what is launched side by side."""

    def launch(self, previous: DeviceSubmission | None) -> _CpuSubmission:
        """Hand a run to the workers."""
        submission = self._submission()
        after = 0
        if isinstance(previous, _CpuSubmission) and previous.program.threads is self.threads:
            after = previous.address
        elif previous is not None:  # other workers, after LOOM_THREADS changed, know nothing of it
            while not previous.wait(1.0):
                pass
        _hold(submission)
        self.threads.submit(submission.address, after)
        return submission

    def run(self, begun: Callable[[DeviceSubmission], None], memory: Sequence[Any] | None = None) -> None:
        """Run in the calling thread, the workers helping; a long run goes on without it.

        Over memory for the slots that it ``takes`` ``begun`` is told such a run alone: of others nothing is to be told.
        """
        if self.timed:
            begun(self.launch(None))
            return
        if self.may_last and monotonic() >= _interrupts.until:
            _interrupts.listen()
        submission = self._submission(memory)  # where the thread that hears of Ctrl-C looks for it
        try:
            (self._pool if self._process is _process else self.threads).run(submission.address)
            if (
                submission.fate is not None and submission.fate.is_ended
            ):  # Ctrl-C pressed twice, whatever the handler did
                raise KeyboardInterrupt
        except BaseException:  # Ctrl-C while native code ran, which may have handed the rest to the workers
            submission.cancel()
            if not submission.is_over():
                _hold(submission)
            if submission.has_begun():
                begun(submission)
            raise
        if submission.cells.state != _DONE:
            _hold(submission)
        elif memory is not None:
            return
        begun(submission)


_under_way: dict[int, _CpuSubmission] = {}
"""Runs the walker may still touch, so that their memory outlives every reference of the caller."""
_process = object()
"""Stands for this process; a fork gets another."""


def _hold(submission: _CpuSubmission) -> None:
    """Keep a run alive until it is over; let go of those that are."""
    for address, other in list(_under_way.items()):
        if other.is_over():
            other.attached = ()
            _under_way.pop(address, None)
    _under_way[submission.address] = submission


def _all_runs() -> list[_CpuSubmission]:
    """Return the runs that were launched, or gone on with by the workers, and those that threads are in."""
    return [*_under_way.values(), *(r for r in _interrupts.runs().values() if isinstance(r, _CpuSubmission))]


@dataclass
class _Fate:
    """What befalls few runs: a fork that left its threads behind, Ctrl-C (the dispatch waited for then), an end."""

    is_lost: bool = False
    is_ended: bool = False
    waited_for: int = -1
    heard_at: int = -1
    error: DeviceError | None = None


class _CpuSubmission:
    """One run: what the walker calls %Submission, and its log."""

    __slots__ = ("__weakref__", "address", "attached", "cells", "clock", "fate", "log", "program")

    def __init__(self, program: _CpuProgram) -> None:
        self.program = program
        self.attached: Sequence[Any] = ()
        self.fate: _Fate | None = None
        self.cells = SubmissionCells.from_buffer_copy(program.fresh)
        self.address = ctypes.addressof(self.cells)
        self.log = self.clock = _NO_WORDS
        if program.talks:
            self.log = logs.new_log(logs.LOG_WORDS)
            self.cells.log = self.log.ctypes.data
        else:
            self.cells.log = self.address + _EMPTY_LOG
        if program.timed:
            self.clock = np.zeros(program.plan.count + 1, np.int64)
            self.cells.clock = self.clock.ctypes.data

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds``; tell whether the run is over."""
        if not self.is_over():
            if self.fate is not None and self.fate.is_lost:
                raise StateError(
                    "device 'cpu'", "the run was under way when this process was forked, and its threads stayed behind",
                    remedy="Wait for runs before a fork, or boot a new unit after it",
                )  # fmt: skip
            if seconds <= 0 or not self.wait_for_end(seconds):
                return False
        self.attached = ()
        _under_way.pop(self.address, None)
        return True

    def wait_for_end(self, seconds: float) -> bool:
        """Wait for the end, as the thread that hears of signals can see."""
        if self.program.may_last and monotonic() >= _interrupts.until:
            _interrupts.listen()
        try:
            return self.program.threads.wait(self.address, seconds)
        except KeyboardInterrupt:
            for run in _all_runs():
                run.interrupt()
            raise

    def interrupt(self) -> None:
        """Take note of Ctrl-C while somebody waits; end a dispatch that was there the time before."""
        here, fate = self.cells.executed, self.meet_fate()
        if fate.waited_for == here:
            self._end_for_good(fate)
        fate.waited_for = here

    def hear(self) -> None:
        """Do so under a handler of the user's, which may not end the wait; told by the thread that hears of signals."""
        here, fate = self.cells.executed, self.meet_fate()
        if fate.heard_at == here:
            self._end_for_good(fate)
        fate.heard_at = here

    def _end_for_good(self, fate: _Fate) -> None:
        if self.is_over():
            return
        what = "a dispatch that did not end was ended where it was, by Ctrl-C pressed twice"
        fate.error = DeviceError("device 'cpu'", what, remedy="What it writes has any contents: write it anew")
        self.end()

    def meet_fate(self) -> _Fate:
        """Return what befell it, to be changed."""
        if self.fate is None:
            self.fate = _Fate()
        return self.fate

    def is_over(self) -> bool:
        """Tell whether the walker is done with this run's memory."""
        return self.cells.state == _DONE

    def has_begun(self) -> bool:
        """Tell whether the walker ran some of it; false until the first batch is done."""
        return self.is_over() or bool(self.cells.executed)

    def cancel(self) -> None:
        """Stop before the next dependent dispatch, or in the middle of one that goes on for long."""
        if self.cells.cancel or self.is_over():
            return
        self.cells.cancel = 1
        mine = ref(self)
        timer = threading.Timer(GRACE_SECONDS, lambda: (found := mine()) is not None and found.end())
        timer.daemon = True
        start_thread(timer)

    def end(self) -> None:
        """Have the dispatch under way end where it is; what it writes has any contents."""
        self.cells.cancel = self.meet_fate().is_ended = True
        if self.program.talks:
            self.log[STOP_WORD] = 1
        else:
            self.cells.empty_log[STOP_WORD] = 1

    def times(self) -> Times | None:
        """Return when each dispatch began and ended, those that ran; the run must be over."""
        if not self.program.timed:
            return None
        ran = np.flatnonzero((self.clock[:-1] > 0) & (self.clock[1:] > 0))
        return run_times.Times("cpu", ran, self.clock[ran], self.clock[ran + 1], np.ones(len(ran)), host_clock=True)

    def outcome(self) -> Outcome:
        """Return what kernels sent; the run must be over."""
        sent = logs.read_log(self.log, self.program.sites_of) if self.program.talks else logs.SILENT
        if self.fate is not None and self.fate.error is not None:
            return logs.Outcome(sent.lines, lost=self.fate.error)
        excess = self.cells.excess
        return logs.Outcome(sent.lines, self.program.excess(excess - 1)) if excess else sent


_interrupts = Interrupts(_CpuProgram.run.__code__, _CpuSubmission.wait_for_end.__code__)


@atexit.register
def _cancel_all() -> None:
    """Let nothing that still runs hold up the end of the process."""
    for submission in _all_runs():
        submission.end()


def _after_fork() -> None:
    """The workers of the parent are not here: what they were running stays as it is."""
    global _process  # noqa: PLW0603
    _process = object()
    for submission in _under_way.values():
        submission.meet_fate().is_lost = True
    _under_way.clear()
    _interrupts.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
