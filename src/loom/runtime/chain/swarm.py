"""Several units' programs woven into one submission, so that they run side by side on a device with one queue.

Layer: runtime. A device that waits between dependent dispatches of one chain could do those of another meanwhile, but
queues overlap little (an H200's: about twice). Woven, the chains go in step: first dispatches of all, then a wait for
all, then second ones. Invariant: a woven dispatch comes after all it would come after in its own program.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core import options
from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import items
from loom.core.tracebacks import brief_class
from loom.ir.interp import current_debug
from loom.runtime.chain.program import Program, Submission
from loom.runtime.memory.order import Use
from loom.runtime.plans.plan import Plan, PlanStep
from loom.runtime.port.profile import active_profile

if TYPE_CHECKING:
    from loom.runtime.plans.dispatch import Dispatch
    from loom.runtime.port.device import DeviceProgram, DeviceSubmission

__all__ = ["Swarm", "swarm", "weave"]

_SLICE_SECONDS = 0.05


def swarm(programs: Sequence[Program]) -> Swarm:
    """Return programs of different units as one thing to launch, any number of times.

    Where launches side by side would not overlap they become one submission, in which the programs go in step: it is
    over when all are, and is not paced. Programs whose kernels print, assert or are dispatched indirectly, and those
    of the CPU, are launched one by one.

    Args:
        programs: Programs (``unit.build()``), each of another unit.

    Raises:
        ArgumentError: No programs, or two of one unit; programs share memory and one writes it.
        DTypeError: Not a program.
        StateError: A program was freed.

    >>> import loom
    >>> @loom.kernel
    ... def count(registers: loom.InOut[loom.u32]):
    ...     if loom.global_id() == 0:
    ...         registers[0] = registers[0] + 1
    >>> units = [loom.boot(registers=1) for _ in range(16)]
    >>> for unit in units:
    ...     unit.dispatch(count)
    >>> together = loom.swarm([unit.build() for unit in units])
    >>> together.run()
    >>> sum(unit.read()[0] for unit in units).item()
    16
    """
    return Swarm(programs)


@brief_class
class Swarm:
    """See ``swarm``."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self._programs: list[Program] = items(programs, "loom.swarm", "programs")
        for program in self._programs:
            if not isinstance(program, Program):
                raise DTypeError(
                    "loom.swarm", "not a program", expected="what unit.build() returned", got=type(program).__name__,
                    remedy="Build each unit first",
                )  # fmt: skip
        self._timelines = sorted({p.timeline for p in self._programs}, key=id)
        if not self._programs or len(self._timelines) < len(self._programs):
            raise ArgumentError(
                "loom.swarm", "not programs of different units", expected="at least one, and one of each unit",
                got=f"{len(self._programs)} programs of {len(self._timelines)} units",
                remedy="Record what one unit does in one program",
            )  # fmt: skip
        self._woven = self._weave()

    def _weave(self) -> DeviceProgram | None:
        """Return all programs as one, None if they are to be launched one by one."""
        built = [program.ready("swarm") for program in self._programs]
        plans = [program.plan for program in self._programs if program.plan is not None]
        _refuse_shared_memory(plans)
        if (
            options.check_bounds()
            or any(p.moves is not None for p in self._programs)
            or any(_tells(step.dispatch) for p in plans for _, s in p.segments for step in s)
        ):
            return None
        return built[0].woven(lambda: weave(plans), built)

    @property
    def is_woven(self) -> bool:
        """True if a launch is one submission."""
        return self._woven is not None

    def launch(self) -> tuple[Submission, ...]:
        """Start a run of each program and return at once; each begins after earlier runs of its unit.

        Returns:
            Submissions in the order of the programs; to cancel one of a woven run cancels all.

        Raises:
            StateError: A program was freed.
        """
        for timeline in self._timelines:
            timeline.promises.wait()  # before any lock: whoever keeps them may need the lock
        with ExitStack() as held:
            for timeline in self._timelines:
                held.enter_context(timeline.lock)
            for program in self._programs:
                program.ready("launch")  # StateError if it was freed
            if self._woven is None or current_debug() is not None or active_profile() is not None:
                return tuple(program.launch() for program in self._programs)
            inner = self._launch(self._woven)
            runs = tuple(Submission(inner, program.name, program.timeline) for program in self._programs)
            for program, run in zip(self._programs, runs, strict=True):
                program.latest = run.number
            return runs

    def _launch(self, woven: DeviceProgram) -> DeviceSubmission:
        """Start a run of all, after those of others that use their storage."""
        uses: list[Use] = []
        inner: DeviceSubmission | None = None
        try:
            for program in self._programs:
                uses.append(program.enter())
            inner = started = woven.launch(self._previous())
        finally:
            for use in uses:
                use.began(inner)
        return started

    def _previous(self) -> DeviceSubmission | None:
        """Return the run that all units did last, if it is under way; wait for it where there are several."""
        runs = {id(t.last): t.last for t in self._timelines if t.last is not None and not t.last.wait(0.0)}
        if len(runs) == 1:
            return next(iter(runs.values()))
        for run in runs.values():
            while not run.wait(_SLICE_SECONDS):
                pass
        return None

    def run(self) -> None:
        """Run all to the end; raise what the first program with something to tell says.

        Raises:
            StateError: A program was freed.
            KernelFault: An assert failed, or an index lay outside under LOOM_CHECK=1.
        """
        for submission in self.launch():
            submission.wait()


