"""Exports to C: a header, a static and a shared library for each target, a manifest, an example program.

Layer: export. Invariant: the example program builds with the line at its head.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loom.export.c.build import PLATFORMS, link, platform_of
from loom.export.c.example import network_example, whole_example
from loom.export.c.kernel import export_kernel
from loom.export.c.levels import Optimize, compile_levels, levels_of, objects_of
from loom.export.c.source import header, manifest
from loom.export.c.tables import tables
from loom.export.kernel import FrozenKernel
from loom.export.network import FrozenNetwork

__all__ = ["PLATFORMS", "CExport", "export_c"]


@dataclass(frozen=True, slots=True)
class CExport:
    """Files that were written, and what a net of the first target takes: memory, kernels, bytes of their code."""

    files: tuple[Path, ...]
    net_nbytes: int
    kernels: int
    code_nbytes: int


def export_c(
    net: FrozenNetwork | FrozenKernel,
    out: str | Path,
    targets: Sequence[str] = ("x86_64-linux",),
    *,
    optimize: Optimize = "speed",
) -> CExport:
    """Write a frozen network or kernel as C into the folder ``out``.

    That is a header, a manifest, an example (``main.c``), and a folder with libraries for each target.

    ``optimize``: ``speed`` (code for several levels of x86-64, of which a net takes the best that the processor has)
    or ``size`` (short code, of which only sums of products are computed in vectors); the bits are the same.
    ArgumentError for targets that do not exist; StateError without Zig (the extra ``export``).
    """
    folder = Path(out)
    platforms = [platform_of(name) for name in targets]
    for platform in platforms:
        levels_of(platform, optimize)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(net, FrozenKernel):
        files, code_nbytes = export_kernel(net, folder, platforms, optimize)
        return CExport(tuple(files), 0, 1, code_nbytes)
    written = [folder / f"{net.name}.h"]
    written[0].write_text(header(net), encoding="utf-8")
    first: tuple[int, int, int] | None = None
    for platform in platforms:
        place = folder / platform.name
        place.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            levels = compile_levels(net, platform, optimize, Path(scratch))
            objects = objects_of(levels)
            source = Path(scratch) / f"{net.name}.c"
            source.write_text(tables(net, levels), encoding="utf-8")
            (Path(scratch) / f"{net.name}.h").write_text(header(net), encoding="utf-8")
            written += link(platform, net.name, source, objects, place)
            net_nbytes = max(level.image.nbytes for level in levels)
            first = first or (net_nbytes, len(objects), sum(p.stat().st_size for p in objects))
        if platform is platforms[0]:
            written.append(folder / f"{net.name}.json")
            told = manifest(net, levels[0].image)
            written[-1].write_text(told + "\n", encoding="utf-8")
            written.append(folder / "main.c")
            body = network_example(json.loads(told))
            written[-1].write_text(whole_example(net.name, body, platforms), encoding="utf-8")
    assert first is not None
    return CExport(tuple(written), *first)
