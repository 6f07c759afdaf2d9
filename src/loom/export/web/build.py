"""Builds a network as one WebAssembly module: the C of every export, its kernels with SIMD, weights inside.

Layer: export. Invariant: the module imports nothing and exports the functions of the C header, its memory, and where
free memory begins.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from loom.export.c.build import FLAGS, platform_of, zig
from loom.export.c.levels import Optimize, compile_levels, objects_of
from loom.export.c.source import header, manifest
from loom.export.c.tables import tables
from loom.export.network import FrozenNetwork

__all__ = ["Built", "build_wasm"]

_FUNCTIONS = ("size", "open", "reset", "forward", "read", "write", "digest", "save", "load", "manifest", "message")
_TRAINING = ("step", "train", "score")
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


def build_wasm(net: FrozenNetwork, optimize: Optimize = "speed") -> Built:
    """Return a frozen network as a WebAssembly module; StateError without Zig (the extra ``export``)."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        levels = compile_levels(net, platform_of("wasm32"), optimize, folder)
        image, objects = levels[0].image, objects_of(levels)
        source, module = folder / f"{net.name}.c", folder / f"{net.name}.wasm"
        source.write_text(tables(net, levels), encoding="utf-8")
        (folder / f"{net.name}.h").write_text(header(net), encoding="utf-8")
        own = _compiled(folder, source, "-Os")
        memory = _compiled(folder, Path(__file__).parents[1] / "c" / "memory.c", "-O2")
        functions = [f"{net.name}_{f}" for f in (*_FUNCTIONS, *(_TRAINING if net.training is not None else ()))]
        zig("wasm-ld", "--no-entry", "--strip-all", "--gc-sections", "--stack-first", "-z",
            f"stack-size={_STACK_NBYTES}", *(f"--export={n}" for n in (*functions, "__heap_base")), own, memory,
            *objects, "-o", module)  # fmt: skip
        code = sum(path.stat().st_size for path in objects)
        return Built(module.read_bytes(), manifest(net, image), image.nbytes, len(objects), code)


def _compiled(folder: Path, source: Path, level: str) -> Path:
    made = folder / f"{source.stem}_c.o"
    fixed = ["-target", platform_of("wasm32").zig, "-msimd128", "-mbulk-memory", *(f for f in FLAGS if f != "-fPIC")]
    zig("cc", *fixed, level, "-c", source, "-o", made)
    return made
