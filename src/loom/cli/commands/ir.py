"""``loom ir FILE:KERNEL``: prints what a kernel becomes on its way to the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from loom.ir.verified import VerifiedKernel
    from loom.targets.base import Target

__all__ = ["compile_kernel", "ir"]

_SHORT = {"llvm": "host:llvm", "asm": "host:asm", "wasm": "wasm32"}
"""Forms of code for this computer, and a name people know better."""


def ir(
    kernel: Annotated[str, typer.Argument(metavar="FILE[:KERNEL]", help="A Python file, and a kernel in it.")],
    emit: Annotated[
        str,
        typer.Option(
            "--emit",
            metavar="FORM",
            help="text: Loom's IR with source lines; llvm: optimised LLVM IR for this computer; "
            "asm: its assembly; wasm: a wasm32 object (binary); ptx: PTX text; gfx942: a code object of an AMD GPU "
            "(binary), gfx942:asm: its assembly; spirv: a Vulkan module (binary); "
            "spirv:asm: its text; TARGET or TARGET:FORM: of any other target (an unknown one lists them).",
        ),
    ] = "text",
    out: Annotated[
        typer.FileBinaryWrite | None,
        typer.Option("-o", "--output", lazy=True, help="Write to a file ('-': stdout)."),
    ] = None,
) -> None:
    """Print a kernel as Loom's IR, LLVM IR, assembly, wasm32, PTX, AMDGPU or SPIR-V; of a FILE alone, list its kernels.

    A kernel over types is named with a choice: FILE:KERNEL[f32].

    Code is generated as the CPU device does it: after optimisation, with bounds checks unless trusted.
    """
    from pathlib import Path

    from loom.cli.inputs.kernel_file import list_kernels, load_kernel
    from loom.cli.inputs.output import is_terminal
    from loom.core.errors import ArgumentError

    if Path(kernel).is_file():
        typer.echo("\n".join(list_kernels(kernel)))
        return
    data = compile_kernel(load_kernel(kernel), emit)
    if out is not None:
        out.write(data)
    elif b"\0" in data and is_terminal():
        raise ArgumentError(
            f"loom ir, --emit {emit}", "it is binary and does not go to a terminal",
            remedy="Give a file with -o, or redirect the output",
        )  # fmt: skip
    else:
        typer.echo(data, nl=False)


def compile_kernel(kernel: VerifiedKernel, emit: str) -> bytes:
    """Return a kernel in the form asked for: ``text``, or a target's of the registry."""
    from loom.core.errors import ArgumentError, near_matches
    from loom.ir.text import print_kernel
    from loom.runtime.drivers.loading import bounds_of
    from loom.targets.registry import TARGETS

    if emit == "text":
        return print_kernel(kernel.kernel, locations=True).encode()
    name, _, form = _SHORT.get(emit, emit).partition(":")
    if name not in TARGETS:
        names = list(dict.fromkeys(["text", *_SHORT, *TARGETS.names()]))
        raise ArgumentError(
            "loom ir, --emit", f"no form is called {emit!r}", expected="one of " + ", ".join(names),
            remedy=near_matches(name, names),
        )  # fmt: skip
    target = _load(name)
    if form and form not in target.forms:
        raise ArgumentError(
            "loom ir, --emit", f"target {name!r} has no form {form!r}", expected="one of " + ", ".join(target.forms),
            remedy=near_matches(form, target.forms),
        )  # fmt: skip
    return target.compile(kernel, bounds_of(kernel), form or None).data


def _load(name: str) -> Target:
    from loom.core.errors import ArgumentError
    from loom.targets.registry import TARGETS

    try:
        target = TARGETS.load(name)
        if isinstance(target, type) or not all(hasattr(target, each) for each in ("forms", "compile")):
            raise TypeError(f"expected a Target, got {target!r}")
        return target
    except (Exception, SystemExit) as error:  # a package of somebody else's
        raise ArgumentError(
            "loom ir, --emit", f"target {name!r} cannot be loaded ({type(error).__name__}: {error})",
            remedy="Mend or remove the package that brings it",
        ) from error  # fmt: skip
