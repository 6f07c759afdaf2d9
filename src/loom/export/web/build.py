"""Builds a network as one WebAssembly module: the C of every export, its kernels with SIMD, weights inside.

Layer: export. Invariant: the module imports nothing and exports the functions of the C header, its memory, and where
free memory begins.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from loom.core.late.dataclass import dataclass
from loom.export.c.build import FLAGS, platform_of, require_threads, zig
from loom.export.c.kernel import kernel_header, kernel_manifest, kernel_source
from loom.export.c.levels import Optimize, compile_levels, objects_of
from loom.export.c.program import program_header, program_manifest, program_source
from loom.export.c.source import header, manifest
from loom.export.c.tables import tables
from loom.export.kernel import FrozenKernel
from loom.export.network import FrozenNetwork
from loom.export.program import FrozenFunction

__all__ = ["Built", "build_wasm"]

_STACK_NBYTES = 1 << 20
"""It lies below everything else, so that more is a trap, never another's memory."""


@dataclass(frozen=True, slots=True)
class Built:
    """A module, its manifest, what a net takes of memory, kernels, and their bytes."""

    module: bytes
    manifest: str
    net_nbytes: int
    kernels: int
    code_nbytes: int


def build_wasm(net: FrozenNetwork | FrozenKernel | FrozenFunction, optimize: Optimize = "speed") -> Built:
    """Return what was frozen as a WebAssembly module; StateError without Zig (the extra ``export``)."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        require_threads(isinstance(net, FrozenNetwork) and net.threads, platform_of("wasm32"))
        levels = compile_levels(net, platform_of("wasm32"), optimize, folder)
        image, objects = levels[0].image, objects_of(levels)
        if isinstance(net, FrozenKernel):
            text, declared, told = kernel_source(net, levels), kernel_header(net), kernel_manifest(net)
        elif isinstance(net, FrozenFunction):
            text, declared, told = program_source(net, levels), program_header(net), program_manifest(net, image)
        else:
            text, declared, told = tables(net, levels), header(net), manifest(net, image)
        functions = sorted(set(re.findall(rf"\b({net.name}_\w+)\(", declared)))
        source, module = folder / f"{net.name}.c", folder / f"{net.name}.wasm"
        source.write_text(text, encoding="utf-8")
        (folder / f"{net.name}.h").write_text(declared, encoding="utf-8")
        own = _compile(folder, source, "-Os")
        memory = _compile(folder, Path(__file__).parents[1] / "c" / "memory.c", "-O2")
        zig("wasm-ld", "--no-entry", "--strip-all", "--gc-sections", "--stack-first", "-z",
            f"stack-size={_STACK_NBYTES}", "--export=__heap_base", *(f"--export={f}" for f in functions),
            own, memory, *objects, "-o", module)  # fmt: skip
        code = sum(path.stat().st_size for path in objects)
        return Built(module.read_bytes(), told, image.nbytes, len(objects), code)


def _compile(folder: Path, source: Path, level: str) -> Path:
    made = folder / f"{source.stem}_c.o"
    fixed = ["-target", platform_of("wasm32").zig, "-msimd128", "-mbulk-memory", *(f for f in FLAGS if f != "-fPIC")]
    zig("cc", *fixed, level, "-c", source, "-o", made)
    return made
