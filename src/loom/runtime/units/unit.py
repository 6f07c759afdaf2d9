"""A unit: named memory on a device, and the chain of dispatches recorded for it.

Layer: runtime. ``registers`` and ``globals`` are 32-bit words that a kernel may read as any type;
``heap`` is read-only bulk data; further bindings are typed. Reads and writes take their place in the
order of the unit's submissions, whichever thread asks: nothing starts while memory is copied. Invariant: after
``shutdown`` every call is a StateError.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core.conversions import show
from loom.core.dtype import DType
from loom.core.errors import DTypeError, KernelFault, StateError
from loom.core.given import able, text
from loom.core.numerics import Guarantee
from loom.core.process.bound import ProcessBound
from loom.core.process.forks import renew_after_forks
from loom.core.tracebacks import brief, brief_class, brief_context
from loom.runtime.chain.arguments import as_verified
from loom.runtime.chain.program import Program
from loom.runtime.chain.record import Chain
from loom.runtime.chain.timeline import Timeline
from loom.runtime.memory.storage import ShapedStorage, Storage, copy_storage
from loom.runtime.plans.dispatch import Segment
from loom.runtime.port.budget import LEDGER
from loom.runtime.port.device import Device
from loom.runtime.port.pacing import Pacing, UnitStatus, as_pace
from loom.runtime.port.values import as_bindings, as_count
from loom.runtime.registry import one_device
from loom.runtime.units.bindings import WORD_NBYTES, Area, Bindings
from loom.runtime.units.monitor import publish_if_asked

if TYPE_CHECKING:
    from loom.runtime.memory.frames import Frame

__all__ = ["Unit", "boot", "turns"]

_numbers = itertools.count()
_UNPACED = ("cpu", "interp")
"""Kinds of devices that a pause gives nothing: a slow run there means that other programs use the machine."""


def boot(
    registers: int,
    globals: int = 0,  # noqa: A002 - a word of loom.flow
    heap: Any = None,
    bindings: Mapping[str, Any] | Sequence[tuple[str, DType, int]] = (),
    device: str | Device | None = None,
    name: str | None = None,
    *,
    on: str | Device | None = None,
) -> Unit:
    """Return a unit with zeroed memory, on a device.

    Args:
        registers: Number of 32-bit words, zeroed.
        globals: Number of 32-bit words beside them.
        heap: Array that kernels only read; None: none.
        bindings: Typed buffers: ``{"x": (loom.f32, 1024)}``, ``{"x": (loom.f32, (480, 640))}``, ``{"x": array}`` or
            triples (name, dtype, size); of dtype None they are words, as registers are.
        device: Device, or its name; None: the default device.
        name: Name, for errors and ``loom monitor``; None: "unit" and a number.
        on: The same as ``device``; one of the two is named.

    Raises:
        ArgumentError: A size below 0 or no whole number; an unusable binding; ``device`` and ``on`` differ.
        DTypeError: Not a device; the name is no text; a heap or a binding of no numbers.
        DeviceError: There is no such device; more units or bytes than ``max_units`` and ``vram_budget`` allow, or than
            there is room for.

    >>> import loom
    >>> with loom.boot(registers=8) as unit:
    ...     unit.write([1, 2, 3], binding="registers")
    ...     unit.read(0, 3).tolist()
    [1, 2, 3]
    """
    return Unit(registers, globals, heap, bindings, one_device(device, on, "loom.boot"), name)


@brief_class
class Unit(ProcessBound):
    """See ``boot``. A context manager: leaving it shuts the unit down."""

    def __init__(
        self,
        registers: int,
        globals_: int,
        heap: Any,
        bindings: Any,
        on: str | Device | None,
        name: str | None,
        words: Mapping[str, Storage] | None = None,
    ) -> None:
        self.name = text(name, "loom.boot, name") if name is not None else f"unit {next(_numbers)}"
        renew_after_forks(self, Unit._make_lock)
        self._chain: Chain | None = Chain(on, name=self.name)
        self._told = self._chain.timeline
        self._pacing = self._told.pacing = Pacing(delays=self._chain.device.kind not in _UNPACED)
        publish_if_asked()
        self.device = self._chain.device
        self._bindings = Bindings(self.name, self.device)
        self.is_parked = False
        LEDGER.admit(self)
        try:
            for binding, count in (("registers", registers), ("globals", globals_)):
                self._bindings.add_words(binding, count, None if words is None else words[binding])
            if heap is not None:
                self._bindings.set_heap(heap)
            for extra, spec in as_bindings(bindings, self.name):
                self._bindings.add(extra, spec)
        except BaseException:
            self.shutdown()
            raise

    def _make_lock(self) -> None:
        self._lock = threading.RLock()

    # memory

    def set_heap(self, array: Any, *, words: bool = False) -> None:
        """Replace the bulk binding that kernels only read, for dispatches recorded from now on.

        The host may still ``write`` it.

        Args:
            array: Array that kernels only read.
            words: Whether it becomes 32-bit words, which a kernel may read as any type, as registers are.

        Raises:
            ArgumentError: ``words`` is no truth.
            DTypeError: Not an array of numbers.
            DeviceError: The device or the budget has no room.
            StateError: The unit is parked, or shut down.
        """
        with self._lock:
            self._alive("set_heap")
            self._bindings.set_heap(array, words=words)

    def bound(self, kernel: Any, bind: Mapping[str, str] | None = None) -> list[str]:
        """Return the names of the bindings that a dispatch of ``kernel`` would be given, in its buffers' order."""
        with self._lock:
            self._alive("bound")
            kernel = self._bindings.instance(kernel, bind, f"{self.name}.bound")
            return self._bindings.names(as_verified(kernel, f"{self.name}.bound"), bind)

    def write(self, data: Any, offset: int = 0, *, binding: str = "globals") -> None:
        """Copy ``data`` into a binding, after what was launched before and for every later launch.

        Args:
            data: Array or list; for words of a 32-bit dtype (lists of ints become u32, or i32 with negative ones;
                floats f32).
            offset: Number of words, of typed bindings of elements, before the first.
            binding: Name of the binding.

        Raises:
            ArgumentError: No binding has this name.
            DTypeError: The data is no array of the binding's type; the offset is no whole number; the name is no text.
            ShapeError: Part of it lies outside the binding.
            StateError: The unit is parked, or shut down.
        """
        with self._lock:
            area = self._area(binding, "write")
            array = area.as_data(data, f"{self.name}.write to {binding!r}")
            area.check_range(offset, array.nbytes, f"{self.name}.write")
        with self.turn("write"):
            area.storage.write(offset * area.step, array.reshape(-1).view(np.uint8))

    def read(
        self, offset: int = 0, count: int | None = None, dtype: Any = None, *, binding: str = "registers"
    ) -> np.ndarray[Any, Any]:
        """Return a copy of elements of a binding, after what was launched before.

        Args:
            offset: Number of words, of typed bindings of elements, before the first.
            count: Number of them; None: to the end.
            dtype: Dtype to read them as; None: u32 for words, its own for a typed binding.
            binding: Name of the binding.

        Returns:
            Array of ``count`` elements.

        Raises:
            ArgumentError: No binding has this name.
            DTypeError: Not a dtype, or another than a typed binding has; the offset or the count is no whole number;
                the name is no text.
            ShapeError: Part of it lies outside the binding.
            StateError: The unit is parked, or shut down.
        """
        with self._lock:
            area = self._area(binding, "read")
            kind, nbytes = area.check_read(offset, count, dtype, f"{self.name}.read")
        with self.turn("read"):
            found = area.storage.read(int(offset) * area.step, nbytes).view(kind)
        return found if area.dtype is None else show(found, area.dtype.scalar)

    def fill(self, value: Any, offset: int = 0, count: int | None = None, *, binding: str = "registers") -> None:
        """Set words or elements of a binding to one value.

        Args:
            value: Number, of short vectors one or several.
            offset: Number of words, of typed bindings of elements, before the first.
            count: Number of them; None: to the end.
            binding: Name of the binding.

        Raises:
            ArgumentError: No binding has this name; the offset or the count is below 0 or no whole number.
            DTypeError: The value does not fit the binding's type; the name is no text.
            ShapeError: Not one value; part of it lies outside the binding.
            StateError: The unit is parked, or shut down.
        """
        with self._lock:
            area = self._area(binding, "fill")
            start, data = area.repeat_value(value, offset, count, f"{self.name}.fill")
        with self.turn("fill"):
            area.storage.write(start * area.step, data)

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
        """Copy words or elements of a unit's binding to one of this unit, after what was launched on both before.

        Args:
            other: Unit to copy from, this one or another.
            source: Name of its binding.
            start: Number of words or elements before the first there.
            count: Number of them; None: to the end.
            target: Name of this unit's binding; None: that of ``source``.
            offset: Number of words or elements before the first here.

        Raises:
            ArgumentError: No binding has this name; a number is below 0 or no whole number.
            DTypeError: Not a unit; the bindings are of different types; a name is no text.
            ShapeError: Part of it lies outside a binding.
            StateError: A unit is parked, or shut down.
        """
        target = source if target is None else target
        if not isinstance(other, Unit):
            raise DTypeError(
                f"{self.name}.copy_from", "not a unit", expected="what loom.boot returned", got=type(other).__name__,
                remedy="Write unit.write(data) for data of the host",
            )  # fmt: skip
        origin, area = other._area(source, "copy_from"), self._area(target, "copy_from")
        theirs, mine, nbytes = area.check_copy(origin, start, count, offset, self.name, other.name)
        with turns([self, other], "copy_from"):
            copy_storage(origin.storage, theirs, area.storage, mine, nbytes)

    def present(self, shape: tuple[int, int], to: Any = None, *, binding: str = "globals", offset: int = 0) -> Frame:
        """Return words of a binding as a picture, after what was launched before; a notebook shows it.

        A word is a pixel of four bytes in memory order: red, green, blue, alpha (red is the lowest byte of the u32).

        Args:
            shape: (height, width) of the picture.
            to: Presenter, such as ``loom.PngSequence(folder)`` or ``loom.Page()``; None: none.
            binding: Name of the binding.
            offset: Number of words before the first pixel.

        Raises:
            ArgumentError: No binding has this name.
            DTypeError: The binding holds no pixels; not a presenter; the offset is no whole number; the name is no
                text.
            ShapeError: Not the shape of a picture; part of it lies outside the binding.
            StateError: The unit is parked, or shut down.
        """
        from loom.runtime.memory.frames import take_frame

        if to is not None:
            able(to, f"{self.name}.present, to", "show", "a presenter")
        frame = take_frame(self, shape, binding, offset)
        if to is not None:
            to.show(frame)
        return frame

    def _area(self, binding: str, verb: str) -> Area:
        self._alive(verb)
        return self._bindings.find(binding, f"{self.name}.{verb}")

    # dispatches

    @brief
    def dispatch(
        self,
        kernel: Any,
        params: Sequence[Any] | Mapping[str, Any] = (),
        groups: Any = None,
        *,
        bind: Mapping[str, str] | None = None,
    ) -> None:
        """Record a dispatch over the unit's bindings; nothing runs yet.

        Args:
            kernel: Kernel, or (on Vulkan) a module of SPIR-V: its bytes, or the path of its ``.spv`` file.
            params: Push constants, in order or by name, exact in their types; what is left out takes its default.
            groups: Workgroups, an int or up to three; None: as many as have something to do.
            bind: Names of bindings by names of the kernel's buffers; None: its buffers are the bindings of their names
                or, if no name is known here, registers, globals, heap and the extra ones in order.

        Raises:
            ArgumentError: A buffer has no binding; a parameter is missing, unknown, or does not fit its type; too many
                groups, or their number cannot be told; no module can be read there.
            DTypeError: Not a kernel; a binding of another dtype; ``bind`` is no mapping; ``params`` or ``groups`` are
                no numbers.
            ShapeError: ``groups`` or a parameter's array has another shape.
            KernelError: The kernel cannot be accepted.
            DeviceError: The device lacks a feature that the kernel asks for.
            StateError: The unit is parked, or shut down.
        """
        with self._lock:
            chain = self._alive("dispatch")
            kernel = self._bindings.instance(kernel, bind, f"{self.name}.dispatch")
            chain.dispatch(kernel, self._buffers(kernel, bind), params, groups)

    @brief
    def dispatch_indirect(
        self,
        kernel: Any,
        params: Sequence[Any] | Mapping[str, Any] = (),
        buffer: str = "registers",
        offset: int = 0,
        *,
        bind: Mapping[str, str] | None = None,
    ) -> None:
        """Record a dispatch whose three group counts are the words at ``offset`` of ``buffer`` when it starts.

        A count of zero skips it.

        Args:
            kernel: Kernel, or (on Vulkan) a module of SPIR-V: its bytes, or the path of its ``.spv`` file.
            params: Push constants, in order or by name, exact in their types; what is left out takes its default.
            buffer: Name of the binding that holds the three counts.
            offset: Number of its elements before them.
            bind: Names of bindings by names of the kernel's buffers; None: those of the same name, else in order.

        Raises:
            ArgumentError: The counts lie outside the binding; no binding has this name; a module of SPIR-V; buffers and
                parameters as of ``dispatch``.
            DTypeError: Not a kernel; ``bind`` is no mapping; ``params`` are no numbers; a binding of another dtype.
            KernelError: The kernel cannot be accepted.
            StateError: The unit is parked, or shut down.
        """
        with self._lock:
            chain = self._alive("dispatch_indirect")
            kernel = self._bindings.instance(kernel, bind, f"{self.name}.dispatch_indirect")
            area = self._area(buffer, "dispatch_indirect")
            start = as_count(offset, f"{self.name}.dispatch_indirect", "offset", "a whole number, at least 0")
            chain.dispatch_indirect(kernel, self._buffers(kernel, bind), params, area.storage, start * area.step)

    def _buffers(self, kernel: Any, bind: Mapping[str, str] | None) -> list[Storage | ShapedStorage]:
        return self._bindings.resolve(as_verified(kernel, f"{self.name}.dispatch"), bind)

    @brief_context
    def repeat(self, repeats: int, params: Any = None) -> Generator[Segment, None, None]:
        """Record the dispatches made inside the ``with`` as done ``repeats`` times (see ``Chain.repeat``).

        Args:
            repeats: Number of turns, at least 0.
            params: Array of shape (repeats, columns), or a structured array of ``repeats``; None: none.

        Returns:
            Context manager of the segment, whose ``params`` are the columns.

        Raises:
            ArgumentError: Not a whole number, at least 0; too many turns for one recording.
            DTypeError: ``params`` are no numbers.
            ShapeError: Not one row of ``params`` for each turn.
            StateError: Another repeat is open; the unit is parked, or shut down.
        """
        with self._lock, self._alive("repeat").repeat(repeats, params) as segment:
            yield segment

    def build(self, guarantee: Guarantee | None = None) -> Program:
        """Plan and compile what was recorded since the last build.

        Args:
            guarantee: Least ``loom.Guarantee`` of the results; None: none.

        Returns:
            Program, to be run any number of times.

        Raises:
            ArgumentError: Not a ``loom.Guarantee``.
            DeviceError: The results cannot be promised so much.
            StateError: A repeat is open; the unit is parked, or shut down.
        """
        with self._lock:
            return self._alive("build").build(guarantee)

    # pace

    def pace(self, microseconds: float | None) -> None:
        """Set the delay before each submission; 0 switches pacing off, None makes it automatic.

        At first it is automatic on GPUs, and off on the CPU and in the interpreter, where a pause helps nobody.

        Automatic: a program whose submissions take more than 1.2 times what they took at first is delayed by 50 µs
        more each time, 2 ms at most, and by 10 µs less each time they do not. Programs below 500 µs are left alone.

        Args:
            microseconds: Delay; 0: none; None: automatic.

        Raises:
            ArgumentError: Not a number of microseconds, at least 0.
            StateError: The unit is parked, or shut down.
        """
        with self._lock:
            self._alive("pace")
            self._pacing.fixed = as_pace(microseconds, f"{self.name}.pace")
            self._pacing.delays = True
            for program in list(self._told.programs):
                if program.pacer is not None:
                    program.pacer.delays = True
                    program.pacer.set(self._pacing.fixed)

    def status(self) -> UnitStatus:
        """Return how the unit is paced: baseline, last time and delay of its programs, runs started and under way.

        Times are those of runs that somebody waited for while no other unit's were under way. Those of short programs
        are taken now and then: when asked for, the next run is.
        """
        programs = list(self._told.programs)
        for program in programs:
            if program.pacer is not None:
                program.pacer.wake()
        pacing = self._pacing
        latest = pacing.latest
        return UnitStatus(
            self.name, self.device.name, pacing.mode,
            None if latest is None else latest.baseline, None if latest is None else latest.last,
            (pacing.fixed or 0.0) if latest is None else latest.pace, self._told.submissions, self._told.in_flight,
            tuple(found for p in programs if (found := p.pace) is not None),
        )  # fmt: skip

    # life

    def timeline(self, verb: str) -> Timeline:
        """Return the order of the unit's runs, for a call named ``verb``; StateError after shutdown."""
        return self._alive(verb).timeline

    @contextmanager
    def turn(self, verb: str) -> Generator[None, None, None]:
        """Hold the unit still: what was launched or asked for before is over, and nothing starts meanwhile."""
        with turns([self], verb):
            yield

    def memory(self) -> dict[str, tuple[Storage, DType | None]]:
        """Return the bindings' memory by name, with the type of those that have one; StateError after shutdown."""
        with self._lock:
            self._alive("memory")
            return {area.name: (area.storage, area.dtype) for area in self._bindings}

    def words(self, binding: str, where: str) -> Storage:
        """Return the memory of a binding of 32-bit elements that may be written; DTypeError for another."""
        area = self._area(binding, where.rpartition(".")[2])
        if area.step != WORD_NBYTES or area.read_only:
            raise DTypeError(
                where, f"binding {binding!r} cannot pass words on", expected="writable 32-bit words",
                got="read-only data" if area.read_only else area.dtype, remedy="Use registers or globals",
            )  # fmt: skip
        return area.storage

    @property
    def is_open(self) -> bool:
        """False after shutdown."""
        return self._chain is not None

    @property
    def nbytes(self) -> int:
        """Bytes of device memory that the bindings take."""
        return self._bindings.nbytes

    @property
    def recorded(self) -> int:
        """How many dispatches are recorded and not yet built."""
        chain = self._chain
        return 0 if chain is None else len(chain)

    @property
    def in_flight(self) -> int:
        """How many runs are under way."""
        return self._told.in_flight

    def _alive(self, verb: str) -> Chain:
        if self.is_parked:
            raise StateError(
                f"{self.name}.{verb}", "the unit is parked", expected="a running unit",
                remedy="Call loom.unpark(unit) first",
            )  # fmt: skip
        if self._chain is None:
            raise StateError(
                f"{self.name}.{verb}", "the unit is shut down", expected="a running unit", remedy="Boot a new one"
            )
        return self._chain

    def shutdown(self) -> None:
        """Wait for what is running and free the memory; calling it again does nothing.

        A fault that nobody waited for is raised when all is freed.

        Raises:
            KernelFault: A fault of a run that nobody waited for.
        """
        self._told.promises.wait()
        with self._lock:
            if self._chain is not None:
                self._chain.timeline.close()
                self._chain = None
                self._bindings.clear()
                self.is_parked = False
                LEDGER.dismiss(self)
        self._told.report()

    def __enter__(self) -> Unit:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        with suppress(*([KernelFault] if kind is not None else [])):  # what is under way says more
            self.shutdown()

    def __repr__(self) -> str:
        names = ", ".join(area.name for area in self._bindings)
        state = "shut down" if self._chain is None else "parked" if self.is_parked else names
        return f"<loom unit {self.name!r} on {self.device.name}: {state}>"


@contextmanager
def turns(units: Iterable[Unit], verb: str) -> Generator[None, None, None]:
    """Hold several units still (see ``Unit.turn``), in one order whoever asks: no two wait for each other."""
    timelines = [unit.timeline(verb) for unit in sorted(set(units), key=id)]
    for timeline in timelines:
        timeline.promises.wait()  # before any lock: whoever keeps them may need the lock
    with ExitStack() as held:
        for timeline in timelines:
            held.enter_context(timeline.lock)
            timeline.settle()
        yield
