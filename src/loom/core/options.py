"""Settings from the environment, read when they are needed.

Layer: core. Invariant: a setting changes speed, checks or places, never the bits of a result.

    LOOM_THREADS    worker threads of the CPU device (default: the cores this process may use)
    LOOM_SIMD       32-bit lanes per vector on the CPU device: 1, 2, 4, 8, 16 (default: the host's)
    LOOM_OPTIMISE   0: kernels for the CPU device are compiled in half of the time, and run slower (default: 1)
    LOOM_CHECK      1: report indexes outside buffers, in all kernels, with kernel, line and lane
    LOOM_DEVICE     device used where none is named (default: the best present)
    LOOM_CACHE_DIR  where compiled kernels are kept (default: the user's cache folder)
    LOOM_NATIVE     0: small calls that come again go the whole way through Python (default: 1)
    LOOM_MONITOR    1: show this process to ``loom monitor``
    LOOM_TRACEBACK  full: tracebacks with Loom's own frames, which are otherwise left out

    LOOM_VULKAN_VALIDATE  1: load Vulkan's validation layer, for work on Loom itself

Those that no build asks for are looked at when a device is first asked for: none is unusable in silence.
"""

from __future__ import annotations

import os
from typing import Any

from loom.core.errors import ArgumentError

__all__ = [
    "CALL_SETTINGS",
    "build_key",
    "cache_directory",
    "check_bounds",
    "check_others",
    "compile_settings",
    "default_device",
    "environment",
    "full_tracebacks",
    "monitor_wanted",
    "native_calls",
    "optimise_code",
    "simd_lanes",
    "thread_count",
    "validate_vulkan",
]

MAX_THREADS = 64


def thread_count() -> int:
    """Return how many threads the CPU device uses."""
    wanted = _integer("LOOM_THREADS", 1, MAX_THREADS)
    if wanted is not None:
        return wanted
    try:
        available = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        available = os.cpu_count() or 1
    return min(available, MAX_THREADS)


def simd_lanes() -> int | None:
    """Return the vector width asked for, None for the host's own."""
    lanes = _integer("LOOM_SIMD", 1, 16)
    if lanes is not None and lanes & (lanes - 1):
        raise _unusable("LOOM_SIMD", "1, 2, 4, 8 or 16")
    return lanes


def optimise_code() -> bool:
    """Tell whether machine code is made fast, which takes LLVM more than half of the time that compiling takes."""
    return _integer("LOOM_OPTIMISE", 0, 1) != 0


def check_bounds() -> bool:
    """Tell whether indexes outside buffers are reported."""
    return _integer("LOOM_CHECK", 0, 1) == 1


def compile_settings() -> tuple[int, int | None, bool, bool]:
    """Return the settings of a build: threads, lanes of a vector, optimised or not, indexes checked or not."""
    return thread_count(), simd_lanes(), optimise_code(), check_bounds()


def build_key() -> tuple[Any, ...]:
    """Return what ``compile_settings`` are read from, told without reading it: equal ones mean equal settings."""
    if _SET is None:
        return compile_settings()
    return _SET.get(b"LOOM_THREADS") or thread_count(), *map(_SET.get, _OF_BUILDS)


def native_calls() -> bool:
    """Tell whether calls of kernels that come again are made without Python."""
    return _integer("LOOM_NATIVE", 0, 1) != 0


def environment() -> dict[bytes, bytes] | None:
    """Return what ``os.environ`` holds, where that can be looked at while it changes."""
    return _SET


def monitor_wanted() -> bool:
    """Tell whether this process is to be shown to ``loom monitor``."""
    return _integer("LOOM_MONITOR", 0, 1) == 1


def full_tracebacks() -> bool:
    """Tell whether errors show Loom's own frames."""
    return os.environ.get("LOOM_TRACEBACK") == "full"


def validate_vulkan() -> bool:
    """Tell whether Vulkan's validation layer is loaded."""
    return _integer("LOOM_VULKAN_VALIDATE", 0, 1) == 1


def check_others() -> None:
    """Look at the settings that no build asks for; ArgumentError for one that is unusable."""
    for read in (native_calls, monitor_wanted, validate_vulkan):
        read()
    if os.environ.get("LOOM_TRACEBACK") not in (None, "", "full"):
        raise _unusable("LOOM_TRACEBACK", "full, or nothing", what="not a usable setting")


def default_device() -> str:
    """Return the name of the device used where none is named."""
    return _text("LOOM_DEVICE") or "auto"


def cache_directory() -> str | None:
    """Return the cache folder asked for, None for the user's own; ``~`` is a home, which few shells put there here."""
    return os.path.expanduser(os.environ.get("LOOM_CACHE_DIR", "")) or None


_SET: dict[bytes, bytes] | None = getattr(os.environ, "_data", None) if os.name == "posix" else None
"""What ``os.environ`` holds, where that can be asked without an exception for each name that is not set."""


_OF_BUILDS = (b"LOOM_SIMD", b"LOOM_OPTIMISE", b"LOOM_CHECK")
CALL_SETTINGS = (*_OF_BUILDS, b"LOOM_THREADS", b"LOOM_DEVICE", b"LOOM_NATIVE")
"""The names of all that a call of a kernel depends on."""


def _text(name: str) -> str | None:
    """Return what a variable is set to."""
    return os.environ.get(name) if _SET is None or name.encode() in _SET else None


def _integer(name: str, least: int, most: int) -> int | None:
    text = _text(name)
    if not text:
        return None
    if not text.isdecimal() or not least <= int(text) <= most:
        raise _unusable(name, f"{least} to {most}")
    return int(text)


def _unusable(name: str, expected: str, what: str = "not a usable number") -> ArgumentError:
    return ArgumentError(
        f"environment {name}", what, expected=expected, got=repr(os.environ[name]),
        remedy=f"Unset {name} or correct it",
    )  # fmt: skip
