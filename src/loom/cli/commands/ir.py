"""``loom ir FILE:KERNEL``: prints what a kernel becomes on its way to the machine."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from loom.ir.verify import VerifiedKernel
    from loom.targets.base import Bounds

__all__ = ["Emit", "compiled", "ir"]


class Emit(str, enum.Enum):
    """What ``loom ir`` prints."""

    TEXT = "text"
    LLVM = "llvm"
    ASM = "asm"
    WASM = "wasm"
    PTX = "ptx"
    SPIRV = "spirv"


def ir(
    kernel: Annotated[str, typer.Argument(metavar="FILE:KERNEL", help="A Python file, and a kernel in it.")],
    emit: Annotated[
        Emit,
        typer.Option(
            "--emit",
            help="text: Loom's IR with source lines; llvm: optimised LLVM IR for this computer; "
            "asm: its assembly; wasm: a wasm32 object (binary); ptx: PTX text; spirv: a Vulkan module (binary).",
        ),
    ] = Emit.TEXT,
    out: Annotated[
        typer.FileBinaryWrite | None,
        typer.Option("-o", "--output", lazy=True, help="Write to a file ('-': stdout)."),
    ] = None,
) -> None:
    """Print a kernel as Loom's IR, LLVM IR, assembly, wasm32 object, PTX or SPIR-V.

    Code is generated as the CPU device does it: after optimisation, with bounds checks unless trusted.
    """
    from loom.cli.kernel_file import load_kernel
    from loom.cli.output import is_terminal
    from loom.core.errors import ArgumentError

    data = compiled(load_kernel(kernel), emit)
    if out is not None:
        out.write(data)
    elif emit in (Emit.WASM, Emit.SPIRV) and is_terminal():
        raise ArgumentError(
            f"loom ir, --emit {emit.value}", "it is binary and does not go to a terminal",
            remedy="Give a file with -o, or redirect the output",
        )  # fmt: skip
    else:
        typer.echo(data, nl=False)


def compiled(kernel: VerifiedKernel, emit: Emit) -> bytes:
    """Return a kernel in the form asked for."""
    from loom.core import options
    from loom.ir.text import print_kernel
    from loom.targets.llvm.machine import host_machine
    from loom.targets.llvm.target import LlvmTarget

    if emit is Emit.TEXT:
        return print_kernel(kernel.kernel, locations=True).encode()
    if emit is Emit.WASM:
        return LlvmTarget("wasm32").compile(kernel, _bounds(kernel), "object").data
    if emit is Emit.SPIRV:
        from loom.targets.spirv.features import Features
        from loom.targets.spirv.target import SpirvTarget

        return (
            SpirvTarget(Features(modes=())).compile(kernel, _bounds(kernel)).data
        )  # no controls: every device takes it
    if emit is Emit.PTX:
        return LlvmTarget("ptx").compile(kernel, _bounds(kernel), "asm").data
    host = LlvmTarget(host_machine(options.simd_lanes()))
    return host.compile(kernel, _bounds(kernel), emit.value).data


def _bounds(kernel: VerifiedKernel) -> Bounds:
    from loom.core import options
    from loom.targets.base import Bounds

    if options.check_bounds():
        return Bounds.REPORTED
    return Bounds.TRUSTED if kernel.kernel.trusted else Bounds.CHECKED
