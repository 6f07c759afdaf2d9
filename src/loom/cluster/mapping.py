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
    """Return ``fn(chunk)`` of each chunk, in order; a tuple is the function's arguments.

    The function runs on the workers, where Loom's default device is theirs; it is pickled, so that one of ``__main__``
    goes along, while one of a module is imported there. Give numpy arrays as chunks: workers of one machine read them
    where they are, and must not write to them. ``workers``: how many, their devices by name, or an open pool
    (``loom.cluster.connect``). ``audit``: the share of calls that two workers compute; their results must then be
    arrays, numbers, texts, or lists and dicts of these.

    An error of the function is raised here. A worker that dies is replaced, and its chunks are computed by others.
    """
    with open_pool(workers, address, audit, "loom.cluster.map") as pool:
        return pool.map(fn, chunks)
