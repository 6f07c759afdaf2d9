"""The LLVM target: one object per machine, from verified kernel to object code or text.

Layer: targets. Invariant: ``compile`` reads no file and asks no device.
"""

from __future__ import annotations

from loom.core.arithmetic import ordinary_arithmetic
from loom.ir.verified import VerifiedKernel
from loom.targets.base import Artifact, Bounds, Decision, telling
from loom.targets.llvm.gpu.families import family_of
from loom.targets.llvm.lower import lower
from loom.targets.llvm.machine import Machine, emit, machine
from loom.targets.llvm.values.arithmetic import EMIT

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

    @property
    def forms(self) -> tuple[str, ...]:
        """Object code, but for PTX, which is text; assembly, LLVM's IR."""
        family = family_of(self.machine)
        return family.forms if family is not None else ("object", "asm", "llvm")

    @property
    def operations(self) -> frozenset[str]:
        """Names of the pure operations there is an emitter for."""
        return frozenset(EMIT)

    def decide(self, kernel: VerifiedKernel, bounds: Bounds) -> tuple[int, tuple[Decision, ...]]:
        """Return how many lanes run as one vector, and what was decided line by line."""
        lowered = lower(kernel, self.machine, bounds)
        return lowered.width, lowered.decisions

    @ordinary_arithmetic()
    def compile(self, kernel: VerifiedKernel, bounds: Bounds, form: str | None = None) -> Artifact:
        """Return ``kernel`` in one of the ``forms``."""
        form = form or self.forms[0]
        lowered = lower(telling(kernel, bounds), self.machine, bounds)
        data = emit(lowered.text, self.machine, form, vectorise_loops=not lowered.wraps)
        family = family_of(self.machine)
        if family is not None and form == "asm":
            data = family.finish_text(data.decode(), kernel.workgroup, self.machine).encode()
        return Artifact(form, data, lowered.entry, lowered.sites, {"width": lowered.width})
