"""The Vulkan loader as cffi functions: structures made by name, results turned into errors.

Layer: runtime. Only this file names the binding (PyPI ``vulkan``); its own wrappers are left aside, since they let
go of memory that a call still reads. Drivers compile and compute on threads that inherit the floating-point settings of
the calling one, so that every call is made under ordinary ones. Invariant: what a structure points to lives as long
as the structure.
"""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from loom.core.arithmetic import in_ordinary_arithmetic, ordinary_arithmetic
from loom.core.errors import DeviceError
from loom.core.optional import require

__all__ = ["LeftBehind", "Vulkan", "is_loss", "is_unknown", "load"]

_RESULTS = {
    -1: "out of host memory", -2: "out of device memory", -3: "initialisation failed", -4: "the device was lost",
    -5: "memory cannot be mapped", -6: "a layer is missing", -7: "an extension is missing", -8: "a feature is missing",
    -9: "the driver is incompatible", -10: "too many objects", -12: "the pool is fragmented",
    -13: "the driver failed and does not say why", -1000069000: "the descriptor pool is empty",
}  # fmt: skip
_REMEDIES = {
    -1: "Free units or use smaller buffers", -2: "Free units or use smaller buffers",
    -4: "Make the device anew with loom.device; results on it are gone",
}  # fmt: skip
_TIMEOUT = 2
_LOSS, _UNKNOWN = -4, -13


def is_loss(error: DeviceError) -> bool:
    """Tell whether an error says that the device was lost."""
    return error.what == _RESULTS[_LOSS]


def is_unknown(error: DeviceError) -> bool:
    """Tell whether a driver gave up without a reason, as NVIDIA's does for much private memory."""
    return error.what == _RESULTS[_UNKNOWN]


class _Functions:
    """The loader's functions, each called under ordinary arithmetic."""

    def __init__(self, lib: Any) -> None:
        self._lib = lib

    def __getattr__(self, name: str) -> Any:
        found = in_ordinary_arithmetic(getattr(self._lib, name))
        setattr(self, name, found)
        return found


class Vulkan:
    """Functions and structures of one loader."""

    def __init__(self, ffi: Any, lib: Any) -> None:
        self.ffi = ffi
        self.lib = _Functions(lib)
        self._kept: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    def new(self, name: str, **fields: Any) -> Any:
        """Return a pointer to a structure; its sType follows from the name, other structures are given as pointers."""
        found = self.ffi.new(f"{name}*")
        kept: list[Any] = []
        names = dict(self.ffi.typeof(name).fields)
        if "sType" in names and name in _TYPES:
            found.sType = _TYPES[name]
        for field, value in fields.items():
            if isinstance(value, (str, bytes)):
                text = value.encode() if isinstance(value, str) else value
                value = self.ffi.new("char[]", text)
            kept.append(value)
            setattr(found, field, value)
        self._kept[found] = kept
        return found

    def array(self, kind: str, items: Any) -> Any:
        """Return a C array; structures are copied in, what they point to is kept."""
        values = list(items)
        pointers = [v for v in values if v in self._kept] if kind.startswith("Vk") else []
        found = self.ffi.new(f"{kind}[]", [v[0] if v in pointers else v for v in values])
        self._kept[found] = values
        return found

    def texts(self, names: list[str]) -> Any:
        """Return an array of C strings."""
        held = [self.ffi.new("char[]", n.encode()) for n in names]
        found = self.ffi.new("char*[]", held)
        self._kept[found] = held
        return found

    def call(self, name: str, *args: Any) -> int:
        """Call a function; DeviceError if its result is an error. Returns the result."""
        result = getattr(self.lib, name)(*args)
        if result is not None and result < 0:
            raise DeviceError(
                f"Vulkan, {name}", _RESULTS.get(result, f"error {result}"), remedy=_REMEDIES.get(result, "")
            )
        return 0 if result is None else result

    def create(self, name: str, owner: Any, info: Any, kind: str) -> Any:
        """Call a ``vkCreate...`` or ``vkAllocate...`` that gives one handle."""
        out = self.ffi.new(f"{kind}*")
        self.call(name, owner, info, self.ffi.NULL, out)
        return out[0]

    def enumerate(self, name: str, kind: str, *args: Any) -> list[Any]:
        """Call a function that fills an array, twice: for its size, then for its content."""
        count = self.ffi.new("uint32_t*")
        self.call(name, *args, count, self.ffi.NULL)
        found = self.ffi.new(f"{kind}[]", count[0])
        self.call(name, *args, count, found)
        return [self.ffi.new(f"{kind}*", found[i])[0] for i in range(count[0])]  # each keeps its own memory

    def address(self, handle: Any) -> int:
        """Return a handle as a number."""
        return int(self.ffi.cast("uint64_t", handle))

    def text(self, value: Any) -> str:
        """Return a C string."""
        return self.ffi.string(value).decode(errors="replace")

    def is_done(self, result: int) -> bool:
        """Tell whether a wait ended because what it waited for is done."""
        return result != _TIMEOUT


class LeftBehind:
    """Stands for the loader in a process forked after a device was opened; every use of it says so."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, _name: str) -> Any:
        raise DeviceError(
            f"device {self._name!r}", "it was opened before this process was forked",
            remedy="Ask for the device anew with loom.device, or start processes by spawn",
        )  # fmt: skip


_TYPES: dict[str, int] = {}


@cache
def load() -> Vulkan:
    """Return the loader; DeviceError if the binding or the loader is not installed."""
    _tell_drivers(sys.platform)
    try:
        with ordinary_arithmetic():
            require("vulkan", "Vulkan", DeviceError)
            import vulkan
            from vulkan._vulkan import ffi, lib
    except OSError as error:
        raise DeviceError(
            "Vulkan", f"no loader is installed ({error})", remedy="Install libvulkan1 and a driver"
        ) from error
    for name, value in vars(vulkan).items():
        if name.startswith("VK_STRUCTURE_TYPE_") and isinstance(value, int):
            words = name.removeprefix("VK_STRUCTURE_TYPE_").split("_")
            _TYPES["Vk" + "".join(_camel(w) for w in words)] = value
    return Vulkan(ffi, lib)


def _tell_drivers(platform: str) -> None:
    """Tell MoltenVK to compile without fast math, unless the environment says otherwise: it reads that once."""
    if platform == "darwin":
        os.environ.setdefault("MVK_CONFIG_FAST_MATH_ENABLED", "0")


def _camel(word: str) -> str:
    """Return a word of a structure's name: EXT, KHR and SM stay, 8BIT is 8Bit, INT8 is Int8."""
    if word in ("EXT", "KHR", "NV", "AMD", "INTEL", "GOOGLE", "SM"):
        return word
    return re.sub(r"[A-Za-z]+", lambda m: m[0].capitalize(), word)
