"""GPUs of AMD: code objects of ROCm (HSA), each for one chip.

Layer: targets. Buffers come as addresses of global memory, what a thread has for itself lies in scratch. Atomics are
seen by all of the GPU and not beyond it, so that buffers are memory of its own, never the host's or another GPU's, as
HIP's compiler takes them to be. Invariant: the kernel descriptor says that subnormals are kept, in f32 and in
f64, and nothing in the module lets LLVM round once where two roundings are written.

Source: LLVM's "User Guide for AMDGPU Backend": function attributes, memory model, code object metadata.
"""

from __future__ import annotations

import re
from typing import Any

import llvmlite.ir as ll

from loom.targets.llvm.gpu.family import GpuFamily
from loom.targets.llvm.values.state import State
from loom.targets.llvm.values.types import I32

__all__ = ["Amd"]

_REGISTERS = {"local": "workitem", "group": "workgroup"}
_CONSTANT = ll.PointerType(addrspace=4)
_VERSION = 500
"""Of code objects: 5, which ROCm has read since 5.4 and all later ones do."""
_OVERRULED = 1
_GROUP_SCOPE, _GPU_SCOPE = "workgroup", "agent"
_FUNCTION = re.compile(r"^(define [^\n]*?\))( !|$)", re.MULTILINE)
_ALLOCA = re.compile(r"^( +%[^\n]*? = alloca [^\n]*?) *$", re.MULTILINE)
_ATOMIC = re.compile(r"^( +%[^\n]*? = (?:atomicrmw|cmpxchg) [^\n]*?) ((?:monotonic ?)+)", re.MULTILINE)
_CHANGED = re.compile(r"^( +%[^\n]*? = atomicrmw [^\n]*?) *$", re.MULTILINE)
_NOTHING = re.compile(r"^(!\d+) = !{ *}$", re.MULTILINE)


class Amd(GpuFamily):
    """What AMDGPU calls things."""

    convention = "amdgpu_kernel"
    forms = ("object", "asm", "llvm")
    pointer = ll.PointerType(addrspace=1)

    def number(self, s: State, which: str, dimension: int) -> Any:
        if which != "count":
            name = f"llvm.amdgcn.{_REGISTERS[which]}.id.{'xyz'[dimension]}"
            return s.builder.call(s.arithmetic.declare(name, I32, []), [])
        hidden = s.builder.call(s.arithmetic.declare("llvm.amdgcn.implicitarg.ptr", _CONSTANT, []), [])
        count = s.builder.gep(hidden, [I32(dimension)], source_etype=I32)  # what launches fills it in: the groups first
        return s.builder.load(count, align=4, typ=I32)

    def barrier(self, s: State) -> None:
        s.builder.fence("release", _GROUP_SCOPE)
        s.builder.call(s.arithmetic.declare("llvm.amdgcn.s.barrier", ll.VoidType(), []), [])
        s.builder.fence("acquire", _GROUP_SCOPE)

    def mark(self, module: Any, function: Any, workgroup: tuple[int, int, int]) -> None:
        version = [I32(_OVERRULED), "amdhsa_code_object_version", I32(_VERSION)]
        module.add_named_metadata("llvm.module.flags", version)
        module.add_metadata([])
        function.set_metadata("reqd_work_group_size", module.add_metadata([I32(n) for n in workgroup]))

    def add_attributes(self, text: str, workgroup: tuple[int, int, int]) -> str:
        x, y, z = workgroup
        said = {
            "denormal-fp-math": "ieee,ieee", "denormal-fp-math-f32": "ieee,ieee", "uniform-work-group-size": "true",
            "amdgpu-flat-work-group-size": f"{x * y * z},{x * y * z}",
        }  # fmt: skip
        text = _FUNCTION.sub(r"\1 #0\2", text, count=1)
        text = _ALLOCA.sub(r"\1, addrspace(5)", text)
        text = _ATOMIC.sub(rf'\1 syncscope("{_GPU_SCOPE}") \2', text)
        nothing = _NOTHING.search(text)
        assert nothing is not None
        own = f"!amdgpu.no.fine.grained.memory {nothing[1]}, !amdgpu.no.remote.memory {nothing[1]}"
        text = _CHANGED.sub(rf"\1, {own}", text)  # else LLVM makes loops of compare and exchange
        words = " ".join(f'"{name}"="{value}"' for name, value in said.items())
        return f"{text}\nattributes #0 = {{ {words} }}\n"
