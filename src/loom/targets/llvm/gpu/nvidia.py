"""GPUs of NVIDIA: PTX, a text that the driver compiles for its chip.

Layer: targets. Invariant: that of ``gpu.ptx``: no instruction is left that ptxas takes otherwise than it is written.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ll

from loom.targets.llvm.gpu.dependents import waiting
from loom.targets.llvm.gpu.family import GpuFamily
from loom.targets.llvm.gpu.ptx import correct, with_lanes
from loom.targets.llvm.machine import Machine
from loom.targets.llvm.values.state import State
from loom.targets.llvm.values.types import I32, POINTER

__all__ = ["Nvidia"]

_WARP, _ALL_LANES = 32, 0xFFFFFFFF
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

    def near_barrier(self, s: State) -> None:
        if s.kernel.lanes % _WARP:
            self.barrier(s)  # the last warp is not whole
            return
        s.builder.call(s.arithmetic.declare("llvm.nvvm.bar.warp.sync", ll.VoidType(), [I32]), [I32(_ALL_LANES)])

    def atomic_read(self, s: State, pointer: Any, kind: Any) -> Any:
        form, letter = ll.FunctionType(kind, [POINTER]), "r" if kind == I32 else "l"
        text = f"ld.relaxed.gpu.global.b{kind.width} $0, [$1];"  # which LLVM 22 fails to select if it is truncated
        return s.builder.asm(form, text, f"={letter},l,~{{memory}}", [pointer], True)

    def finish_text(self, text: str, workgroup: tuple[int, int, int], machine: Machine) -> str:
        text = with_lanes(correct(text), workgroup)
        return waiting(text, machine.dependents, copies=machine.wide) if machine.dependents else text
