"""One call of a pattern: its arrays in, its arrays out, and the device they meet on.

Layer: patterns. A pattern reads

    call = Call("gpu_thing", on)
    x = call.input(data)
    out = call.output(x.shape, x.dtype, like=x)
    if x.size:
        call.run(("gpu_thing", x.dtype, x.size), lambda chain: _record(chain, x.dtype, x.size), x, out)
    return call.result(out)

where ``_record`` dispatches over one ``HostSlot`` per operand, as ``prepare`` wants it, and everything its
recording depends on is in the key. Invariant: the result is a ``loom.Array`` exactly if an input was one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loom.core.dtype import DType
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.patterns.inputs import as_array
from loom.patterns.prepared import prepare
from loom.runtime.array import Array
from loom.runtime.chain import Chain
from loom.runtime.device import Device, device
from loom.runtime.storage import HostSlot, HostStorage

__all__ = ["Call", "Operand", "array"]


_NOTHING = np.empty(0, np.uint8)


@dataclass(frozen=True, slots=True)
class Operand:
    """An array that takes part in a call: ``memory`` is its elements, contiguous, in its shape."""

    memory: np.ndarray[Any, Any]
    dtype: DType
    storage: HostStorage | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.memory.shape

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.memory.size

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return self.memory.nbytes

    def reshape(self, *shape: int) -> Operand:
        """Return the same elements in another shape."""
        return Operand(self.memory.reshape(shape), self.dtype, self.storage)


class Call:
    """See the module. ``name`` stands in errors; ``on`` is a device, by default that of the arrays given."""

    def __init__(self, name: str, on: str | Device | None = None) -> None:
        self.name = name
        self._asked = device(on) if on is not None else None
        self._found: Device | None = None

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
        """Return an input: a list, numpy array, ``loom.Array``, or anything numpy or DLPack can read.

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
        if not isinstance(data, Array):
            return Operand(*as_array(data, where, dtype=dtype))
        before = self._asked or self._found
        if before is not None and before is not data.device:
            raise ArgumentError(
                where, "the array is on another device", expected=before.name, got=data.device.name,
                remedy=f"Copy it with loom.array(x, on={before.name!r})",
            )  # fmt: skip
        self._found = data.device
        storage = data.storage
        if not isinstance(storage, HostStorage):  # it goes to the host, and back with the program's slots
            return Operand(data.numpy(), data.dtype)
        return Operand(data.host(), data.dtype, storage)

    def output(self, shape: int | Sequence[int], dtype: DType, *, like: Operand | None = None) -> Operand:
        """Return a new array for results; numpy sees it in the dtype of ``like`` if that is of the same type."""
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        kind = like.memory.dtype if like is not None and like.dtype == dtype else dtype.numpy
        if self._found is None or self.device.adopt(_NOTHING) is None:
            return Operand(np.empty(sizes, kind), dtype)
        storage = self.device.allocate(math.prod(sizes) * dtype.nbytes)
        assert isinstance(storage, HostStorage), "a device that adopts arrays has its memory in the host"
        return Operand(storage.bytes.view(kind).reshape(sizes), dtype, storage)

    def run(self, key: Hashable, record: Callable[[Chain], tuple[Sequence[HostSlot], Any]], *operands: Operand) -> None:
        """Run the program kept for ``key``, recording it first if there is none, over ``operands``."""
        prepare(key, self.device, record).run(*(o.memory for o in operands))

    def result(self, out: Operand) -> Any:
        """Return an output to the caller: an Array if an input was one, else a numpy array or scalar."""
        if self._found is None:
            return out.memory if out.shape else out.memory[()]
        if out.storage is not None:
            return Array(out.storage, self.device, out.dtype, out.shape, out.memory.dtype)
        storage = self.device.allocate(out.nbytes)
        storage.write(0, out.memory.reshape(-1).view(np.uint8))
        return Array(storage, self.device, out.dtype, out.shape, out.memory.dtype)


def array(data: Any, *, dtype: DType | None = None, on: str | Device | None = None) -> Array:
    """Return a copy of ``data`` on a device; what patterns make of it stays there.

    ``dtype`` types the numbers of a list. Maps over arrays are put off and fused: they are computed,
    in one kernel, when another pattern or the host needs their result.

    >>> array([[1, 2], [3, 4]], on="cpu")
    <loom.Array i64, 2 x 2, on cpu>
    """
    where = device(on)
    if isinstance(data, Array):
        memory, found = data.numpy(), data.dtype
    else:
        memory, found = as_array(data, "loom.array", dtype=dtype)
    storage = where.allocate(memory.nbytes)
    storage.write(0, memory.reshape(-1).view(np.uint8))
    return Array(storage, where, found, memory.shape, memory.dtype)
