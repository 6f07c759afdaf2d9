"""The interpreter as a device: slow, exact, the one all others are compared with.

Layer: runtime. Runs happen at launch, in the calling thread, dispatch after dispatch. Invariant: what
runs here is ``ir.interp.interpret`` and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.caps import Caps
from loom.core.errors import KernelFault
from loom.core.numerics import Guarantee
from loom.core.options import check_bounds
from loom.core.process.bound import ProcessBound
from loom.ir.constants import constant_value
from loom.ir.interp import Options, current_debug, interpret
from loom.runtime.memory.storage import HostSlot, HostStorage, Storage
from loom.runtime.plans.dispatch import Dispatch
from loom.runtime.plans.groups import check_indirect_groups
from loom.runtime.plans.plan import Plan
from loom.runtime.port.device import DeviceInfo, DeviceProgram, DeviceSubmission, Driver
from loom.runtime.port.log import Outcome
from loom.runtime.port.times import Times

__all__ = ["DRIVER", "InterpDevice", "InterpProgram"]


class InterpDevice(ProcessBound):
    """The reference interpreter behind the device port."""

    name = "interp"
    kind = "interp"
    guarantee = Guarantee.BIT_EXACT
    caps = Caps(
        simd_lanes=1, shared_nbytes=65536, max_workgroup_lanes=1024, unified_memory=True, workers=1,
        cache_nbytes=1 << 20,
    )  # fmt: skip

    def describe(self) -> DeviceInfo:
        """Return what ``loom devices`` shows."""
        return DeviceInfo(self.name, self.kind, f"reference interpreter, numpy {np.__version__}", "BIT_EXACT")

    def allocate(self, nbytes: int, *, zeroed: bool = True) -> HostStorage:
        """Return memory of this process, zeroed or with any contents; DeviceError if the system has not enough."""
        return HostStorage.allocate(nbytes, zeroed=zeroed)

    def adopt(self, array: np.ndarray[Any, Any]) -> HostStorage:
        """Return the array's memory."""
        return HostStorage.adopt(array)

    def build(self, plan: Plan) -> InterpProgram:
        """Nothing to compile."""
        return InterpProgram(plan)


_DEVICE = InterpDevice()
DRIVER = Driver(
    lambda _name, _where: _DEVICE, lambda: [_DEVICE.describe()], offers=frozenset({"shares", "wide atomics"})
)


class InterpProgram:
    """A plan that the interpreter runs when it is launched."""

    domain = None

    def __init__(self, plan: Plan, *, timed: bool = False) -> None:
        self.plan = plan
        self._timed = timed

    def woven(self, plan: Callable[[], Plan], programs: Sequence[DeviceProgram]) -> None:
        """Nothing: programs are run when they are launched."""

    def launch(self, previous: DeviceSubmission | None) -> _Done:
        """Run now, after ``previous``."""
        while previous is not None and not previous.wait(1.0):
            pass
        return self._interpret()

    def run(self, begun: Callable[[DeviceSubmission], None]) -> None:
        """Run to the end; an exception other than a fault leaves nothing under way."""
        begun(self._interpret())

    def _interpret(self) -> _Done:
        """Run the dispatches, after a fault up to the next that waits; the first fault is kept for the caller."""
        lines: list[str] = []
        clock = [time.perf_counter_ns()]
        debug = current_debug()
        checks = check_bounds()
        options = debug.options if debug is not None else Options(bounds=checks, differences=checks, goes_on=True)
        failed: KernelFault | None = None
        excess: KernelFault | None = None
        for dispatch, turn, waits in self.plan.in_order():
            if failed is not None and (waits or debug is not None):
                break
            try:
                groups = _groups(dispatch, turn)
            except KernelFault as fault:
                excess = excess or fault
                groups = 0, 0, 0
            asked = replace(options, bounds=True) if dispatch.reports and debug is None else options
            try:
                _interpret(dispatch, turn, groups, asked, lines)
            except KernelFault as fault:
                failed = failed or fault
            if self._timed:
                clock.append(time.perf_counter_ns())
        return _Done(Outcome(tuple(lines), excess or failed), clock)

    def profiled(self) -> InterpProgram:
        """Return a program that looks at the clock between dispatches."""
        return InterpProgram(self.plan, timed=True)


class _Done:
    """A run that is over when it is returned."""

    def __init__(self, outcome: Outcome, clock: list[int]) -> None:
        self._outcome = outcome
        self._clock = np.array(clock, np.int64)

    def wait(self, seconds: float) -> bool:
        """Tell that the run is over."""
        return seconds >= 0

    def cancel(self) -> None:
        """Nothing is left to stop."""

    def times(self) -> Times:
        """Return when each dispatch began and ended."""
        count = len(self._clock) - 1
        return Times("interp", np.arange(count), self._clock[:-1], self._clock[1:], np.ones(count), host_clock=True)

    def outcome(self) -> Outcome:
        """Return what the run sent."""
        return self._outcome


@ordinary_arithmetic()
def _interpret(dispatch: Dispatch, turn: int, groups: tuple[int, int, int], options: Options, lines: list[str]) -> None:
    kernel = dispatch.kernel.kernel
    held = _Held()
    buffers: list[np.ndarray[Any, Any]] = []
    for memory, binding in zip(kernel.buffers, dispatch.bindings, strict=True):
        whole = held.bytes(binding.storage)[: binding.elements * memory.dtype.nbytes]
        buffers.append(whole.view(memory.dtype.numpy))
    words = [int(w) for w in dispatch.params[turn]]
    params = [constant_value(w & ((1 << p.dtype.bits) - 1), p.dtype) for w, p in zip(words, kernel.params, strict=True)]
    try:
        interpret(kernel, buffers, params, groups, options=options, output=lines.append)
    finally:
        held.give_back()


class _Held:
    """The memory of a dispatch where the interpreter can reach it: in place, or copied from a device and back."""

    def __init__(self) -> None:
        self._copies: dict[int, tuple[Storage, np.ndarray[Any, Any]]] = {}

    def bytes(self, storage: Storage) -> np.ndarray[Any, Any]:
        """Return the bytes of a storage; one that is bound twice is copied once."""
        if isinstance(storage, HostSlot) and storage.storage is not None:
            storage = storage.storage
        if isinstance(storage, HostStorage):
            return storage.bytes
        if id(storage) not in self._copies:
            self._copies[id(storage)] = storage, storage.read(0, storage.nbytes)
        return self._copies[id(storage)][1]

    def give_back(self) -> None:
        """Write the copies to their devices."""
        for storage, copy in self._copies.values():
            storage.write(0, copy)


def _groups(dispatch: Dispatch, turn: int) -> tuple[int, int, int]:
    counts = dispatch.groups[turn]
    if dispatch.indirect is not None:
        storage, offset = dispatch.indirect
        counts = storage.read(offset, 12).view(np.uint32)
    groups = int(counts[0]), int(counts[1]), int(counts[2])
    if dispatch.indirect is not None:
        check_indirect_groups(dispatch.kernel, groups)
    return groups
