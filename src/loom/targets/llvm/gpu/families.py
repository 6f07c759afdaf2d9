"""Which families of GPUs the LLVM target knows.

Layer: targets. Invariant: a machine whose lanes are threads belongs to one family, a processor to none.
"""

from __future__ import annotations

from loom.targets.llvm.gpu.amd import Amd
from loom.targets.llvm.gpu.family import GpuFamily
from loom.targets.llvm.gpu.nvidia import Nvidia
from loom.targets.llvm.machine import Machine

__all__ = ["family_of"]

_FAMILIES: dict[str, GpuFamily] = {"nvptx64": Nvidia(), "amdgcn": Amd()}
"""By the first part of the triple."""


def family_of(machine: Machine) -> GpuFamily | None:
    """Return the family of a machine whose lanes are threads of a GPU, None for a processor."""
    return _FAMILIES[machine.triple.split("-", 1)[0]] if machine.threads else None
