"""The SPIR-V target as a ``Target``: from verified kernel to a module for Vulkan 1.1.

Layer: targets. Invariant: ``compile`` reads no file and asks no device.
"""

from __future__ import annotations

from dataclasses import asdict

from loom.ir.verify import VerifiedKernel
from loom.targets.base import Artifact, Bounds
from loom.targets.spirv.features import Features
from loom.targets.spirv.lower import lower

__all__ = ["SpirvTarget"]


class SpirvTarget:
    """Compiles kernels for a device with ``features``.

    >>> SpirvTarget().name
    'spirv'
    """

    name = "spirv"

    def __init__(self, features: Features | None = None) -> None:
        self.features = features or Features()

    def compile(self, kernel: VerifiedKernel, bounds: Bounds) -> Artifact:
        """Return ``kernel`` as a binary module with the entry point ``main``; facts are its push constants."""
        lowered = lower(kernel, bounds, self.features)
        return Artifact("spirv", lowered.data, "main", lowered.sites, {"push": asdict(lowered.push)})
