"""An adapter opened: its queue, its memory, kernels as pipelines.

Layer: runtime. Everything goes to the one queue, which does it in its order. Invariant: one thread at a time talks to
``wgpu``.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from loom.core.errors import DeviceError
from loom.core.process.bound import ProcessBound
from loom.core.process.thread_pools import ThreadPool
from loom.ir.verified import VerifiedKernel
from loom.runtime.drivers.loading import bounds_of, load_artifact, locations_of
from loom.runtime.drivers.webgpu.adapter import WebGpuAdapter, calls
from loom.runtime.drivers.webgpu.kernels import LoadedPipeline, load_kernel
from loom.runtime.drivers.webgpu.memory import BufferMemory
from loom.runtime.plans.foreign import ForeignKernel
from loom.runtime.port.cache import ArtifactCache
from loom.targets.base import compiler_fingerprint
from loom.targets.wgsl.features import Features
from loom.targets.wgsl.target import WgslTarget

__all__ = ["OpenWebGpu"]


class OpenWebGpu(ProcessBound):
    """An adapter, opened, with what it takes to build programs and to run them."""

    def __init__(self, adapter: WebGpuAdapter, name: str) -> None:
        self.adapter = adapter
        self.name = name
        self.lock = threading.RLock()
        features = ["timestamp-query"] if adapter.timed else []
        features += ["shader-f64", "shader-int64"] if adapter.doubles else []
        with calls(f"device {name!r}"):
            self.native: Any = adapter.native.request_device_sync(
                required_features=features, required_limits=dict(adapter.native.limits)
            )
        self.queue: Any = self.native.queue
        self.memory = BufferMemory(self)
        self.waiters = ThreadPool(1, "loom-webgpu")
        groups = adapter.limits["groups"]
        self.features = Features(most_groups=(groups, groups, groups))
        self._kernels: dict[Any, LoadedPipeline] = {}
        self._artifacts = ArtifactCache()

    def note_error(self, error: DeviceError) -> DeviceError:
        """Nothing is kept of what may tell that the device was lost: calls of ``wgpu`` say so."""
        return error

    def use(self, features: Features) -> None:
        """Write kernels for other features from now on."""
        with self.lock:
            self._kernels.clear()
            self.features = features

    def load(self, kernel: VerifiedKernel, slots: tuple[int, ...], *, reports: bool = False) -> LoadedPipeline:
        """Return a kernel as a pipeline, its buffers in these bindings; DeviceError for one that cannot be run.

        ``reports``: it tells of an index outside, whatever the settings.
        """
        if isinstance(kernel, ForeignKernel):
            raise DeviceError(
                f"kernel {kernel.name!r} on device {self.name!r}", "WebGPU runs no modules of SPIR-V",
                remedy="Use device='vulkan'",
            )  # fmt: skip
        bounds = bounds_of(kernel, reports=reports)
        locations = locations_of(kernel, bounds)
        shared = slots if len(set(slots)) < len(slots) else None
        key = (kernel.hash, kernel.name, locations, bounds, slots)
        with self.lock:
            found = self._kernels.get(key)
            if found is None:
                target = f"wgsl {self.features} {shared} {compiler_fingerprint()}"
                compile_now = partial(WgslTarget(self.features, shared).compile, kernel, bounds)
                artifact = load_artifact(self._artifacts, kernel, bounds, locations, target, compile_now)
                found = self._kernels[key] = load_kernel(
                    self.native, self.adapter, self.name, kernel, artifact, slots, self.features.whole_vectors
                )
            return found
