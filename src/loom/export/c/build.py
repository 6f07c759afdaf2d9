"""Builds the exported C with Zig's compiler, which has all targets: static and shared libraries.

Layer: export. Invariant: what is linked needs no C library and no file of this machine.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from loom.core.errors import ArgumentError, StateError, near_matches
from loom.core.late.dataclass import dataclass
from loom.core.optional import require

__all__ = ["FLAGS", "PLATFORMS", "Platform", "link", "link_shim", "platform_of", "require_threads", "zig"]


@dataclass(frozen=True, slots=True)
class Platform:
    """A system: ``of`` names the machine code is made for, ``triple`` LLVM's, ``zig`` Zig's target."""

    name: str
    of: str
    triple: str
    zig: str
    shared: str = "so"
    static: str = "a"
    needs_runtime: bool = False
    """Code calls the compiler's own functions: for 64-bit division, for large stacks."""

    @property
    def has_threads(self) -> bool:
        """Whether Zig has what tells of the system's threads."""
        return self.name.endswith(("-linux", "-macos"))

    @property
    def better(self) -> tuple[str, ...]:
        """Machines beyond ``of``, each for a level of the processor that is looked for when a net is opened."""
        return ("x86-64-v3", "x86-64-v4") if self.of == "x86-64" else ()


PLATFORMS = {
    p.name: p
    for p in (
        Platform("x86_64-linux", "x86-64", "x86_64-unknown-linux-gnu", "x86_64-linux-gnu"),
        Platform("aarch64-linux", "aarch64", "aarch64-unknown-linux-gnu", "aarch64-linux-gnu"),
        Platform("armv7-linux", "armv7", "armv7-unknown-linux-gnueabihf", "arm-linux-gnueabihf", needs_runtime=True),
        Platform(
            "x86_64-windows", "x86-64", "x86_64-pc-windows-gnu", "x86_64-windows-gnu", "dll", "lib", needs_runtime=True
        ),
        Platform("aarch64-macos", "aarch64", "arm64-apple-macosx11.0.0", "aarch64-macos", "dylib"),
        Platform("x86_64-macos", "x86-64", "x86_64-apple-macosx11.0.0", "x86_64-macos", "dylib"),
        Platform("aarch64-android", "aarch64", "aarch64-unknown-linux-android", "aarch64-linux-android"),
        Platform("wasm32", "wasm32", "wasm32-unknown-unknown", "wasm32-freestanding", "wasm"),
    )
}


def require_threads(wanted: bool, platform: Platform) -> None:
    """ArgumentError where threads are asked of a platform that has none."""
    if wanted and not platform.has_threads:
        raise ArgumentError("loom.export, threads", f"an export for {platform.name} has none", expected="threads=False",
                            got="threads=True", remedy="Leave it out, or export for Linux or macOS")  # fmt: skip


def platform_of(name: str) -> Platform:
    """Return a platform by name; ArgumentError with near matches if there is none."""
    if name not in PLATFORMS:
        raise ArgumentError("loom.export, target", f"no target is called {name!r}", expected=", ".join(PLATFORMS),
                            got=name, remedy=near_matches(name, list(PLATFORMS)))  # fmt: skip
    return PLATFORMS[name]


def zig(*arguments: object) -> None:
    """Run Zig; StateError with what it said if that failed, or if it is not installed."""
    require("ziglang", "loom.export")
    command = [sys.executable, "-m", "ziglang", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StateError("loom.export", f"zig {arguments[0]} failed", got=done.stderr[-2000:],
                         remedy="Report it with the network's document")  # fmt: skip


FLAGS = ("-std=c99", "-ffreestanding", "-fno-builtin", "-fno-stack-protector", "-ffp-contract=off", "-fPIC",
         "-fvisibility=hidden", "-g0", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables")  # fmt: skip
"""How C is compiled for every target."""


def link(
    platform: Platform, name: str, sources: Sequence[Path], objects: Sequence[Path], out: Path, *, threads: bool = False
) -> list[Path]:
    """Compile C sources and link them with their kernels; return the static and the shared library.

    ``threads``: they call the system's threads, so that the shared library asks for its C library.
    """
    folder = sources[0].parent
    own = [source.with_suffix(".o") for source in sources]
    memory = folder / "memory.o"
    fixed = _flags(platform)
    for source, made in zip(sources, own, strict=True):
        zig("cc", *fixed, "-Os", "-c", source, "-o", made)
    zig("cc", *fixed, "-O2", "-c", Path(__file__).with_name("memory.c"), "-o", memory)
    static = out / f"lib{name}.{platform.static}"
    static.unlink(missing_ok=True)
    zig("ar", "rcs", static, *own, memory, *objects)
    shared = out / f"lib{name}.{platform.shared}"
    link_shared(platform, shared, [*own, *objects, memory], folder, threads=threads)
    return [static, shared]


def link_shim(platform: Platform, source: Path, static: Path, shared: Path) -> None:
    """Compile C that calls a network, and link both as one shared library; the header lies beside ``source``."""
    own = source.with_suffix(".o")
    zig("cc", *_flags(platform), "-Os", "-c", source, "-o", own)
    link_shared(platform, shared, [own, static], source.parent)


def link_shared(
    platform: Platform, shared: Path, objects: Sequence[Path], folder: Path, *, threads: bool = False
) -> None:
    """Link a shared library, with the compiler's own functions where code calls them.

    It asks for no C library unless it calls the system's ``threads``.
    """
    more: list[Path] = []
    if platform.needs_runtime:
        more.append(folder / "runtime.a")
        zig("build-lib", "-target", platform.zig, "-fcompiler-rt", "-fPIC", "-ffunction-sections", "-OReleaseSmall",
            _empty(folder), f"-femit-bin={more[0]}")  # fmt: skip
    flags = ["-shared", "-lpthread" if threads else "-nostdlib", "-s"]
    flags += ["-Wl,--gc-sections", f"-Wl,-soname,{shared.name}"] if platform.shared == "so" else []
    zig("cc", "-target", platform.zig, *flags, *objects, *more, "-o", shared)


def _flags(platform: Platform) -> list[str]:
    return ["-target", platform.zig, *FLAGS, *(["-mcpu=x86_64"] if platform.of == "x86-64" else [])]


def _empty(folder: Path) -> Path:
    path = folder / "empty.c"
    path.write_text("")
    return path
