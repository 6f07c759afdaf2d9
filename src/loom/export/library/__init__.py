"""libloom: one library that makes, runs, trains, saves and loads any network of its layers, to Loom's bits.

Layer: export. Templates of what Python records are its tables; a machine in C99 joins them to programs and runs these
over Loom's own compiled kernels. Invariant: no layer, loss, optimiser or derivative is written a second time.

Stability: new.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from itertools import chain
from pathlib import Path

from loom.core.errors import StateError
from loom.core.late.dataclass import dataclass
from loom.export.c.build import platform_of
from loom.export.c.levels import Compiled, Optimize, compile_levels, objects_of
from loom.export.c.text import source_text
from loom.export.delivery import Export, deliver
from loom.export.library.layervariants import kinds_of_layers
from loom.export.library.losstemplates import loss_meanings, loss_templates, normal_template, optimizer_rows
from loom.export.library.machinekernels import FrozenKernels
from loom.export.library.machinetables import LibraryTables, tables_of
from loom.kernels.functions import FUNCTIONS

__all__ = ["LibraryExport", "export_library", "library_source"]

_BEFORE = ("common.c", "abi/number.c", "sha.c", "abi/json.c")
"""Sources that exports of single networks have as well."""
_TYPES = ("types.c",)
_MACHINE = (
    "memory.c",
    "expressions.c",
    "launch.c",
    "graph.c",
    "maps.c",
    "run.c",
    "reader.c",
    "document.c",
    "network.c",
    "training.c",
    "files.c",
    "calls.c",
    "texts.c",
)
FLAGS = ("-std=c99", "-O2", "-ffp-contract=off", "-fPIC", "-fvisibility=hidden")
"""How a C compiler has to compile the source: nothing of floats may be contracted."""


@dataclass(frozen=True, slots=True)
class LibraryExport(Export):
    """What the export of the library tells: files, templates and their rows, kernels, bytes of their code."""

    templates: int
    rows: int
    kernels: int
    code_nbytes: int


def export_library(
    out: str | Path, *, target: str = "x86_64-linux", optimize: Optimize = "speed", overwrite: bool = False
) -> LibraryExport:
    """Write libloom: source, header, kernels; where this machine has gcc and is of the target, the shared library too.

    ``libloom.c`` is C99 in one file, over the compiled kernels in ``libloom_kernels.a``; the line that builds both is
    at its head.

    Args:
        out: Folder.
        target: Platform of the kernels, x86_64-linux or another of exports.
        optimize: "speed" for all levels of a processor, or "size" for one.
        overwrite: Whether files that no export wrote, or that were changed since, are written over.

    Returns:
        LibraryExport: the files, and how much there is of what.

    Raises:
        ArgumentError: There is no such target.
        FileError: Files are there already that no export wrote.
        StateError: gcc fails, or a record has what the machine has not.
    """

    def write(folder: Path) -> LibraryExport:
        return _write(folder, target, optimize)

    return deliver(write, out, overwrite=overwrite)


def _write(folder: Path, target: str, optimize: Optimize) -> LibraryExport:
    platform, tables = platform_of(target), library_tables()
    with tempfile.TemporaryDirectory() as scratch:
        levels = compile_levels(FrozenKernels(tables.functions), platform, optimize, Path(scratch))
        objects = objects_of(levels)
        archive = folder / "libloom_kernels.a"
        _run(["ar", "rcsD", archive, *objects])
        code = sum(path.stat().st_size for path in objects)
    source, header, example = (folder / name for name in ("libloom.c", "libloom.h", "main.c"))
    source.write_text(library_source(tables, levels), encoding="utf-8")
    for path in (header, example):
        path.write_text(_machine_text(path.name), encoding="utf-8")
    written = [source, header, example, archive]
    if target == "x86_64-linux" and shutil.which("gcc"):
        shared = folder / "libloom.so"
        _run(["gcc", *FLAGS, "-shared", "-s", source, archive, "-o", shared])
        written.append(shared)
    return LibraryExport(tuple(written), tables.templates, tables.rows, len(levels[0].image.kernels), code)


def _run(command: Sequence[object]) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise StateError(
            "loom.export, library",
            f"{command[0]} failed",
            got=done.stderr[-2000:],
            remedy="Report it, or build libloom.c yourself",
        )


@cache
def library_tables() -> LibraryTables:
    """Return the tables of all that the library has, recorded anew in each process."""
    kinds, losses, optimizers = kinds_of_layers(), list(loss_templates()), optimizer_rows()
    normals = normal_template()
    recorded = [
        normals,
        *(made for kind in kinds for v in kind.variants for made in (v.training, v.inference) if made is not None),
        *(loss.template for loss in losses),
        *(made for row in optimizers for made in row.templates if made is not None),
    ]
    asked = {row.operation for row in chain.from_iterable(made.rows for made in recorded)}
    return tables_of(kinds, losses, optimizers, normals, sorted(asked & set(FUNCTIONS)))


def library_source(tables: LibraryTables, levels: Sequence[Compiled]) -> str:
    """Return the C source of the library, in one file, for the compiled levels of a platform."""
    return "\n".join(
        [
            f"/* libloom, written by loom export --library. Build: gcc {' '.join(FLAGS)} -shared libloom.c "
            "libloom_kernels.a -o libloom.so */",
            '#pragma GCC visibility push(default)\n#include "libloom.h"\n#pragma GCC visibility pop',
            tables.defines(),
            *(source_text(name) for name in _BEFORE[:1]),
            "typedef int64_t i64;",
            *(source_text(name) for name in _BEFORE[1:]),
            *map(_machine_text, _TYPES),
            tables.text(loss_meanings(), levels),
            *map(_machine_text, _MACHINE),
        ]
    )


def _machine_text(name: str) -> str:
    return files("loom.export.library").joinpath(f"machine/{name}").read_text(encoding="utf-8")
