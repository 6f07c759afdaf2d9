"""Where the shared arrays of a kernel lie on a GPU, and how much memory a launch has to ask for.

Layer: targets. Invariant: generated code and whoever launches it read this alone.
"""

from __future__ import annotations

from loom.ir.kernel import Kernel
from loom.ir.passes.wide import TICKET_NBYTES, tickets_of

__all__ = ["MOST_STATIC", "dynamic_name", "dynamic_nbytes", "starts_of_shared"]

MOST_STATIC = 48 << 10
"""Bytes of shared memory that code may have of its own; for more, a launch has to ask."""
SHARED_ALIGNED = 128


def starts_of_shared(kernel: Kernel) -> tuple[list[int], int]:
    """Return the byte at which each shared array starts, and how many there are."""
    starts, end = list[int](), 0
    for memory in kernel.shared:
        starts.append(end)
        end += -(-(memory.size or 0) * memory.dtype.nbytes // SHARED_ALIGNED) * SHARED_ALIGNED
    return starts, end


def dynamic_nbytes(kernel: Kernel) -> int:
    """Return how many bytes a launch asks for, barriers of tickets included: 0 where code has them of its own."""
    nbytes = starts_of_shared(kernel)[1]
    return nbytes + TICKET_NBYTES * tickets_of(kernel)[0] if nbytes > MOST_STATIC else 0


def dynamic_name(entry: str) -> str:
    """Return what shared memory is called in code that a launch gives it to."""
    return f"{entry}_shared"
