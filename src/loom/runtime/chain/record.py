"""Records dispatches. Nothing runs here, and repeated dispatches cost no Python each.

Layer: runtime. Invariant: what is recorded has been checked and cannot fail to build.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from loom.core.arrays import read_array
from loom.core.dtype import u32
from loom.core.errors import ArgumentError, DeviceError, DTypeError, ShapeError, StateError, near_matches
from loom.core.given import is_array, text
from loom.core.late import late
from loom.core.numerics import Guarantee
from loom.core.process.bound import ProcessBound
from loom.core.tracebacks import brief, brief_class, brief_context
from loom.ir.kernel import Access, Memory, Space
from loom.ir.verified import VerifiedKernel
from loom.runtime.chain.arguments import (
    as_verified,
    bound_shape,
    check_binding,
    encode_params,
    on_another_device,
)
from loom.runtime.chain.generics import instance_of
from loom.runtime.chain.mirrors import Mirrors, as_data
from loom.runtime.chain.program import Program
from loom.runtime.chain.timeline import Timeline
from loom.runtime.memory.storage import ShapedStorage, Storage, TypedStorage
from loom.runtime.plans.dispatch import Binding, Dispatch, Segment
from loom.runtime.plans.groups import encode_groups, is_line, refuse_far_elements
from loom.runtime.plans.plan import make_plan
from loom.runtime.port.device import Device
from loom.runtime.registry import device as chosen_device
from loom.runtime.registry import one_device

if TYPE_CHECKING:
    from loom.runtime.chain import extents as lengths
    from loom.runtime.chain import tables
    from loom.runtime.chain.meetings import Doubt
    from loom.runtime.plans import library
else:
    lengths, tables = late("loom.runtime.chain", "extents tables")
    library = late("loom.runtime.plans", "library")

__all__ = ["Chain"]

MOST_REPEATS = 1 << 24
"""Turns of a ``repeat``: each takes some 200 bytes of the host's memory on the CPU, 900 for Vulkan."""
_COUNTS = Memory("counts", u32, Space.BUFFER, access=Access.READ)
"""What an indirect dispatch takes its group counts from."""