def _tells(dispatch: Dispatch) -> bool:
    """Tell whether a dispatch may leave lines or a fault, which belong to its own unit."""
    return dispatch.indirect is not None or dispatch.kernel.talks


def _refuse_shared_memory(plans: Sequence[Plan]) -> None:
    """Programs run side by side: what one writes no other may touch."""
    extents: list[tuple[int, int, int, bool]] = []
    for number, plan in enumerate(plans):
        for _, steps in plan.segments:
            for d in (step.dispatch for step in steps):
                pairs = zip(d.kernel.buffers, d.bindings, strict=True)
                extents += [(*b.storage.extent(), number, m in d.kernel.writes) for m, b in pairs]
    reach: dict[bool, dict[int, int]] = {False: {}, True: {}}  # by whether it is written: where each program got to
    for start, end, number, written in sorted(extents):
        others = [reach[True], reach[False]] if written else [reach[True]]
        if any(other != number and far > start for places in others for other, far in places.items()):
            raise ArgumentError(
                "loom.swarm", "two programs share memory and one writes it", expected="memory of its own for each",
                got="a binding of both", remedy="Launch them one after the other",
            )  # fmt: skip
        places = reach[written]
        places[number] = max(places.get(number, 0), end)


def weave(plans: Sequence[Plan]) -> Plan:
    """Return a plan that does those of independent programs in step; its waits are for all of them."""
    left = [list(plan.segments) for plan in plans]
    woven: list[tuple[int, tuple[PlanStep, ...]]] = []
    while any(left):
        rows = [segments for segments in left if segments]
        turns = min(segments[0][0] for segments in rows)
        heads: list[list[PlanStep]] = []
        for segments in rows:
            repeats, steps = segments.pop(0)
            heads.append([_part(step, 0, turns) for step in steps] if turns < repeats else list(steps))
            if turns < repeats:
                segments.insert(0, (repeats - turns, tuple(_part(step, turns, repeats) for step in steps)))
        woven.append((turns, tuple(_in_step(heads))))
    return Plan(tuple(woven), min(plan.guarantee for plan in plans))


def _part(step: PlanStep, start: int, stop: int) -> PlanStep:
    """Return the turns ``start`` to ``stop`` of a step."""
    d, turns = step.dispatch, slice(start, stop)
    return PlanStep(replace(d, params=d.params[turns], groups=d.groups[turns]), step.waits[turns])


def _in_step(heads: Sequence[Sequence[PlanStep]]) -> list[PlanStep]:
    """Return first steps, second steps and so on; where one of them waits, the first of them waits for all."""
    found: list[PlanStep] = []
    for position in range(max(map(len, heads))):
        steps = [steps[position] for steps in heads if position < len(steps)]
        waits: Any = np.any([step.waits for step in steps], axis=0)
        found += [PlanStep(s.dispatch, waits if n == 0 else np.zeros_like(waits)) for n, s in enumerate(steps)]
    return found
