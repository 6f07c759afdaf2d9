"""A recording before there is memory: dispatches over buffers that have a size and, at first, no place.

Layer: tensor. What records kernels into a chain (``record_matmul`` ..) records into a draft as well. Once all is
recorded it is known which buffer is used from which dispatch to which; ``memory`` then places them, and only then is
anything allocated. Invariant: a buffer that is written by the host is a constant, equal constants are one.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core.caps import Caps
from loom.core.given import is_array
from loom.core.late import late
from loom.core.late.dataclass import dataclass
from loom.kernels.maps.nest import LoopNest, Number
from loom.runtime.memory.storage import Storage
from loom.runtime.port.device import Device
from loom.tensor.record.layout import StridedLayout

if TYPE_CHECKING:
    from loom.schedules import maps
    from loom.schedules import rows as rows_of_folds
    from loom.schedules.maps import Strided
else:
    maps, rows_of_folds = late("loom.schedules", "maps rows")

__all__ = ["BufferView", "Draft", "DraftBuffer", "Recorded"]


class DraftBuffer:
    """Memory to be. ``place`` is set for memory that outlives a run; ``content`` for constants.

    ``is_scratch``: it holds no tensor's elements, only what a recorder makes on its way to them.
    """

    __slots__ = ("content", "is_scratch", "nbytes", "place")

    def __init__(self, nbytes: int, place: Storage | None = None, *, is_scratch: bool = False) -> None:
        self.nbytes = nbytes
        self.place = place
        self.is_scratch = is_scratch
        self.content: np.ndarray[Any, Any] | None = None

    def write(self, offset: int, data: np.ndarray[Any, Any]) -> None:
        """Give it a constant content."""
        if self.content is None:
            self.content = np.zeros(self.nbytes, np.uint8)
        self.content[offset : offset + data.nbytes] = data


@dataclass(frozen=True, slots=True)
class BufferView:
    """A buffer and where in it a tensor's elements lie."""

    buffer: DraftBuffer
    access: StridedLayout


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """One dispatch; its last parameters are ``numbers`` of the record.

    Where there is an ``offset``, three group counts are read there, from the last of the buffers, when it starts.
    """

    kernel: Any
    buffers: tuple[DraftBuffer, ...]
    params: tuple[Any, ...]
    groups: Any
    numbers: tuple[Number, ...] = ()
    offset: int | None = None
    shapes: tuple[tuple[tuple[int, ...], int], ...] | None = None
    """Of kernels that ask for lengths: the shape of what each buffer holds, and its bytes."""


class _DraftDevice:
    """The device as recorders see it."""

    def __init__(self, caps: Caps) -> None:
        self.caps = caps

    def allocate(self, nbytes: int, *, zeroed: bool = True) -> DraftBuffer:  # noqa: ARG002 - a recorder relies on neither
        """Return scratch memory with any content."""
        return DraftBuffer(nbytes, is_scratch=True)


class Draft:
    """Takes dispatches in order; has what recorders need of a chain."""

    def __init__(self, on: Device, caps: Caps | None = None, *, is_passing: bool = False) -> None:
        self.is_passing = is_passing
        """The shapes may be seen once only: kernels are shared, not made for each."""
        self.device = _DraftDevice(caps or on.caps)
        self.home = on
        """The device that the recording is for, or is made on where ``caps`` are another's."""
        self.dispatches: list[Recorded] = []
        self.calls: dict[Any, list[DraftBuffer]] = {}
        """The buffers of calls of users' kernels, by what they depend on."""
        self.ends: dict[int, DraftBuffer] = {}
        """Where results are to be, by the identity of their nodes."""

    def dispatch(
        self,
        kernel: Any,
        buffers: Sequence[DraftBuffer],
        params: Sequence[Any] = (),
        groups: Any = 1,
        shapes: Sequence[tuple[tuple[int, ...], int]] | None = None,
    ) -> None:
        """Record a kernel; see ``Recorded`` for ``shapes``."""
        known = None if shapes is None else tuple(shapes)
        self.dispatches.append(Recorded(kernel, tuple(buffers), tuple(params), groups, shapes=known))

    def dispatch_indirect(
        self, kernel: Any, buffers: Sequence[DraftBuffer], params: Sequence[Any], counts: DraftBuffer, offset: int = 0
    ) -> None:
        """Record a kernel over group counts that are read when it starts."""
        self.dispatches.append(Recorded(kernel, (*buffers, counts), tuple(params), 0, offset=offset))

    @contextmanager
    def repeat(self, repeats: int) -> Generator[None, None, None]:
        """Record what is dispatched inside the ``with`` so often, with its own of parameters and groups in arrays."""
        first = len(self.dispatches)
        yield
        turn = self.dispatches[first:]
        self.dispatches[first:] = [
            replace(
                d,
                params=tuple(p[k] if is_array(p) else p for p in d.params),
                groups=d.groups[k] if is_array(d.groups) else d.groups,
            )
            for k in range(repeats)
            for d in turn
        ]

    def strided(self, nest: LoopNest, buffers: Sequence[DraftBuffer]) -> None:
        """Record the kernel of a loop nest, which has elements."""
        self._append(maps.plan_strided(nest, maps.lanes_of(self.device.caps), is_passing=self.is_passing), buffers)

    def rows(self, nest: LoopNest, buffers: Sequence[DraftBuffer]) -> None:
        """Record the kernel of a loop nest that folds its last axis."""
        self._append(rows_of_folds.plan_rows(nest, self.device.caps), buffers)

    def _append(self, what: Strided, buffers: Sequence[DraftBuffer]) -> None:
        self.dispatches.append(Recorded(what.kernel, tuple(buffers), what.params, what.groups, what.numbers))
