"""What arrays and tensors have in common: sizes, and the protocols by which others read their elements.

Layer: runtime. Invariant: whoever reads gets a copy in host memory.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, cast

import numpy as np

from loom.core.conversions import show, widen
from loom.core.dtype import DType, bf16
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.given import flag, is_list
from loom.core.late import late
from loom.runtime.memory.storage import HostStorage

if TYPE_CHECKING:
    from loom.core import dlpack
    from loom.runtime.memory.storage import Storage
    from loom.runtime.port.device import Device
else:
    dlpack = late("loom.core", "dlpack")

__all__ = ["DirectUse", "Readable", "Returning", "Sized"]


class Returning(Protocol):
    """A view that is lent to a run."""

    def put_back(self) -> None:
        """Let what it is a view of have what was written."""
        ...


class DirectUse(NamedTuple):
    """When a run may use the memory of an array as it is: which slots are what, or are not (name, object, sense).

    ``storage``, ``shape``, ``dtype`` and ``device`` are the names of the slots that have these. What is about to be
    changed by another thread must not look so.
    """

    storage: str
    shape: str
    dtype: str
    device: str
    reads: tuple[tuple[str, object, bool], ...]
    writes: tuple[tuple[str, object, bool], ...]


class Sized:
    """Something of a shape and dtype."""

    __slots__ = ()
    shape: tuple[int, ...]
    dtype: DType

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes the elements take."""
        return math.prod(self.shape) * self.dtype.nbytes


