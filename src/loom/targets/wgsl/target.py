"""The WGSL target as a ``Target``: from verified kernel to a text for WebGPU.

Layer: targets. Invariant: ``compile`` reads no file and asks no device.
"""

from __future__ import annotations

from dataclasses import asdict

from loom.core.errors import KernelError
from loom.ir.verified import VerifiedKernel
from loom.targets.base import Artifact, Bounds, telling
from loom.targets.wgsl.arithmetic import EMIT
from loom.targets.wgsl.features import Features, refusal
from loom.targets.wgsl.lower import lower

__all__ = ["WgslTarget"]


class WgslTarget:
    """Writes kernels for a device with ``features``; ``slots`` tells which binding each buffer lies in.

    >>> WgslTarget().name
    'wgsl'
    """

    name = "wgsl"
    forms = ("wgsl",)
    operations = frozenset(EMIT)

    def __init__(self, features: Features | None = None, slots: tuple[int, ...] | None = None) -> None:
        self.features = features or Features()
        self.slots = slots

    def compile(self, kernel: VerifiedKernel, bounds: Bounds, form: str | None = None) -> Artifact:
        """Return ``kernel`` as a module with the entry point ``main``; KernelError for what WGSL cannot express.

        Facts are the layout of its words, and their number.
        """
        reason = refusal(kernel.kernel)
        if reason is not None:
            raise KernelError(
                f"kernel {kernel.name!r} on target 'wgsl'", reason,
                expected="atomics of 32 bits, or sums and logic of 64 whose old value nobody asks for",
                remedy="Use another device",
            )  # fmt: skip
        lowered = lower(telling(kernel, bounds), bounds, self.features, self.slots)
        facts = {"push": asdict(lowered.push), "words": lowered.words}
        return Artifact(form or "wgsl", lowered.text.encode(), "main", lowered.sites, facts)
