"""Programs and submissions: a built chain, and one run of it.

Layer: runtime. Invariant: runs of programs that share a timeline happen in the order they were launched; runs of
different timelines that share storage one of them writes, too (see ``order``).
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from weakref import ref

from loom.core.errors import LoomError, StateError
from loom.core.late import late
from loom.core.numerics import Guarantee
from loom.core.process.bound import ProcessBound
from loom.core.process.critical import CRITICAL
from loom.core.tracebacks import brief, brief_class
from loom.ir.interp import current_debug
from loom.runtime.chain.mirrors import Moves
from loom.runtime.chain.timeline import MOVING, SLICE_SECONDS, Timeline, deadline_of, wait_until
from loom.runtime.memory.order import UNTRACKED, Use, enter
from loom.runtime.memory.storage import HostSlot, Storage
from loom.runtime.plans.plan import Plan
from loom.runtime.port.device import DeviceProgram, DeviceSubmission, DirectProgram, DirectRun, InPlace
from loom.runtime.port.profile import active_profile
from loom.runtime.registry import device

if TYPE_CHECKING:
    from loom.runtime.chain.meetings import Doubt
    from loom.runtime.plans import library
    from loom.runtime.port import pacing
    from loom.runtime.port.pacing import Pacer, ProgramPace, Watch
else:
    library = late("loom.runtime.plans", "library")
    pacing = late("loom.runtime.port", "pacing")

__all__ = ["Program", "Submission"]

_STOP_SECONDS = 1.0
"""Longest wait for the dispatches under way when Ctrl-C stops a run."""


@brief_class
class Submission(ProcessBound):
    """One run of a program."""

    def __init__(self, inner: DeviceSubmission, name: str, timeline: Timeline, watch: Watch | None = None) -> None:
        self._inner = inner
        self._watch = watch
        if watch is not None:
            watch.inner = ref(inner)
        self._name = name
        self._timeline = timeline
        self.number = timeline.enter(inner)
        """Its place among the runs of its unit, from 1."""

    @property
    def timeline(self) -> Timeline:
        """The order of the runs it takes part in."""
        return self._timeline

    @property
    def done(self) -> bool:
        """True when the run is over; faults are left to ``poll`` and ``wait``."""
        return self._inner.wait(0.0)

    def poll(self) -> bool:
        """Tell whether the run is over; when it is, print what kernels printed and raise their fault.

        Runs launched earlier come first: a fault of theirs that nobody waited for is raised here.

        Raises:
            KernelFault: An assert failed, or an index lay outside under LOOM_CHECK=1.
        """
        watch = self._watch
        if not self._inner.wait(0.0):
            if watch is not None:
                watch.note_wait()
            return False
        if watch is not None:
            watch.over(at_once=False)
        self._timeline.report(self.number)
        return True

    @brief
    def wait(self, timeout: float | None = None) -> None:
        """Wait until the run is over, then raise what a kernel's assert or bounds report says.

        Args:
            timeout: Seconds; None: without end.

        Raises:
            ArgumentError: Not a number of seconds, at least 0.
            LoomTimeout: The time is over; the run goes on.
            KernelFault: An assert failed, or an index lay outside under LOOM_CHECK=1.
        """
        where = f"{self._name}.wait"
        deadline = deadline_of(timeout, where)
        watch = self._watch
        waited = watch is not None and not self._inner.wait(0.0)
        wait_until(self._inner, deadline, where, timeout)
        if watch is not None:
            watch.over(at_once=waited)
        self._timeline.report(self.number)

    def finish(self) -> None:
        """Wait until the run is over; what it has to tell is left to ``poll`` and ``wait``."""
        _finish(self._inner)

    def cancel(self) -> None:
        """Ask the run to stop before its next dependent dispatch; memory keeps what was done.

        On the CPU a dispatch that goes on for half a second is ended where it is, and what it writes has any contents.
        """
        self._inner.cancel()


def _finish(inner: DeviceSubmission) -> None:
    while not inner.wait(SLICE_SECONDS):
        pass


class _Touched:
    """The storages that a plan's kernels read and write: fixed ones, and those attached to slots at the moment."""

    def __init__(self, plan: Plan) -> None:
        kept: dict[bool, dict[int, Any]] = {False: {}, True: {}}
        for _, steps in plan.segments:
            for dispatch in (step.dispatch for step in steps):
                kernel = dispatch.kernel
                for memory, binding in zip(kernel.buffers, dispatch.bindings, strict=True):
                    kept[memory in kernel.writes][id(binding.storage)] = binding.storage
                if dispatch.indirect is not None:
                    kept[False][id(dispatch.indirect[0])] = dispatch.indirect[0]
        read = [s for key, s in kept[False].items() if key not in kept[True]]
        self.fixed: tuple[list[Any], list[Any]] = [], []
        self._slots: tuple[list[HostSlot], list[HostSlot]] = [], []
        self.nbytes = 0
        for number, storages in enumerate((read, kept[True].values())):
            for storage in storages:
                if isinstance(storage, HostSlot):
                    self._slots[number].append(storage)
                else:
                    self.nbytes += storage.nbytes
                    if storage.uses is not UNTRACKED:
                        self.fixed[number].append(storage)
        self.is_fixed = not (self._slots[0] or self._slots[1])

    def now(self) -> tuple[list[Any], list[Any]]:
        """Return what is read and not written, and what is written."""
        if self.is_fixed:
            return self.fixed
        reads, writes = [[s.storage for s in slots if s.storage is not None] for slots in self._slots]
        return self.fixed[0] + reads, self.fixed[1] + writes


