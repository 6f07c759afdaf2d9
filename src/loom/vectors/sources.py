"""Vectors that are on the device already: in memory of units, and tensors.

Layer: vectors. Invariant: nothing is copied, and what was launched before is over.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from loom.core.dtype import f32
from loom.core.errors import ArgumentError, DTypeError, ShapeError, near_matches
from loom.core.numbers import whole
from loom.runtime.port.device import Device
from loom.runtime.units.unit import Unit
from loom.tensor import Tensor
from loom.tensor.handle.lending import memory_of
from loom.vectors.pieces import GivenRows

__all__ = ["take_from"]

_MOST_ELEMENTS = (1 << 32) - 1
"""What kernels count elements to."""


@contextmanager
def take_from(
    source: Any, device: Device, dims: int, offset: Any, count: Any, binding: Any, where: str
) -> Generator[GivenRows, None, None]:
    """Give vectors of a unit or a tensor while nothing else touches them; errors as of ``VectorStore.capture_from``."""
    offset = whole(offset, f"{where}, offset", least=0)
    wanted = None if count is None else whole(count, f"{where}, count", least=0)
    if isinstance(source, Unit):
        _require_device(source.device, device, where)
        found = source.memory()
        binding = "globals" if binding is None else binding
        if binding not in found:
            raise ArgumentError(f"{where}, binding", f"the unit has none called {binding!r}",
                                remedy=near_matches(str(binding), found))  # fmt: skip
        storage, dtype = found[binding]
        if dtype not in (None, f32):
            raise _not_floats(dtype, where)
        size = storage.nbytes // f32.nbytes
        if wanted is None and size < dims:
            raise ShapeError(f"{where}, binding", f"{binding!r} is too small for a vector",
                             expected=f"at least {dims} elements", got=size,
                             remedy="Name the binding that holds the vectors")  # fmt: skip
        some = _count(size, dims, offset, wanted, where)
        with source.turn(where):
            yield GivenRows(storage, some, offset)
    elif isinstance(source, Tensor):
        if binding is not None:
            raise ArgumentError(f"{where}, binding", "a tensor has no bindings", expected="a unit", got=repr(binding),
                                remedy="Leave it out")  # fmt: skip
        if source.dtype != f32:
            raise _not_floats(source.dtype, where)
        if source.shape[-1:] != (dims,):
            raise ShapeError(where, "vectors of another length", expected=f"shape (..., {dims})", got=source.shape,
                             remedy="Reshape it")  # fmt: skip
        storage = memory_of(source)
        _require_device(source.device, device, where)
        yield GivenRows(storage, _count(source.size, dims, offset, wanted, where), offset)
    else:
        raise DTypeError(where, "nothing on a device", expected="a unit or a tensor", got=type(source).__name__,
                         remedy="Write capture_many for arrays of the host")  # fmt: skip


def _count(size: int, dims: int, offset: int, wanted: int | None, where: str) -> int:
    if offset > size:
        raise ShapeError(where, "nothing begins there", expected=f"an offset of at most {size}", got=offset,
                         remedy="Pass a smaller offset")  # fmt: skip
    if offset + (size - offset) // dims * dims > _MOST_ELEMENTS:
        raise ShapeError(where, "too many elements for one capture", expected=f"at most {_MOST_ELEMENTS}", got=size,
                         remedy="Capture it in parts, as in tensor[:n] and tensor[n:]")  # fmt: skip
    there = (size - offset) // dims
    if wanted is not None and wanted > there:
        raise ShapeError(where, "not so many vectors there", expected=f"at most {there} of {dims} from {offset} on",
                         got=wanted, remedy="Pass a smaller count or offset")  # fmt: skip
    return there if wanted is None else wanted


def _require_device(found: Device | None, wanted: Device, where: str) -> None:
    if found is not None and found is not wanted:
        raise ArgumentError(where, "the vectors are on another device", expected=wanted.name, got=found.name,
                            remedy="Read them, and write capture_many")  # fmt: skip


def _not_floats(dtype: Any, where: str) -> DTypeError:
    return DTypeError(where, "the elements are no f32", expected="f32", got=dtype, remedy="Convert them on the device")
