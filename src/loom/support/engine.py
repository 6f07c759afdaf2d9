"""The Loom Engine: Mains that compute, one Support that serves them, and the double-buffer cycle of frames.

Layer: support. Its three forms differ in where state lives. Invariant: a frame's picture is taken after
the frame is done and before the next one starts, whatever is recorded meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loom.core.dtype import DType
from loom.core.errors import ArgumentError, DTypeError, near_matches
from loom.core.given import able, is_mapping, text
from loom.core.numbers import whole
from loom.core.tracebacks import brief_class
from loom.runtime.chain.program import Program, Submission
from loom.runtime.chain.timeline import deadline_of
from loom.runtime.memory.frames import require_shape
from loom.runtime.port.device import Device
from loom.runtime.registry import one_device
from loom.runtime.units.unit import Unit
from loom.support.io_thread import Transfer
from loom.support.main_loom import MainLoom
from loom.support.presenters import Presenter
from loom.support.service import SNAPSHOT_NBYTES, Support

__all__ = ["Engine", "View"]

_STATE = "support"


@brief_class
@dataclass(frozen=True, slots=True)
class View:
    """What of a Main a frame shows, and where.

    Args:
        shape: (height, width) of the picture.
        to: Presenter, such as ``loom.Page()``.
        binding: Name of the binding.
        offset: Number of words before the first pixel.

    Raises:
        ArgumentError: The offset is below 0 or no whole number.
        DTypeError: Not a presenter; the name is no text.
        ShapeError: Not the shape of a picture.
    """

    shape: tuple[int, int]
    to: Presenter
    binding: str = "globals"
    offset: int = 0

    def __post_init__(self) -> None:
        require_shape(self.shape, "loom.View")
        able(self.to, "loom.View, to", "show", "a presenter")
        text(self.binding, "loom.View, binding")
        whole(self.offset, "loom.View, offset", least=0)


@brief_class
class Engine:
    """Mains and their Support. A context manager.

    ``support`` chooses the form:

    - implicit, ``None``: this process is the Support; no unit is kept for state. For work done once.
    - conflated, the name of a Main: that unit computes and is read and written too. For simple applications.
    - explicit, the sizes of a unit or a unit: state lives in a unit of its own, apart from the Mains.

    ``engine[name]`` is a ``MainLoom``; ``engine.support`` moves data; ``engine.state`` is the unit that keeps state,
    None in the implicit form.

    Args:
        mains: Names, each with the arguments of ``loom.boot`` (``{"registers": 1, "globals": 4096}``) or a unit the
            caller booted.
        support: None: the implicit form; the name of a Main: the conflated one; sizes or a unit: the explicit one.
        device: Device, or its name; None: the default device.
        on: The same as ``device``; one of the two is named.
        workers: Threads that build chains; None: as many as cores, at most 8.
        snapshot_nbytes: Most bytes that snapshots hold together.

    Raises:
        ArgumentError: No Mains, or none of the name; a size or an argument of ``loom.boot`` that is unusable;
            ``device`` and ``on`` differ.
        DTypeError: Not a device; not a unit.
        DeviceError: There is no such device; the device or a limit has no room.
        StateError: The application has a Support already.

    >>> import loom
    >>> @loom.kernel(workgroup=4)
    ... def count(globals: loom.InOut[loom.u32]):
    ...     globals[loom.global_id()] = globals[loom.global_id()] + 1
    >>> with loom.Engine(mains={"work": {"registers": 1, "globals": 4}}) as engine:
    ...     frames = engine.frames(lambda number: engine["work"].dispatch(count), count=3)
    ...     engine.support.download("work", binding="globals").result().tolist()
    [3, 3, 3, 3]
    """

    def __init__(
        self,
        mains: Mapping[str, Unit | Mapping[str, Any]],
        support: str | Unit | Mapping[str, Any] | None = None,
        *,
        device: str | Device | None = None,
        on: str | Device | None = None,
        workers: int | None = None,
        snapshot_nbytes: int = SNAPSHOT_NBYTES,
    ) -> None:
        if not isinstance(mains, Mapping) or not mains:
            raise ArgumentError(
                "loom.Engine", "no Mains", expected="a mapping of names to units or their sizes", got=repr(mains),
                remedy='Write mains={"work": {"registers": 8, "globals": 1024}}',
            )  # fmt: skip
        device = one_device(device, on, "loom.Engine")
        self._last: dict[Unit, Submission] = {}
        self.support = Support(workers=workers, snapshot_nbytes=snapshot_nbytes)
        try:
            units = {name: self._unit(name, spec, device) for name, spec in mains.items()}
            self.mains = {name: MainLoom(name, unit, self._fire) for name, unit in units.items()}
            self._units = units
            self.form, self.state = self._place(support, device)
        except BaseException:
            self.support.shutdown()
            raise

    def _unit(self, name: str, spec: Any, device: str | Device | None) -> Unit:
        """Return the unit of a name: booted here, or the caller's."""
        if isinstance(spec, Unit):
            self.support.adopt(name, spec)
            return spec
        known = ("registers", "globals", "heap", "bindings", "device")
        if not is_mapping(spec) or "registers" not in spec:
            raise DTypeError(
                f"loom.Engine, {name!r}", "not a unit", expected="a unit, or its sizes with 'registers'",
                got=repr(spec), remedy='Write {"registers": 8, "globals": 1024}',
            )  # fmt: skip
        stray = next((key for key in spec if key not in known), None)
        if stray is not None:
            raise ArgumentError(
                f"loom.Engine, {name!r}", f"a unit has no {stray!r}", expected=", ".join(known), got=stray,
                remedy=near_matches(str(stray), known),
            )  # fmt: skip
        sizes: dict[str, Any] = {"device": device, **spec}
        return self.support.boot(name, **sizes)

    def _place(self, support: Any, device: str | Device | None) -> tuple[str, Unit | Any]:
        """Return the form and the unit that keeps state, None in the implicit form."""
        if support is None:
            return "implicit", None
        if not isinstance(support, str):
            return "explicit", self._unit(_STATE, support, device)
        if support not in self._units:
            raise ArgumentError(
                "loom.Engine, support", f"no Main is called {support!r}", remedy=near_matches(support, self._units)
            )
        return "conflated", self._units[support]

    def __getitem__(self, name: str) -> MainLoom:
        """Return a Main by name."""
        if not isinstance(name, str) or name not in self.mains:
            raise ArgumentError(
                "loom.Engine", f"no Main is called {name!r}", remedy=near_matches(str(name), self.mains)
            )
        return self.mains[name]

    def _fire(self, unit: Unit, program: Program) -> None:
        self._last[unit] = program.launch()

    def launch(self) -> None:
        """Build what the Mains have recorded, side by side, and start it all; return at once.

        Raises:
            StateError: A unit is parked, or shut down.
        """
        busy = [unit for unit in self._units.values() if unit.recorded]
        for unit, program in zip(busy, self.support.build_all(busy), strict=True):
            self._fire(unit, program)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until every Main is done; LoomTimeout if one takes longer, faults as for ``Submission.wait``.

        Args:
            timeout: Seconds for each Main; None: without end.

        Raises:
            ArgumentError: Not a number of seconds, at least 0.
            LoomTimeout: The time is over; the runs go on.
            KernelFault: An assert failed, or an index lay outside under LOOM_CHECK=1.
        """
        deadline_of(timeout, "loom.Engine.wait")
        for submission in list(self._last.values()):
            submission.wait(timeout)

    def frames(
        self, step: Callable[[int], Any], *, count: int | None = None, present: Mapping[str, View] | None = None
    ) -> int:
        """Run the double-buffer cycle: wait for the frame before, present it, record the next, launch.

        Pictures are taken and shown by the I/O thread while ``step`` runs.

        Args:
            step: Function of the frame's number that records dispatches for the Mains; False ends the cycle.
            count: Most frames; None: until ``step`` gives False.
            present: Mains' names -> ``loom.View`` to show of each frame; None: none.

        Returns:
            Number of frames launched.

        Raises:
            ArgumentError: ``count`` is below 0 or no whole number; not views; no Main is called so.
            DTypeError: ``step`` is no function.
            KernelFault: An assert failed, or an index lay outside under LOOM_CHECK=1.
        """
        where, wanted = "loom.Engine.frames, step", "a function of the frame's number"
        able(step, where, "__call__", wanted)
        if isinstance(step, DType):  # which would convert each number, and never end the cycle
            raise DTypeError(where, "a type of numbers", expected=wanted, got=step, remedy="Write lambda number: ...")
        if count is not None:
            count = whole(count, "loom.Engine.frames, count", least=0)
        if present is not None and not (
            isinstance(present, Mapping) and all(isinstance(v, View) for v in present.values())
        ):
            raise ArgumentError("loom.Engine.frames, present", "not views", expected="Mains' names to loom.View",
                                got=repr(present), remedy='Write {"m": loom.View(shape, to)}')  # fmt: skip
        views = {name: (self[name], view) for name, view in (present or {}).items()}
        shown: list[Transfer] = []
        number = 0
        while True:
            self.wait()
            for transfer in shown:
                transfer.result()
            shown = [self._present(main.name, view) for main, view in views.values()] if number else []
            if number == count or step(number) is False:
                break
            self.launch()
            number += 1
        for transfer in shown:
            transfer.result()
        return number

    def _present(self, name: str, view: View) -> Transfer:
        return self.support.present(name, view.shape, view.to, binding=view.binding, offset=view.offset)

    def shutdown(self) -> None:
        """Finish all transfers and free the units booted here; calling it again does nothing."""
        self._last = {}
        self.support.shutdown()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exc: Any) -> None:
        self._last = {}
        self.support.__exit__(*exc)

    def __repr__(self) -> str:
        return f"<loom Engine, {self.form} Support: {', '.join(self.mains)}>"
