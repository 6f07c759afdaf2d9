"""Exports to WebAssembly: a module, the ES module that opens it, and its types.

Layer: export. Invariant: what is written runs in node, a worker and a page alike, and asks for nothing but its files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.export.c.levels import Optimize
from loom.export.delivery import Export, deliver
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
from loom.nn.train.scalars import flag

__all__ = ["WebExport", "export_npm", "export_wasm"]


@dataclass(frozen=True, slots=True)
class WebExport(Export):
    """Files that were written, and what a net takes: memory, kernels, bytes of their code."""

    net_nbytes: int
    kernels: int
    code_nbytes: int


def export_wasm(
    net: FrozenNetwork | FrozenKernel | FrozenFunction,
    out: str | Path,
    *,
    optimize: Optimize = "speed",
    overwrite: bool = False,
) -> WebExport:
    """Write a frozen network, function or kernel as NAME.wasm (weights inside), NAME.js, NAME.d.ts.

    Args:
        net: Frozen network, function or kernel.
        out: Folder of the files.
        optimize: "speed", or "size": short code, of which only sums of products are computed in vectors; the bits are
            the same.
        overwrite: Whether files in the folder are written over that no export wrote, or that were changed since.

    Returns:
        Export: the files and what they hold.

    Raises:
        ArgumentError: A kernel with buffers of records; a flag is no truth.
        StateError: Zig is missing (the extra ``export``).
        FileError: Files are there that no export wrote, or that were changed since; nothing is written then.
    """
    replaced = flag("loom.export, overwrite", overwrite)
    if isinstance(net, FrozenKernel):
        _require_no_records(net)
    built = build_wasm(net, optimize)
    told = json.loads(built.manifest)
    if isinstance(net, FrozenKernel):
        script, types = kernel_javascript(told), kernel_typescript(told)
    elif isinstance(net, FrozenFunction):
        script, types = program_javascript(told), program_typescript(told)
    else:
        script, types = javascript(net.name, net.name), typescript(told)
    contents = {
        f"{net.name}.wasm": built.module,
        f"{net.name}.js": script.encode(),
        f"{net.name}.d.ts": types.encode(),
    }
    about = built.net_nbytes, built.kernels, built.code_nbytes
    return deliver(lambda folder: WebExport(_write(contents, folder), *about), out, overwrite=replaced)


def export_npm(
    net: FrozenNetwork, out: str | Path, *, optimize: Optimize = "speed", overwrite: bool = False
) -> WebExport:
    """Write a frozen network as a package for npm: an ES module with types, README and test.

    Args:
        net: Frozen network.
        out: Folder of the files.
        optimize: "speed", or "size": short code, of which only sums of products are computed in vectors; the bits are
            the same.
        overwrite: Whether files in the folder are written over that no export wrote, or that were changed since.

    Returns:
        Export: the files and what they hold.

    Raises:
        ArgumentError: A flag is no truth.
        StateError: Zig is missing (the extra ``export``).
        FileError: Files are there that no export wrote, or that were changed since; nothing is written then.
    """
    replaced = flag("loom.export, overwrite", overwrite)
    contents, *about = package_files(net, optimize)
    return deliver(lambda folder: WebExport(_write(contents, folder), *about), out, overwrite=replaced)


def _require_no_records(kernel: FrozenKernel) -> None:
    found = [m.name for m in kernel.kernel.bound if m.record]
    if found:
        raise ArgumentError("loom.export", "JavaScript has no records", expected="buffers of numbers", got=found[0],
                            remedy="Give the kernel an array for each field, or export it to C")  # fmt: skip


def _write(contents: Mapping[str, bytes], folder: Path) -> tuple[Path, ...]:
    paths = tuple(folder / name for name in contents)
    for path, content in zip(paths, contents.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return paths
