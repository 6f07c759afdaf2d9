"""What a schedule records into: a chain of the runtime, or a draft of the tensors.

Layer: schedules. Every schedule is written against ``Recorder``. Invariant: a schedule sees capabilities, sizes and
names of memory, never elements, so that it can record before there is memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from loom.core.caps import Caps
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.verified import VerifiedKernel

__all__ = ["Allocator", "Recorder", "StorageLike", "store"]


class StorageLike(Protocol):
    """Storage of a device, or what stands for it until there is any."""

    @property
    def nbytes(self) -> int:
        """Its bytes."""
        ...

    def write(self, offset: int, data: np.ndarray[Any, Any]) -> None:
        """Copy bytes there at ``offset``: what a program finds whenever it runs."""
        ...


class Allocator(Protocol):
    """A device as schedules see it."""

    @property
    def caps(self) -> Caps:
        """What may choose a schedule."""
        ...

    def allocate(self, nbytes: int, *, zeroed: bool = True) -> StorageLike:
        """Return scratch memory, which a draft does not zero."""
        ...


class Recorder(Protocol):
    """What takes dispatches in order."""

    @property
    def device(self) -> Allocator:
        """Where they will run."""
        ...

    def dispatch(
        self,
        kernel: KernelFunction | VerifiedKernel,
        buffers: Sequence[Any],  # of its own kind: each recorder takes only the memory that its device allocates
        params: Sequence[Any] = (),
        groups: int | Sequence[int] | np.ndarray[Any, Any] = 1,
    ) -> None:
        """Record a kernel over memory; the parameters are numbers."""
        ...

    def dispatch_indirect(
        self,
        kernel: KernelFunction | VerifiedKernel,
        buffers: Sequence[Any],
        params: Sequence[Any],
        counts: Any,
        offset: int = 0,
    ) -> None:
        """Record a kernel over group counts, three u32 at byte ``offset`` of ``counts``, read when it starts."""
        ...

    def repeat(self, repeats: int) -> AbstractContextManager[Any]:
        """Record what is dispatched inside the ``with`` so many times; a parameter may be an array, one for each."""
        ...


def store(chain: Recorder, array: np.ndarray[Any, Any]) -> StorageLike:
    """Return memory that holds a copy of ``array``."""
    storage = chain.device.allocate(array.nbytes, zeroed=False)
    storage.write(0, np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return storage
