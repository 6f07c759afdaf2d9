"""The named memory of a unit: adds bindings, finds them, and those that a kernel's buffers mean.

Layer: runtime. ``registers`` and ``globals`` are 32-bit words that a kernel may read as any type; ``heap`` is
read-only; further bindings are typed. Invariant: a name, once added, keeps its memory, the heap's apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, SupportsInt, cast

import numpy as np

from loom.core.arrays import read_array
from loom.core.dtype import DType, of_numpy, u32
from loom.core.errors import ArgumentError, DTypeError, ShapeError, near_matches
from loom.core.given import flag, is_array, is_list
from loom.core.late.dataclass import dataclass
from loom.ir.frontend.base.annotations import BufferType
from loom.ir.frontend.data.structs import is_struct
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.kernel import Memory, Space
from loom.ir.verified import VerifiedKernel
from loom.runtime.memory.storage import ShapedStorage, Storage
from loom.runtime.plans.foreign import ForeignKernel
from loom.runtime.port.budget import LEDGER
from loom.runtime.port.device import Device
from loom.runtime.port.values import as_count, as_data, as_read_dtype

__all__ = ["WORD_NBYTES", "Area", "Bindings"]

WORD_NBYTES = 4
_RESERVED = ("registers", "globals", "heap")
"""Names with a meaning of their own, never given to other memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """One binding; ``dtype`` None means untyped 32-bit words, or records of the numpy dtype ``record``.

    ``shape`` is that of the array it was made of, or the one it was given.
    """

    name: str
    storage: Storage
    dtype: DType | None
    read_only: bool = False
    shape: tuple[int, ...] | None = None
    record: np.dtype[Any] | None = None

    @property
    def step(self) -> int:
        """Bytes per unit of offset."""
        if self.record is not None:
            return self.record.itemsize
        return self.dtype.nbytes if self.dtype is not None else WORD_NBYTES

    @property
    def held(self) -> int:
        """How many words or elements there are."""
        return self.storage.nbytes // self.step

    def check_range(self, offset: Any, nbytes: int, where: str) -> None:
        """Raise ShapeError unless ``nbytes`` at ``offset`` (words or elements) on lie within; DTypeError for no int."""
        if isinstance(offset, bool) or not isinstance(offset, (int, np.integer)):
            raise DTypeError(
                where, "the offset is no whole number", expected="an int", got=repr(offset),
                remedy="Write int(offset), or use loom.flow, where whole floats count",
            )  # fmt: skip
        first = int(cast("SupportsInt", offset))
        if first < 0 or nbytes < 0 or first * self.step + nbytes > self.storage.nbytes:
            end = f"{offset} + {nbytes // self.step}"
            raise ShapeError(
                where, f"range outside {self.name!r}", expected=f"within its {self.held} elements", got=end,
                remedy="Check offset and count",
            )  # fmt: skip

    def check_read(self, offset: Any, count: Any, dtype: Any, where: str) -> tuple[np.dtype[Any], int]:
        """Return as what to read and how many bytes: ``count`` elements, or all from ``offset`` on."""
        if count is not None and (isinstance(count, bool) or not isinstance(count, (int, np.integer))):
            raise DTypeError(
                where, "the count is no whole number", expected="an int", got=repr(count),
                remedy="Write int(count), or leave it out",
            )  # fmt: skip
        as_records = dtype is None and self.record is not None
        kind = self.record if as_records else as_read_dtype(dtype, self.dtype, f"{where} of {self.name!r}")
        assert kind is not None
        if count is None:
            self.check_range(offset, 0, where)
            count = (self.storage.nbytes - int(offset) * self.step) // kind.itemsize
        nbytes = int(cast("SupportsInt", count)) * kind.itemsize
        self.check_range(offset, nbytes, where)
        return kind, nbytes

    def repeat_value(self, value: Any, offset: Any, count: Any, where: str) -> tuple[int, np.ndarray[Any, Any]]:
        """Return where to begin and the bytes of one value, as often as there are elements to fill."""
        named = f"{where} of {self.name!r}"
        start = as_count(offset, named, "offset", "a whole number, at least 0")
        size = max(0, self.held - start) if count is None else as_count(count, named, "count", "at least 0")
        self.check_range(start, size * self.step, where)
        if self.record is not None:
            value = np.asarray(value)
            one = self.as_data(value.reshape(-1)[:2], named)
        else:
            one = as_data(value if np.ndim(value) else [value], self.dtype, named)
        lanes = self.dtype.lanes if self.dtype is not None else 1
        if one.size not in (1, lanes):
            raise ShapeError(
                named, "not one value", expected=f"a number or {lanes}" if lanes > 1 else "a number",
                got=np.shape(value), remedy="Use unit.write for several",
            )  # fmt: skip
        whole = np.broadcast_to(one.reshape(-1), (size, lanes))
        return start, np.ascontiguousarray(whole).reshape(-1).view(np.uint8)

    def as_data(self, data: Any, where: str) -> np.ndarray[Any, Any]:
        """Return what is to be written as a contiguous array of the binding's type."""
        if self.record is None:
            return as_data(data, self.dtype, where)
        if not is_array(data) or data.dtype != self.record:
            raise DTypeError(
                where, "the binding holds records", expected=self.record,
                got=data.dtype if is_array(data) else type(data).__name__,
                remedy="Pass a structured array of that dtype",
            )  # fmt: skip
        return np.ascontiguousarray(data)

    def check_copy(
        self, origin: Area, start: Any, count: Any, offset: Any, mine: str, theirs: str
    ) -> tuple[int, int, int]:
        """Return from which byte of ``origin``, to which, and how many to copy; the units' names are for errors."""
        where = f"{mine}.copy_from"
        if origin.step != self.step or (origin.dtype and self.dtype and origin.dtype != self.dtype):
            raise DTypeError(
                where, "bindings of different types", expected=self.dtype or "32-bit words",
                got=origin.dtype or "32-bit words", remedy="Copy between bindings of one type",
            )  # fmt: skip
        start, offset = (as_count(n, where, "start or offset", "a whole number, at least 0") for n in (start, offset))
        wanted = max(0, origin.held - start) if count is None else as_count(count, where, "count", "at least 0")
        origin.check_range(start, wanted * origin.step, f"{theirs}.copy_from")
        self.check_range(offset, wanted * self.step, where)
        return start * self.step, offset * self.step, wanted * self.step


