"""Runs PTX from the LLVM target on an NVIDIA GPU through cupy; only the device suite uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cupy
import numpy as np

from conformance.emulated import Hosted
from loom.ir.verified import VerifiedKernel
from loom.targets.base import Bounds
from loom.targets.llvm.machine import machine
from loom.targets.llvm.target import LlvmTarget

TARGET = LlvmTarget(replace(machine("ptx"), tiles=True))
"""Products of tiles by tensor cores, in kernels without checks."""


class GpuKernel:
    """A kernel loaded on the GPU. Calling it launches and waits."""

    def __init__(self, kernel: VerifiedKernel, bounds: Bounds) -> None:
        self.kernel = kernel.kernel
        artifact = TARGET.compile(kernel, bounds)
        self.sites = artifact.sites
        self._module = cupy.cuda.function.Module()
        self._module.load(artifact.data)
        self._function = self._module.get_function(artifact.entry)

    def launch(
        self, buffers: Sequence[Any], params: Sequence[Any], groups: tuple[int, int, int], log: Any = None
    ) -> None:
        """Launch over device arrays (flat); ``params`` are Python or numpy numbers."""
        if 0 in groups:
            return
        args: list[Any] = []
        for memory, buffer in zip(self.kernel.buffers, buffers, strict=True):
            args += [buffer, np.int64(buffer.size // memory.dtype.lanes)]
        for param, value in zip(self.kernel.params, params, strict=True):
            args.append(np.uint8(bool(value)) if param.dtype.is_bool else param.dtype.numpy.type(value))
        args += [log if log is not None else np.uintp(0), np.uint32(0)]
        self._function(groups, self.kernel.workgroup, tuple(args))

    def run(
        self, arrays: Sequence[np.ndarray[Any, Any]], params: Sequence[Any], groups: tuple[int, int, int]
    ) -> list[np.ndarray[Any, Any]]:
        """Run on copies of host arrays; return what the arrays hold afterwards."""
        buffers = [cupy.asarray(a) for a in arrays]
        self.launch(buffers, params, groups)
        return [cupy.asnumpy(b) for b in buffers]


class GpuDevice(Hosted):
    """The GPU as a device of Loom, for ``loom verify``: memory goes there and back with every dispatch."""

    def __init__(self) -> None:
        super().__init__("cuda")
        self._kernels: dict[str, GpuKernel] = {}

    def execute(
        self, kernel: VerifiedKernel, arrays: list[Any], params: list[Any], groups: tuple[int, int, int]
    ) -> list[Any]:
        found = self._kernels.get(kernel.hash)
        if found is None:
            bounds = Bounds.TRUSTED if kernel.kernel.trusted else Bounds.CHECKED
            found = self._kernels.setdefault(kernel.hash, GpuKernel(kernel, bounds))
        return found.run(arrays, params, groups)
