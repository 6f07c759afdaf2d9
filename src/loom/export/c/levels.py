"""What an export is compiled for: levels of one platform's processors, each with its schedules and its code.

Layer: export. A kernel's symbol names its contents and what it is made for, so that documents and exports share it.
Invariant: levels differ in speed and size, never in bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Literal, Protocol

from loom.core.caps import Caps
from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.export.c.build import Platform
from loom.export.frozen import Image, require_quiet
from loom.ir.kernel import For, Instr, While, walk
from loom.ir.verified import VerifiedKernel
from loom.runtime.drivers.loading import load_artifact, locations_of
from loom.runtime.port.cache import ArtifactCache
from loom.targets.base import Artifact, Bounds, Site
from loom.targets.llvm.machine import Machine, cpu_caps, llvm_fingerprint, machine
from loom.targets.llvm.target import LlvmTarget

__all__ = [
    "OPTIMIZE",
    "Compiled",
    "Freezable",
    "Level",
    "Optimize",
    "compile_kernel",
    "compile_levels",
    "levels_of",
    "objects_of",
]

Optimize = Literal["speed", "size"]
OPTIMIZE: tuple[Optimize, ...] = ("speed", "size")

_CACHE_NBYTES = 1 << 18
"""Of one core, as schedules take it: small machines have as much."""


@dataclass(frozen=True, slots=True)
class Level:
    """Machines of a level: ``heavy`` for kernels that multiply in loops, ``light`` for all others.

    ``needs``: the level of x86-64 that a processor must have, 0 elsewhere.
    """

    heavy: Machine
    light: Machine
    needs: int = 0

    @property
    def caps(self) -> Caps:
        """What schedules may know: one core."""
        return cpu_caps(self.heavy, 1, _CACHE_NBYTES)

    def machine_for(self, kernel: VerifiedKernel) -> Machine:
        """Return what a kernel is compiled for."""
        return self.heavy if _multiplies_in_loops(kernel) else self.light


@dataclass(frozen=True, slots=True)
class Compiled:
    """A level's image, the symbols of its kernels, in the image's order, and files with their code."""

    level: Level
    image: Image
    entries: tuple[str, ...]
    objects: tuple[Path, ...]
    sites: tuple[tuple[Site, ...], ...] = ()
    """Of each kernel: the places that send texts to the host."""


def levels_of(platform: Platform, optimize: Optimize = "speed") -> list[Level]:
    """Return the levels of a platform, the plainest first.

    ``size``: one level, whose code is short; only what multiplies in loops is computed in vectors. ``speed``: all of
    them; the plainest, of old processors, is short where there are better ones.
    """
    if optimize not in OPTIMIZE:
        raise ArgumentError("loom.export, optimize", "not one of them", expected=", ".join(OPTIMIZE), got=optimize,
                            remedy="Write speed or size")  # fmt: skip
    plain = _private_machine(platform, platform.of)
    short = replace(plain, small=True)
    plainest = Level(short, replace(short, simd_lanes=1), int(bool(platform.better)))
    if optimize == "size":
        return [plainest]
    if not platform.better:
        return [Level(plain, plain)]
    third, fourth = (_private_machine(platform, name) for name in platform.better)
    return [plainest, Level(third, third, 3), Level(fourth, fourth, 4)]


def _private_machine(platform: Platform, name: str) -> Machine:
    """Return a machine of a platform whose code calls no C library and is seen in its library alone."""
    return replace(machine(name), triple=platform.triple, has_heap=False, hidden=True)


class Freezable(Protocol):
    """What an image is made of for each level: a network, a program, a kernel."""

    def image(self, caps: Caps) -> Image:
        """Return programs and memory as a machine of ``caps`` runs them."""
        ...


def compile_levels(
    frozen: Freezable, platform: Platform, optimize: Optimize, folder: Path, *, talks: bool = False
) -> list[Compiled]:
    """Lay out and compile what is frozen for each level of a platform; objects go to ``folder``.

    ArgumentError for kernels that print or assert, unless somebody listens (``talks``).
    """
    found: list[Compiled] = []
    for level in levels_of(platform, optimize):
        image = frozen.image(level.caps)
        made = [compile_kernel(k, level, folder) for k in image.kernels]
        entries, objects, sites = zip(*made, strict=True) if made else ((), (), ())
        for kernel, each in zip(image.kernels, sites, strict=True):
            if not talks:
                require_quiet(kernel, each)
        found.append(Compiled(level, image, entries, objects, sites))
    return found


def objects_of(levels: Sequence[Compiled]) -> list[Path]:
    """Return the files of all levels, each once."""
    return list(dict.fromkeys(path for level in levels for path in level.objects))


def compile_kernel(kernel: VerifiedKernel, level: Level, folder: Path) -> tuple[str, Path, tuple[Site, ...]]:
    """Return a kernel's symbol, the object file in ``folder`` that has it, and the places that send texts.

    A kernel of the library that was compiled before is not translated again.
    """
    bounds = Bounds.TRUSTED if kernel.trusted else Bounds.CHECKED
    everything = f"export {level} {llvm_fingerprint()}"
    content = f"{everything} {bounds.value} {kernel.hash}"
    name = f"k_{sha256(content.encode()).hexdigest()[:24]}"

    def compile_now() -> Artifact:
        named = VerifiedKernel(replace(kernel.kernel, name=name), kernel.uniformity)
        return LlvmTarget(level.machine_for(kernel)).compile(named, bounds)

    made = load_artifact(ArtifactCache(), kernel, bounds, locations_of(kernel, bounds), everything, compile_now)
    path = folder / f"{name}.o"
    path.write_bytes(made.data)
    return made.entry, path, tuple(replace(site, kernel=kernel.name) for site in made.sites)


def _multiplies_in_loops(kernel: VerifiedKernel) -> bool:
    """Tell whether a kernel's time goes into products that it adds up."""
    loops = (s for s in walk(kernel.kernel.body) if isinstance(s, (For, While)))
    return any(_is_product(s) for loop in loops for s in walk(loop.body))


def _is_product(s: object) -> bool:
    return isinstance(s, Instr) and s.op.name == "mul" and s.dtype is not None and s.dtype.is_float
