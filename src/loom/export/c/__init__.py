"""Exports to C: a header, a static and a shared library for each target, a manifest, an example program.

Layer: export. Invariant: the example program builds with the line at its head.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.export.c.abi import HEADER, functions
from loom.export.c.build import PLATFORMS, Platform, link, platform_of, require_threads
from loom.export.c.example import network_example, whole_example
from loom.export.c.kernel import export_kernel
from loom.export.c.levels import Optimize, compile_levels, levels_of, objects_of
from loom.export.c.program import export_function
from loom.export.c.source import header, manifest
from loom.export.c.tables import tables
from loom.export.c.text import source_text
from loom.export.delivery import Export, deliver
from loom.export.kernel import FrozenKernel
from loom.export.network import FrozenNetwork
from loom.export.program import FrozenFunction
from loom.export.words import require_identifier
from loom.nn.train.scalars import flag

__all__ = ["PLATFORMS", "CExport", "Written", "export_c", "write_sources"]


@dataclass(frozen=True, slots=True)
class CExport(Export):
    """Files that were written, and what a net of the first target takes: memory, kernels, bytes of their code."""

    net_nbytes: int
    kernels: int
    code_nbytes: int


def export_c(
    net: FrozenNetwork | FrozenFunction | FrozenKernel | Sequence[FrozenNetwork],
    out: str | Path,
    targets: Sequence[str] = ("x86_64-linux",),
    *,
    optimize: Optimize = "speed",
    name: str | None = None,
    overwrite: bool = False,
) -> CExport:
    """Write a frozen network, program, chain or kernel, or several networks in one library, as C.

    That is a header, a manifest, an example (``main.c``), and a folder with libraries for each target. Networks have
    the functions with JSON texts beside their own: ``loom_json.h``.

    Args:
        net: Frozen network, function or kernel, or several networks.
        out: Folder of the files.
        targets: Machines, as "x86_64-linux".
        optimize: "speed" (code for several levels of x86-64, of which a net takes the best that the processor has) or
            "size" (short code, of which only sums of products are computed in vectors); the bits are the same.
        name: Name of the library; None: that of the first one.
        overwrite: Whether files in the folder are written over that no export wrote, or that were changed since.

    Returns:
        Export: the files and what they hold.

    Raises:
        ArgumentError: There is no such target; networks of one name; a name that C cannot have; a flag is no truth.
        StateError: Zig is missing (the extra ``export``).
        FileError: Files are there that no export wrote, or that were changed since; nothing is written then.
    """
    replaced = flag("loom.export, overwrite", overwrite)
    return deliver(lambda folder: _write(net, folder, targets, optimize, name), out, overwrite=replaced)


def _write(
    net: FrozenNetwork | FrozenFunction | FrozenKernel | Sequence[FrozenNetwork],
    folder: Path,
    targets: Sequence[str],
    optimize: Optimize,
    name: str | None,
) -> CExport:
    platforms = [platform_of(target) for target in targets]
    for platform in platforms:
        levels_of(platform, optimize)
    if isinstance(net, FrozenKernel):
        _require_none(name)
        files, code_nbytes = export_kernel(net, folder, platforms, optimize)
        return CExport(tuple(files), 0, 1, code_nbytes)
    if isinstance(net, FrozenFunction):
        _require_none(name)
        files, *sizes = export_function(net, folder, platforms, optimize)
        return CExport(tuple(files), *sizes)
    nets = [net] if isinstance(net, FrozenNetwork) else list(net)
    _require_names(nets)
    require_identifier(name or nets[0].name)
    headers = _headers(nets)
    written = [folder / file for file in headers]
    for path, text in zip(written, headers.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    made = [_library(nets, name or nets[0].name, folder, platform, optimize) for platform in platforms]
    manifests = made[0].manifests
    for each, told in zip(nets, manifests, strict=True):
        written.append(folder / f"{each.name}.json")
        written[-1].write_text(told + "\n", encoding="utf-8")
    written.append(folder / "main.c")
    body = network_example(json.loads(manifests[0]))
    written[-1].write_text(whole_example(nets[0].name, body, platforms, name), encoding="utf-8")
    first = made[0]
    files = [*written, *(file for each in made for file in each.files)]
    return CExport(tuple(files), max(first.nbytes), first.kernels, first.code_nbytes)


@dataclass(frozen=True, slots=True)
class Written:
    """C sources and objects of networks for one platform, and what tells of them."""

    sources: list[Path]
    objects: list[Path]
    manifests: list[str]
    nbytes: list[int]


@dataclass(frozen=True, slots=True)
class _Made:
    """Libraries for one platform, and what they were made of."""

    files: list[Path]
    manifests: list[str]
    nbytes: list[int]
    kernels: int
    code_nbytes: int


def write_sources(
    nets: Sequence[FrozenNetwork], folder: Path, platform: Platform, optimize: Optimize = "speed"
) -> Written:
    """Write headers and C sources of networks into a folder, and the objects of their kernels."""
    require_threads(any(net.threads for net in nets), platform)
    levels = [compile_levels(net, platform, optimize, folder) for net in nets]
    manifests = [manifest(net, each[0].image) for net, each in zip(nets, levels, strict=True)]
    nbytes = [max(level.image.nbytes for level in each) for each in levels]
    texts = {f"net_{net.name}.c": tables(net, each) for net, each in zip(nets, levels, strict=True)}
    texts["loom_json.c"] = functions(list(zip(nets, manifests, nbytes, strict=True)))
    for file, text in (texts | _headers(nets)).items():
        (folder / file).write_text(text, encoding="utf-8")
    objects = list(dict.fromkeys(path for each in levels for path in objects_of(each)))
    return Written([folder / file for file in texts], objects, manifests, nbytes)


def _headers(nets: Sequence[FrozenNetwork]) -> dict[str, str]:
    return {f"{net.name}.h": header(net) for net in nets} | {HEADER: source_text(f"abi/{HEADER}")}


def _library(nets: Sequence[FrozenNetwork], name: str, folder: Path, platform: Platform, optimize: Optimize) -> _Made:
    place = folder / platform.name
    place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        made = write_sources(nets, Path(scratch), platform, optimize)
        threads = any(net.threads for net in nets)
        files = link(platform, name, made.sources, made.objects, place, threads=threads)
        code = sum(path.stat().st_size for path in made.objects)
        return _Made(files, made.manifests, made.nbytes, len(made.objects), code)


def _require_none(name: str | None) -> None:
    if name is not None:
        raise ArgumentError("loom.export, name", "has no effect here", expected="none", got=name,
                            remedy="Name it where it is frozen")  # fmt: skip


def _require_names(nets: Sequence[FrozenNetwork]) -> None:
    names = [net.name for net in nets]
    if not names or len(set(names)) < len(names):
        raise ArgumentError("loom.export", "not networks of different names", expected="a name for each",
                            got=", ".join(names) or "no network", remedy="Pass freeze(.., name=..)")  # fmt: skip
