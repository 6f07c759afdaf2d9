"""Which targets there are, by name.

Layer: targets. Another package adds one by an entry point of the group ``loom.targets`` that names a ``Target``.
Invariant: a name stands for one machine or format, whatever devices are present.
"""

from __future__ import annotations

from functools import partial

from loom.core import options
from loom.core.registry import Registry
from loom.targets.base import Target
from loom.targets.llvm.machine import host_machine, machine, machine_names

__all__ = ["TARGETS"]


def _llvm(name: str) -> Target:
    from loom.targets.llvm.target import LlvmTarget

    if name != "host":
        return LlvmTarget(machine(name))
    return LlvmTarget(host_machine(options.simd_lanes(), optimised=options.optimise_code()))


def _spirv() -> Target:
    from loom.targets.spirv.features import Features
    from loom.targets.spirv.target import SpirvTarget

    return SpirvTarget(Features(modes=()))  # no controls: every device takes it


def _wgsl() -> Target:
    from loom.targets.wgsl.target import WgslTarget

    return WgslTarget()


TARGETS: Registry[Target] = Registry(
    "loom.targets", {**{name: partial(_llvm, name) for name in machine_names()}, "spirv": _spirv, "wgsl": _wgsl}
)
"""Every target by name: this computer, the machines of LLVM, SPIR-V, WGSL."""
