"""The arrays of a call: read as tensors of the device that it runs on, given back as what they came as.

Layer: patterns, over tensors. Arrays of the host are used where they are, if the device can and no tensor is among
them, which might outlive the call. Invariant: the results are tensors exactly if an operand was one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core.arrays import Array, read_array
from loom.core.conversions import host_type, show
from loom.core.dtype import DType
from loom.core.errors import ArgumentError, DeviceError, DTypeError, ShapeError
from loom.core.late import late
from loom.patterns.kept_functions import Kind, RecordedFunction, run
from loom.runtime.chain.kept import shares_memory
from loom.runtime.memory.order import UNTRACKED
from loom.runtime.memory.storage import HostStorage, Storage, copy_storage
from loom.runtime.port.device import Device
from loom.runtime.registry import device
from loom.tensor import Tensor
from loom.tensor.handle.lending import memory_of
from loom.tensor.record.graph import KNOWN, note_origins
from loom.tensor.run.eager import evaluate

if TYPE_CHECKING:
    from loom.tensor.handle import borrowing
else:
    borrowing = late("loom.tensor.handle", "borrowing")

__all__ = ["Arrays", "element", "first", "present"]

_OF_HOST = frozenset((np.ndarray, list, tuple, int, float, bool, complex, str, type(None)))
_ALIGNMENT = 8


class Arrays:
    """See the module. ``name`` stands in errors; ``on`` is a device, by default that of the tensors among ``given``."""

    __slots__ = ("_borrowed", "_lent", "device", "name", "of_tensors", "on")

    def __init__(self, name: str, on: str | Device | None, *given: object) -> None:
        self.name, self.on = name, on
        self.of_tensors = False
        self._borrowed: dict[int, Tensor] = {}
        self._lent: list[Storage] = []
        home: Device | None = None
        for x in given:
            if type(x) in _OF_HOST:
                continue
            there: Any = x if isinstance(x, Tensor) else borrowing.over_gpu(Tensor, x, name)
            if there is not None:
                self.of_tensors = True
                home = home or there.device
                self._borrowed[id(x)] = there
        self.device = device(on) if on is not None or home is None else home

    def input(
        self, data: Any, what: str = "", *, dtype: DType | None = None, allowed: Sequence[DType] | None = None,
        ndim: int | Sequence[int] | None = None, complexes: bool = False,
    ) -> Tensor:  # fmt: skip
        """Return an operand, one of those that were given: a list, numpy array, tensor, or what DLPack can read.

        ``dtype`` types the numbers of a list; DTypeError unless the array's is one of ``allowed``, ShapeError unless it
        has ``ndim`` dimensions (or one of several numbers of them).
        """
        where = f"{self.name}, {what}" if what else self.name
        found = self._borrowed.get(id(data))
        if found is None:
            found = self.lend(*self.read(data, what, dtype=dtype, complexes=complexes))
        elif found.device is not self.device and found.home is not self.device:
            raise ArgumentError(where, "the array is on another device", expected=self.device.name, got=found.home.name,
                                remedy=f"Copy it with loom.array(x, on={self.device.name!r})")  # fmt: skip
        if found.dtype.is_complex and not complexes:
            raise DTypeError(where, "complex numbers", expected="bools, ints or floats", got=found.dtype,
                             remedy="Pass real(x) and imag(x) apart")  # fmt: skip
        if allowed is not None and found.dtype not in allowed:
            raise DTypeError(where, "unsupported dtype", expected="one of " + ", ".join(map(str, allowed)),
                             got=found.dtype, remedy="Convert first, for example with array.astype")  # fmt: skip
        wanted = (ndim,) if isinstance(ndim, int) else ndim
        if wanted is not None and found.ndim not in wanted:
            raise ShapeError(where, "wrong number of dimensions", expected=" or ".join(map(str, wanted)),
                             got=f"{found.ndim}, shape {found.shape}", remedy="Reshape it")  # fmt: skip
        return found

    def read(
        self, data: Any, what: str = "", *, dtype: DType | None = None, complexes: bool = False
    ) -> tuple[np.ndarray[Any, Any], DType]:
        """Return an array of the host, contiguous; pairs of floats are at multiples of what kernels read at once."""
        where = f"{self.name}, {what}" if what else self.name
        memory, found = read_array(data, where, dtype=dtype, complexes=complexes)
        if found.is_complex and memory.__array_interface__["data"][0] % _ALIGNMENT:
            memory = memory.copy()
        return memory, found

    def lend(self, memory: np.ndarray[Any, Any], dtype: DType) -> Tensor:
        """Return an array of the host, contiguous, as a tensor that is there while the call lasts."""
        if self.of_tensors or not shares_memory(self.device):
            storage = self._store(memory)
        else:
            storage = _over(memory)
            storage.uses = UNTRACKED
            self._lent.append(storage)
        return Tensor(KNOWN, (), memory.shape, dtype, data=storage, device=self.device)

    def _store(self, memory: np.ndarray[Any, Any]) -> Storage:
        storage = self.device.allocate(memory.nbytes, zeroed=False)
        storage.write(0, memory.reshape(-1).view(np.uint8))
        return storage

    def run(
        self, key: Sequence[Hashable], record: Callable[..., None], operands: Sequence[Tensor], *kinds: Kind
    ) -> list[Tensor]:
        """Return the results of the program kept for ``key`` (see ``patterns.kept_functions``)."""
        return run((self.name, *key), self.device, record, operands, *kinds)

    def run_recorded(self, what: RecordedFunction, operands: Sequence[np.ndarray[Any, Any]]) -> Any:
        """Return what a function makes of arrays of the host, as such arrays."""
        if what.program.in_place:
            try:
                parts = [np.empty(shape, kind) for shape, kind in what.host_kinds]
            except (MemoryError, ValueError):  # ValueError: more than numpy can count
                raise DeviceError(self.name, "out of memory", remedy="Process the data in parts") from None
            what.run([*map(_over, operands)], [*map(_over, parts)])
        else:
            storages = [self.device.allocate(math.prod(shape) * kind.itemsize, zeroed=False)
                        for shape, kind in what.host_kinds]  # fmt: skip
            what.run([self._store(x) for x in operands], storages)
            parts = [storage.read(0, storage.nbytes).view(kind).reshape(shape)
                     for storage, (shape, kind) in zip(storages, what.host_kinds, strict=True)]  # fmt: skip
        return present(what, parts)

    def result(self, found: Any) -> Any:
        """Return results to the caller: a tensor, or a tuple of some."""
        if isinstance(found, Tensor):
            return found if self.of_tensors else self._show(found)
        evaluate([x for x in found if x.op.unfold is None and not x.is_fed] if self.of_tensors else found)
        return found if self.of_tensors else _in_form([self._show(x) for x in found], type(found))

    def _show(self, x: Tensor) -> Any:
        """Return elements as an array of the host: where they are, if that is memory of this call alone."""
        storage = memory_of(x)
        if isinstance(storage, HostStorage) and not any(storage is each for each in self._lent):
            self._lent.append(storage)
            found = show(storage.bytes[: x.nbytes].view(host_type(x.dtype)).reshape(x.shape), x.dtype)
        else:
            found = x.numpy()
        return found if x.shape else found[()]


def present(what: RecordedFunction, parts: list[Array]) -> Any:
    """Return the results of a function as it returns them; errors of what they are checked for."""
    for check in reversed(what.checks):
        check(parts.pop())
    found = [show(x, dtype) if x.shape else show(x, dtype)[()]
             for x, (_, dtype) in zip(parts, what.kinds, strict=False)]  # fmt: skip
    return found[0] if what.form is Tensor else _in_form(found, what.form)


def _over(memory: np.ndarray[Any, Any]) -> HostStorage:
    """Return the memory of a contiguous array."""
    address: int = memory.__array_interface__["data"][0]
    return HostStorage(memory.reshape(-1).view(np.uint8), memory, address)


def _in_form(parts: list[Any], form: Any) -> Any:
    """Return several results as what a function returns of such a class."""
    return form(*parts) if hasattr(form, "_fields") else tuple(parts)


def element(x: Any, at: int = 0) -> int:
    """Return one element of a tensor or an array, an integer, of those in row-major order."""
    if not isinstance(x, Tensor):
        return int(x.reshape(-1)[at])
    width = x.dtype.nbytes
    return int(memory_of(x).read(at * width, width).view(x.dtype.numpy)[0])


def first(x: Any, size: int, *, shared: bool = False) -> Any:
    """Return the first elements of a tensor or an array, copied, so that the others take no memory.

    ``shared``: not copied if they are more than half of all.
    """
    is_shared = shared and size > x.size // 2
    if not isinstance(x, Tensor):
        return x[:size] if is_shared else x[:size].copy()
    if is_shared:
        storage = memory_of(x)
    else:
        storage = x.home.allocate(size * x.dtype.nbytes, zeroed=False)
        copy_storage(memory_of(x), 0, storage, 0, storage.nbytes)
    made = Tensor(KNOWN, (), (size,), x.dtype, data=storage, device=x.home)
    note_origins(made, [x])
    made.shared = is_shared
    x.shared = x.shared or is_shared
    return made
