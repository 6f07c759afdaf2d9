"""A GPU opened: its context, its stream, its memory, kernels loaded, and the runs under way.

Layer: runtime. The context is the GPU's primary one, which others in the process (torch, cupy) share; all work of Loom
goes to one stream of it, which does it in its order. Invariant: a call is made with the context current, and leaves the
calling thread with the one it had.
"""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from typing import Any, Protocol

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.errors import DeviceError
from loom.core.process.bound import ProcessBound
from loom.ir.verified import VerifiedKernel
from loom.runtime.drivers.cuda.api import LOST_REMEDY, NOT_READY, SUCCESS, Api, is_loss, left_behind
from loom.runtime.drivers.cuda.gpus import Gpu
from loom.runtime.drivers.cuda.kernels import LoadedFunction, compile_kernel, load_kernel
from loom.runtime.drivers.cuda.libraries import Libraries
from loom.runtime.drivers.cuda.memory import GpuMemory
from loom.runtime.drivers.cuda.overlap import overlap_of
from loom.runtime.drivers.loading import bounds_of, load_artifact, locations_of
from loom.runtime.drivers.proofs import Proofs
from loom.runtime.plans.foreign import ForeignKernel
from loom.runtime.plans.library import LibraryKernel
from loom.runtime.port.cache import ArtifactCache
from loom.targets.base import Bounds
from loom.targets.llvm.machine import llvm_fingerprint

__all__ = ["OpenGpu"]

Array = np.ndarray[Any, Any]

_NON_BLOCKING = 1
_UNTIMED = 2


class HeldRun(Protocol):
    """A run, as far as its device is concerned."""

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds``; tell whether it is over."""
        ...


class _Current:
    """Makes a context current in a ``with`` block."""

    __slots__ = ("_api", "_context", "_local", "_number")

    def __init__(self, api: Api, context: Any) -> None:
        self._api = api
        self._context = context
        self._number = int(context)
        self._local = threading.local()

    def __enter__(self) -> None:
        pushed: list[bool] | None = getattr(self._local, "pushed", None)
        if pushed is None:
            pushed = self._local.pushed = []
        other = int(self._api.cuCtxGetCurrent()) != self._number
        if other:
            self._api.cuCtxPushCurrent(self._context)
        pushed.append(other)

    def __exit__(self, *_exc: object) -> None:
        if self._local.pushed.pop():
            self._api.cuCtxPopCurrent()


class _Clock:
    """Counts time from one event to the next, in nanoseconds; the last event counted is kept for the next run's."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._event: Any = None
        self._time = 0.0
        self._lock = threading.Lock()

    def count(self, events: list[Any]) -> Array:
        """Return when events passed, which they have; the last is the clock's from now on."""
        with self._lock:
            elapsed, before = self._api.cuEventElapsedTime, self._event
            if before is None:
                before = events[0]
            pairs = zip([before, *events], events, strict=False)
            passed = np.array([0.0 if a is b else elapsed(a, b) for a, b in pairs], np.float64)
            times = self._time + 1e6 * np.cumsum(passed)
            if self._event is not None:
                self._api.driver.cuEventDestroy(self._event)
            self._event, self._time = events[-1], float(times[-1])
        return times


