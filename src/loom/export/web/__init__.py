"""Exports to WebAssembly: a module, the ES module that opens it, and its types.

Layer: export. Invariant: what is written runs in node, a worker and a page alike, and asks for nothing but its files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loom.core.errors import ArgumentError
from loom.export.c.levels import Optimize
from loom.export.kernel import FrozenKernel
from loom.export.network import FrozenNetwork
from loom.export.program import FrozenFunction
from loom.export.web.build import build_wasm
from loom.export.web.package import package_files
from loom.export.web.types import (
    javascript,
    kernel_javascript,
    kernel_typescript,
    program_javascript,
    program_typescript,
    typescript,
)

__all__ = ["WebExport", "export_npm", "export_wasm"]


@dataclass(frozen=True, slots=True)
class WebExport:
    """Files that were written, and what a net takes: memory, kernels, bytes of their code."""

    files: tuple[Path, ...]
    net_nbytes: int
    kernels: int
    code_nbytes: int


def export_wasm(
    net: FrozenNetwork | FrozenKernel | FrozenFunction, out: str | Path, *, optimize: Optimize = "speed"
) -> WebExport:
    """Write what was frozen into the folder ``out``: NAME.wasm (weights inside), NAME.js, NAME.d.ts.

    ``optimize``: ``speed``, or ``size``: short code, of which only sums of products are computed in vectors.
    ArgumentError for a kernel with buffers of records; StateError without Zig (the extra ``export``).
    """
    if isinstance(net, FrozenKernel):
        _require_no_records(net)
    built = build_wasm(net, optimize)
    about = json.loads(built.manifest)
    if isinstance(net, FrozenKernel):
        script, types = kernel_javascript(about), kernel_typescript(about)
    elif isinstance(net, FrozenFunction):
        script, types = program_javascript(about), program_typescript(about)
    else:
        script, types = javascript(net.name, net.name), typescript(about)
    contents = {
        f"{net.name}.wasm": built.module,
        f"{net.name}.js": script.encode(),
        f"{net.name}.d.ts": types.encode(),
    }
    return WebExport(_write(contents, out), built.net_nbytes, built.kernels, built.code_nbytes)


def export_npm(net: FrozenNetwork, out: str | Path, *, optimize: Optimize = "speed") -> WebExport:
    """Write a frozen network into the folder ``out`` as a package for npm: an ES module with types, README and test.

    ``optimize`` is that of ``export_wasm``. StateError without Zig (the extra ``export``).
    """
    contents, *about = package_files(net, optimize)
    return WebExport(_write(contents, out), *about)


def _require_no_records(kernel: FrozenKernel) -> None:
    found = [m.name for m in kernel.kernel.bound if m.record]
    if found:
        raise ArgumentError("loom.export", "JavaScript has no records", expected="buffers of numbers", got=found[0],
                            remedy="Give the kernel an array for each field, or export it to C")  # fmt: skip


def _write(contents: Mapping[str, bytes], out: str | Path) -> tuple[Path, ...]:
    paths = tuple(Path(out) / name for name in contents)
    for path, content in zip(paths, contents.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return paths
