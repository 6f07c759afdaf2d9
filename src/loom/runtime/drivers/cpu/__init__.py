"""The CPU device: kernels compiled by LLVM, walked by worker threads in generated code."""

from loom.runtime.device import Driver
from loom.runtime.drivers.cpu.device import CpuDevice

__all__ = ["DRIVER", "CpuDevice"]

_DEVICE = CpuDevice()
DRIVER = Driver(
    lambda _name, _where: _DEVICE, lambda: [_DEVICE.describe()],
    offers=frozenset({"asynchronous", "compiled", "shares", "vectors", "wide atomics"}),
)  # fmt: skip
