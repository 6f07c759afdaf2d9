"""The emulated driver as the module ``cuda.bindings.driver``: the binding's own enumerations and structures, results as
its functions give them.

Invariant: what Loom hands to CUDA goes through the types of the real binding; a function that is not emulated is an
error of the test, never a success.
"""

from __future__ import annotations

import threading
from importlib import import_module
from typing import Any

from emulation.driver.base import Failure
from emulation.driver.devices import Devices
from emulation.driver.modules import Modules
from emulation.driver.storage import Copies

__all__ = ["Binding", "Emulated"]

_HANDLES = {
    "cuDeviceGet": "CUdevice", "cuDevicePrimaryCtxRetain": "CUcontext", "cuCtxGetCurrent": "CUcontext",
    "cuCtxPopCurrent": "CUcontext", "cuStreamCreate": "CUstream", "cuEventCreate": "CUevent",
    "cuMemPoolCreate": "CUmemoryPool", "cuMemAllocFromPoolAsync": "CUdeviceptr", "cuMemAlloc": "CUdeviceptr",
    "cuLinkCreate": "CUlinkState", "cuModuleLoadDataEx": "CUmodule", "cuModuleGetFunction": "CUfunction",
    "cuGraphCreate": "CUgraph", "cuGraphAddKernelNode": "CUgraphNode", "cuGraphInstantiate": "CUgraphExec",
}  # fmt: skip
"""What functions give, by the binding's types."""


class Emulated(Devices, Copies, Modules):
    """A driver, all of it."""


class Binding:
    """What stands in the place of the module; ``machine`` is the driver behind it."""

    def __init__(self, machine: Emulated) -> None:
        self.machine = machine
        self._real = import_module("cuda.bindings.driver")
        self._lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cu") or name == "cuuint64_t":
            return getattr(self._real, name)
        if name in ("cuGetErrorName", "cuGetErrorString"):
            return self._error_name if name.endswith("Name") else self._error_string
        function = getattr(self.machine, name, None)
        if function is None and not hasattr(self._real, name):
            raise AttributeError(f"the binding has no {name}")
        if function is None:
            raise NotImplementedError(f"{name} is not emulated: tests/emulation/driver")
        gives = function.__func__.__annotations__["return"] != "None"
        kind = getattr(self._real, _HANDLES[name]) if name in _HANDLES else None

        def called(*args: Any) -> tuple[Any, ...]:
            with self._lock:
                try:
                    found = function(*args)
                except Failure as failure:
                    self.machine.why = failure.why
                    return (self._real.CUresult(failure.code), None)[: 1 + gives]
            if kind is not None:
                found = kind(found)
            values = () if found is None else found if isinstance(found, tuple) else (found,)
            return (self._real.CUresult(0), *values)

        setattr(self, name, called)
        return called

    def _error_name(self, result: Any) -> tuple[Any, bytes]:
        return self._real.CUresult(0), self._real.CUresult(int(result)).name.encode()

    def _error_string(self, result: Any) -> tuple[Any, bytes]:
        told = [self.machine.why, *(str(report) for report in self.machine.reports[:1])]
        return self._real.CUresult(0), " | ".join(text for text in told if text).encode()
