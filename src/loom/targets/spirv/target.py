"""The SPIR-V target as a ``Target``: from verified kernel to a module for Vulkan 1.1.

Layer: targets. Invariant: ``compile`` reads no file and asks no device; a module for people to read is written by
``spirv-dis``.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import asdict

from loom.core.errors import ArgumentError
from loom.ir.verified import VerifiedKernel
from loom.targets.base import Artifact, Bounds, telling
from loom.targets.spirv.arithmetic import EMIT
from loom.targets.spirv.features import Features
from loom.targets.spirv.lower import lower

__all__ = ["SpirvTarget"]


class SpirvTarget:
    """Compiles kernels for a device with ``features``.

    >>> SpirvTarget().name
    'spirv'
    """

    name = "spirv"
    forms = ("spirv", "asm")
    operations = frozenset(EMIT)

    def __init__(self, features: Features | None = None) -> None:
        self.features = features or Features()

    def compile(self, kernel: VerifiedKernel, bounds: Bounds, form: str | None = None) -> Artifact:
        """Return ``kernel`` as a binary module with the entry point ``main``, or (asm) its text.

        Facts are its push constants, and of private arrays in a heap the bytes of each for a group.
        """
        lowered = lower(telling(kernel, bounds), bounds, self.features)
        data = disassemble(lowered.data) if form == "asm" else lowered.data
        heap = {"heap": lowered.heap} if lowered.heap else {}
        return Artifact(form or "spirv", data, "main", lowered.sites, {"push": asdict(lowered.push), **heap})


def disassemble(data: bytes) -> bytes:
    """Return a module as text; ArgumentError where ``spirv-dis`` is not installed."""
    tool = shutil.which("spirv-dis")
    if tool is None:
        raise ArgumentError(
            "target 'spirv', form asm", "spirv-dis is not installed, which writes modules as text",
            remedy="Install spirv-tools, or take the binary form",
        )  # fmt: skip
    return subprocess.run([tool, "--no-color", "-"], input=data, capture_output=True, check=True).stdout
