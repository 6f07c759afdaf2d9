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

    Args:
        workers: Number of workers, or each one's device by name (``["cpu", "vulkan"]``).
        address: Address of a Ray cluster's head, "auto" for the one this machine is part of; None: a Ray of its own on
            this machine.
        threads: Threads of the processor for each worker; None: this machine's cores are shared out, on a cluster 1.
        audit: Share of calls, and of the batches of a training, that two workers compute, 0 to 1.
        seed: Seed of the choice of these.
        patience: Seconds after which a silent worker is taken for lost.
        store_nbytes: Bytes of the object store of a Ray started here; None: Ray's choice.
        device: Device of each worker; None: the default device.

    Raises:
        ArgumentError: A number is out of range.
        DTypeError: Not a number, nor names of devices.
        DeviceError: The package ray is missing; no Ray answers, or it has too few resources; a worker lacks its device,
            or has other versions.
    """
    return WorkerPool(
        workers, address=address, threads=threads, audit=audit, seed=seed, patience=patience,
        store_nbytes=store_nbytes, device=device, where="loom.cluster.connect",
    )  # fmt: skip
