"""Data that a dispatch is given: what it is, where the device finds it, and how it gets there and back.

Layer: runtime. Memory that a device uses in place is bound as it is. Any other has a mirror on the device: what it
holds goes there before each run of a program that uses it, and comes back after each run that writes it. Invariant:
whoever waited for a run finds its results where the data were given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core.arrays import plain, share
from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import is_array, is_scalar
from loom.core.late import late
from loom.core.late.dataclass import dataclass
from loom.ir.kernel import Memory
from loom.runtime.memory.order import using
from loom.runtime.memory.storage import HostStorage, Storage
from loom.runtime.port.device import Device
from loom.runtime.port.elements import Readable

if TYPE_CHECKING:
    from loom.runtime import borrowed
else:
    borrowed = late("loom.runtime", "borrowed")

__all__ = ["Mirrors", "Moves", "as_data"]


def as_data(given: Any, memory: Memory, where: str) -> Any:
    """Return what a buffer is given as storage, a numpy array that shares memory with it, or an array of Loom's.

    DTypeError for data of no kind that can be bound.
    """
    if is_array(given):
        return np.asarray(given) if memory.record and given.dtype.names else plain(given, where)
    if isinstance(given, Readable) or hasattr(given, "extent"):
        return given
    found = borrowed.borrow(given, where, writes=memory.access.writes)
    if found is not None:
        return found
    if is_scalar(given) or not (hasattr(given, "__dlpack__") or hasattr(given, "__array_interface__")):
        raise DTypeError(
            where, "not a buffer",
            expected="a numpy array, loom.array, tensor, DLPack array or storage of the device",
            got=type(given).__name__,
            remedy=f"Pass numpy.array(..., {str(memory.dtype.numpy)!r})" if not memory.record
            else "Pass numpy.zeros(n, Struct.numpy), Struct being the kernel's class of records",
        )  # fmt: skip
    if memory.access.writes and getattr(given, "requires_grad", False):
        raise DTypeError(
            where, "a kernel may not write what another library differentiates", expected="an array without gradient",
            got=type(given).__name__, remedy="Pass x.detach()",
        )  # fmt: skip
    return share(given, where)[0]


@dataclass(frozen=True, slots=True, eq=False)
class _Mirror:
    """Memory of the device that stands for ``home``, an array of the host or storage of another device."""

    storage: Storage
    home: np.ndarray[Any, Any] | Storage

    def extent(self) -> tuple[int, int]:
        """Return where home starts and ends."""
        return (HostStorage(self.home.reshape(-1)) if isinstance(self.home, np.ndarray) else self.home).extent()

    def push(self) -> None:
        """Copy there what is at home."""
        home = self.home
        if isinstance(home, np.ndarray):
            self.storage.write(0, home.reshape(-1).view(np.uint8))
        else:
            self.storage.write(0, home.read(0, self.storage.nbytes))

    def pull(self) -> None:
        """Copy home what is there."""
        found = self.storage.read(0, self.storage.nbytes)
        if isinstance(self.home, np.ndarray):
            self.home.reshape(-1).view(np.uint8)[...] = found
        else:
            self.home.write(0, found)


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """What a program moves: mirrors that it uses, those of them that it writes, and arrays of Loom's that it uses.

    ``lent``: these, and whether it writes them.
    """

    used: tuple[_Mirror, ...]
    written: tuple[_Mirror, ...]
    lent: tuple[tuple[Readable, bool], ...]

    def extents(self) -> list[tuple[int, int]]:
        """Return where the memory that it uses starts and ends."""
        return [mirror.extent() for mirror in self.used]

    def writes_at(self, extents: Sequence[tuple[int, int]]) -> bool:
        """Tell whether it writes some of such memory."""
        theirs = [mirror.extent() for mirror in self.written]
        return any(max(start, low) < min(stop, high) for low, high in theirs for start, stop in extents)

    def in_order(self) -> using:
        """Let it take arrays of the host in a ``with`` block after all calls that use them, and before later ones."""
        written = {id(mirror) for mirror in self.written}
        on_host = [m for m in self.used if isinstance(m.home, np.ndarray)]
        return using(
            reads_at=[m.extent() for m in on_host if id(m) not in written],
            writes_at=[m.extent() for m in on_host if id(m) in written],
        )

    def push(self, *, is_loose: bool) -> None:
        """Before a run: let what was recorded of arrays see them as they were, and bring data to the device.

        ``is_loose``: of the run's results nothing is promised.
        """
        is_fast = is_loose or any(array.is_fast for array, _ in self.lent)
        for array, writes in self.lent:
            array.before_run(writes=writes)
            if writes and is_fast:
                array.follow_fast()
        for mirror in self.used:
            mirror.push()

    def pull(self) -> None:
        """After a run: bring data back."""
        for mirror in self.written:
            mirror.pull()


class Mirrors:
    """The mirrors of what is being recorded on one device."""

    __slots__ = ("_device", "_lent", "_mirrors")

    def __init__(self, device: Device) -> None:
        self._device = device
        self._mirrors: list[_Mirror] = []
        self._lent: list[tuple[Storage, Readable]] = []

    @property
    def is_fast(self) -> bool:
        """Whether an array of Loom's that is used is one of which nothing is promised."""
        return any(array.is_fast for _, array in self._lent)

    def storage(self, given: Any, where: str, *, writes: bool = False) -> Storage:
        """Return the device's storage for data of ``as_data``; ArgumentError if it overlaps others."""
        if isinstance(given, Readable):
            if writes and given.lend_part() is not None:
                raise ArgumentError(
                    where, "a part of a tensor is written, and only calls of kernels bring it back there",
                    expected="a whole tensor", got="a view",
                    remedy="Bind part = x[2:5].copy(), and do x[2:5] = part after the run",
                )  # fmt: skip
            return self._of_array(given, where)
        if not is_array(given):
            return given
        return self._device.adopt(given) or self._mirror(given, HostStorage(given.reshape(-1).view(np.uint8)), where)

    def _of_array(self, array: Readable, where: str) -> Storage:
        storage, home = array.lend(where)
        both = isinstance(storage, HostStorage) and self._device.adopt(np.empty(0, np.uint8)) is not None
        found = storage if home is self._device or both else self._mirror(storage, storage, where)
        self._lent.append((found, array))
        return found

    def _mirror(self, home: np.ndarray[Any, Any] | Storage, seen: Storage, where: str) -> Storage:
        start, stop = seen.extent()
        for mirror in self._mirrors if stop > start else ():  # what is empty is nowhere
            at = mirror.extent()
            if at == (start, stop):
                return mirror.storage
            if max(at[0], start) < min(at[1], stop):
                raise ArgumentError(
                    where, "the array overlaps another of the chain", expected="the same memory, or separate memory",
                    got=f"an array of {seen.nbytes} bytes that shares some", remedy="Bind copies, or the whole array",
                )  # fmt: skip
        self._mirrors.append(_Mirror(self._device.allocate(seen.nbytes, zeroed=False), home))
        return self._mirrors[-1].storage

    def take(self, written: Sequence[Storage]) -> Moves | None:
        """Return what the program now built moves, ``written`` being the storages it writes; None for nothing."""
        changed = {id(storage) for storage in written}
        mirrors, self._mirrors = tuple(self._mirrors), []
        arrays = {id(array): (array, id(storage) in changed) for storage, array in self._lent}
        lent, self._lent = tuple(arrays.values()), []
        if not mirrors and not lent:
            return None
        return Moves(mirrors, tuple(m for m in mirrors if id(m.storage) in changed), lent)
