"""What programs of an adapter are made of: queues, memory, kernels as pipelines, and the runs under way.

Layer: runtime. Invariant: a run that is held, and all it uses, lives until it is over.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Protocol
from weakref import WeakSet

from loom.core.errors import DeviceError
from loom.core.process.critical import CRITICAL
from loom.ir.verified import VerifiedKernel
from loom.ir.verify import MAX_PRIVATE_NBYTES
from loom.runtime.drivers.loading import bounds_of, load_artifact, locations_of
from loom.runtime.drivers.proofs import Proofs
from loom.runtime.drivers.vulkan.handles.foreign import load_foreign
from loom.runtime.drivers.vulkan.handles.kernels import LoadedKernel, load_kernel
from loom.runtime.drivers.vulkan.native.adapter import Adapter
from loom.runtime.drivers.vulkan.native.api import is_unknown
from loom.runtime.drivers.vulkan.native.context import DeviceContext
from loom.runtime.drivers.vulkan.native.memory import DeviceMemory
from loom.runtime.drivers.vulkan.native.pipelines import Pipelines
from loom.runtime.drivers.vulkan.native.queues import Queue, Queues, UnderWay
from loom.runtime.drivers.vulkan.native.recorder import NativeRecorder
from loom.runtime.plans.foreign import ForeignKernel
from loom.runtime.port.cache import ArtifactCache
from loom.targets.base import Artifact, Bounds, compiler_fingerprint
from loom.targets.spirv.features import Features, Matrices
from loom.targets.spirv.target import SpirvTarget

__all__ = ["OpenAdapter", "adapter_features"]

_MOST_QUEUES = 4
"""More overlap less: 16 chains of dependent dispatches took 17.8, 20.9 and 24.0 ms on 2, 4 and 8 queues of an H200."""


_PRIVATE_NBYTES = {4: (16 << 10) - 1}
"""Bytes of private arrays that drivers take, by their numbers: NVIDIA's makes no pipeline of a kernel with 16 KiB."""


class Destroyable(Protocol):
    """A program, as far as the end of its device is concerned."""

    def destroy(self) -> None:
        """Free the native objects."""
        ...


class OpenAdapter(DeviceContext):
    """An adapter, opened, with what it takes to build programs and to run them."""

    def __init__(self, adapter: Adapter, name: str) -> None:
        queues = min(adapter.queues, _MOST_QUEUES)
        super().__init__(adapter, name, queues)
        self.programs: WeakSet[Destroyable] = WeakSet()
        self.shared_run: UnderWay | None = None
        """The last run of a pattern, which is on the shared queue."""
        self.under_way: dict[UnderWay, None] = {}
        self._kernels: dict[Any, LoadedKernel] = {}
        self._artifacts = ArtifactCache()
        self.proofs = Proofs()
        self.queues = Queues(self, queues)
        self.recorder = NativeRecorder(self)
        self.memory = DeviceMemory(self, self.queues, self.settle)
        self.pipelines = Pipelines(self)
        self.features = adapter_features(adapter)

    # kernels

    def use(self, features: Features) -> None:
        """Write kernels for other features from now on; no program may be under way."""
        with self.lock:
            self.drop_kernels()
            self.features = features

    def drop_kernels(self) -> None:
        """Free all pipelines."""
        for loaded in self._kernels.values():
            loaded.destroy(self)
        self._kernels.clear()

    def load(self, kernel: VerifiedKernel, bounds: Bounds | None = None, *, counted: bool = False) -> LoadedKernel:
        """Return a kernel as a pipeline: from memory, or made now (its module perhaps from disk, or given).

        ``counted``: for indirect dispatches, whose words the device completes, so that they lie in the table.
        ``bounds`` are those of settings, unless a proof gives others.
        """
        if isinstance(kernel, ForeignKernel):
            return self._load_foreign(kernel)
        bounds = bounds_of(kernel) if bounds is None else bounds
        key = (kernel.hash, locations_of(kernel, bounds), bounds, counted)
        with self.lock:
            found = self._kernels.get(key)
            if found is None:
                features = replace(self.features, push_nbytes=0) if counted else self.features
                artifact = self._artifact(kernel, bounds, features, key[1])
                try:
                    found = self._keep(key, kernel, artifact)
                except DeviceError as error:  # what the driver gives up may have room for a heap
                    if not (isinstance(error.__cause__, DeviceError) and is_unknown(error.__cause__)):
                        raise
                    artifact = self._artifact(kernel, bounds, replace(features, private_nbytes=0), key[1])
                    if "heap" not in artifact.facts:
                        raise
                    found = self._keep(key, kernel, artifact)
            return found

    def _keep(self, key: object, kernel: VerifiedKernel, artifact: Artifact) -> LoadedKernel:
        with CRITICAL:
            return self._kernels.setdefault(key, load_kernel(self.pipelines, self.features, kernel, artifact))

    def _load_foreign(self, kernel: ForeignKernel) -> LoadedKernel:
        with self.lock:
            found = self._kernels.get(("spirv", kernel.hash))
            if found is None:
                found = self._kernels["spirv", kernel.hash] = load_foreign(self.pipelines, self.features, kernel)
            return found

    def _artifact(self, kernel: VerifiedKernel, bounds: Bounds, features: Features, locations: str) -> Artifact:
        target = f"spirv {features} {compiler_fingerprint()}"
        compile_now = partial(SpirvTarget(features).compile, kernel, bounds)
        return load_artifact(self._artifacts, kernel, bounds, locations, target, compile_now)

    # runs

    def hold(self, run: UnderWay) -> None:
        """Keep a run, and all it uses, until it is over; let go of those that are."""
        with self.lock:
            others = list(self.under_way)
            self.under_way[run] = None
        busy: set[Queue] = set()
        for other in others:  # those of a queue are over in their order
            if other.queue not in busy and not other.wait(0.0):
                busy.add(other.queue)

    def settle(self) -> None:
        """Wait for all runs under way."""
        with self.lock:
            under_way = list(self.under_way)
        for run in under_way:
            run.finish()

    def let_go(self, run: UnderWay) -> None:
        """Forget a run that is over."""
        with self.lock:
            self.under_way.pop(run, None)

    def leave(self) -> None:
        """Touch nothing native from now on."""
        super().leave()
        self.memory.leave()
        self.queues.leave()


def adapter_features(adapter: Adapter) -> Features:
    """Return the features an adapter claims, all its arithmetic taken to be right."""
    limits = adapter.limits
    return Features(
        modes=adapter.float_modes, types=adapter.types, int64_atomics=adapter.int64_atomics,
        no_fast_math=_no_fast_math(adapter), dots=adapter.dots,
        matrices=adapter.matrices and Matrices(*adapter.matrices, adapter.subgroup), push_nbytes=limits["push_nbytes"],
        most_groups=(limits["groups_x"], limits["groups_y"], limits["groups_z"]),
        private_nbytes=_PRIVATE_NBYTES.get(adapter.driver_id, MAX_PRIVATE_NBYTES),
    )  # fmt: skip


def _no_fast_math(adapter: Adapter) -> tuple[int, ...]:
    """Return the widths of floats for which fast math can be forbidden at once."""
    whole = [width for mode, width in adapter.float_modes if mode == "SignedZeroInfNanPreserve"]
    return tuple(whole) if adapter.float_controls2 else ()
