"""What every driver asks before it compiles a kernel: how indices are checked, and what the code depends on.

Layer: runtime. Invariant: two kernels share an artifact only if a target would compile them to the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable

from loom.core import options
from loom.ir.kernel import walk
from loom.ir.verified import VerifiedKernel
from loom.runtime.port.cache import ArtifactCache
from loom.targets.base import Artifact, Bounds

__all__ = ["bounds_of", "load_artifact", "locations_of"]


def bounds_of(kernel: VerifiedKernel, *, reports: bool = False) -> Bounds:
    """Return what happens when a kernel indexes outside a memory, as settings, its dispatch and the kernel say."""
    if options.check_bounds():
        return Bounds.WATCHED
    if reports:
        return Bounds.REPORTED
    return Bounds.TRUSTED if kernel.trusted else Bounds.CHECKED


def locations_of(kernel: VerifiedKernel, bounds: Bounds) -> str:
    """Return the source lines that messages name, which the hash does not; nothing for a silent kernel."""
    if not kernel.talks and not bounds.reports:
        return ""
    return "".join(f" {s.loc}" for s in walk(kernel.kernel.body))


def load_artifact(
    cache: ArtifactCache, kernel: VerifiedKernel, bounds: Bounds, locations: str, target: str,
    compile_now: Callable[[], Artifact],
) -> Artifact:  # fmt: skip
    """Return a kernel's artifact from disk, or compiled now; ``target`` says all else that the code depends on."""
    return cache.artifact(f"{target} {kernel.hash} {kernel.name} {bounds.value}{locations}", compile_now)
