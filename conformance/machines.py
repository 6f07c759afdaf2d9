"""Builds conformance cases for machines that are not this one, and runs them: WebAssembly, AArch64, ARMv7.

Many kernels go into one program. A wasm module runs in wasmtime; for the others the kernels are linked with
``driver.c`` and run under qemu, which need not have a C library: the compiler's own runtime is enough.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance.images import LOG, Image
from loom.ir.kernel import Kernel
from loom.ir.verify import verify
from loom.targets.base import Bounds
from loom.targets.llvm.target import LlvmTarget

__all__ = ["EMULATORS", "ZIG_TARGETS", "build", "run_program"]

ZIG_TARGETS = {"wasm32": "wasm32-freestanding", "aarch64": "aarch64-linux-musl", "armv7": "arm-linux-musleabihf"}
EMULATORS = {"aarch64": "qemu-aarch64-static", "armv7": "qemu-arm-static"}
_DRIVER = Path(__file__).with_name("driver.c")
_STACK_NBYTES = 1 << 20


def build(machine: str, kernels: Sequence[Kernel], bounds: Bounds | None, folder: Path) -> Path:
    """Compile kernels for ``machine``, each with its own bounds if None is given; link one program in ``folder``."""
    target = LlvmTarget(machine)
    objects = []
    for n, kernel in enumerate(kernels):
        own = Bounds.TRUSTED if kernel.trusted else Bounds.CHECKED
        artifact = target.compile(verify(replace(kernel, name=f"case_{n}")), bounds or own)
        assert artifact.entry == _entry(n)
        objects.append(folder / f"{n}.o")
        objects[-1].write_bytes(artifact.data)
    program = folder / "program"
    runtime = _compiler_runtime(machine, folder)
    if machine == "wasm32":
        exports = [f"--export={_entry(n)}" for n in range(len(objects))]
        fixed = ["--no-entry", "--export-memory", "--export=__heap_base", "-z", f"stack-size={_STACK_NBYTES}"]
        _zig("wasm-ld", *fixed, *exports, *objects, runtime, "-o", program)
    else:
        table = folder / "table.c"
        table.write_text(_table(len(objects)))
        options = ["-target", ZIG_TARGETS[machine], "-nostdlib", "-static", "-O1"]
        _zig("cc", *options, _DRIVER, table, *objects, runtime, "-o", program)
    return program


def _entry(number: int) -> str:
    return f"loom_case_{number}"


def _table(count: int) -> str:
    """Return C that lists the kernels in order."""
    kernels = "".join(f"extern kernel {_entry(n)};\n" for n in range(count))
    names = ", ".join(_entry(n) for n in range(count))
    kind = "typedef void kernel(void *, void *, unsigned long long, unsigned long long);\n"
    return f"{kind}{kernels}kernel *const loom_kernels[] = {{{names}}};\n"


def _compiler_runtime(machine: str, folder: Path) -> Path:
    """Return the library of what a machine has no instruction for: 64-bit division, filling memory."""
    empty, library = folder / "empty.c", folder / "runtime.a"
    empty.write_text("")
    options = ["-target", ZIG_TARGETS[machine], "-fcompiler-rt", "-O", "ReleaseFast"]
    _zig("build-lib", empty, *options, f"-femit-bin={library}")
    return library


def _zig(*arguments: object) -> None:
    command = [sys.executable, "-m", "ziglang", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"zig {arguments[0]} failed: {done.stderr[-2000:]}"


def run_program(machine: str, program: Path, images: Sequence[Image]) -> list[bytes]:
    """Run kernel n on image n; return the images as the kernels left them, up to where the program stopped."""
    if machine == "wasm32":
        return _run_wasm(program, images)
    jobs = []
    for n, image in enumerate(images):
        words = (n, image.nbytes, len(image.starts))
        jobs += [b"".join(w.to_bytes(8, "little") for w in words), image.at(0)]
    command = [EMULATORS[machine], str(program)]
    done = subprocess.run(command, input=b"".join(jobs), capture_output=True, check=False)
    left, at = [], 0
    for image in images:
        if at + image.nbytes > len(done.stdout):
            break
        left.append(done.stdout[at : at + image.nbytes])
        at += image.nbytes
    return left


def _run_wasm(program: Path, images: Sequence[Image]) -> list[bytes]:
    import wasmtime

    store = wasmtime.Store()
    module = wasmtime.Module.from_file(store.engine, str(program))
    exports: Any = wasmtime.Instance(store, module, []).exports(store)
    memory = exports["memory"]
    base = -(-exports["__heap_base"].value(store) // 64) * 64
    left: list[bytes] = []
    for n, image in enumerate(images):
        pages = -(-(base + image.nbytes) // 65536) - memory.size(store)
        if pages > 0:
            memory.grow(store, pages)
        memory.write(store, image.at(base), base)
        entry, half = exports[_entry(n)], image.groups // 2
        try:
            entry(store, base, base + LOG, 0, half)
            entry(store, base, base + LOG, half, image.groups)
        except wasmtime.Trap:
            return left
        left.append(bytes(memory.read(store, base, base + image.nbytes)))
    return left
