"""One call of a pattern: its arrays in, its arrays out, and the device they meet on.

Layer: patterns. A pattern reads

    call = Call("gpu_thing", on)
    x = call.input(data)
    out = call.output(x.shape, x.dtype, like=x)
    if x.size:
        call.run(("gpu_thing", x.dtype, x.size), record, x, out)
    return call.result(out)

where ``record(chain, *slots)`` dispatches over one ``HostSlot`` per operand, as large as that, and everything its
recording depends on is in the key. On a device with memory of its own, inputs of the host go there when a program
first needs them, and everything else is made there; only ``result`` brings it back, if no input was a
tensor (``loom.array``). What a pattern must know in between it reads with ``Operand.item`` and ``memory``, which wait.
Invariant: the result is a tensor exactly if an input was one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from loom.core.arrays import MOST_AXES
from loom.core.conversions import host_type, show
from loom.core.dtype import DType
from loom.core.errors import ArgumentError, DeviceError, DTypeError, ShapeError
from loom.patterns.calling.inputs import as_array
from loom.patterns.calling.prepared import prepare, shares_memory
from loom.runtime.chain import Chain
from loom.runtime.chain.kept import Kept
from loom.runtime.memory.order import touching
from loom.runtime.memory.storage import HostSlot, HostStorage, Storage, copy_storage
from loom.runtime.port.device import Device
from loom.runtime.registry import device
from loom.tensor import Tensor
from loom.tensor.handle.borrowing import over_gpu
from loom.tensor.handle.lending import memory_of
from loom.tensor.record.graph import KNOWN, made_apart

__all__ = ["Call", "Operand"]


class Operand:
    """An array that takes part in a call: its elements are in host memory, or in ``storage`` of a device.

    ``kind`` is the dtype numpy sees it in. Host memory that a device uses in place is both.
    """

    __slots__ = ("_memory", "dtype", "kind", "shape", "storage")

    def __init__(self, memory: np.ndarray[Any, Any], dtype: DType, storage: Storage | None = None) -> None:
        self._memory: np.ndarray[Any, Any] | None = memory
        self.dtype = dtype
        self.shape = memory.shape
        self.kind: np.dtype[Any] = memory.dtype
        self.storage = storage

    @classmethod
    def stored(cls, storage: Storage, dtype: DType, shape: tuple[int, ...], kind: np.dtype[Any]) -> Operand:
        """Return the first elements of storage that the host cannot see."""
        made = cls.__new__(cls)
        made._memory, made.dtype, made.shape, made.kind, made.storage = None, dtype, shape, kind, storage
        return made

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * self.kind.itemsize

    @property
    def in_host(self) -> bool:
        """True when the elements are in host memory."""
        return self._memory is not None

    @property
    def memory(self) -> np.ndarray[Any, Any]:
        """The elements, contiguous, in its shape: in place if they are in host memory, else a read-only copy."""
        if self._memory is not None:
            return self._memory
        found = self.read()
        found.flags.writeable = False
        return found

    def read(self) -> np.ndarray[Any, Any]:
        """Return a copy of elements that the host cannot see."""
        assert self.storage is not None
        return self.storage.read(0, self.nbytes).view(self.kind).reshape(self.shape)

    def item(self, at: int = 0) -> int:
        """Return one element, an integer, of those in row-major order."""
        if self._memory is not None:
            return int(self._memory.reshape(-1)[at])
        assert self.storage is not None
        width = self.kind.itemsize
        return int(self.storage.read(at * width, width).view(self.kind)[0])

    def write(self, values: Any) -> None:
        """Let the elements be ``values``, an array of the shape or a number."""
        if self._memory is not None:
            self._memory[...] = values
            return
        assert self.storage is not None
        whole = np.broadcast_to(np.asarray(values, self.kind), self.shape)
        self.storage.write(0, np.ascontiguousarray(whole).reshape(-1).view(np.uint8))

    def take(self, source: Operand) -> None:
        """Let the elements be the first bytes of another operand in the same place."""
        if self._memory is not None:
            self._memory.reshape(-1).view(np.uint8)[...] = source.memory.reshape(-1).view(np.uint8)[: self.nbytes]
            return
        assert self.storage is not None
        assert source.storage is not None
        copy_storage(source.storage, 0, self.storage, 0, self.nbytes)

    def held(self, where: Device) -> Storage:
        """Return the elements in storage of a device that has memory of its own; they move there."""
        if self._memory is not None:
            self.storage = where.allocate(self.nbytes, zeroed=False)
            self.storage.write(0, self._memory.reshape(-1).view(np.uint8))
            self._memory = None
        assert self.storage is not None
        return self.storage

    def reshape(self, *shape: int) -> Operand:
        """Return the same elements in another shape."""
        return self._seen(self.dtype, shape, self.kind)

    def seen_as(self, dtype: DType, kind: np.dtype[Any] | None = None) -> Operand:
        """Return the same bytes as another type: in the same shape, or in one dimension if its size is another."""
        kind = dtype.numpy if kind is None else kind
        shape = self.shape if kind.itemsize == self.kind.itemsize else (self.nbytes // kind.itemsize,)
        return self._seen(dtype, shape, kind)

    def first(self, size: int) -> Operand:
        """Return the first elements, in one dimension."""
        return self._seen(self.dtype, (size,), self.kind)

    def _seen(self, dtype: DType, shape: tuple[int, ...], kind: np.dtype[Any]) -> Operand:
        if self._memory is None:
            assert self.storage is not None
            return Operand.stored(self.storage, dtype, shape, kind)
        whole = self._memory.reshape(-1).view(np.uint8)[: math.prod(shape) * kind.itemsize]
        return Operand(whole.view(kind).reshape(shape), dtype, self.storage)


class Call:
    """See the module. ``name`` stands in errors; ``on`` is a device, by default that of the arrays given."""

    def __init__(self, name: str, on: str | Device | None = None) -> None:
        self.name = name
        self._asked = device(on) if on is not None else None
        self._found: Device | None = None
        self._tensors: list[Tensor] = []

    @property
    def device(self) -> Device:
        """Where the call runs: the device asked for, else that of the inputs, else the default one."""
        return self._asked or self._found or device(None)

    def input(
        self,
        data: Any,
        what: str = "data",
        *,
        dtype: DType | None = None,
        allowed: Sequence[DType] | None = None,
        ndim: int | tuple[int, ...] | None = None,
    ) -> Operand:
        """Return an input: a list, numpy array, tensor, or anything numpy or DLPack can read.

        ``dtype`` types the numbers of a list; DTypeError unless the array's is one of ``allowed``, ShapeError
        unless it has ``ndim`` dimensions (or one of several numbers of them).
        """
        where = self.name if what == "data" else f"{self.name}, {what}"
        found = self._operand(data, where, dtype)
        if allowed is not None and found.dtype not in allowed:
            raise DTypeError(
                where, "unsupported dtype", expected="one of " + ", ".join(map(str, allowed)), got=found.dtype,
                remedy="Convert first, for example with array.astype",
            )  # fmt: skip
        dimensions = (ndim,) if isinstance(ndim, int) else ndim
        if dimensions is not None and len(found.shape) not in dimensions:
            raise ShapeError(
                where, "wrong number of dimensions", expected=" or ".join(map(str, dimensions)),
                got=f"{len(found.shape)}, shape {found.shape}", remedy="Reshape it",
            )  # fmt: skip
        return found

    def _operand(self, data: Any, where: str, dtype: DType | None) -> Operand:
        there = None if isinstance(data, Tensor) else over_gpu(Tensor, data, where)
        data = data if there is None else there
        if not isinstance(data, Tensor):
            return Operand(*as_array(data, where, dtype=dtype))
        storage = memory_of(data)
        home = data.device or device(None)
        before = self._asked or self._found
        if before is not None and before is not home:
            raise ArgumentError(
                where, "the array is on another device", expected=before.name, got=home.name,
                remedy=f"Copy it with loom.array(x, on={before.name!r})",
            )  # fmt: skip
        self._found = home
        self._tensors.append(data)
        kind = host_type(data.dtype)
        if not isinstance(storage, HostStorage):
            return Operand.stored(storage, data.dtype, data.shape, kind)
        if storage.uses is not None:
            with touching((storage,)):
                pass  # what writes it is over
        view = storage.bytes[: data.nbytes].view(kind).reshape(data.shape)
        view.flags.writeable = False
        return Operand(view, data.dtype, storage)

    def output(self, shape: int | Sequence[int], dtype: DType, *, like: Operand | None = None) -> Operand:
        """Return a new array for results; numpy sees it in the dtype of ``like`` if that is of the same type."""
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        kind = like.kind if like is not None and like.dtype == dtype else dtype.numpy
        where = self.device
        in_place = shares_memory(where)
        if len(sizes) > MOST_AXES:
            raise ShapeError(self.name, "too many dimensions", expected=f"at most {MOST_AXES}", got=len(sizes),
                             remedy="Reshape it")  # fmt: skip
        if in_place and self._found is None:
            try:
                return Operand(np.empty(sizes, kind), dtype)
            except (MemoryError, ValueError):  # ValueError: more than numpy can count
                raise DeviceError(self.name, "out of memory", got=f"{math.prod(sizes) * dtype.nbytes} bytes",
                                  remedy="Process the data in parts") from None  # fmt: skip
        storage = where.allocate(math.prod(sizes) * dtype.nbytes, zeroed=False)
        if not in_place:
            return Operand.stored(storage, dtype, sizes, kind)
        assert isinstance(storage, HostStorage), "a device that adopts arrays has its memory in the host"
        return Operand(storage.bytes.view(kind).reshape(sizes), dtype, storage)

    def run(self, key: Hashable, record: Callable[..., None], *operands: Operand) -> None:
        """Run the program kept for ``key`` over ``operands``; else ``record`` is given a chain and slots."""

        def over_slots(chain: Chain) -> list[HostSlot]:
            slots = [HostSlot(operand.nbytes) for operand in operands]
            record(chain, *slots)
            return slots

        self.start(prepare(key, self.device, over_slots), *operands)

    def start(self, prepared: Kept, *operands: Operand) -> None:
        """Run a program over ``operands``."""
        if prepared.in_place:
            prepared.run(*(o.memory for o in operands))
        else:
            where = self.device
            prepared.run(*(o.held(where) for o in operands))

    def result(self, out: Operand) -> Any:
        """Return an output to the caller: a tensor if an input was one, else a numpy array or scalar."""
        if self._found is None:
            memory = show(out.memory if out.in_host else out.read(), out.dtype)
            return memory if out.shape else memory[()]
        if out.storage is None:
            self._store(out)
        return self.array(out)

    def _store(self, out: Operand) -> None:
        """Put results that the pattern made itself into storage."""
        storage = self.device.allocate(out.nbytes, zeroed=False)
        storage.write(0, out.memory.reshape(-1).view(np.uint8))
        out.storage = storage

    def array(self, x: Operand) -> Tensor:
        """Return an operand as a tensor, for another pattern; nothing is copied within a device."""
        where = self.device
        if x.storage is None and shares_memory(where):
            x = Operand(x.memory, x.dtype, where.adopt(x.memory))
        storage = x.storage or x.held(where)
        made = Tensor(KNOWN, (), x.shape, x.dtype, data=storage, device=where)
        made_apart(made, self._tensors)
        for given in self._tensors:
            if given.data is storage:  # an input is the result
                made.shared = given.shared = True
        return made
