"""A Vulkan adapter as a device: the port, over an adapter that was opened and tested.

Layer: runtime. Features are what the self-test found, not what the adapter claims. Invariant: everything native is
counted in ``live`` and freed at the latest when the device is closed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from loom.core import options
from loom.core.caps import Caps
from loom.core.errors import DeviceError
from loom.core.numbers import whole
from loom.core.numerics import Guarantee
from loom.runtime.drivers.vulkan.describe import describe_adapter
from loom.runtime.drivers.vulkan.handles.opened import OpenAdapter
from loom.runtime.drivers.vulkan.native.adapter import Adapter
from loom.runtime.drivers.vulkan.native.memory import VulkanStorage
from loom.runtime.drivers.vulkan.program.program import VulkanProgram
from loom.runtime.plans.plan import Plan
from loom.runtime.port.device import DeviceInfo

if TYPE_CHECKING:
    from loom.runtime.drivers.vulkan.selftest.levels import Findings

__all__ = ["VulkanDevice"]

_EXIT_SECONDS = 2.0
"""How long the end of the process waits for dispatches that are with the device."""


class VulkanDevice(OpenAdapter):
    """One adapter, opened and tested; DeviceError if it was refused, or computes what cannot be put right."""

    kind = "vulkan"
    guarantee = Guarantee.BIT_EXACT

    def __init__(self, adapter: Adapter, name: str = "vulkan", *, tested: bool = True) -> None:
        if adapter.refused is not None:
            raise DeviceError(
                f"device {name!r}", f"{adapter.name} cannot be used: {adapter.refused}", remedy="Use another device"
            )
        super().__init__(adapter, name)
        self.findings: Findings | None = None
        atexit.register(self._close_at_exit)
        _devices.add(self)
        if tested:
            self._test()
        self.proofs.tested = True

    def _test(self) -> None:
        from loom.runtime.drivers.vulkan.selftest.levels import find_features

        try:
            self.features, self.findings = find_features(self)
        except BaseException:
            self.close()
            raise
        self.use(self.features)

    @property
    def caps(self) -> Caps:
        """What kernels may know of this device."""
        limits = self.adapter.limits
        return Caps(
            simd_lanes=self.adapter.subgroup, shared_nbytes=limits["shared_nbytes"],
            max_workgroup_lanes=limits["workgroup_lanes"], unified_memory=self.memory.unified,
            workers=options.thread_count() if self.adapter.kind == "cpu" else self.adapter.processors,
            cache_nbytes=1 << 20, threads=True, buffer_nbytes=limits["buffer_nbytes"],
            dots="dot4_i8" if self.features.dots else "", tiles=self.features.matrices is not None,
        )  # fmt: skip

    def describe(self) -> DeviceInfo:
        """Return what ``loom devices`` shows."""
        return describe_adapter(self.adapter, self.name, self.findings)

    def allocate(self, nbytes: int, *, zeroed: bool = True) -> VulkanStorage:
        """Return memory, zeroed or with any contents; DeviceError if there is not enough, or a buffer has less."""
        return self.memory.allocate(whole(nbytes, "device.allocate, nbytes", least=0), zeroed=zeroed)

    def adopt(self, array: Any) -> None:
        """Arrays of the host cannot be used in place."""

    def build(self, plan: Plan) -> VulkanProgram:
        """Compile the kernels of a plan and record its commands."""
        return VulkanProgram(self, plan)

    def close(self) -> None:
        """Wait for what is under way and free everything; the device cannot be used afterwards."""
        self.queues.rest()
        with self.lock:
            if self.handle is None:
                return
            self.api.lib.vkDeviceWaitIdle(self.handle)
            for run in list(self.under_way):
                run.wait(0.0)
            for program in list(self.programs):
                program.destroy()
            self.drop_kernels()
            with contextlib.suppress(DeviceError):
                self.pipelines.save()
            self.destroy("PipelineCache", self.pipelines.handle)
            self.memory.destroy()
            self.queues.destroy()
            self.crew.shutdown()
            self.api.lib.vkDestroyDevice(self.handle, self.api.ffi.NULL)
            self.handle = None
            atexit.unregister(self._close_at_exit)

    def _close_at_exit(self) -> None:
        """Stop all runs and close; what cannot be stopped is left to the end of the process."""
        with self.lock:
            under_way = list(self.under_way)
        for run in under_way:
            run.cancel()
        deadline = time.monotonic() + _EXIT_SECONDS
        if all(run.wait(max(0.0, deadline - time.monotonic())) for run in under_way):
            self.close()
        else:
            self.leave()

    def leave(self) -> None:
        """Touch nothing native from now on, and do nothing at the end of the process."""
        atexit.unregister(self._close_at_exit)
        super().leave()


_devices: WeakSet[VulkanDevice] = WeakSet()


def _after_fork() -> None:
    for device in list(_devices):
        device.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
