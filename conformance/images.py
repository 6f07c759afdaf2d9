"""Lays a dispatch out in the memory of another machine and reads its buffers back.

An image is what a compiled kernel is called with (``loom.targets.llvm.machine.layout``): record, an empty log,
bindings, parameters, then every buffer with the pattern around it. It is the same for 32-bit and 64-bit machines.
"""

from __future__ import annotations

import numpy as np

from conformance.running import Bits, Case, Guarded
from loom.targets.llvm.machine.layout import BINDING, RECORD

__all__ = ["LOG", "Image"]

LOG = 64
"""Where the log is in an image; ``driver.c`` knows it, and where the bindings are."""
_BINDINGS = 128
_ALIGNMENT = 64


class Image:
    """A case's dispatch; ``at`` gives its bytes for the address it will lie at."""

    def __init__(self, found: Case) -> None:
        self.case = found
        self.guarded = [Guarded(a) for a in found.buffers]
        self.params_at = _BINDINGS + BINDING.itemsize * len(self.guarded)
        self.starts: list[int] = []
        end = self.params_at + 8 * len(found.kernel.params)
        for buffer in self.guarded:
            self.starts.append(-(-end // _ALIGNMENT) * _ALIGNMENT)
            end = self.starts[-1] + buffer.whole.nbytes
        self.nbytes = end

    @property
    def groups(self) -> int:
        """How many groups the dispatch has."""
        x, y, z = self.case.groups
        return x * y * z

    def at(self, base: int) -> bytes:
        """Return the image for the address ``base``."""
        memory = np.zeros(self.nbytes, np.uint8)
        record = memory[: RECORD.itemsize].view(RECORD)
        record["bindings"], record["params"] = base + _BINDINGS, base + self.params_at
        record["groups"], record["total"] = self.case.groups, self.groups
        bindings = memory[_BINDINGS : self.params_at].view(BINDING)
        declared = self.case.kernel.buffers
        for row, start, buffer, about in zip(bindings, self.starts, self.guarded, declared, strict=True):
            memory[start : start + buffer.whole.nbytes] = buffer.whole
            row["address"] = base + start + buffer.margin
            row["elements"] = buffer.inner.size // about.dtype.lanes
        for n, (param, value) in enumerate(zip(self.case.kernel.params, self.case.params, strict=True)):
            packed = np.array([value]).astype(param.dtype.numpy).view(np.uint8)
            memory[self.params_at + 8 * n :][: packed.size] = packed
        return memory.tobytes()

    def buffers(self, memory: bytes) -> list[Bits]:
        """Return the buffers in an image that a kernel has run on; the pattern around them must be whole."""
        found = []
        for start, buffer, about in zip(self.starts, self.guarded, self.case.kernel.buffers, strict=True):
            buffer.whole[:] = np.frombuffer(memory, np.uint8, buffer.whole.nbytes, start)
            buffer.check(about.name)
            found.append(buffer.inner)
        return found
