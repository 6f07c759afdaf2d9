"""Which kinds of devices there are, and the choice of one by name.

Layer: runtime. A kind is a row: its name, and where its ``Driver`` is. Another package adds one by an entry point of
the group ``loom.drivers``. Invariant: an unknown or missing device is an error that names those present, never a
silent fallback.
"""

from __future__ import annotations

from loom.core import options
from loom.core.errors import ArgumentError, DeviceError, DTypeError, near_matches
from loom.core.registry import Registry
from loom.runtime.port.device import Device, DeviceInfo, Driver

__all__ = ["DRIVERS", "device", "devices", "driver", "one_device"]


def _cpu() -> Driver:
    from loom.runtime.drivers.cpu import DRIVER

    return DRIVER


def _interp() -> Driver:
    from loom.runtime.drivers.interp import DRIVER

    return DRIVER


def _vulkan() -> Driver:
    from loom.runtime.drivers.vulkan import DRIVER

    return DRIVER


def _webgpu() -> Driver:
    from loom.runtime.drivers.webgpu import DRIVER

    return DRIVER


def _cuda() -> Driver:
    from loom.runtime.drivers.cuda import DRIVER

    return DRIVER


DRIVERS: Registry[Driver] = Registry(
    "loom.drivers", {"cpu": _cpu, "interp": _interp, "vulkan": _vulkan, "webgpu": _webgpu, "cuda": _cuda}
)
"""Every kind of device by name: the processor, the interpreter, then GPUs."""

_ALIASES = {"auto": "cpu", "gpu": "vulkan"}
_REACHED: dict[str, str] = {
    **dict.fromkeys(("metal", "mps"), "'vulkan', by MoltenVK, or as 'webgpu'"),
    **dict.fromkeys(("hip", "rocm", "amd"), "'vulkan', by RADV, AMDVLK or AMD's own driver"),
    **dict.fromkeys(("directml", "dml", "d3d12"), "'vulkan', or as 'webgpu'"),
    **dict.fromkeys(("xpu", "sycl", "oneapi", "opencl"), "'vulkan'"),
}
"""By names that other software has for a GPU, or for a way to it, the devices that reach it here."""
_PORT = ("name", "kind", "guarantee", "caps", "describe", "allocate", "adopt", "build")
_opened: dict[str, Driver] = {}
"""Drivers by the names of their devices that were found to be some."""


def driver(name: str, where: str = "loom.device") -> Driver:
    """Return the driver of a device's name, ``"vulkan"`` or ``"vulkan:1"``; DeviceError if there is none."""
    kind, colon, _ = name.partition(":")
    found = _load(kind, where) if kind in DRIVERS else None
    if found is None or (colon and not found.numbered):
        names = {*(each for each in DRIVERS.names() if ":" not in each), *_ALIASES}
        raise DeviceError(
            where, f"no device is called {name!r}", expected="one of " + ", ".join(sorted(names)),
            remedy=f"Such a GPU is reached as {_REACHED[kind.lower()]}" if kind.lower() in _REACHED
            else near_matches(name, names),
        )  # fmt: skip
    return found


def _load(kind: str, where: str) -> Driver:
    try:
        found = DRIVERS.load(kind)
        if ":" in kind or kind in _ALIASES:
            raise ValueError("no device can have this name")
        if not isinstance(found, Driver):
            raise TypeError(f"expected a Driver, got {found!r}")
        return found
    except (Exception, SystemExit) as error:  # a package of somebody else's
        raise DeviceError(
            where, f"the driver of device {kind!r} cannot be loaded ({type(error).__name__}: {error})",
            remedy="Mend or remove the package that brings it",
        ) from error  # fmt: skip


def device(name: str | Device | DeviceInfo | None = None) -> Device:
    """Return a device: ``"cpu"``, ``"interp"``, ``"vulkan"`` (the best adapter), ``"vulkan:1"``, ``"auto"``.

    ``"gpu"`` is the best adapter of all GPU drivers, which today is ``"vulkan"``; ``"auto"`` is the CPU.

    Args:
        name: Name, a device, or an entry of ``loom.devices()``; None: the name in ``LOOM_DEVICE``, else "auto".

    Raises:
        DTypeError: Neither a name nor a device.
        DeviceError: No device has this name, or its driver, its adapter or a library of it is missing.

    >>> device("cpu").kind
    'cpu'
    """
    if isinstance(name, DeviceInfo):
        name = name.name
    if name is not None and not isinstance(name, str):
        if isinstance(name, type) or not all(hasattr(name, each) for each in ("build", "allocate", "caps")):
            raise DTypeError(
                "loom.device", "not a device", expected="its name, or what loom.device returned", got=repr(name),
                remedy="Write device='cpu'",
            )  # fmt: skip
        return name
    where = "loom.device" if name is not None else "environment LOOM_DEVICE"
    wanted = name if name is not None else options.default_device()
    wanted = _ALIASES.get(wanted, wanted)
    known = _opened.get(wanted)
    if known is not None:
        return known.open(wanted, where)
    options.check_others()
    known = driver(wanted, where)
    found = known.open(wanted, where)
    _require_port(found, wanted, where)
    _opened[wanted] = known
    return found


def _require_port(found: Device, name: str, where: str) -> None:
    """Raise DeviceError if a device lacks methods of the port."""
    lacking = [each for each in _PORT if not hasattr(found, each)]
    if lacking:
        raise DeviceError(
            where, f"what the driver of {name!r} opens is no Device: it lacks {', '.join(lacking)}",
            remedy="Mend or remove the package that brings it",
        )  # fmt: skip


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
    """Return the devices present, usable or refused: the CPU, the interpreter, then every adapter of every driver."""
    found: list[DeviceInfo] = []
    for kind in DRIVERS.names():
        try:
            found += _load(kind, "loom.devices").infos()
        except Exception as error:  # one driver that fails does not hide the others
            why = error.what if isinstance(error, DeviceError) else f"{type(error).__name__}: {error}"
            found.append(DeviceInfo(kind, kind, "a driver that fails", "none", refused=why))
    return found
