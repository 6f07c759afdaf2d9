"""Devices that are other machines: AArch64 and ARMv7 under qemu, WebAssembly with SIMD in node.

A chain is run twice. ``Capture`` runs it on this processor with the other machine's capabilities and takes note
of its kernels, which are then compiled and linked into one program; ``Emulated`` sends every dispatch, with its
memory, to that program. So whatever runs on a device of Loom runs on another machine.
"""

from __future__ import annotations

import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from conformance.images import Image
from conformance.machines import EMULATORS, build
from conformance.running import Bits, Case, Groups
from loom.core.caps import Caps
from loom.core.numerics import Guarantee
from loom.ir.constants import constant_value
from loom.ir.kernel import Kernel
from loom.ir.verified import VerifiedKernel
from loom.runtime.memory.storage import HostStorage
from loom.runtime.plans.dispatch import Dispatch
from loom.runtime.plans.plan import Plan
from loom.runtime.port.device import DeviceInfo, DeviceSubmission
from loom.runtime.port.log import Outcome
from loom.runtime.registry import device

__all__ = ["Capture", "Emulated", "Hosted", "missing_tool"]

_DRIVER = Path(__file__).with_name("driver.mjs")
_CAPS = Caps(
    simd_lanes=4, shared_nbytes=65536, max_workgroup_lanes=1024, unified_memory=True, workers=1, cache_nbytes=1 << 20
)


def missing_tool(machine: str) -> str | None:
    """Return why nothing can be run for a machine, None if it can."""
    tool = EMULATORS.get(machine, "node")
    return None if shutil.which(tool) else f"{tool} is not installed, so nothing can be run for {machine}"


class _Host:
    """Memory in this process, and the other machine's capabilities."""

    kind = "emulated"
    guarantee = Guarantee.BIT_EXACT
    caps = _CAPS

    def __init__(self, name: str) -> None:
        self.name = name

    def describe(self) -> DeviceInfo:
        return DeviceInfo(self.name, self.kind, "a test", "BIT_EXACT")

    def allocate(self, nbytes: int, *, zeroed: bool = True) -> HostStorage:
        return HostStorage.allocate(nbytes, zeroed=zeroed)

    def adopt(self, array: np.ndarray[Any, Any]) -> HostStorage:
        return HostStorage.adopt(array)


class Capture(_Host):
    """Runs on this processor; ``kernels`` are those it has met, by hash."""

    def __init__(self, machine: str) -> None:
        super().__init__(f"capture for {machine}")
        self.kernels: dict[str, Kernel] = {}

    def build(self, plan: Plan) -> Any:
        for dispatch, _, _ in plan.in_order():
            self.kernels[dispatch.kernel.hash] = dispatch.kernel.kernel
        return device("cpu").build(plan)


class Hosted(_Host, ABC):
    """Runs dispatch after dispatch by ``execute``, which a subclass has."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.dispatches = 0

    @abstractmethod
    def execute(self, kernel: VerifiedKernel, arrays: list[Bits], params: list[Any], groups: Groups) -> list[Bits]:
        """Return ``arrays`` as the kernel leaves them."""

    def build(self, plan: Plan) -> _Program:
        return _Program(self, plan)

    def dispatch(self, dispatch: Dispatch, turn: int) -> None:
        kernel = dispatch.kernel.kernel
        views = []
        for memory, binding in zip(kernel.buffers, dispatch.bindings, strict=True):
            assert isinstance(binding.storage, HostStorage)
            views.append(binding.storage.view(memory.dtype.numpy)[: binding.elements * memory.dtype.lanes])
        words = [int(w) for w in dispatch.params[turn]]
        params = [
            constant_value(w & ((1 << p.dtype.bits) - 1), p.dtype) for w, p in zip(words, kernel.params, strict=True)
        ]
        counts = dispatch.groups[turn]
        if dispatch.indirect is not None:
            storage, offset = dispatch.indirect
            counts = storage.read(offset, 12).view(np.uint32)
        x, y, z = (int(n) for n in counts)
        if x * y * z:
            for view, found in zip(views, self.execute(dispatch.kernel, views, params, (x, y, z)), strict=True):
                if view.flags.writeable:
                    view[...] = found
            self.dispatches += 1


class Emulated(Hosted):
    """Runs every dispatch on another machine, which knows the kernels captured."""

    def __init__(self, machine: str, captured: Capture, folder: Path) -> None:
        super().__init__(machine)
        self.numbers = {hash_: n for n, hash_ in enumerate(captured.kernels)}
        program = build(machine, list(captured.kernels.values()), None, folder)
        command = [EMULATORS[machine]] if machine in EMULATORS else ["node", str(_DRIVER)]
        self.process = subprocess.Popen(
            [*command, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def close(self) -> None:
        """End the program; it must not have failed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(60) == 0, f"the program for {self.name} failed"

    def execute(self, kernel: VerifiedKernel, arrays: list[Bits], params: list[Any], groups: Groups) -> list[Bits]:
        image = Image(Case(kernel.kernel, tuple(arrays), tuple(params), groups))
        return image.buffers(self.exchange(self.numbers[kernel.hash], image))

    def exchange(self, number: int, image: Image) -> bytes:
        """Send a job and return the memory the kernel left."""
        to, back = self.process.stdin, self.process.stdout
        assert to is not None
        assert back is not None
        words = (number, image.nbytes, len(image.starts))
        message = memoryview(b"".join(w.to_bytes(8, "little") for w in words) + image.at(0))
        while message:  # a pipe takes a part at a time; the program reads a job whole before it answers
            message = message[to.write(message) :]
        left = bytearray()
        while len(left) < image.nbytes:
            part = back.read(image.nbytes - len(left))
            assert part, f"the program for {self.name} ended in kernel {number}"
            left += part
        return bytes(left)


class _Program:
    domain = None

    def __init__(self, on: Hosted, plan: Plan) -> None:
        self.on = on
        self.plan = plan

    def launch(self, previous: DeviceSubmission | None) -> DeviceSubmission:
        assert previous is None or previous.wait(0.0)
        for dispatch, turn, _waits in self.plan.in_order():
            self.on.dispatch(dispatch, turn)
        return _Done()

    def run(self, begun: Callable[[DeviceSubmission], None]) -> None:
        begun(self.launch(None))


class _Done:
    def wait(self, seconds: float) -> bool:
        return True

    def cancel(self) -> None:
        """Nothing is under way."""

    def outcome(self) -> Outcome:
        return Outcome(())

    def times(self) -> None:
        """There is no clock."""