class Readable(Sized):
    """Elements that ``numpy()`` copies to the host; ``called`` is how errors name them."""

    __slots__ = ()
    called: ClassVar[str]
    record_call: ClassVar[Any] = None
    """What records a kernel's call whose outputs are left out; None where nothing is recorded."""
    direct: ClassVar[DirectUse | None] = None
    """When the native door may use it; None for never."""
    is_fast: bool = False
    """True if it depends on a product with ``guarantee="fast"`` or a kernel with ``order="any"``, unvouched for."""

    @abstractmethod
    def host_elements(self) -> tuple[np.ndarray[Any, Any], DType]:
        """Return a copy of the elements as they are stored (bf16 as its 16 bits), in their shape, and the dtype."""

    def numpy(self) -> np.ndarray[Any, Any]:
        """Return a copy as a numpy array of the same shape; bf16 in ml_dtypes' type if it is installed, else as f32."""
        return show(*self.host_elements())

    @abstractmethod
    def item(self) -> Any:
        """Return the only element as a Python number; ShapeError if there are more or none."""

    @abstractmethod
    def lend(self, where: str) -> tuple[Storage, Device]:
        """Return the elements' memory for a kernel, and its device; StateError for what has no elements."""

    @property
    @abstractmethod
    def home(self) -> Device:
        """The device its elements are on, or will be."""

    @abstractmethod
    def lend_part(self) -> Returning | None:
        """Return what puts back what a run writes into it, if it is a view of other elements; else None."""

    def meets(self, other: Readable) -> bool:
        """Tell whether a kernel that writes it writes elements of another, as it does where both are views of one."""
        return self is other

    @abstractmethod
    def lend_once(self, where: str, *, writes: bool) -> tuple[Storage, Device]:
        """Return the same for one run that begins now, which ``writes`` it or not."""

    def follow_fast(self) -> None:
        """Take note that a run writes it that reads what ``is_fast``."""

    def before_run(self, *, writes: bool) -> None:
        """Let the memory that was lent hold the elements, before a run that uses it; ``writes``: that writes it."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is not None and not flag(copy, f"{self.called}, copy"):
            raise ArgumentError(self.called, "numpy must copy it", expected="copy=None or True", got=copy,
                                remedy="Leave copy out")  # fmt: skip
        found = self.numpy()
        if dtype is None:
            return found
        if isinstance(dtype, DType):
            dtype = dtype.numpy
        try:
            return found.astype(np.dtype(dtype), copy=False)
        except (TypeError, ValueError):
            raise DTypeError(self.called, "numpy does not convert to it", expected="a numpy dtype", got=repr(dtype),
                             remedy="Pass for example numpy.float32") from None  # fmt: skip

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
    ) -> Any:
        """Return a capsule of DLPack, with a version to who asks for ``max_version`` (1, 0) or newer.

        Of a tensor on a GPU of CUDA: its elements where they are, once the ``stream`` of who asks may read them; to be
        left as they are. Of others, or for ``dl_device=(1, 0)``: a copy in memory of the host, bf16 as f32, which all
        know. ``copy=False``: the elements where they are, bf16 as bf16, read-only to who asks for a version;
        BufferError if they are not on the host, or may change. BufferError for another ``dl_device``.
        """
        if copy is not None:
            copy = flag(copy, f"{self.called}, copy")
        there = self.__dlpack_device__()
        wanted = there if dl_device is None else tuple(dl_device) if is_list(dl_device) else dl_device
        if wanted not in (there, (dlpack.CPU, 0)):
            raise BufferError(f"{self.called}: the elements are on device {there}, and none goes to {wanted}")
        if wanted != (dlpack.CPU, 0):
            found = None if copy else self.shared_memory()
            storage: Any = self.copied_memory() if found is None else found
            return storage.give(self.shape, self.dtype, stream, max_version, copied=found is None)
        if stream is not None and there == wanted:
            raise BufferError(f"{self.called}: memory of the host has no streams; leave stream out")
        if copy is not False:
            return dlpack.give(widen(*self.host_elements()), max_version, copied=True)
        memory = self.shared_memory() if there == wanted else None
        if not isinstance(memory, HostStorage):
            why = (
                "they may be written in place, as those of create, empty and parameter are"
                if there == wanted and memory is None
                else "they are in memory of the device"
            )
            raise BufferError(
                f"{self.called}: the elements must be copied, since {why}; leave copy out, or pass copy=True"
            )
        found = memory.bytes[: self.nbytes].view(self.dtype.numpy).reshape(self.shape)
        found.flags.writeable = not is_list(max_version) or tuple(max_version) < (1, 0)
        return dlpack.give(found, max_version, is_bf16=self.dtype == bf16)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return where the elements are, as DLPack counts: (2, n) on the n-th GPU of CUDA, else (1, 0), the host."""
        return getattr(self.home, "dlpack_device", (dlpack.CPU, 0))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Where the elements are on a GPU of CUDA, to be left as they are; AttributeError elsewhere, and of bf16."""
        if self.__dlpack_device__()[0] != dlpack.CUDA or self.dtype == bf16:
            raise AttributeError("__cuda_array_interface__")
        found = self.shared_memory()
        storage: Any = self.copied_memory() if found is None else found
        return storage.interface(self.shape, self.dtype)

    def shared_memory(self) -> Storage | None:
        """Return the memory of the elements, None if they must be copied; nobody may write there."""
        return None

    def copied_memory(self) -> Any:
        """Return other memory, where the elements are, with a copy of them."""
        raise NotImplementedError

    def __array_function__(self, function: Any, _types: Any, args: Any, kwargs: Any) -> Any:
        """Let numpy's functions read the elements: ``numpy.sum(x)`` is numpy's, of a copy."""
        known = {np.shape: self.shape, np.ndim: self.ndim}
        if function in known and len(args) == 1 and args[0] is self:
            return known[function]
        return function(*_as_numpy(args), **_as_numpy(kwargs))

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __len__(self) -> int:
        if not self.shape:
            raise ShapeError(f"len of a {self.called}", "it has no dimension", remedy="Use item()")
        return self.shape[0]


def _as_numpy(given: Any) -> Any:
    """Return arguments of a function of numpy with copies in place of arrays of a device."""
    if isinstance(given, Readable):
        return given.numpy()
    if type(given) in (list, tuple):
        return type(given)(_as_numpy(each) for each in given)
    if type(given) is not dict:
        return given
    named = cast("dict[str, Any]", given)
    return {name: _as_numpy(each) for name, each in named.items()}
