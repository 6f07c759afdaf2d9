"""A unit: named memory on a device, and the chain of dispatches recorded for it.

Layer: runtime. ``registers`` and ``globals`` are 32-bit words that a kernel may read as any type;
``heap`` is read-only bulk data; further bindings are typed. Reads and writes take their place in the
order of the unit's submissions. Invariant: after ``shutdown`` every call is a StateError.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from loom.core.dtype import DType, of_numpy, u32
from loom.core.errors import ArgumentError, DTypeError, ShapeError, StateError, near_matches
from loom.ir.kernel import Memory
from loom.runtime.chain.arguments import verified_kernel
from loom.runtime.chain.program import Program
from loom.runtime.chain.record import Chain, Segment
from loom.runtime.device import Device
from loom.runtime.storage import Storage

__all__ = ["Unit", "boot"]

_WORD_NBYTES = 4
_numbers = itertools.count()


@dataclass(slots=True)
class _Area:
    """One binding of a unit; ``dtype`` None means untyped 32-bit words."""

    storage: Storage
    dtype: DType | None
    read_only: bool = False

    @property
    def step(self) -> int:
        """Bytes per unit of offset."""
        return self.dtype.nbytes if self.dtype is not None else _WORD_NBYTES


def boot(
    registers: int,
    globals: int = 0,  # noqa: A002 - the seeds' name
    heap: Any = None,
    bindings: Mapping[str, Any] | Sequence[tuple[str, DType, int]] = (),
    device: str | Device | None = None,
    name: str | None = None,
) -> Unit:
    """Return a unit with zeroed memory.

    ``registers`` and ``globals`` count 32-bit words; ``heap`` is an array that kernels only read;
    ``bindings`` adds typed buffers: ``{"x": (loom.f32, 1024)}``, ``{"x": array}`` or (name, dtype, size)
    triples. Raises ArgumentError for sizes that make no sense and DeviceError for a missing device.

    >>> import loom
    >>> with loom.boot(registers=8) as unit:
    ...     unit.write([1, 2, 3], binding="registers")
    ...     unit.read(0, 3).tolist()
    [1, 2, 3]
    """
    return Unit(registers, globals, heap, bindings, device, name)


class Unit:
    """See ``boot``. A context manager: leaving it shuts the unit down."""

    def __init__(
        self, registers: int, globals_: int, heap: Any, bindings: Any, on: str | Device | None, name: str | None
    ) -> None:
        self.name = name if name is not None else f"unit {next(_numbers)}"
        self._lock = threading.RLock()
        self._chain: Chain | None = Chain(on, name=self.name)
        self.device = self._chain.device
        self._areas: dict[str, _Area] = {}
        self._add_words("registers", registers)
        self._add_words("globals", globals_)
        if heap is not None:
            self._areas["heap"] = self._array_area("heap", heap, read_only=True)
        for extra, spec in _bindings(bindings, self.name):
            self._add_binding(extra, spec)

    # memory

    def _add_words(self, name: str, words: int) -> None:
        if isinstance(words, bool) or not isinstance(words, (int, np.integer)) or words < 0:
            raise ArgumentError(
                f"{self.name}, {name}", "unusable size", expected="a number of 32-bit words, at least 0",
                got=repr(words), remedy="Pass an int",
            )  # fmt: skip
        self._areas[name] = _Area(self.device.allocate(int(words) * _WORD_NBYTES), None)

    def _add_binding(self, name: str, spec: Any) -> None:
        if name in self._areas:
            raise ArgumentError(f"{self.name}, bindings", f"{name!r} is there already", remedy="Choose another name")
        if isinstance(spec, tuple) and len(spec) == 2 and isinstance(spec[0], DType):
            dtype, size = spec
            if not isinstance(size, (int, np.integer)) or size < 0:
                raise ArgumentError(
                    f"{self.name}, binding {name!r}", "unusable size", expected="a number of elements, at least 0",
                    got=repr(size), remedy="Pass (dtype, size)",
                )  # fmt: skip
            self._areas[name] = _Area(self.device.allocate(int(size) * dtype.nbytes), dtype)
        else:
            self._areas[name] = self._array_area(name, spec, read_only=False)

    def _array_area(self, name: str, data: Any, *, read_only: bool) -> _Area:
        array = np.ascontiguousarray(data)
        dtype = of_numpy(array.dtype, f"{self.name}, {name}")
        storage = self.device.allocate(array.nbytes)
        storage.write(0, array.reshape(-1).view(np.uint8))
        return _Area(storage, dtype, read_only)

    def set_heap(self, array: Any) -> None:
        """Replace the read-only bulk binding, for dispatches recorded from now on."""
        with self._lock:
            self._alive("set_heap")
            self._areas["heap"] = self._array_area("heap", array, read_only=True)

    def write(self, data: Any, offset: int = 0, *, binding: str = "globals") -> None:
        """Copy ``data`` into a binding, after what was launched before and for every later launch.

        ``offset`` counts words of ``registers`` and ``globals``, elements of typed bindings. Data for words
        is of a 32-bit dtype (lists of ints become u32, or i32 with negative ones; floats f32).
        """
        with self._lock:
            area = self._area(binding, "write")
            array = _as_data(data, area.dtype, f"{self.name}.write to {binding!r}")
            self._check_range(area, binding, "write", offset, array.nbytes)
            self._timeline("write").settle()
            area.storage.write(offset * area.step, array.reshape(-1).view(np.uint8))

    def read(
        self, offset: int = 0, count: int | None = None, dtype: Any = None, *, binding: str = "registers"
    ) -> np.ndarray[Any, Any]:
        """Return a copy of ``count`` elements (None: to the end) as ``dtype``, after what was launched before.

        ``dtype`` is a Loom or numpy type, by default u32 for words and its own for a typed binding.
        """
        with self._lock:
            area = self._area(binding, "read")
            kind = _read_dtype(dtype, area, f"{self.name}.read of {binding!r}")
            if count is None and isinstance(offset, (int, np.integer)) and offset >= 0:
                count = max(0, area.storage.nbytes - int(offset) * area.step) // kind.itemsize
            nbytes = (count if isinstance(count, (int, np.integer)) else -1) * kind.itemsize
            self._check_range(area, binding, "read", offset, nbytes)
            self._timeline("read").settle()
            return area.storage.read(int(offset) * area.step, int(nbytes)).view(kind)

    def fill(self, value: Any, offset: int = 0, count: int | None = None, *, binding: str = "registers") -> None:
        """Set ``count`` words or elements (None: to the end) to one value."""
        with self._lock:
            area = self._area(binding, "fill")
            if count is None:
                count = max(0, area.storage.nbytes // area.step - offset)
            one = _as_data([value], area.dtype, f"{self.name}.fill of {binding!r}")
            self.write(np.full(max(0, int(count)), one[0]), offset, binding=binding)

    def copy_from(
        self,
        other: Unit,
        *,
        source: str = "registers",
        start: int = 0,
        count: int | None = None,
        target: str | None = None,
        offset: int = 0,
    ) -> None:
        """Copy ``count`` words or elements from ``other``'s binding ``source`` to this unit's ``target``.

        ``target`` is by default the binding of the same name. Both must count in the same size.
        """
        target = source if target is None else target
        origin = other._area(source, "copy_from")
        area = self._area(target, "copy_from")
        if origin.step != area.step:
            raise DTypeError(
                f"{self.name}.copy_from", "bindings of different element size", expected=area.step, got=origin.step,
                remedy="Copy between bindings of one type",
            )  # fmt: skip
        available = origin.storage.nbytes // origin.step
        wanted = max(0, available - start) if count is None else count
        other._check_range(origin, source, "copy_from", start, wanted * origin.step)
        with self._lock:
            self._check_range(area, target, "copy_from", offset, wanted * area.step)
            other._timeline("copy_from").settle()
            self._timeline("copy_from").settle()
            data = origin.storage.read(start * origin.step, wanted * origin.step)
            area.storage.write(offset * area.step, data)

    def _area(self, binding: str, verb: str) -> _Area:
        self._alive(verb)
        found = self._areas.get(binding)
        if found is None:
            raise ArgumentError(
                f"{self.name}.{verb}",
                f"no binding is called {binding!r}",
                remedy=near_matches(binding, list(self._areas)),
            )
        return found

    def _check_range(self, area: _Area, binding: str, verb: str, offset: Any, nbytes: int) -> None:
        size = area.storage.nbytes
        if (
            not isinstance(offset, (int, np.integer))
            or offset < 0
            or nbytes < 0
            or int(offset) * area.step + nbytes > size
        ):
            held = size // area.step
            end = f"{offset} + {max(0, nbytes) // area.step}" if nbytes >= 0 else repr(offset)
            raise ShapeError(
                f"{self.name}.{verb}", f"range outside {binding!r}", expected=f"within its {held} elements", got=end,
                remedy="Check offset and count",
            )  # fmt: skip

    # dispatches

    def dispatch(
        self, kernel: Any, params: Sequence[Any] = (), groups: Any = 1, *, bind: Mapping[str, str] | None = None
    ) -> None:
        """Record a dispatch; nothing runs yet.

        ``kernel`` is a kernel function or a built kernel; ``params`` its push constants in order;
        ``groups`` the workgroups, an int or up to three. Its buffers are found by name among this unit's
        bindings (``bind`` may map names), or, if no name is known here, in order: registers, globals,
        heap, extra bindings.
        """
        with self._lock:
            chain = self._alive("dispatch")
            chain.dispatch(kernel, self._resolve(kernel, bind), params, groups)

    def dispatch_indirect(
        self,
        kernel: Any,
        params: Sequence[Any] = (),
        buffer: str = "registers",
        offset: int = 0,
        *,
        bind: Mapping[str, str] | None = None,
    ) -> None:
        """Record a dispatch whose three group counts are the words at ``offset`` of ``buffer`` when it starts.

        A count of zero skips it.
        """
        with self._lock:
            chain = self._alive("dispatch_indirect")
            area = self._area(buffer, "dispatch_indirect")
            chain.dispatch_indirect(kernel, self._resolve(kernel, bind), params, area.storage, offset * area.step)

    @contextmanager
    def repeat(self, repeats: int, params: Any = None) -> Iterator[Segment]:
        """Record the dispatches made inside the ``with`` as done ``repeats`` times (see ``Chain.repeat``)."""
        with self._lock, self._alive("repeat").repeat(repeats, params) as segment:
            yield segment

    def _resolve(self, kernel: Any, bind: Mapping[str, str] | None) -> list[Storage]:
        """Return the storage for each buffer of a kernel."""
        verified = verified_kernel(kernel, f"{self.name}.dispatch")
        buffers = verified.kernel.buffers
        where = f"{self.name}.dispatch of {verified.name!r}"
        names = self._names(buffers, dict(bind or {}), where)
        areas = [self._area(name, "dispatch") for name in names]
        for memory, area, name in zip(buffers, areas, names, strict=True):
            if area.read_only and memory in verified.writes:
                raise ArgumentError(
                    where, f"the kernel writes {memory.name!r}, bound to {name!r}", expected="a writable binding",
                    got="read-only data", remedy="Bind registers or an extra binding",
                )  # fmt: skip
            if area.dtype is not None and area.dtype.scalar != memory.dtype.scalar:
                raise DTypeError(
                    where, f"buffer {memory.name!r} does not match binding {name!r}", expected=memory.dtype,
                    got=area.dtype, remedy="Bind a buffer of that type",
                )  # fmt: skip
        return [a.storage for a in areas]

    def _names(self, buffers: Sequence[Memory], bind: dict[str, str], where: str) -> list[str]:
        known = [m.name in self._areas or m.name in bind for m in buffers]
        if all(known):
            return [bind.get(m.name, m.name) for m in buffers]
        if not any(known) and len(buffers) <= len(self._areas):
            return list(self._areas)[: len(buffers)]
        missing = next(m.name for m, k in zip(buffers, known, strict=True) if not k)
        raise ArgumentError(
            where, f"buffer {missing!r} has no binding", expected=", ".join(self._areas), got=missing,
            remedy=f"Write bind={{{missing!r}: ...}}, or boot with bindings={{{missing!r}: (dtype, size)}}",
        )  # fmt: skip

    def build(self) -> Program:
        """Plan and compile what was recorded since the last build."""
        with self._lock:
            return self._alive("build").build()

    # life

    def _timeline(self, verb: str) -> Any:
        return self._alive(verb).timeline

    def _alive(self, verb: str) -> Chain:
        if self._chain is None:
            raise StateError(
                f"{self.name}.{verb}", "the unit is shut down", expected="a running unit", remedy="Boot a new one"
            )
        return self._chain

    def shutdown(self) -> None:
        """Wait for what is running and free the memory; calling it again does nothing."""
        with self._lock:
            if self._chain is not None:
                self._chain.timeline.drain()
                self._chain = None
                self._areas = {}

    def __enter__(self) -> Unit:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        state = "shut down" if self._chain is None else ", ".join(self._areas)
        return f"<loom unit {self.name!r} on {self.device.name}: {state}>"


def _bindings(bindings: Any, unit: str) -> list[tuple[str, Any]]:
    if isinstance(bindings, Mapping):
        return list(bindings.items())
    pairs = []
    for item in bindings:
        if not isinstance(item, tuple) or len(item) != 3:
            raise ArgumentError(
                f"{unit}, bindings", "not a binding", expected="(name, dtype, size)", got=repr(item),
                remedy="Pass a mapping or triples",
            )  # fmt: skip
        pairs.append((item[0], (item[1], item[2])))
    return pairs


def _as_data(data: Any, dtype: DType | None, where: str) -> np.ndarray[Any, Any]:
    """Return data as a contiguous array of a binding's type, or of a 32-bit type for words."""
    if isinstance(data, np.ndarray) or hasattr(data, "__array_interface__") or hasattr(data, "dtype"):
        array = np.ascontiguousarray(data)
        found = of_numpy(array.dtype, where)
        fits = found.scalar == dtype.scalar if dtype is not None else found.bits == 32
        if not fits:
            wanted = dtype if dtype is not None else "a 32-bit dtype (uint32, int32, float32)"
            raise DTypeError(
                where, "data of the wrong type", expected=wanted, got=array.dtype,
                remedy="Convert with array.astype(...), or array.view(numpy.uint32) to copy raw words",
            )  # fmt: skip
        return array
    try:
        array = np.asarray(data)
    except (ValueError, OverflowError) as error:
        raise DTypeError(where, f"not an array ({error})", remedy="Pass numbers") from None
    return _exact(array, _list_dtype(array, dtype, where), where)


