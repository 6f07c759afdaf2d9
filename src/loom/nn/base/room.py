"""Whether there is memory for a network's weights, asked before any of them is drawn.

Layer: nn. Invariant: what a process may have is the least of the machine's memory, its own limit and its group's.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

from loom.core.dtype import f32
from loom.core.errors import ArgumentError
from loom.nn.spec import NetworkSpec

__all__ = ["no_room", "require_room"]

_GROUP = Path("/sys/fs/cgroup/memory.max")


def require_room(network: NetworkSpec) -> None:
    """See that there is memory for all weights, and to draw those of the largest array; where nobody says, pass."""
    sizes = [math.prod(shape) for shape in (network.parameters() | network.state()).values()]
    held, there = sum(sizes) * network.dtype.nbytes, _there()
    drawn = max(sizes, default=0) * (f32.nbytes + (0 if network.dtype == f32 else network.dtype.nbytes))
    if there is not None and held > there:
        raise no_room(f"at most {there} bytes", f"{held} bytes")
    if there is not None and held + drawn > there:
        raise no_room(f"at most {there} bytes", f"{held} bytes, and {drawn} while they are drawn")


def no_room(expected: str, got: str) -> ArgumentError:
    """Return the error of a network that is too large."""
    return ArgumentError("loom.Network", "the weights need more memory than this machine has", expected=expected,
                         got=got, remedy="Use smaller layers; nothing was allocated")  # fmt: skip


def _there() -> int | None:
    """Return how many bytes this process may have in all, None if nobody says."""
    found: list[int] = []
    with suppress(AttributeError, ValueError, OSError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(ImportError, ValueError, OSError):
        import resource

        found.append(resource.getrlimit(resource.RLIMIT_AS)[0])  # -1: none
    with suppress(OSError, ValueError):  # ValueError: "max"
        found.append(int(_GROUP.read_text()))
    return min([n for n in found if n > 0], default=None)
