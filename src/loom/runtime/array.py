"""Arrays that live on a device: what patterns return when they were given one.

Layer: runtime. An array's elements change only when a kernel of the caller's writes them, before which all that was
put off and reads them is computed; so it may be computed late. Invariant: ``storage`` holds the elements in row-major
order, packed.
"""

from __future__ import annotations

import math
from typing import Any, Protocol
from weakref import ref

import numpy as np

from loom.core.conversions import widen
from loom.core.dtype import DType
from loom.core.errors import ShapeError, StateError
from loom.core.numbers import whole
from loom.runtime.device import Device
from loom.runtime.elements import Readable
from loom.runtime.storage import HostStorage, Storage

__all__ = ["Array", "Pending"]


class Pending(Protocol):
    """Elements that have not been computed yet."""

    def compute(self) -> Storage:
        """Compute them, into storage of the array's device."""
        ...


class Array(Readable):
    """An array on a device, made by ``loom.array`` and by patterns that were given one.

    ``shape``, ``dtype`` (a Loom type), ``size``, ``ndim``, ``nbytes`` and ``device`` tell what it is;
    ``numpy()`` copies it to the host, ``item()`` and ``tolist()`` give Python numbers.

    >>> import loom
    >>> loom.gpu_map(loom.array([1.0, 2.0]), "mul", 2.0).tolist()
    [2.0, 4.0]
    """

    __slots__ = ("__weakref__", "_readers", "_source", "device", "dtype", "host_dtype", "shape")
    __hash__ = None  # type: ignore[assignment]
    __array_priority__ = 100.0
    called = "loom.Array"

    def __init__(
        self,
        source: Storage | Pending,
        device: Device,
        dtype: DType,
        shape: tuple[int, ...],
        host_dtype: np.dtype[Any] | None = None,
    ) -> None:
        self._source = source
        self._readers: list[ref[Array]] = []
        self.device = device
        self.dtype = dtype
        self.shape = tuple(shape)
        self.host_dtype = dtype.numpy if host_dtype is None else host_dtype

    @property
    def pending(self) -> Pending | None:
        """What still has to be computed, None once the elements are there."""
        return None if hasattr(self._source, "nbytes") else self._source  # type: ignore[return-value]

    @property
    def storage(self) -> Storage:
        """The elements in device memory, computed first if they are pending."""
        pending = self.pending
        if pending is not None:
            self._source = pending.compute()
        return self._source  # type: ignore[return-value]

    def host_elements(self) -> tuple[np.ndarray[Any, Any], DType]:
        """Return a copy of the elements as they are stored, and the dtype."""
        return self.storage.read(0, self.nbytes).view(self.dtype.numpy).reshape(self.shape), self.dtype

    def host(self) -> np.ndarray[Any, Any]:
        """Return the elements where they are, read-only; StateError if they are not in host memory."""
        storage = self.storage
        if not isinstance(storage, HostStorage):
            raise StateError(
                "loom.Array", f"the memory of device {self.device.name!r} is not the host's", remedy="Use numpy()"
            )
        view = storage.bytes[: self.nbytes].view(self.host_dtype).reshape(self.shape)
        view.flags.writeable = False
        return view

    def item(self) -> Any:
        """Return the only element as a Python number; ShapeError if there are more or none."""
        if self.size != 1:
            raise ShapeError("loom.Array.item", "not one element", expected=1, got=self.size, remedy="Use tolist()")
        return widen(*self.host_elements()).item()

    def tolist(self) -> Any:
        """Return the elements as nested lists of Python numbers (one number for shape ())."""
        return widen(*self.host_elements()).tolist()

    def reshape(self, *shape: int | tuple[int, ...]) -> Array:
        """Return the same elements in another shape, one length of which may be -1; nothing is copied."""
        wanted = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        try:
            found = _fitted(self.size, wanted)
        except ValueError:
            raise ShapeError(
                "loom.Array.reshape", "the elements do not fit", expected=f"a shape of {self.size} elements",
                got=wanted, remedy="Match the number of elements",
            ) from None  # fmt: skip
        seen = Array(self.storage, self.device, self.dtype, found, self.host_dtype)
        seen._readers = self._readers
        return seen

    def read_later(self, reader: Array) -> None:
        """Note that ``reader``, whose elements are pending, needs the elements as they are now."""
        self._readers[:] = [
            kept for kept in self._readers if (alive := kept()) is not None and alive.pending is not None
        ]
        self._readers.append(ref(reader))

    def before_write(self) -> None:
        """Compute what was put off and reads these elements."""
        for reader in [kept() for kept in self._readers]:
            if reader is not None:
                _ = reader.storage
        self._readers.clear()

    @property
    def home(self) -> Device:
        """The device its elements are on."""
        return self.device

    def lend(self, *, writes: bool, where: str) -> tuple[Storage, Device]:  # noqa: ARG002 - may always be written
        """Return the elements' memory for a kernel, and its device."""
        return self.storage, self.device

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.shape)) or "one element"
        state = "" if self.pending is None else ", not computed yet"
        return f"<loom.Array {self.dtype}, {shape}, on {self.device.name}{state}>"


def _fitted(size: int, wanted: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the shape with its -1 worked out; ValueError if the elements do not fill it."""
    shape = [whole(n, "loom.Array.reshape", least=-1) for n in wanted]
    known = math.prod(n for n in shape if n != -1)
    if shape.count(-1) == 1 and known > 0:
        shape[shape.index(-1)] = size // known
    if math.prod(shape) != size or any(n < 0 for n in shape):
        raise ValueError(wanted)
    return tuple(shape)
