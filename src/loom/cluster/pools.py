"""Pools of workers as functions of ``loom.cluster`` take them: one that is open, or settings of one for a call.

Layer: cluster. Invariant: a pool opened for a call is closed when the call ends, however it ends.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from loom.core.errors import ArgumentError, DTypeError
from loom.workers import WorkerPool

__all__ = ["Workers", "connect", "opened"]

Workers = int | Sequence[str] | WorkerPool
"""How many workers, the names of their devices, or an open pool of them."""


def connect(
    workers: int | Sequence[str] = 2, *, address: str | None = None, threads: int | None = None, audit: float = 0.0,
    seed: int = 0, patience: float = 600.0, store_nbytes: int | None = None, device: str | None = None,
) -> WorkerPool:  # fmt: skip
    """Return a pool of workers, to be closed (``with loom.cluster.connect(4) as pool``).

    ``workers``: how many, on ``device`` (None: the default), or each one's device by name: ``["cpu", "vulkan"]``.
    ``address``: of a Ray cluster's head, "auto" for the one this machine is part of; None starts a Ray of its own on
    this machine, which ends with the pool. ``threads``: of the processor, for each worker. ``audit``: the share of
    calls that two workers compute. ``patience``: seconds after which a silent worker is taken for lost.

    DeviceError for a missing package ray, an address where none answers, too few resources, a device that a worker
    has not, other versions of Loom there.
    """
    return WorkerPool(
        workers, address=address, threads=threads, audit=audit, seed=seed, patience=patience,
        store_nbytes=store_nbytes, device=device, where="loom.cluster.connect",
    )  # fmt: skip


@contextmanager
def opened(workers: Any, address: str | None, audit: float | None, where: str) -> Generator[WorkerPool, None, None]:
    """Give an open pool: the one passed, or one that lasts as long as the ``with``."""
    if isinstance(workers, WorkerPool):
        for name, value in (("address", address), ("audit", audit)):
            if value is not None:
                raise ArgumentError(f"{where}, {name}", "has no effect: the pool has its own", expected="none",
                                    got=value, remedy="Open the pool with it: loom.cluster.connect")  # fmt: skip
        yield workers
        return
    if isinstance(workers, (bool, float, str, bytes)):
        raise DTypeError(f"{where}, workers", "not usable", expected="a number, names of devices, or an open pool",
                         got=repr(workers), remedy='Write workers=2, or workers=["cpu", "vulkan"]')  # fmt: skip
    with WorkerPool(workers, address=address, audit=audit or 0.0, where=where) as pool:
        yield pool
