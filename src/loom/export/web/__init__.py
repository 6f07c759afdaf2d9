"""Exports to WebAssembly: a module, the ES module that opens it, and its types.

Layer: export. Invariant: what is written runs in node, a worker and a page alike, and asks for nothing but its files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loom.export.c.levels import Optimize
from loom.export.network import FrozenNetwork
from loom.export.web.build import build_wasm
from loom.export.web.package import package_files
from loom.export.web.types import javascript, typescript

__all__ = ["WebExport", "export_npm", "export_wasm"]


@dataclass(frozen=True, slots=True)
class WebExport:
    """Files that were written, and what a net takes: memory, kernels, bytes of their code."""

    files: tuple[Path, ...]
    net_nbytes: int
    kernels: int
    code_nbytes: int


def export_wasm(net: FrozenNetwork, out: str | Path, *, optimize: Optimize = "speed") -> WebExport:
    """Write a frozen network into the folder ``out``: NAME.wasm (weights inside), NAME.js, NAME.d.ts.

    ``optimize``: ``speed``, or ``size``: short code, of which only sums of products are computed in vectors.
    StateError without Zig (the extra ``export``).
    """
    built = build_wasm(net, optimize)
    contents = {
        f"{net.name}.wasm": built.module,
        f"{net.name}.js": javascript(net.name, net.name).encode(),
        f"{net.name}.d.ts": typescript(json.loads(built.manifest)).encode(),
    }
    return WebExport(_write(contents, out), built.net_nbytes, built.kernels, built.code_nbytes)


def export_npm(net: FrozenNetwork, out: str | Path, *, optimize: Optimize = "speed") -> WebExport:
    """Write a frozen network into the folder ``out`` as a package for npm: an ES module with types, README and test.

    ``optimize`` is that of ``export_wasm``. StateError without Zig (the extra ``export``).
    """
    contents, *about = package_files(net, optimize)
    return WebExport(_write(contents, out), *about)


def _write(contents: Mapping[str, bytes], out: str | Path) -> tuple[Path, ...]:
    paths = tuple(Path(out) / name for name in contents)
    for path, content in zip(paths, contents.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return paths
