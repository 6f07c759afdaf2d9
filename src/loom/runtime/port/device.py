"""The port every device implements.

Layer: runtime. A driver holds no kernel and no policy: it allocates memory, turns a plan into something
it can run, runs it, and tells what came out. Invariant: nothing here knows a device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from loom.core.caps import Caps
from loom.core.late.dataclass import dataclass
from loom.core.numerics import Guarantee
from loom.runtime.memory.storage import Storage

if TYPE_CHECKING:
    from loom.runtime.plans.plan import Plan
    from loom.runtime.port.log import Outcome
    from loom.runtime.port.times import Times

__all__ = [
    "Device",
    "DeviceInfo",
    "DeviceProgram",
    "DeviceSubmission",
    "DirectProgram",
    "DirectRun",
    "Driver",
    "InPlace",
]


class DeviceSubmission(Protocol):
    """One run of a program on a device."""

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds``; tell whether the run is over."""
        ...

    def cancel(self) -> None:
        """Stop before the next dependent dispatch."""
        ...

    def outcome(self) -> Outcome:
        """Return what kernels printed and the first fault; the run must be over."""
        ...

    def times(self) -> Times | None:
        """Return when dispatches began and ended; None of a run of a program that is not ``profiled``, or was lost."""
        ...


class DirectRun(NamedTuple):
    """A small program that may be run in the calling thread at once, in memory of its own: one step after the other.

    ``steps`` are the address of each kernel's code, that of the record it is called with, and how many groups it has.
    ``cells`` tell of each slot where the address of its memory goes; ``moved`` tells where else the driver's own copy
    of a word lies. ``sites`` are what it may tell of in its log; ``operations`` are infinite where unknown; ``kept`` is
    what must stay in memory.
    """

    steps: tuple[tuple[int, int, int], ...]
    cells: tuple[tuple[int, ...], ...]
    moved: Callable[[int], int]
    sites: tuple[object, ...]
    operations: float
    kept: object


@runtime_checkable
class DirectProgram(Protocol):
    """A program that may be such a run."""

    def direct(self, slots: Sequence[Any]) -> DirectRun | None:
        """Return a copy of a program whose memory is that of ``slots`` and its own; None if it is no small one.

        No run of it may be under way.
        """
        ...


class DeviceProgram(Protocol):
    """A plan built for a device, to be run any number of times."""

    @property
    def domain(self) -> object | None:
        """Where its runs are in order with those of other programs; None: only with its owner's."""
        ...

    def launch(self, previous: DeviceSubmission | None) -> DeviceSubmission:
        """Start a run after ``previous`` (of the same program owner) is over; return at once."""
        ...

    def run(self, begun: Callable[[DeviceSubmission], None]) -> None:
        """Run at once, nothing of the same owner being under way; the caller waits for the end.

        ``begun`` is told the submission, also when an exception (Ctrl-C) ends this call and not the run.
        """
        ...

    def profiled(self) -> DeviceProgram:
        """Return the same plan built so that its submissions have ``times``; DeviceError if the device has no clock."""
        ...

    def woven(self, plan: Callable[[], Plan], programs: Sequence[DeviceProgram]) -> DeviceProgram | None:
        """Return a program for a plan that does all ``programs`` do, this one among them.

        None if their launches run side by side as they are.
        """
        ...


@runtime_checkable
class InPlace(Protocol):
    """A program of a device that uses host memory in place, which takes what its slots stand for with each run."""

    def takes(self, slots: Sequence[Any]) -> bool:
        """Be ready for memory for ``slots``, in that order; False for what has more to tell than that it is over."""
        ...

    def run(self, begun: Callable[[DeviceSubmission], None], memory: Sequence[Any]) -> None:
        """Run over memory as ``DeviceProgram.run``; ``begun`` is told only a run that is not over by then."""
        ...


class Device(Protocol):
    """A place where kernels run."""

    name: str
    kind: str
    guarantee: Guarantee

    @property
    def caps(self) -> Caps:
        """What kernels may know of this device."""
        ...

    def describe(self) -> DeviceInfo:
        """Return what ``loom devices`` shows."""
        ...

    def allocate(self, nbytes: int, *, zeroed: bool = True) -> Storage:
        """Return memory, zeroed or with any contents; DeviceError if there is not enough."""
        ...

    def adopt(self, array: Any) -> Storage | None:
        """Return memory shared with a contiguous numpy array, None if the device cannot share it."""
        ...

    def build(self, plan: Plan) -> DeviceProgram:
        """Compile and record a plan."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device as shown to people: what it is and what limits it has.

    ``operations`` tells how it computes what its self-test looked at ("native", "by integers", ...); ``refused`` why
    it cannot be used, None if it can.
    """

    name: str
    kind: str
    description: str
    guarantee: str
    limits: dict[str, Any] = field(default_factory=dict[str, Any])
    operations: dict[str, str] = field(default_factory=dict[str, str])
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Driver:
    """A kind of device: ``open`` returns one by name, ``infos`` tells of all that are present, usable or refused.

    ``open`` is also told whom an error is to name, and gives the same device for the same name. ``numbered``: there
    may be several, ``name:1`` and so on. ``offers`` says what not every kind can do, in words that tests ask for:
    ``compiled`` (kernels become machine code), ``vectors`` or ``threads`` (what a lane is), ``shares`` (arrays of the
    host are used in place), ``asynchronous`` (a launch returns before the run is over), ``spirv`` (runs modules of
    others), ``wide atomics`` (all those of 64 bits).
    """

    open: Callable[[str, str], Device]
    infos: Callable[[], list[DeviceInfo]]
    numbered: bool = False
    offers: frozenset[str] = frozenset()
