"""A recording before there is memory: dispatches over buffers that have a size and, at first, no place.

Layer: tensor. What records kernels into a chain (``record_matmul`` ..) records into a draft as well. Once all is
recorded it is known which buffer is used from which dispatch to which; ``memory`` then places them, and only then is
anything allocated. Invariant: a buffer that is written by the host is a constant, equal constants are one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loom.core.caps import Caps
from loom.kernels.maps.strided import LoopNest, Number, strided
from loom.runtime.device import Device
from loom.runtime.storage import Storage
from loom.tensor.layout import Access

__all__ = ["Buffer", "Draft", "Operand", "Recorded"]


class Buffer:
    """Memory to be. ``place`` is set for memory that outlives a run; ``content`` for constants."""

    __slots__ = ("content", "nbytes", "place")

    def __init__(self, nbytes: int, place: Storage | None = None) -> None:
        self.nbytes = nbytes
        self.place = place
        self.content: np.ndarray[Any, Any] | None = None

    def write(self, offset: int, data: np.ndarray[Any, Any]) -> None:
        """Give it a constant content."""
        if self.content is None:
            self.content = np.zeros(self.nbytes, np.uint8)
        self.content[offset : offset + data.nbytes] = data


@dataclass(frozen=True, slots=True)
class Operand:
    """A buffer and where in it a tensor's elements lie."""

    buffer: Buffer
    access: Access


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """One dispatch; its last parameters are ``numbers`` of the record."""

    kernel: Any
    buffers: tuple[Buffer, ...]
    params: tuple[Any, ...]
    groups: Any
    numbers: tuple[Number, ...] = ()


class _Place:
    """The device as recorders see it."""

    def __init__(self, caps: Caps) -> None:
        self.caps = caps

    def allocate(self, nbytes: int, *, zeroed: bool = True) -> Buffer:  # noqa: ARG002 - a recorder relies on neither
        """Return scratch memory with any content."""
        return Buffer(nbytes)


class Draft:
    """Takes dispatches in order; has what recorders need of a chain."""

    def __init__(self, on: Device) -> None:
        self.device = _Place(on.caps)
        self.dispatches: list[Recorded] = []

    def dispatch(self, kernel: Any, buffers: Sequence[Buffer], params: Sequence[Any] = (), groups: Any = 1) -> None:
        """Record a kernel."""
        self.dispatches.append(Recorded(kernel, tuple(buffers), tuple(params), groups))

    def strided(self, nest: LoopNest, buffers: Sequence[Buffer]) -> None:
        """Record the kernel of a loop nest, which has elements."""
        what = strided(nest, threads=self.device.caps.threads)
        self.dispatches.append(Recorded(what.kernel, tuple(buffers), what.params, what.groups, what.numbers))
