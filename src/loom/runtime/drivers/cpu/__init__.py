"""The CPU device: kernels compiled by LLVM, walked by worker threads in generated code."""

from loom.runtime.drivers.cpu.device import CpuDevice

__all__ = ["CpuDevice"]
