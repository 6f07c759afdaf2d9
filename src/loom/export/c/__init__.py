"""Exports to C: a header, a static and a shared library for each target, a manifest, an example program.

Layer: export. Invariant: the example program builds with the line at its head.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loom.core.caps import Caps
from loom.export.c.build import PLATFORMS, Platform, link, objects_of, platform_of
from loom.export.c.example import network_example, whole_example
from loom.export.c.kernel import export_kernel
from loom.export.c.source import header, manifest, tables
from loom.export.kernel import FrozenKernel
from loom.export.network import FrozenNetwork
from loom.targets.llvm.machine import cpu_caps

__all__ = ["PLATFORMS", "CExport", "caps_of", "export_c"]


@dataclass(frozen=True, slots=True)
class CExport:
    """Files that were written, and what a net of the first target takes: memory, kernels, bytes of their code."""

    files: tuple[Path, ...]
    net_nbytes: int
    kernels: int
    code_nbytes: int


def caps_of(platform: Platform) -> Caps:
    """Return what schedules may know of a platform: one core of it."""
    return cpu_caps(platform.machine, 1, 1 << 18)


def export_c(net: FrozenNetwork | FrozenKernel, out: str | Path, targets: Sequence[str] = ("x86_64-linux",)) -> CExport:
    """Write a frozen network or kernel as C into the folder ``out``.

    That is a header, a manifest, an example (``main.c``), and a folder with libraries for each target.

    ArgumentError for targets that do not exist; StateError without Zig (the extra ``export``).
    """
    folder = Path(out)
    platforms = [platform_of(name) for name in targets]
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(net, FrozenKernel):
        files, code_nbytes = export_kernel(net, folder, platforms)
        return CExport(tuple(files), 0, 1, code_nbytes)
    written = [folder / f"{net.name}.h"]
    written[0].write_text(header(net), encoding="utf-8")
    first: tuple[int, int, int] | None = None
    for platform in platforms:
        image = net.image(caps_of(platform))
        place = folder / platform.name
        place.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            entries, objects = objects_of(image, net.name, platform.machine, Path(scratch))
            source = Path(scratch) / f"{net.name}.c"
            source.write_text(tables(net, image, entries), encoding="utf-8")
            (Path(scratch) / f"{net.name}.h").write_text(header(net), encoding="utf-8")
            written += link(platform, net.name, source, objects, place)
            first = first or (image.nbytes, len(objects), sum(p.stat().st_size for p in objects))
        if platform is platforms[0]:
            written.append(folder / f"{net.name}.json")
            told = manifest(net, image)
            written[-1].write_text(told + "\n", encoding="utf-8")
            written.append(folder / "main.c")
            body = network_example(json.loads(told))
            written[-1].write_text(whole_example(net.name, body, platforms), encoding="utf-8")
    assert first is not None
    return CExport(tuple(written), *first)
