"""The CPU device: kernels compiled by LLVM, walked by worker threads in generated code."""

from loom.runtime.drivers.cpu.device import CpuDevice
from loom.runtime.port.device import Driver

__all__ = ["DRIVER", "CpuDevice"]

_DEVICE = CpuDevice()
DRIVER = Driver(
    lambda _name, _where: _DEVICE, lambda: [_DEVICE.describe()],
    offers=frozenset({"asynchronous", "compiled", "shares", "vectors", "wide atomics"}),
)  # fmt: skip
