"""Pools of workers as functions take them: one that is open, or settings of one for as long as a call.

Layer: workers. Invariant: a pool opened for a call is closed when the call ends, however it ends.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from loom.core.errors import ArgumentError, DTypeError
from loom.workers.pool import WorkerPool

__all__ = ["Workers", "open_pool"]

Workers = int | Sequence[str] | WorkerPool
"""How many workers, the names of their devices, or an open pool of them."""


@contextmanager
def open_pool(
    workers: Any, address: str | None, audit: float | None, where: str, *, device: str | None = None, seed: int = 0
) -> Generator[WorkerPool, None, None]:
    """Give an open pool: the one passed, or one that lasts as long as the ``with``.

    ``device``: of workers where none is named; ``seed``: of the choice of audited calls. StateError for a pool that
    is closed, or of the process that this one was forked from.
    """
    if isinstance(workers, WorkerPool):
        for name, value in (("address", address), ("audit", audit)):
            if value is not None:
                raise ArgumentError(f"{where}, {name}", "has no effect: the pool has its own", expected="none",
                                    got=value, remedy="Open the pool with it: loom.cluster.connect")  # fmt: skip
        workers.require_open(f"{where}, workers")  # first of all: a put into a store that is gone starts another Ray
        yield workers
        return
    if isinstance(workers, (bool, float, str, bytes)):
        raise DTypeError(f"{where}, workers", "not usable", expected="a number, names of devices, or an open pool",
                         got=repr(workers), remedy='Write workers=2, or workers=["cpu", "vulkan"]')  # fmt: skip
    with WorkerPool(workers, address=address, audit=audit or 0.0, where=where, device=device, seed=seed) as pool:
        yield pool