def _list_dtype(array: np.ndarray[Any, Any], dtype: DType | None, where: str) -> np.dtype[Any]:
    if array.size == 0:
        return dtype.numpy if dtype is not None else u32.numpy
    if array.dtype.kind not in "biuf":
        raise DTypeError(where, "not numbers", expected="ints or floats", got=array.dtype, remedy="Pass numbers")
    if dtype is not None:
        return dtype.numpy
    if array.dtype.kind == "f":
        return np.dtype(np.float32)
    return np.dtype(np.int32) if array.min() < 0 else np.dtype(np.uint32)


def _exact(array: np.ndarray[Any, Any], kind: np.dtype[Any], where: str) -> np.ndarray[Any, Any]:
    """Convert a list's values; whole numbers must fit and stay whole."""
    with np.errstate(all="ignore"):
        result = array.astype(kind)
    if kind.kind in "iu" and array.size and not (result == array).all():
        at = int(np.argmax((result != array).reshape(-1)))
        raise ArgumentError(
            where, f"value {array.reshape(-1)[at]} does not fit", expected=kind, got=array.reshape(-1)[at],
            remedy="Use values of the binding's type",
        )  # fmt: skip
    return np.ascontiguousarray(result)


def _read_dtype(dtype: Any, area: _Area, where: str) -> np.dtype[Any]:
    if dtype is None:
        return (area.dtype or u32).numpy
    found = dtype if isinstance(dtype, DType) else of_numpy(dtype, where)
    if area.dtype is not None and found.scalar != area.dtype.scalar:
        raise DTypeError(
            where, "read as another type", expected=area.dtype, got=found, remedy="Leave dtype out, then use .view()"
        )
    return found.numpy
