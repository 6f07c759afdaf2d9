"""What every target shares: artifacts, and how faults and messages are numbered.

Layer: targets. Invariant: compiling the same kernel for the same machine gives the same bytes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Protocol

from loom.ir.verify import VerifiedKernel

__all__ = ["Artifact", "Bounds", "Site", "Target"]


class Bounds(enum.Enum):
    """What happens when a kernel indexes outside a memory."""

    TRUSTED = "trusted"  # not checked: the kernel is known never to do it
    CHECKED = "checked"  # loads give 0, stores are dropped
    REPORTED = "reported"  # the same, and the host is told (LOOM_CHECK=1)


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
class Artifact:
    """A compiled kernel: ``data`` is an object file or text, ``entry`` the symbol to call."""

    kind: str
    data: bytes
    entry: str
    sites: tuple[Site, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


class Target(Protocol):
    """Compiles kernels for one kind of machine."""

    name: str

    def compile(self, kernel: VerifiedKernel, bounds: Bounds) -> Artifact:
        """Return the artifact of ``kernel``."""
        ...