class Bindings:
    """The bindings of the unit called ``unit``; their memory is zeroed when added, and counts in the budget."""

    def __init__(self, unit: str, device: Device) -> None:
        self._unit = unit
        self._device = device
        self._areas: dict[str, Area] = {}

    def __iter__(self) -> Iterator[Area]:
        """Iterate over the areas there are now."""
        return iter(list(self._areas.values()))

    @property
    def nbytes(self) -> int:
        """Bytes that they take."""
        return sum(area.storage.nbytes for area in self)

    # adding

    def add_words(self, name: str, words: Any, given: Storage | None = None) -> None:
        """Add ``words`` untyped words: ``given`` (zeroed, of that size) or new memory."""
        count = as_count(words, f"{self._unit}, {name}", "size", "a number of 32-bit words, at least 0")
        self._areas[name] = Area(name, self._allocate(count * WORD_NBYTES) if given is None else given, None)

    def add(self, name: Any, spec: Any) -> None:
        """Add a binding: of (dtype, size), None for untyped words, or with the contents of an array."""
        where = f"{self._unit}, binding {name!r}"
        if not isinstance(name, str):
            raise ArgumentError(where, "not a name", expected="a str", got=repr(name), remedy="Name the binding")
        if name in self._areas or name in _RESERVED:
            raise ArgumentError(where, "the name is taken", expected="a new name", got=name, remedy="Choose another")
        if is_list(spec) and isinstance(spec, tuple) and len(spec) == 2 and spec[0] is None:
            self.add_words(name, spec[1])
        elif (
            is_list(spec)
            and isinstance(spec, tuple)
            and len(spec) == 2
            and isinstance(spec[0], (DType, np.dtype, type, str))
        ):
            self._areas[name] = self._area_of_type(name, spec[0], spec[1], where)
        else:
            self._areas[name] = self._fill(name, spec, read_only=False)

    def _area_of_type(self, name: str, kind: Any, size: Any, where: str) -> Area:
        """Return zeroed memory of a type, a numpy dtype or a class of records, and of a size or a shape."""
        text = "a number of elements, at least 0"
        shape = tuple(as_count(n, where, "size", text) for n in (size if is_list(size) else (size,)))
        count = math.prod(shape)
        kind = getattr(kind, "numpy", kind) if isinstance(kind, type) and is_struct(kind) else kind
        if isinstance(kind, np.dtype) and kind.names:
            record = cast("np.dtype[Any]", kind)
            return Area(name, self._allocate(count * record.itemsize), None, shape=shape, record=record)
        dtype = kind if isinstance(kind, DType) else of_numpy(kind, where)
        inner = (*shape, dtype.lanes) if dtype.is_vector else shape
        return Area(name, self._allocate(count * dtype.nbytes), dtype, shape=inner)

    def set_heap(self, array: Any, *, words: bool = False) -> None:
        """Add or replace the bulk binding that kernels only read; as untyped words if told to."""
        words = flag(words, f"{self._unit}.set_heap, words")
        area = self._fill("heap", array, read_only=True)
        self._areas["heap"] = replace(area, dtype=None, shape=None, record=None) if words else area

    def _allocate(self, nbytes: int) -> Storage:
        return LEDGER.allocate(self._device, nbytes, f"{self._unit}, memory")

    def _fill(self, name: str, data: Any, *, read_only: bool) -> Area:
        where = f"{self._unit}, binding {name!r}"
        if is_array(data) and data.dtype.names:
            array, dtype, record = np.ascontiguousarray(data), None, data.dtype
        else:
            (array, dtype), record = read_array(data, where), None
        storage = self._allocate(array.nbytes)
        storage.write(0, array.reshape(-1).view(np.uint8))
        return Area(name, storage, dtype, read_only, array.shape, record)

    def clear(self) -> None:
        """Let go of all memory."""
        self._areas = {}

    # finding

    def find(self, name: str, where: str) -> Area:
        """Return a binding; ArgumentError names those there are."""
        if not isinstance(name, str):
            raise DTypeError(
                where, "not the name of a binding", expected="a str", got=repr(name),
                remedy=f"Use one of {', '.join(map(repr, self._in_order()))}",
            )  # fmt: skip
        found = self._areas.get(name)
        if found is None:
            raise ArgumentError(where, f"no binding is called {name!r}", remedy=near_matches(name, list(self._areas)))
        return found

    def resolve(self, kernel: VerifiedKernel, bind: Mapping[str, str] | None) -> list[Storage | ShapedStorage]:
        """Return the storage for each buffer of a kernel: by name (``bind`` maps some), else in order.

        The order is registers, globals, heap, then the others as they were added.
        """
        buffers = kernel.bound
        where = f"{self._unit}.dispatch of {kernel.name!r}"
        areas = [self.find(name, f"{self._unit}.dispatch") for name in self.names(kernel, bind)]
        for memory, area in zip(buffers, areas, strict=True):
            if area.read_only and memory in kernel.writes:
                raise ArgumentError(
                    where, f"the kernel writes {memory.name!r}, bound to {area.name!r}", expected="a writable binding",
                    got="read-only data", remedy="Bind registers or an extra binding",
                )  # fmt: skip
            raw = isinstance(kernel, ForeignKernel)  # which sees words, whatever they are
            if area.dtype is not None and area.dtype.scalar != memory.dtype.scalar and not raw:
                raise DTypeError(
                    where, f"buffer {memory.name!r} does not match binding {area.name!r}", expected=memory.dtype,
                    got=area.dtype, remedy="Bind a buffer of that type",
                )  # fmt: skip
        return [a.storage if a.shape is None else ShapedStorage(a.storage, a.shape, a.record) for a in areas]

    def instance(self, kernel: Any, bind: Mapping[str, str] | None, where: str) -> Any:
        """Return the instance of a kernel over types that the bindings of its buffers tell; any other as it is."""
        if not isinstance(kernel, KernelFunction) or not kernel.variables:
            return kernel
        declared = [
            Memory(name, u32, Space.BUFFER) for name, each in kernel.annotations.items() if isinstance(each, BufferType)
        ]
        areas = [self.find(name, where) for name in self._names(declared, dict(bind or {}), where)]
        known = {m.name: a.dtype for m, a in zip(declared, areas, strict=True) if a.dtype is not None}
        return kernel.fitting(known, where)

    def names(self, kernel: VerifiedKernel, bind: Mapping[str, str] | None) -> list[str]:
        """Return which bindings a kernel's buffers mean, by name or in order; ArgumentError if there is none."""
        where = f"{self._unit}.dispatch of {kernel.name!r}"
        if bind is not None and not isinstance(bind, Mapping):
            raise DTypeError(
                where, "bind is no mapping", expected="names of buffers with the bindings they mean", got=repr(bind),
                remedy='Write bind={"x": "registers"}',
            )  # fmt: skip
        return self._names(kernel.bound, dict(bind or {}), where)

    def _names(self, buffers: Sequence[Memory], bind: dict[str, str], where: str) -> list[str]:
        stray = next((name for name in bind if name not in {m.name for m in buffers}), None)
        if stray is not None:
            raise ArgumentError(
                where, f"bind names {stray!r}, which is no buffer of the kernel",
                expected=", ".join(m.name for m in buffers) or "nothing, it has no buffers", got=stray,
                remedy=near_matches(stray, [m.name for m in buffers]),
            )  # fmt: skip
        known = [m.name in self._areas or m.name in bind for m in buffers]
        if all(known):
            return [bind.get(m.name, m.name) for m in buffers]
        named = any(known) or any(m.name in _RESERVED for m in buffers)  # those mean what they say
        if not named and len(buffers) <= len(self._areas):
            return self._in_order()[: len(buffers)]
        missing = next(m.name for m, k in zip(buffers, known, strict=True) if not k)
        raise ArgumentError(
            where, f"buffer {missing!r} has no binding", expected=", ".join(self._in_order()), got=missing,
            remedy="Boot with heap=array, or call set_heap" if missing == "heap"
            else f"Write bind={{{missing!r}: ...}}, or boot with bindings={{{missing!r}: (dtype, size)}}",
        )  # fmt: skip

    def _in_order(self) -> list[str]:
        """Return the names: registers, globals, heap, then the others as they were added."""
        return [n for n in _RESERVED if n in self._areas] + [n for n in self._areas if n not in _RESERVED]