@brief_class
class Program(ProcessBound):
    """A built chain. ``run`` and ``launch`` may be called any number of times."""

    def __init__(
        self,
        inner: DeviceProgram,
        plan: Plan,
        timeline: Timeline,
        name: str,
        moves: Moves | None = None,
        doubts: tuple[Doubt, ...] = (),
    ) -> None:
        self._inner: DeviceProgram | None = inner
        self.moves = moves
        """What is copied to the device before each run, and back after it; None for nothing."""
        self.plan: Plan | None = plan
        """What it was built from, None when it was freed."""
        self._timeline = timeline
        self.name = name
        self._dispatches = plan.count
        self._guarantee = plan.guarantee
        self._conditions = tuple(dict.fromkeys(doubt.text for doubt in doubts))
        self._doubts = tuple(doubt for doubt in doubts if doubt.is_testable)
        self.latest = 0
        """The number of its last run among those of its unit, 0 before the first."""
        self._touched = _Touched(plan)
        self._in_place: InPlace | None = None
        self._domain = inner.domain or timeline.domain
        self._use = Use(self._domain, lasting=True)
        self.pacer: Pacer | None = None if timeline.pacing is None else timeline.pacing.pacer()
        timeline.programs.add(self)

    @property
    def guarantee(self) -> Guarantee:
        """What is promised of the results: BIT_EXACT, RUN_TO_RUN with SPIR-V of others, FAST with order="any"."""
        return self._guarantee

    @property
    def conditions(self) -> tuple[str, ...]:
        """What must be so for the guarantee to hold: of each kernel of which data decide whether lanes meet, where.

        The first run is refused where lanes meet and the data that decide it are there before; later ones are not
        looked at, nor are dispatches whose indexes the program itself computes. Empty where all is proved.
        """
        return self._conditions

    @property
    def dispatches(self) -> int:
        """How many dispatches one run executes."""
        return self._dispatches

    @property
    def pace(self) -> ProgramPace | None:
        """How it is paced, None for a program of no unit."""
        if self.pacer is None:
            return None
        return pacing.ProgramPace(self._dispatches, self.pacer.baseline, self.pacer.last, self.pacer.pace)

    @property
    def nbytes(self) -> int:
        """Bytes of the storage its kernels use, but for what is attached to slots."""
        return self._touched.nbytes

    def move(self, timeline: Timeline) -> None:
        """Have its next runs be in the order of another timeline; no run may be under way that shares memory of it."""
        if timeline is not self._timeline:
            self._timeline.programs.discard(self)
            timeline.programs.add(self)
            self._timeline = timeline
            self._domain = (self._inner and self._inner.domain) or timeline.domain
            self._use = Use(self._domain, lasting=True)

    def direct(self, slots: Sequence[HostSlot]) -> DirectRun | None:
        """Return a copy of what it runs if that is little, over ``slots`` and memory of its own; else None.

        No run of it may be under way.

        Args:
            slots: Slots, each for memory of the host.
        """
        inner = self._inner
        if self.moves is not None or self._doubts or not isinstance(inner, DirectProgram):
            return None
        return inner.direct(slots)

    @property
    def untold(self) -> tuple[Sized, ...]:
        """What is empty while no run before it has to be waited for or has anything to tell."""
        return self._timeline.untold

    def launch(self) -> Submission:
        """Start a run and return at once; it begins after earlier runs of the same unit.

        Returns:
            Submission: the run, to wait for.

        Raises:
            StateError: The program was freed, or its unit is shut down.
        """
        pacer, watch = self.pacer, None
        self._timeline.promises.wait()
        if pacer is not None and pacer.is_watched:
            pacer.hold_up()
        with self._timeline.lock, ExitStack() as moving:
            inner = self.ready("launch")
            self._bring(moving)
            last = self._timeline.last
            previous = last if last is not None and not last.wait(0.0) else None
            begun: DeviceSubmission | None = None
            use = self.enter()
            with CRITICAL:
                try:
                    if pacer is not None and pacer.is_watched:
                        watch = self._watch(inner, alone=previous is None)
                    begun = found = inner.launch(previous)
                finally:
                    use.began(begun)
                    if begun is None and watch is not None:
                        watch.drop()
                submission = Submission(found, self.name, self._timeline, watch)
                self._note_start(submission.number)
            return submission

    def enter(self) -> Use:
        """Take note of what a run is about to use, and wait for runs of others it must come after.

        ``began`` of what is returned is to be called, whatever happens.
        """
        if self._doubts:
            self._look()
        if self._guarantee is Guarantee.FAST:
            library.note_begun()
        touched = self._touched
        begins = self._use.is_open  # this comes in the middle of that, in the same thread
        use = self._use if touched.is_fixed and not begins else Use(self._domain)
        try:
            enter(use, *touched.now())
        except BaseException:
            use.began(None)
            raise
        return use

    def _look(self) -> None:
        """Before the first run: RaceDetected if data let lanes meet, and nothing is run."""
        if current_debug() is None:
            self._timeline.settle()
            for doubt in self._doubts:
                doubt.look()
            self._doubts = ()

    def _watch(self, inner: DeviceProgram, *, alone: bool) -> Watch | None:
        """Return what times a run, None for one that is not to be timed."""
        pacer, owner = self.pacer, self._timeline.pacing
        if pacer is None or owner is None or inner is not self._inner:
            return None
        return pacing.Watch(owner, pacer, alone=alone)

    @brief
    def run(self) -> None:
        """Run to the end; raise what a kernel's assert or bounds report says.

        Ctrl-C stops the run: when KeyboardInterrupt is raised, within a second, nothing is under way any more but a
        dispatch that a GPU has. On the CPU one that goes on for half a second is ended where it is.

        A fault of an earlier run that nobody waited for is raised first, and nothing is run.

        Raises:
            StateError: The program was freed, or its unit is shut down.
            KernelFault: An assert failed, or an index lay outside under LOOM_CHECK=1.
        """
        timeline, pacer, watch = self._timeline, self.pacer, None
        inner: DeviceSubmission | None = None
        use: Use | None = None
        number = 0

        def begin(begun: DeviceSubmission) -> None:
            nonlocal inner, number
            inner, number = begun, timeline.enter(begun)
            self._note_start(number)
            if moving is not None:
                moving.close()

        moving = None if self.moves is None else ExitStack()
        timeline.promises.wait()
        if pacer is not None and pacer.is_watched:
            pacer.hold_up()
        try:
            with timeline.lock:
                program = self.ready("run")
                timeline.settle()
                if moving is not None:
                    self._bring(moving)
                use = self.enter()
                if pacer is not None and pacer.is_watched:
                    watch = self._watch(program, alone=True)
                program.run(begin)
                use.began(inner)
                begun, use = use, None
            assert inner is not None
            _finish(inner)
            begun.note_end(inner)
            timeline.report(number)
            if watch is not None:
                watch.over(at_once=True)
        except BaseException as error:  # of a handler of signals, also if it is not Ctrl-C
            if inner is not None and not isinstance(error, LoomError):
                self._stop(inner, number)
            raise
        finally:
            if moving is not None:
                moving.close()
            if use is not None:
                use.began(inner)
            if watch is not None:
                watch.drop()

    def takes(self, slots: Sequence[HostSlot]) -> bool:
        """Be ready to ``run_over`` memory for slots; False for what uses more than those, or may have faults.

        Args:
            slots: Slots, each for memory of the host.

        Returns:
            Whether ``run_over`` may be called.
        """
        inner, is_vouched = self._inner, self._guarantee is not Guarantee.FAST and not self._doubts
        if is_vouched and self.moves is None and self.pacer is None and not any(self._touched.fixed):
            if isinstance(inner, InPlace) and inner.takes(slots):
                self._in_place = inner
        return self._in_place is not None

    def run_over(self, memory: Sequence[Storage]) -> None:
        """Run as ``run`` does over memory for the slots that it ``takes``, which is not entered in ``order``.

        Until this returns nobody else writes what it reads, or uses what it writes; what writes it is over.

        Args:
            memory: Memory for each slot.
        """
        timeline, late, number = self._timeline, None, 0

        def begin(begun: DeviceSubmission) -> None:
            nonlocal late, number
            late, number = begun, timeline.enter(begun)
            self._note_start(number)

        assert self._in_place is not None
        timeline.promises.wait()
        try:
            with timeline.lock:
                timeline.settle()
                self._in_place.run(begin, memory)
            if late is not None:
                _finish(late)
                timeline.report(number)
        except BaseException as error:
            if late is not None and not isinstance(error, LoomError):
                self._stop(late, number)
            raise

    def _stop(self, inner: DeviceSubmission, number: int) -> None:
        """End a run because of an exception of a handler of signals."""
        with CRITICAL:
            inner.cancel()
            if inner.wait(_STOP_SECONDS):  # else a later run would bring it over what the caller then wrote
                self._timeline.pull(number)

    def _bring(self, moving: ExitStack) -> None:
        """Bring what the device cannot use in place there, when earlier runs are over and theirs is back.

        Nobody else does so until ``moving`` is closed: what this run is about to write is not to be read before.
        """
        if self.moves is not None:
            self._timeline.settle()
            with CRITICAL:
                moving.enter_context(MOVING.lock)
            MOVING.bring_back(self.moves.extents())
            moving.enter_context(self.moves.in_order())
            self.moves.push(is_loose=self._guarantee is Guarantee.FAST)

    def _note_start(self, number: int) -> None:
        self.latest = number
        if self.moves is not None:
            MOVING.note(self._timeline, number, self.moves)

    def ready(self, verb: str) -> DeviceProgram:
        """Return the program that the device runs.

        Args:
            verb: Name of the call, for the error.

        Raises:
            StateError: The program was freed, or its unit is shut down.
        """
        if self._inner is None or self.plan is None:
            what, remedy = "the program was freed", "Record and build it again"
            if self._timeline.closed:
                what, remedy = "its unit is shut down", "Boot a new unit"
            raise StateError(f"{self.name}.{verb}", what, remedy=remedy)
        if current_debug() is not None:
            return device("interp").build(self.plan)
        profile = active_profile()
        return self._inner if profile is None else profile.program(self._inner, self.plan, self.name)

    @property
    def timeline(self) -> Timeline:
        """The order of the runs it takes part in."""
        return self._timeline

    def free(self) -> None:
        """Give up the program's memory, after its last run; calling it again does nothing."""
        self._timeline.promises.wait()
        with self._timeline.lock:
            self._timeline.drain()
            self._timeline.pull()
            self.release()

    def release(self) -> None:
        """Let go of the program's memory; no run may be under way."""
        self._inner = self.plan = None
        self._touched = _NOTHING

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_exc: Any) -> None:
        self.free()


_NOTHING = _Touched(Plan((), Guarantee.BIT_EXACT))
