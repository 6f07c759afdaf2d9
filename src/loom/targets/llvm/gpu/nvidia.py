"""GPUs of NVIDIA: PTX, a text that the driver compiles for its chip.

Layer: targets. Invariant: that of ``gpu.ptx``: no instruction is left that ptxas takes otherwise than it is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import llvmlite.ir as ll

from loom.targets.llvm.gpu.family import GpuFamily
from loom.targets.llvm.gpu.ptx import corrected, with_lanes
from loom.targets.llvm.types import I32

if TYPE_CHECKING:
    from loom.targets.llvm.state import State

__all__ = ["Nvidia"]

_SPECIAL = {"local": "tid", "group": "ctaid", "count": "nctaid"}


class Nvidia(GpuFamily):
    """What PTX calls things."""

    convention = "ptx_kernel"
    forms = ("asm", "llvm")
    has_dynamic = True

    def number(self, s: State, which: str, dimension: int) -> Any:
        name = f"llvm.nvvm.read.ptx.sreg.{_SPECIAL[which]}.{'xyz'[dimension]}"
        return s.builder.call(s.arithmetic.declare(name, I32, []), [])

    def barrier(self, s: State) -> None:
        s.builder.call(s.arithmetic.declare("llvm.nvvm.barrier0", ll.VoidType(), []), [])

    def assembled(self, text: str, workgroup: tuple[int, int, int]) -> str:
        return with_lanes(corrected(text), workgroup)
