"""What every target shares: artifacts, how faults and messages are numbered, the log they are written to.

Layer: targets. Invariant: compiling the same kernel for the same machine gives the same bytes.

    Log, of 64-bit words
      0  capacity in words
      1  words claimed (atomic)
      2  fault flag (atomic)
      3  not 0: kernels are to end where they are (CPU)
      4  words: entries of site << 32 | words in the entry; dispatch number; flat lane number; one word per value
"""

from __future__ import annotations

import enum
import hashlib
import os
from collections.abc import Iterator
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from loom.core.late.dataclass import dataclass
from loom.ir.kernel import Loc
from loom.ir.verified import VerifiedKernel

__all__ = [
    "LOG_HEADER_WORDS", "LOG_WORDS_BEFORE_VALUES", "STOP_WORD", "Artifact", "Bounds", "Decision", "Site", "Target",
    "compiler_fingerprint", "hash_sources", "telling",
]  # fmt: skip

LOG_HEADER_WORDS = 4
LOG_WORDS_BEFORE_VALUES = 3
STOP_WORD = 3
"""Of the log: what is there tells kernels to end."""


class Bounds(enum.Enum):
    """What happens when a kernel indexes outside a memory."""

    TRUSTED = "trusted"  # not checked: the kernel is known never to do it
    CHECKED = "checked"  # loads give 0, stores are dropped
    REPORTED = "reported"  # the same, and the host is told: the first calls of a kind
    WATCHED = "watched"  # the same, and the host is told of unsigned differences that wrap, too (LOOM_CHECK=1)
    INSIDE = "inside"  # not checked: this launch was proved never to do it; memory starts as zero as in a checked one

    @property
    def checks(self) -> bool:
        """Whether indexes are compared with lengths."""
        return self is Bounds.CHECKED or self.reports

    @property
    def reports(self) -> bool:
        """Whether the host is told of indexes outside."""
        return self in (Bounds.REPORTED, Bounds.WATCHED)


@dataclass(frozen=True, slots=True)
class Site:
    """A place in a kernel that can send a record to the host: print, assert or bounds.

    ``pieces`` are the text around the values and ``dtypes`` their types; for bounds, ``memory`` is the
    array, ``pieces`` the operation and the kind of memory, and the value is the index.
    """

    kind: str
    kernel: str
    file: str
    line: int
    pieces: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    memory: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a compiler decided at a place of a kernel: a word for it, the memory or variable, a number if it has one."""

    kind: str
    loc: Loc | None
    about: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled kernel: ``data`` is an object file or text, ``entry`` the symbol to call."""

    kind: str
    data: bytes
    entry: str
    sites: tuple[Site, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


class Target(Protocol):
    """Compiles kernels for one kind of machine."""

    @property
    def name(self) -> str:
        """The machine's or the format's name."""
        ...

    @property
    def forms(self) -> tuple[str, ...]:
        """What ``compile`` can give; the first is what a device takes."""
        ...

    @property
    def operations(self) -> frozenset[str]:
        """Names of the pure operations there is an emitter for; others are rewritten or written in place."""
        ...

    def compile(self, kernel: VerifiedKernel, bounds: Bounds, form: str | None = None) -> Artifact:
        """Return the artifact of ``kernel``, in the first of the forms if none is named."""
        ...


def telling(kernel: VerifiedKernel, bounds: Bounds) -> VerifiedKernel:
    """Return what is compiled of a kernel: where asked for, the host is told of differences that wrap."""
    if bounds is not Bounds.WATCHED:
        return kernel
    from loom.ir.passes.differences import tell_differences  # only where the host checks
    from loom.ir.passes.uniformity import analyse_uniformity

    told = tell_differences(kernel.kernel)
    return kernel if told is kernel.kernel else VerifiedKernel(told, analyse_uniformity(told))


@cache
def compiler_fingerprint() -> str:
    """Return a hash of the compiler itself, so that caches notice when it changes."""
    return hash_sources("ir", "targets")[:16]


def hash_sources(*folders: str) -> str:
    """Return a hash of Loom's sources in folders, and in folders within them."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(_sources(Path(__file__).parents[2] / folder)):
            with open(path, "rb", buffering=0) as file:
                digest.update(file.read())
    return digest.hexdigest()


def _sources(folder: str | Path) -> Iterator[str]:
    for entry in os.scandir(folder):  # a third of the time that a Path takes
        if entry.is_dir():
            yield from _sources(entry.path)
        elif entry.name.endswith(".py"):
            yield entry.path