class OpenGpu(ProcessBound):
    """A GPU, opened, with what it takes to build programs and to run them."""

    def __init__(self, gpu: Gpu, name: str) -> None:
        self.gpu = gpu
        self.name = name
        self.api = gpu.api
        self.lock = threading.RLock()
        self.lost = False
        self.tiles = False
        """Whether products of tiles of bytes are for tensor cores."""
        self.wide = False
        """Whether products of 64 rows are, and words fetched by the copy engine."""
        self.overlap = overlap_of(gpu)
        """Which kernels of graphs that are built from now on may be begun early."""
        self.overlap_refused: str | None = None
        """What the driver said when it took no early edges: none is asked for again."""
        self._handle = self.api.cuDeviceGet(gpu.number)
        try:
            self.context: Any = self.api.cuDevicePrimaryCtxRetain(self._handle)
        except DeviceError as error:
            again = "it was lost in this process, and NVIDIA's driver does not open it again"
            what = f"{gpu.name} does not open: {again if is_loss(error) else error.what}"
            raise DeviceError(f"device {name!r}", what, remedy=error.remedy) from error
        self.current = _Current(self.api, self.context)
        self.clock = _Clock(self.api)
        self._events: list[Any] = []
        self._under_way: deque[HeldRun] = deque()
        self._kernels: dict[Any, LoadedFunction] = {}
        self._artifacts = ArtifactCache()
        self.proofs = Proofs()
        with self.current:
            self.stream: Any = self.api.cuStreamCreate(_NON_BLOCKING)
            self.side: Any = self.api.cuStreamCreate(_NON_BLOCKING)
            self.memory = GpuMemory(self)
        self.libraries = Libraries(self)

    # kernels

    def load(
        self, kernel: VerifiedKernel, bounds: Bounds | None = None, *, cut: bool = False, placed: bool = False,
        dependents: str = "",
    ) -> LoadedFunction:  # fmt: skip
        """Return a kernel loaded, ``cut`` for dispatches in parts, ``placed`` and ``dependents`` as ``Machine`` says.

        ``bounds`` are those of settings, unless a proof gives others. DeviceError for one that cannot be run.
        """
        if isinstance(kernel, ForeignKernel):
            raise DeviceError(
                f"kernel {kernel.name!r} on device {self.name!r}", "CUDA runs no modules of SPIR-V",
                remedy="Use device='vulkan'",
            )  # fmt: skip
        if isinstance(kernel, LibraryKernel):
            self.libraries.require(kernel.call)
            return LoadedFunction(kernel, None, None, ())
        bounds = bounds_of(kernel) if bounds is None else bounds
        locations = locations_of(kernel, bounds)
        key = (kernel.hash, kernel.name, locations, bounds, cut, self.tiles, self.wide, placed, dependents)
        with self.lock:
            found = self._kernels.get(key)
            if found is None:
                with self.current, ordinary_arithmetic():
                    how = f"{cut} {self.tiles} {self.wide} {placed} {dependents}"
                    target = f"{self.gpu.key} {how} {llvm_fingerprint()}"
                    compile_now = partial(
                        compile_kernel,
                        self.api,
                        self.name,
                        kernel,
                        bounds,
                        cut=cut,
                        tiles=self.tiles,
                        wide=self.wide,
                        placed=placed,
                        dependents=dependents,
                    )
                    artifact = load_artifact(self._artifacts, kernel, bounds, locations, target, compile_now)
                    found = load_kernel(self.api, self.gpu, self.name, kernel, artifact, waits=bool(dependents))
                self._kernels[key] = found
            return found

    # what is under way

    def event(self, stream: Any = None) -> Any:
        """Return an event without a time, recorded on the stream, or another, now; ``give_back`` takes it."""
        event = self._events.pop() if self._events else self.api.cuEventCreate(_UNTIMED)
        self.api.cuEventRecord(event, self.stream if stream is None else stream)
        return event

    def follow(self, stream: Any, other: Any) -> None:
        """Have a stream go on only when all that is with another is done."""
        event = self.event(other)
        self.api.cuStreamWaitEvent(stream, event, 0)
        self.give_back(event)

    def give_back(self, event: Any) -> None:
        """Use an event again for something else."""
        self._events.append(event)

    def has_passed(self, event: Any) -> bool:
        """Tell whether all before an event is done; DeviceError if the GPU was lost."""
        with self.current:
            (result,) = self.api.driver.cuEventQuery(event)
        if result == NOT_READY:
            return False
        if result != SUCCESS:
            raise self.note_error(self.api.error("cuEventQuery", result))
        return True

    def note_error(self, error: DeviceError) -> DeviceError:
        """Take note of an error that may tell that the device was lost."""
        self.lost = self.lost or is_loss(error)
        return error

    def hold(self, run: HeldRun) -> None:
        """Keep a run, and all it uses, until it is over; let go of those that are."""
        with self.lock:
            self._under_way.append(run)
        while len(self._under_way) > 1 and self._under_way[0].wait(0.0):
            with self.lock:
                if self._under_way and self._under_way[0].wait(0.0):
                    self._under_way.popleft()

    def settle(self) -> None:
        """Wait for all runs under way."""
        for run in list(self._under_way):
            while not run.wait(1.0):
                pass

    def require(self) -> None:
        """Raise DeviceError where CUDA cannot be used: in a fork, or after the device was lost."""
        if not self.api.is_ours:
            raise left_behind(f"device {self.name!r}")
        if self.lost:
            raise DeviceError(f"device {self.name!r}", "the device was lost", remedy=LOST_REMEDY)

    def abandon(self) -> None:
        """Let go of the GPU; a context that is broken is made anew for whoever opens it next."""
        self.memory.leave()
        self._kernels.clear()
        self._under_way.clear()
        if self.api.is_ours and self.context is not None:
            driver = self.api.driver
            (driver.cuDevicePrimaryCtxReset if self.lost else driver.cuDevicePrimaryCtxRelease)(self._handle)
            self.context = None
