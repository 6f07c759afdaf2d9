"""A Vulkan adapter as a device: memory, kernels, queues, programs.

Layer: runtime. Features are what the self-test found, not what the adapter claims. Invariant: everything native is
counted in ``live`` and freed at the latest when the device is closed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from loom.core import options
from loom.core.caps import Caps
from loom.core.errors import DeviceError
from loom.core.numbers import whole
from loom.core.numerics import Guarantee
from loom.ir.verify import VerifiedKernel
from loom.runtime.cache import ArtifactCache
from loom.runtime.chain.foreign import ForeignKernel
from loom.runtime.chain.plan import Plan
from loom.runtime.device import DeviceInfo
from loom.runtime.drivers.loading import bounds_of, load_artifact, locations_of
from loom.runtime.drivers.vulkan.describe import describe_adapter
from loom.runtime.drivers.vulkan.kernels import LoadedKernel, load_kernel
from loom.runtime.drivers.vulkan.native.adapter import Adapter
from loom.runtime.drivers.vulkan.native.api import LeftBehind, Vulkan, load
from loom.runtime.drivers.vulkan.native.logical import open_device
from loom.runtime.drivers.vulkan.native.memory import Memory, VulkanStorage
from loom.runtime.drivers.vulkan.native.pipelines import Pipelines
from loom.runtime.drivers.vulkan.native.queues import Queue, Queues
from loom.runtime.drivers.vulkan.program.foreign import load_foreign
from loom.runtime.drivers.vulkan.program.program import Run, VulkanProgram
from loom.runtime.drivers.vulkan.program.recorder import Recorder
from loom.targets.base import Artifact, Bounds, compiler_fingerprint
from loom.targets.spirv.features import Features
from loom.targets.spirv.target import SpirvTarget

if TYPE_CHECKING:
    from loom.runtime.drivers.vulkan.selftest.levels import Findings

__all__ = ["VulkanDevice"]

_MOST_QUEUES = 4
"""More overlap less: 16 chains of dependent dispatches took 17.8, 20.9 and 24.0 ms on 2, 4 and 8 queues of an H200."""
_MOST_THREADS = 12
_EXIT_SECONDS = 2.0
"""How long the end of the process waits for dispatches that are with the device."""


class VulkanDevice:
    """One adapter, opened and tested; DeviceError if it was refused, or computes what cannot be put right."""

    kind = "vulkan"
    guarantee = Guarantee.BIT_EXACT

    def __init__(self, adapter: Adapter, name: str = "vulkan", *, tested: bool = True) -> None:
        if adapter.refused is not None:
            raise DeviceError(
                f"device {name!r}", f"{adapter.name} cannot be used: {adapter.refused}", remedy="Use another device"
            )
        self.name = name
        self.adapter = adapter
        self.api: Vulkan = load()
        self.live: Counter[str] = Counter()
        self.lock = threading.RLock()
        self.lost = False
        self.programs: WeakSet[VulkanProgram] = WeakSet()
        self.shared_run: Run | None = None
        """The last run of a pattern, which is on the shared queue."""
        self._under_way: dict[Run, None] = {}
        self.threads = min(_MOST_THREADS, os.cpu_count() or 1)
        self.crew = ThreadPoolExecutor(self.threads, thread_name_prefix=f"loom {name}")
        """Threads for what one alone is slow at: recording long tables, copying large arrays."""
        self._kernels: dict[Any, LoadedKernel] = {}
        self._artifacts = ArtifactCache()
        queues = min(adapter.queues, _MOST_QUEUES)
        self.handle: Any = open_device(adapter, queues)
        self.queues = Queues(self, queues)
        self.recorder = Recorder(self)
        self.memory = Memory(self)
        self.pipelines = Pipelines(self)
        self.features = claimed_features(adapter)
        self.findings: Findings | None = None
        atexit.register(self._close_at_exit)
        _devices.add(self)
        if tested:
            self._test()

    def _test(self) -> None:
        from loom.runtime.drivers.vulkan.selftest.levels import find_features

        try:
            self.features, self.findings = find_features(self)
        except BaseException:
            self.close()
            raise
        self.use(self.features)

    def use(self, features: Features) -> None:
        """Write kernels for other features from now on; no program may be under way."""
        with self.lock:
            for loaded in self._kernels.values():
                loaded.destroy(self)
            self._kernels.clear()
            self.features = features

    # the port

    @property
    def caps(self) -> Caps:
        """What kernels may know of this device."""
        limits = self.adapter.limits
        return Caps(
            simd_lanes=self.adapter.subgroup, shared_nbytes=limits["shared_nbytes"],
            max_workgroup_lanes=limits["workgroup_lanes"], unified_memory=self.memory.unified,
            workers=options.thread_count() if self.adapter.kind == "cpu" else self.adapter.processors,
            cache_nbytes=1 << 20, threads=True,
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

    # kernels

    def load(self, kernel: VerifiedKernel, *, counted: bool = False) -> LoadedKernel:
        """Return a kernel as a pipeline: from memory, or made now (its module perhaps from disk, or given).

        ``counted``: for indirect dispatches, whose words the device completes, so that they lie in the table.
        """
        if isinstance(kernel, ForeignKernel):
            return self._load_foreign(kernel)
        bounds = bounds_of(kernel)
        key = (kernel.hash, locations_of(kernel, bounds), bounds, counted)
        with self.lock:
            found = self._kernels.get(key)
            if found is None:
                features = replace(self.features, push_nbytes=0) if counted else self.features
                found = self._kernels[key] = load_kernel(self, kernel, self._artifact(kernel, bounds, features, key[1]))
            return found

    def _load_foreign(self, kernel: ForeignKernel) -> LoadedKernel:
        with self.lock:
            found = self._kernels.get(("spirv", kernel.hash))
            if found is None:
                found = self._kernels["spirv", kernel.hash] = load_foreign(self, kernel)
            return found

    def _artifact(self, kernel: VerifiedKernel, bounds: Bounds, features: Features, locations: str) -> Artifact:
        target = f"spirv {features} {compiler_fingerprint()}"
        compile_now = partial(SpirvTarget(features).compile, kernel, bounds)
        return load_artifact(self._artifacts, kernel, bounds, locations, target, compile_now)

    # runs

    def hold(self, run: Run) -> None:
        """Keep a run, and all it uses, until it is over; let go of those that are."""
        with self.lock:
            others = list(self._under_way)
            self._under_way[run] = None
        busy: set[Queue] = set()
        for other in others:  # those of a queue are over in their order
            if other.queue not in busy and not other.wait(0.0):
                busy.add(other.queue)

    def settle(self) -> None:
        """Wait for all runs under way."""
        with self.lock:
            under_way = list(self._under_way)
        for run in under_way:
            run.finish()

    def let_go(self, run: Run) -> None:
        """Forget a run that is over."""
        with self.lock:
            self._under_way.pop(run, None)

    # native objects

    def create(self, kind: str, info: Any) -> Any:
        """Make a native object and count it."""
        found = self.api.create(f"vkCreate{kind}", self.handle, info, f"Vk{kind}")
        self.live[kind] += 1
        return found

    def destroy(self, kind: str, handle: Any) -> None:
        """Free a native object."""
        getattr(self.api.lib, f"vkDestroy{kind}")(self.handle, handle, self.api.ffi.NULL)
        self.live[kind] -= 1

    def close(self) -> None:
        """Wait for what is under way and free everything; the device cannot be used afterwards."""
        with self.lock:
            if self.handle is None:
                return
            self.api.lib.vkDeviceWaitIdle(self.handle)
            for run in list(self._under_way):
                run.wait(0.0)
            for program in list(self.programs):
                program.destroy()
            for loaded in self._kernels.values():
                loaded.destroy(self)
            self._kernels.clear()
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
            under_way = list(self._under_way)
        for run in under_way:
            run.cancel()
        deadline = time.monotonic() + _EXIT_SECONDS
        if all(run.wait(max(0.0, deadline - time.monotonic())) for run in under_way):
            self.close()
        else:
            self.leave()

    def leave(self) -> None:
        """Touch nothing native from now on.

        It all belongs to the process that this one was forked from, or to a run that the process's end will stop.
        """
        atexit.unregister(self._close_at_exit)
        self.handle, self.lost = None, True
        self.api = LeftBehind(self.name)  # type: ignore[assignment]
        self.lock = threading.RLock()
        self.memory.leave()
        self.queues.leave()


_devices: WeakSet[VulkanDevice] = WeakSet()


def _after_fork() -> None:
    for device in list(_devices):
        device.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def claimed_features(adapter: Adapter) -> Features:
    """Return the features an adapter claims, all its arithmetic taken to be right."""
    limits = adapter.limits
    return Features(
        modes=adapter.float_modes, types=adapter.types, int64_atomics=adapter.int64_atomics,
        no_fast_math=_no_fast_math(adapter), push_nbytes=limits["push_nbytes"],
        most_groups=(limits["groups_x"], limits["groups_y"], limits["groups_z"]),
    )  # fmt: skip


def _no_fast_math(adapter: Adapter) -> tuple[int, ...]:
    """Return the widths of floats for which fast math can be forbidden at once."""
    whole = [width for mode, width in adapter.float_modes if mode == "SignedZeroInfNanPreserve"]
    return tuple(whole) if adapter.float_controls2 else ()
