"""Main Loom: what receives dispatches, and nothing else.

Layer: support. It imports no file, socket or presenter, and has no method that moves data between a unit and the
world: an import contract and a test hold it to that. Invariant: whoever has only a Main can make a device compute,
and learn nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from loom.core.tracebacks import brief, brief_class
from loom.runtime.chain.program import Program
from loom.runtime.plans.dispatch import Segment
from loom.runtime.units.unit import Unit

__all__ = ["MainLoom", "MainProgram"]

Fire = Callable[[Unit, Program], None]


class MainProgram:
    """A built chain of a Main: it can be launched, and freed by letting go of it."""

    __slots__ = ("_fire", "_program", "_unit")

    def __init__(self, unit: Unit, program: Program, fire: Fire) -> None:
        self._unit = unit
        self._program = program
        self._fire = fire

    @property
    def dispatches(self) -> int:
        """How many dispatches one launch executes."""
        return self._program.dispatches

    def launch(self) -> None:
        """Start it and return at once; the Support waits."""
        self._fire(self._unit, self._program)


@brief_class
class MainLoom:
    """A Main of an ``Engine``: ``dispatch``, ``dispatch_indirect``, ``repeat``, ``build`` and ``launch``.

    They mean what they mean for a unit (see ``loom.boot``). Reading, writing, presenting and waiting are the Support's.
    """

    __slots__ = ("_fire", "_unit", "name")

    def __init__(self, name: str, unit: Unit, fire: Fire) -> None:
        self.name = name
        self._unit = unit
        self._fire = fire

    @brief
    def dispatch(
        self, kernel: Any, params: Sequence[Any] = (), groups: Any = None, *, bind: Mapping[str, str] | None = None
    ) -> None:
        """Record a dispatch; nothing runs yet.

        Args:
            kernel: Kernel, or (on Vulkan) a module of SPIR-V: its bytes, or the path of its ``.spv`` file.
            params: Push constants, in order or by name; what is left out takes its default.
            groups: Workgroups, an int or up to three; None: as many as have something to do.
            bind: Names of bindings by names of the kernel's buffers; None: those of the same name, else in order.

        Raises:
            ArgumentError: As of ``Unit.dispatch``.
            DTypeError: As of ``Unit.dispatch``.
            ShapeError: As of ``Unit.dispatch``.
            KernelError: The kernel cannot be accepted.
            DeviceError: The device lacks a feature that the kernel asks for.
        """
        self._unit.dispatch(kernel, params, groups, bind=bind)

    @brief
    def dispatch_indirect(
        self,
        kernel: Any,
        params: Sequence[Any] = (),
        buffer: str = "registers",
        offset: int = 0,
        *,
        bind: Mapping[str, str] | None = None,
    ) -> None:
        """Record a dispatch whose group counts are read on the device when it starts.

        Args:
            kernel: Kernel, or (on Vulkan) a module of SPIR-V: its bytes, or the path of its ``.spv`` file.
            params: Push constants, in order or by name; what is left out takes its default.
            buffer: Name of the binding that holds the three counts.
            offset: Number of its elements before them.
            bind: Names of bindings by names of the kernel's buffers; None: those of the same name, else in order.

        Raises:
            ArgumentError: As of ``Unit.dispatch_indirect``.
            DTypeError: As of ``Unit.dispatch_indirect``.
            KernelError: The kernel cannot be accepted.
        """
        self._unit.dispatch_indirect(kernel, params, buffer, offset, bind=bind)

    def repeat(self, repeats: int, params: Any = None) -> AbstractContextManager[Segment]:
        """Record the dispatches made inside the ``with`` as done ``repeats`` times.

        Args:
            repeats: Number of turns, at least 0.
            params: Array of shape (repeats, columns), or a structured array of ``repeats``; None: none.

        Returns:
            Context manager of the segment, whose ``params`` are the columns.

        Raises:
            ArgumentError: Not a whole number, at least 0; too many turns for one recording.
            DTypeError: ``params`` are no numbers.
            ShapeError: Not one row of ``params`` for each turn.
        """
        return self._unit.repeat(repeats, params)

    def build(self) -> MainProgram:
        """Plan and compile what was recorded since the last build, to be launched any number of times.

        Returns:
            Program, to be launched any number of times.

        Raises:
            StateError: A repeat is open; the unit is parked, or shut down.
        """
        return MainProgram(self._unit, self._unit.build(), self._fire)

    def launch(self) -> None:
        """Build what was recorded and start it; return at once.

        Raises:
            StateError: A repeat is open; the unit is parked, or shut down.
        """
        self.build().launch()

    def __repr__(self) -> str:
        return f"<loom Main {self.name!r} on {self._unit.device.name}>"
