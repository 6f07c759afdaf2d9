"""Work of the host by several threads: copies between arrays and the memory that a GPU's copies go through, and others.

Layer: runtime. A result's memory is new, and the system hands its pages out while they are written: one thread fills
3 GB/s of it on the machine of an H200, where it copies 10 GB/s to pages it has had; sixteen fill 27. Invariant: nothing
is under way when a call returns or raises, Ctrl-C included: what threads work on is freed or used again then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from functools import partial
from typing import Any

import numpy as np

from loom.core.process.critical import CRITICAL
from loom.core.process.thread_pools import ThreadPool

__all__ = ["LEAST_PART", "MOST_THREADS", "PIECE_NBYTES", "copy_bytes", "do_all", "parts_of", "pieces_of"]

PIECE_NBYTES = 32 << 20
"""The most that is copied while the GPU copies another: enough that handing out the parts costs little beside them."""
LEAST_PART = 1 << 20
"""Bytes worth a thread."""
_LEAST_PIECE = 4 << 20
MOST_THREADS = 16
"""More gain nothing: they are as fast as the memory."""

Array = np.ndarray[Any, Any]


def pieces_of(nbytes: int) -> list[tuple[int, int, int]]:
    """Return the pieces of a transfer: where each begins, its bytes, and which of two rooms it goes through."""
    size = min(PIECE_NBYTES, max(_LEAST_PIECE, -(-nbytes // 4096) * 1024))
    return [(at, min(size, nbytes - at), number % 2) for number, at in enumerate(range(0, nbytes, size))]


def parts_of(nbytes: int, threads: int) -> list[slice]:
    """Return how bytes are shared among at most ``threads``, a part of at least ``LEAST_PART`` each."""
    count = max(1, min(threads, nbytes // LEAST_PART))
    size = max(1, -(-nbytes // count))
    return [slice(at, min(at + size, nbytes)) for at in range(0, nbytes, size)]


def copy_bytes(crew: ThreadPool, target: Array, source: Array) -> None:
    """Copy bytes, many of them by the threads of ``crew``, which then do nothing else."""
    first, *others = parts_of(target.nbytes, min(MOST_THREADS, os.cpu_count() or 1)) or [slice(0, 0)]
    jobs = [partial(np.copyto, target[part], source[part]) for part in others]
    do_all(crew, jobs, meanwhile=partial(np.copyto, target[first], source[first]))


def do_all(crew: ThreadPool, jobs: Sequence[Callable[[], object]], *, meanwhile: Callable[[], object]) -> None:
    """Do jobs by the threads of ``crew``, and ``meanwhile`` by this one; raise what one raises, Ctrl-C at the end."""
    with CRITICAL:
        begun: list[Future[object]] = []
        try:
            for job in jobs:
                begun.append(crew.submit(job))
            meanwhile()
        finally:
            wait(begun)
        for done in begun:
            done.result()
