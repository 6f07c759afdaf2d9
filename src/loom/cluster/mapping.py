"""``loom.cluster.map``: a function of each chunk, on workers.

Layer: cluster. Invariant: the results are the function's, in the chunks' order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.workers.opening import Workers, open_pool

__all__ = ["map_chunks"]


def map_chunks(
    fn: Callable[..., Any], chunks: Any, *, workers: Workers = 2, address: str | None = None, audit: float | None = None
) -> list[Any]:
    """Return the results of a function of each chunk, in order.

    The function runs on the workers, where Loom's default device is theirs. Give numpy arrays as chunks: workers of
    one machine read them where they are, and must not write to them.

    An error of the function is raised here. A worker that dies is replaced, and its chunks are computed by others.

    Args:
        fn: Function of a chunk; it is pickled, so that one of ``__main__`` goes along, while one of a module is
            imported there.
        chunks: Chunks; a tuple is the function's arguments.
        workers: Number of workers, the device of each by name (``["cpu", "vulkan"]``), or an open pool
            (``loom.cluster.connect``).
        address: Address of a Ray cluster's head, "auto" for the one this machine is part of; None: a Ray of its own on
            this machine.
        audit: Share of calls that two workers compute, whose results must then be arrays, numbers, texts, or lists and
            dicts of these; None: none, or the pool's.

    Raises:
        ArgumentError: Not a function; not several chunks; a number is out of range.
        DTypeError: Not workers; the function or a result cannot be pickled.
        DeviceError: No Ray answers, or it has too few resources; no worker is left.
        LoomTimeout: Results do not arrive.
    """
    with open_pool(workers, address, audit, "loom.cluster.map") as pool:
        return pool.map(fn, chunks)
