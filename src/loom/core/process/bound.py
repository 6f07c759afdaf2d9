"""What is bound to its process: it is neither pickled nor copied.

Layer: core. A copy of an address or of a handle of a driver outlives what it points to, and frees it twice.
"""

from __future__ import annotations

from typing import NoReturn

from loom.core.errors import StateError

__all__ = ["BoundStorage", "ProcessBound"]


class ProcessBound:
    """The base of storages, devices, chains, programs and submissions. ``copied_instead`` says what to do."""

    __slots__ = ()
    copied_instead = "Make another where it is needed, of the same arrays and kernels"

    def __reduce__(self) -> NoReturn:
        name = type(self).__name__
        what = f"a {name} belongs to its process, and is neither pickled nor copied"
        raise StateError(f"copy of {name}", what, remedy=self.copied_instead)


class BoundStorage(ProcessBound):
    """The base of storages."""

    __slots__ = ()
    copied_instead = "Pickle storage.read(0, storage.nbytes), and write that to storage that is allocated there"