@brief_class
class Chain(ProcessBound):
    """A recording for one device. ``build`` turns what was recorded so far into a program.

    Args:
        on: Device, or its name; None: the default device.
        name: Name, for errors and profiles.
        device: The same as ``on``; one of the two is named.

    Raises:
        ArgumentError: ``device`` and ``on`` differ.
        DTypeError: Not a device; the name is no text.
        DeviceError: There is no such device.

    >>> import loom, numpy
    >>> @loom.kernel
    ... def double(x: loom.InOut[loom.f32]):
    ...     i = loom.global_id()
    ...     if i < len(x):
    ...         x[i] = x[i] * 2
    >>> data = numpy.arange(4, dtype=numpy.float32)
    >>> chain = Chain("cpu")
    >>> chain.dispatch(double, [data])
    >>> chain.build().run()
    >>> data.tolist()
    [0.0, 2.0, 4.0, 6.0]
    """

    def __init__(
        self,
        on: str | Device | None = None,
        *,
        name: str = "chain",
        device: str | Device | None = None,
    ) -> None:
        self.device = chosen_device(one_device(device, on, "loom.Chain"))
        self.name = text(name, "loom.Chain, name")
        self.timeline = Timeline()
        self._mirrors = Mirrors(self.device)
        self._segments: list[Segment] = []
        self._open: Segment | None = None
        self.reports = False
        """What is recorded tells of an index outside, whatever the settings: a call that is not proved inside does."""
        self.is_tried = False
        """Lanes of what is recorded are known to stay apart: a call looks at them by itself."""
        self._doubts: list[Doubt] = []

    def __len__(self) -> int:
        """Return the number of dispatches recorded and not yet built."""
        return sum(s.repeats * len(s.dispatches) for s in self._segments)

    @property
    def recorded(self) -> list[Dispatch]:
        """Dispatches recorded and not yet built, those of a repeat once."""
        return [d for segment in self._segments for d in segment.dispatches]

    @property
    def segments(self) -> tuple[Segment, ...]:
        """What was recorded and not yet built, with its repeats."""
        return tuple(self._segments)

    @property
    def conditions(self) -> tuple[str, ...]:
        """What must be so for the guarantee of what was recorded and not yet built (see ``Program.conditions``)."""
        return tuple(dict.fromkeys(doubt.text for doubt in self._doubts))

    @brief
    def dispatch(
        self,
        kernel: Any,
        buffers: Sequence[Any] | Mapping[str, Any],
        params: Sequence[Any] | Mapping[str, Any] = (),
        groups: Any = None,
    ) -> None:
        """Record a kernel over workgroups; nothing runs yet.

        What the device cannot use in place is copied there before each run, and back, if the kernel writes it, when the
        run is waited for. A buffer of several dimensions takes arrays of as many, one of records structured arrays.

        Without ``groups`` there are as many as have something to do: the kernel's guards (``if i < len(y)``) tell how
        far it reaches. A kernel of one dimension without guards has a lane for each element of the longest buffer, one
        that asks for no index of the dispatch one group; ArgumentError where none of this is so.

        Args:
            kernel: Kernel, or (on Vulkan) a module of SPIR-V: its bytes, or the path of its ``.spv`` file.
            buffers: Buffers in the kernel's order, or by name: contiguous numpy arrays of the declared dtype, arrays of
                others through DLPack, ``loom.array``, tensors (a parameter, where the kernel writes), storage of the
                device.
            params: Push constants, in order or by name, exact in their types; what is left out takes its default.
            groups: Workgroups, an int or up to three; None: as many as have something to do.

        Raises:
            ArgumentError: A buffer or a parameter is missing, unknown, or does not fit its type; a buffer is read-only,
                or shares memory with one that is written; too many groups, or their number cannot be told; no module
                can be read there.
            DTypeError: Not a kernel; not a buffer, or of another dtype; ``params`` or ``groups`` are no numbers.
            ShapeError: A buffer, ``groups`` or a parameter's array has another shape.
            KernelError: The kernel cannot be accepted.
            DeviceError: The device lacks a feature that the kernel asks for.
        """
        self._record(kernel, buffers, params, groups, None)

    @brief
    def dispatch_indirect(
        self,
        kernel: Any,
        buffers: Sequence[Any] | Mapping[str, Any],
        params: Sequence[Any] | Mapping[str, Any],
        counts: Storage | np.ndarray[Any, Any],
        offset: int = 0,
    ) -> None:
        """Record ``kernel`` over group counts read from ``counts`` (three u32 at byte ``offset``) when it starts.

        Args:
            kernel: Kernel, or (on Vulkan) a module of SPIR-V: its bytes, or the path of its ``.spv`` file.
            buffers: Buffers, as of ``dispatch``.
            params: Push constants, in order or by name, exact in their types; what is left out takes its default.
            counts: Numpy array or storage that holds three u32 when the dispatch starts.
            offset: Byte at which they begin, a multiple of 4.

        Raises:
            ArgumentError: The counts lie outside the buffer; a module of SPIR-V; buffers and parameters as of
                ``dispatch``.
            DTypeError: Not a kernel; not a buffer, or of another dtype; ``params`` are no numbers.
            ShapeError: A buffer or a parameter's array has another shape.
            KernelError: The kernel cannot be accepted.
            DeviceError: The device lacks a feature that the kernel asks for.
        """
        where = f"{self.name}.dispatch_indirect"
        counts = as_data(counts, _COUNTS, where)
        check_binding(_COUNTS, counts, where)
        last = counts.nbytes - 12
        if not isinstance(offset, (int, np.integer)) or not 0 <= offset <= last or offset % 4:
            raise ArgumentError(
                where, "the group counts lie outside the buffer",
                expected=f"a multiple of 4 up to {last}" if last >= 0 else "a buffer of at least 12 bytes",
                got=repr(offset) if last >= 0 else f"{counts.nbytes} bytes",
                remedy="Leave room for three 32-bit words",
            )  # fmt: skip
        storage = self._mirrors.storage(self._plain(counts, where), where)
        self._record(kernel, buffers, params, 0, (storage, int(offset)))

    @brief_context
    def repeat(self, repeats: int, params: Any = None) -> Generator[Segment, None, None]:
        """Record the dispatches made inside the ``with`` as done ``repeats`` times.

        A parameter that is an array of length ``repeats`` gives each turn its value. ``params`` is a
        convenience: an array of shape (repeats, columns) or a structured array of length repeats, whose
        columns are then at ``segment.params``.

        Args:
            repeats: Number of turns, at least 0.
            params: Array of shape (repeats, columns), or a structured array of ``repeats``; None: none.

        Returns:
            Context manager of the segment, whose ``params`` are the columns.

        Raises:
            ArgumentError: Not a whole number, at least 0; too many turns for one recording.
            DTypeError: ``params`` are no numbers.
            ShapeError: Not one row of ``params`` for each turn.
            StateError: Another repeat is open.
        """
        if isinstance(repeats, bool) or not isinstance(repeats, (int, np.integer)) or repeats < 0:
            raise ArgumentError(
                f"{self.name}.repeat", "unusable number of repeats", expected="a whole number of at least 0",
                got=repr(repeats), remedy="Pass an int",
            )  # fmt: skip
        if repeats > MOST_REPEATS:
            raise ArgumentError(
                f"{self.name}.repeat", "too many repeats for one recording", expected=f"at most {MOST_REPEATS}",
                got=int(repeats), remedy="Record fewer, and launch the program several times",
            )  # fmt: skip
        if self._open is not None:
            raise StateError(f"{self.name}.repeat", "repeats cannot be nested", remedy="Record one after the other")
        values = None if params is None else _rows_of(params, f"{self.name}.repeat, params")
        if values is not None and (values.shape[:1] != (repeats,) or values.ndim > 2):
            raise ShapeError(
                f"{self.name}.repeat", "params must have one row per repeat", expected=f"({repeats}, columns)",
                got=values.shape, remedy="Match the first dimension",
            )  # fmt: skip
        self._open = Segment(int(repeats), values=values)
        try:
            yield self._open
            if self._open.repeats and self._open.dispatches:
                self._segments.append(self._open)
        finally:
            self._open = None

    def _record(
        self,
        kernel: Any,
        buffers: Sequence[Any] | Mapping[str, Any],
        params: Sequence[Any] | Mapping[str, Any],
        groups: Any,
        indirect: tuple[Storage, int] | None,
    ) -> None:
        kernel = instance_of(kernel, buffers, f"{self.name}.dispatch")
        verified = as_verified(kernel, f"{self.name}.dispatch")
        where = f"{self.name}.dispatch of {verified.name!r}"
        self._check_guarantee(verified, where)
        if verified.language == "spirv":
            self._check_foreign(where, indirect is not None)
        if verified.language == "library":
            library.require_fast(cast("library.LibraryKernel", verified).call, self.device, where)
        repeats = self._open.repeats if self._open is not None else 1
        bindings, shapes = self._bind(verified, buffers, where)
        elements = [b.elements for b in bindings[: len(verified.bound)]]
        refuse_far_elements(verified, elements, shapes, where)
        slots = encode_params(verified, params, repeats, where, shapes)
        if groups is None:
            groups = lengths.groups_for(verified, elements, slots, where)
        dispatch = Dispatch(
            verified, bindings, slots, encode_groups(verified, groups, repeats, where), indirect, self.reports
        )
        if not (verified.is_vouched or self.is_tried or (is_line(groups) and not indirect and verified.is_apart)):
            doubt = _meetings().doubt_of(dispatch)
            if doubt is not None:
                self._doubts.append(doubt)
        if self._open is not None:
            self._open.dispatches.append(dispatch)
            return
        if not self._segments or self._segments[-1].repeats != 1:
            self._segments.append(Segment(1))
        self._segments[-1].dispatches.append(dispatch)

    def _check_guarantee(self, kernel: VerifiedKernel, where: str) -> None:
        asked: Guarantee = kernel.guarantee
        if asked > self.device.guarantee:
            raise DeviceError(
                where, f"device {self.device.name!r} cannot give what the kernel asks",
                expected=asked.name, got=self.device.guarantee.name, remedy="Use another device",
            )  # fmt: skip

    def _check_foreign(self, where: str, indirect: bool) -> None:
        if self.device.kind != "vulkan":
            raise DeviceError(
                where, f"device {self.device.name!r} cannot run SPIR-V", expected="a Vulkan device",
                got=self.device.kind, remedy="Boot with device='vulkan', or write the kernel with @loom.kernel",
            )  # fmt: skip
        if indirect:
            raise ArgumentError(
                where, "SPIR-V cannot be dispatched indirectly", expected="a kernel of Loom's", got="a module",
                remedy="Dispatch it with groups known to the host",
            )  # fmt: skip

    def _bind(
        self, kernel: VerifiedKernel, buffers: Any, where: str
    ) -> tuple[tuple[Binding, ...], dict[str, tuple[int, ...]]]:
        """Return what each buffer of a kernel sees, and the shapes of those that have one."""
        bindings: list[Binding] = []
        shapes: dict[str, tuple[int, ...]] = {}
        given = iter(_one_each(kernel.bound, buffers, where))
        for memory in kernel.buffers:
            if memory.data is not None:
                table = tables.table_of(self.device, memory.data)
                bindings.append(Binding(table, len(memory.data) // memory.dtype.nbytes))
                continue
            named = f"{where}, buffer {memory.name!r}"
            data = as_data(next(given), memory, named)
            elements = check_binding(memory, data, where)
            if memory.ndim:
                shapes[memory.name] = bound_shape(memory, data, where)
            storage = self._mirrors.storage(self._plain(data, named), named, writes=memory in kernel.writes)
            bindings.append(Binding(storage, elements))
        _refuse_overlaps(kernel, bindings, where)
        return tuple(bindings), shapes

    def _plain(self, data: Any, where: str) -> Any:
        """Return storage of which the shape is known as storage; ArgumentError for that of another device."""
        if isinstance(data, TypedStorage) and data.device is not self.device:
            raise on_another_device(where, self.device, data.device)
        return data.storage if isinstance(data, ShapedStorage) else data

    def build(self, guarantee: Guarantee | None = None) -> Program:
        """Plan what was recorded, compile it, and start recording anew.

        Args:
            guarantee: Least ``loom.Guarantee`` of the results; None: none.

        Returns:
            Program, to be run any number of times.

        Raises:
            ArgumentError: Not a ``loom.Guarantee``.
            DeviceError: The results cannot be promised so much: SPIR-V of others is promised no more than RUN_TO_RUN, a
                kernel with order="any" nothing.
            StateError: A repeat is open.
        """
        if self._open is not None:
            raise StateError(f"{self.name}.build", "a repeat is open", remedy="Build after its with block")
        plan = make_plan(self._segments, self._guarantee(guarantee))
        doubts = _meetings().doubts_of(self._doubts, plan) if self._doubts else ()
        program = Program(
            self.device.build(plan), plan, self.timeline, self.name, self._mirrors.take(self._storage_written()), doubts
        )
        self._segments, self._doubts = [], []
        return program

    def _storage_written(self) -> list[Storage]:
        """Return the storage that what was recorded writes."""
        return [
            binding.storage
            for segment in self._segments
            for d in segment.dispatches
            for memory, binding in zip(d.kernel.buffers, d.bindings, strict=True)
            if memory in d.kernel.writes
        ]

    def _guarantee(self, asked: Guarantee | None) -> Guarantee:
        """Return what is promised of the results of what was recorded: at least what is asked."""
        if asked is not None and not isinstance(asked, Guarantee):
            raise ArgumentError(f"{self.name}.build, guarantee", "not a guarantee", expected="one of loom.Guarantee",
                                got=repr(asked), remedy="Write loom.Guarantee.BIT_EXACT")  # fmt: skip
        kernels = [d.kernel for segment in self._segments for d in segment.dispatches]
        others = {k.guarantee: f"{k.name!r} is not Loom's code" for k in kernels if k.language != "loom"}
        for k in kernels:
            if k.is_loose:
                others[Guarantee.FAST] = f"kernel {k.name!r} has order='any'"
        if self._mirrors.is_fast:
            others[Guarantee.FAST] = "an array depends on guarantee='fast' or order='any'"
        offered = min([self.device.guarantee, *others])
        foreign = others.get(offered)
        if asked is not None and asked > offered:
            raise DeviceError(
                f"{self.name}.build", "the results cannot be promised so much", expected=asked.name,
                got=offered.name + (f", for {foreign}" if foreign is not None else ""),
                remedy="Write it with @loom.kernel and no order, or ask for less",
            )  # fmt: skip
        return offered


@cache
def _meetings() -> ModuleType:
    """Return the module, which programs of the library's kernels do not load."""
    from loom.runtime.chain import meetings

    return meetings


def _one_each(declared: Sequence[Memory], buffers: Any, where: str) -> list[Any]:
    """Return what is given for each buffer declared, in order; ``buffers`` are a list, or a mapping by name."""
    names = [m.name for m in declared]
    if isinstance(buffers, Mapping):
        by_name = cast("Mapping[Any, Any]", buffers)
        stray = next((name for name in by_name if name not in names), None)
        if stray is not None:
            raise ArgumentError(
                where, f"the kernel has no buffer {stray!r}", expected=_describe(declared), got=repr(stray),
                remedy=near_matches(str(stray), names),
            )  # fmt: skip
        missing = next((name for name in names if name not in by_name), None)
        if missing is not None:
            raise ArgumentError(
                where, f"buffer {missing!r} is not given", expected=_describe(declared), got=", ".join(by_name),
                remedy=f"Add {missing!r} to the buffers",
            )  # fmt: skip
        return [by_name[name] for name in names]
    if not isinstance(buffers, (list, tuple)):
        raise DTypeError(
            where, "the buffers are no list", expected="a list with one buffer for each, in the kernel's order",
            got=type(buffers).__name__, remedy="Write [x, y], or a mapping by name",
        )  # fmt: skip
    listed = cast("Sequence[Any]", buffers)
    if len(listed) != len(declared):
        raise ArgumentError(
            where, f"the kernel has {len(declared)} buffers", expected=_describe(declared), got=len(listed),
            remedy="Bind one for each, in order",
        )  # fmt: skip
    return list(listed)


def _describe(declared: Sequence[Memory]) -> str:
    return ", ".join(f"{m.name}: {m.record or m.dtype}{f', {m.ndim}-d' * bool(m.ndim)}" for m in declared) or "none"


def _rows_of(params: Any, where: str) -> np.ndarray[Any, Any]:
    """Return the values of repeats: an array of numbers, or of records."""
    if is_array(params) and params.dtype.names:
        return params
    return read_array(params, where)[0]


def _refuse_overlaps(kernel: VerifiedKernel, bindings: Sequence[Binding], where: str) -> None:
    """Two buffers of one kernel must not share memory if one of them is written."""
    extents = [b.storage.extent() for b in bindings]
    written = [m in kernel.writes for m in kernel.buffers]
    for j in range(len(extents)):
        for i in range(j):
            overlap = max(extents[i][0], extents[j][0]) < min(extents[i][1], extents[j][1])
            if overlap and (written[i] or written[j]):
                names = kernel.buffers[i].name, kernel.buffers[j].name
                raise ArgumentError(
                    where, f"buffers {names[0]!r} and {names[1]!r} share memory and one is written",
                    expected="separate memory", remedy="Bind it once, to a parameter declared InOut",
                )  # fmt: skip
