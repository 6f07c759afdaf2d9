"""The LLVM target: one object per machine, from verified kernel to object code or text.

Layer: targets. Invariant: ``compile`` reads no file and asks no device.
"""

from __future__ import annotations

from loom.core.arithmetic import ordinary_arithmetic
from loom.ir.verify import VerifiedKernel
from loom.targets.base import Artifact, Bounds
from loom.targets.llvm.lower import lower
from loom.targets.llvm.machine import Machine, emit, machine
from loom.targets.llvm.ptx import corrected

__all__ = ["LlvmTarget"]


class LlvmTarget:
    """Compiles kernels for one ``Machine``.

    >>> LlvmTarget("wasm32").name
    'wasm32'
    """

    def __init__(self, where: Machine | str = "host") -> None:
        self.machine = where if isinstance(where, Machine) else machine(where)

    @property
    def name(self) -> str:
        """The machine's name."""
        return self.machine.name

    @ordinary_arithmetic()
    def compile(self, kernel: VerifiedKernel, bounds: Bounds, kind: str | None = None) -> Artifact:
        """Return ``kernel`` as ``kind``: object (the default on CPUs), asm (the default on PTX) or llvm."""
        kind = kind or ("asm" if self.machine.threads else "object")
        lowered = lower(kernel, self.machine, bounds)
        data = emit(lowered.text, self.machine, kind, vectorise_loops=not lowered.wraps)
        if self.machine.threads and kind == "asm":
            data = corrected(data.decode()).encode()
        return Artifact(kind, data, lowered.entry, lowered.sites, {"width": lowered.width})
