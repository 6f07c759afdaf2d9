"""The port every device implements, and the choice of one by name.

Layer: runtime. A driver holds no kernel and no policy: it allocates memory, turns a plan into something
it can run, runs it, and tells what came out. Invariant: an unknown or missing device is an error that
names those present, never a silent fallback.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from loom.core import options
from loom.core.caps import Caps
from loom.core.errors import ArgumentError, DeviceError, DTypeError, near_matches
from loom.core.numerics import Guarantee
from loom.runtime.storage import Storage

if TYPE_CHECKING:
    from loom.runtime.chain.plan import Plan
    from loom.runtime.log import Outcome

__all__ = ["Device", "DeviceInfo", "DeviceProgram", "DeviceSubmission", "device", "devices", "one_device"]


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


class DeviceProgram(Protocol):
    """A plan built for a device, to be run any number of times."""

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
    limits: dict[str, Any] = field(default_factory=dict)
    operations: dict[str, str] = field(default_factory=dict)
    refused: str | None = None


_KINDS = ("cpu", "interp")
_VULKAN = "vulkan"
_made: dict[str, Device] = {}
_lock = threading.Lock()


def _make(name: str) -> Device:
    if name == "cpu":
        from loom.runtime.drivers.cpu import CpuDevice

        return CpuDevice()
    from loom.runtime.drivers.interp import InterpDevice

    return InterpDevice()


def device(name: str | Device | None = None) -> Device:
    """Return a device: ``"cpu"``, ``"interp"``, ``"vulkan"`` (the best adapter), ``"vulkan:1"``, ``"auto"``.

    ``"gpu"`` is the best adapter of all GPU drivers, which today is ``"vulkan"``.

    A device given is returned. None means what ``LOOM_DEVICE`` says, else auto, which is the CPU. DeviceError names
    the devices present, or what is missing.

    >>> device("cpu").kind
    'cpu'
    """
    if name is not None and not isinstance(name, str):
        if isinstance(name, type) or not all(hasattr(name, each) for each in ("build", "allocate", "caps")):
            raise DTypeError(
                "loom.device", "not a device", expected="its name, or what loom.device returned", got=repr(name),
                remedy="Write device='cpu'",
            )  # fmt: skip
        return name
    wanted = name if name is not None else options.default_device()
    wanted = {"auto": "cpu", "gpu": _VULKAN}.get(wanted, wanted)
    found = _made.get(wanted)
    if found is not None:
        return found
    where = "loom.device" if name is not None else "environment LOOM_DEVICE"
    if wanted == _VULKAN or wanted.startswith(f"{_VULKAN}:"):
        from loom.runtime.drivers.vulkan import open_adapter

        return open_adapter(wanted, where)
    if wanted not in _KINDS:
        names = [*_KINDS, _VULKAN, "auto", "gpu"]
        raise DeviceError(
            where, f"no device is called {wanted!r}", expected="one of " + ", ".join(sorted(names)),
            remedy=near_matches(wanted, names),
        )  # fmt: skip
    with _lock:
        return _made.get(wanted) or _made.setdefault(wanted, _make(wanted))


def one_device(
    given: str | Device | None, on: str | Device | None, where: str, name: str = "device"
) -> str | Device | None:
    """Return the device that two arguments of one meaning, ``name`` and ``on``, say; ArgumentError if they differ."""
    if (
        given is not None
        and on is not None
        and not (given is on or (isinstance(given, str) and isinstance(on, str) and given == on))
    ):
        raise ArgumentError(
            where, f"{name} and on= are the same argument", expected="one of them", got=f"{given!r} and {on!r}",
            remedy="Leave one out",
        )  # fmt: skip
    return on if given is None else given


def devices() -> list[DeviceInfo]:
    """Return the devices present: the CPU, the interpreter, then every Vulkan adapter, usable or refused."""
    from loom.runtime.drivers.vulkan import vulkan_infos

    return [*(device(kind).describe() for kind in _KINDS), *vulkan_infos()]
