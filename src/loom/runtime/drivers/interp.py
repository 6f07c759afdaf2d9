"""The interpreter as a device: slow, exact, the one all others are compared with.

Layer: runtime. Runs happen at launch, in the calling thread, dispatch after dispatch. Invariant: what
runs here is ``ir.interp.interpret`` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.caps import Caps
from loom.core.errors import KernelFault
from loom.core.numerics import Guarantee
from loom.core.options import check_bounds
from loom.ir.constants import constant_value
from loom.ir.interp import Options, current_debug, interpret
from loom.runtime.chain.arguments import check_indirect_groups
from loom.runtime.chain.plan import Plan
from loom.runtime.chain.record import Dispatch
from loom.runtime.device import DeviceInfo, DeviceSubmission
from loom.runtime.log import Outcome
from loom.runtime.storage import HostStorage

__all__ = ["InterpDevice", "InterpProgram"]


class InterpDevice:
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

    def allocate(self, nbytes: int) -> HostStorage:
        """Return zeroed memory of this process; DeviceError if the system has not enough."""
        return HostStorage.allocate(nbytes)

    def adopt(self, array: np.ndarray[Any, Any]) -> HostStorage:
        """Return the array's memory."""
        return HostStorage.adopt(array)

    def build(self, plan: Plan) -> InterpProgram:
        """Nothing to compile."""
        return InterpProgram(plan)


class InterpProgram:
    """A plan that the interpreter runs when it is launched."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def launch(self, previous: DeviceSubmission | None) -> _Done:
        """Run now, after ``previous``."""
        while previous is not None and not previous.wait(1.0):
            pass
        return self._interpret()

    def run(self, begun: Callable[[DeviceSubmission], None]) -> None:
        """Run to the end; an exception other than a fault leaves nothing under way."""
        begun(self._interpret())

    def _interpret(self) -> _Done:
        """Run every dispatch; a fault ends the run and is kept for the caller."""
        lines: list[str] = []
        debug = current_debug()
        options = debug.options if debug is not None else Options(bounds=check_bounds())
        try:
            for dispatch, turn in self.plan.in_order():
                _interpret(dispatch, turn, options, lines)
        except KernelFault as fault:
            return _Done(Outcome(tuple(lines), fault))
        return _Done(Outcome(tuple(lines)))


class _Done:
    """A run that is over when it is returned."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def wait(self, seconds: float) -> bool:
        """Tell that the run is over."""
        return seconds >= 0

    def cancel(self) -> None:
        """Nothing is left to stop."""

    def outcome(self) -> Outcome:
        """Return what the run sent."""
        return self._outcome


@ordinary_arithmetic()
def _interpret(dispatch: Dispatch, turn: int, options: Options, lines: list[str]) -> None:
    kernel = dispatch.kernel.kernel
    buffers = []
    for memory, binding in zip(kernel.buffers, dispatch.bindings, strict=True):
        assert isinstance(binding.storage, HostStorage), "the interpreter needs host memory"
        whole = binding.storage.view(memory.dtype.numpy)
        buffers.append(whole[: binding.elements * memory.dtype.lanes])
    groups = _groups(dispatch, turn)
    words = [int(w) for w in dispatch.params[turn]]
    params = [constant_value(w & ((1 << p.dtype.bits) - 1), p.dtype) for w, p in zip(words, kernel.params, strict=True)]
    interpret(kernel, buffers, params, groups, options=options, output=lines.append)


def _groups(dispatch: Dispatch, turn: int) -> tuple[int, int, int]:
    counts = dispatch.groups[turn]
    if dispatch.indirect is not None:
        storage, offset = dispatch.indirect
        counts = storage.read(offset, 12).view(np.uint32)
    groups = int(counts[0]), int(counts[1]), int(counts[2])
    if dispatch.indirect is not None:
        check_indirect_groups(dispatch.kernel, groups)
    return groups
