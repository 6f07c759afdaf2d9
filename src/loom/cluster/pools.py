"""``loom.cluster.connect``: a pool of workers.

Layer: cluster. Invariant: what is opened is closed by who opened it, whatever happens between.
"""

from __future__ import annotations

from collections.abc import Sequence

from loom.workers import WorkerPool

__all__ = ["connect"]


def connect(
    workers: int | Sequence[str] = 2, *, address: str | None = None, threads: int | None = None, audit: float = 0.0,
    seed: int = 0, patience: float = 600.0, store_nbytes: int | None = None, device: str | None = None,
) -> WorkerPool:  # fmt: skip
    """Return a pool of workers, to be closed (``with loom.cluster.connect(4) as pool``).

    ``workers``: how many, on ``device`` (None: the default), or each one's device by name: ``["cpu", "vulkan"]``.
    ``address``: of a Ray cluster's head, "auto" for the one this machine is part of; None starts a Ray of its own on
    this machine, which ends with the pool. ``threads``: of the processor, for each worker. ``audit``: the share of
    calls, and of the batches of a training, that two workers compute. ``patience``: seconds after which a silent
    worker is taken for lost.

    DeviceError for a missing package ray, an address where none answers, too few resources, a device that a worker
    has not, other versions of Loom there.
    """
    return WorkerPool(
        workers, address=address, threads=threads, audit=audit, seed=seed, patience=patience,
        store_nbytes=store_nbytes, device=device, where="loom.cluster.connect",
    )  # fmt: skip
