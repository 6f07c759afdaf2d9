"""The worker threads' code: LLVM IR of the pool, of what a system gives it, and of what a processor does.

Layer: runtime. Invariant: the pool's text is one for all; whatever differs between systems is in their own files.
"""

from __future__ import annotations

from pathlib import Path

from loom.core.errors import DeviceError

__all__ = ["processor_source", "walker_source"]

_PROCESSORS = {"x86_64": "x86", "AMD64": "x86", "aarch64": "aarch64", "arm64": "aarch64", "ARM64": "aarch64"}
_SYSTEMS = {"Linux": ("posix", 1), "Darwin": ("posix", 6), "Windows": ("windows", 0)}
"""The file of a system, and the number of its monotonic clock."""


def processor_source(processor: str) -> str:
    """Return what a processor does: how it waits, and how its arithmetic is set to what Loom's kernels take it for."""
    return Path(__file__).with_name(f"{_PROCESSORS[processor]}.ll").read_text("utf-8")


def walker_source(system: str, processor: str, triple: str) -> str:
    """Return the code for a system and a processor, as ``platform`` names them; DeviceError if there is none."""
    if system not in _SYSTEMS or processor not in _PROCESSORS:
        raise DeviceError(
            "device 'cpu'", "this system has no worker threads for Loom yet",
            expected="Linux, macOS or Windows on x86-64 or AArch64", got=f"{system} on {processor}",
            remedy="Use device='interp'",
        )  # fmt: skip
    file, clock = _SYSTEMS[system]
    parts = [Path(__file__).with_name(f"{name}.ll").read_text("utf-8") for name in ("pool", file)]
    parts.append(processor_source(processor))
    if file == "posix":
        parts.append(f"@monotonic = internal constant i32 {clock}\n")
    return "\n".join([f'target triple = "{triple}"', *parts])
