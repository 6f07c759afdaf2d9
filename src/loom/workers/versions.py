"""What two processes must have in common, so that either may compute what the other does.

Layer: workers. Invariant: where versions are equal, the same call gives the same bits on both sides; which drivers,
processors and operating systems there are is no part of them.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from functools import cache
from pathlib import Path

from loom.core.late.dataclass import dataclass
from loom.core.numerics import NUMERICS_VERSION
from loom.core.version import __version__
from loom.targets.base import compiler_fingerprint

__all__ = ["Versions", "versions"]

_COMPUTING = ("core", "kernels", "schedules", "patterns", "tensor", "nn")
"""Packages whose code decides bits, besides the compiler's own, which has its fingerprint."""


@dataclass(frozen=True, slots=True)
class Versions:
    """Loom's version, that of the numeric contract, and digests of the compiler's and the kernels' code."""

    loom: str
    numerics: str
    compiler: str
    kernels: str

    def differences(self, other: Versions) -> list[str]:
        """Return what differs, in words: ``numerics 1 here, 2 there``."""
        mine, theirs = asdict(self), asdict(other)
        return [f"{name} {mine[name]} here, {theirs[name]} there" for name in mine if mine[name] != theirs[name]]


@cache
def versions() -> Versions:
    """Return those of this process."""
    return Versions(__version__, NUMERICS_VERSION, compiler_fingerprint(), _digest_of_code())


def _digest_of_code() -> str:
    """Return a digest of the code that decides bits: kernels, and what chooses and chains them."""
    root = Path(__file__).parents[1]
    total = hashlib.sha256()
    for package in _COMPUTING:
        for path in sorted((root / package).rglob("*.py")):
            total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]
