"""Adapters that ``wgpu`` finds: what they are called, what they take, and one opened with all it offers.

Layer: runtime. Invariant: ``wgpu`` is imported when a device is asked for, and nothing else asks it for anything; it is
asked by the process that asked first, as its threads do not follow a fork.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

from loom.core.errors import DeviceError
from loom.core.late.dataclass import dataclass
from loom.core.optional import load

__all__ = ["WebGpuAdapter", "calls", "find_adapters"]

_ORDER = {"DiscreteGPU": 0, "IntegratedGPU": 1, "CPU": 2, "Unknown": 3}
_LAYER = "NODEVICE_SELECT"
_DOUBLES = {"shader-f64", "shader-int64"}
"""Features beyond WebGPU: types of 64 bits."""
_PACKED_DOTS = "packed_4x8_integer_dot_product"
"""A feature of the language: four products of packed bytes are one function."""
_LIMITS = {
    "buffers": "max-storage-buffers-per-shader-stage",
    "buffer_nbytes": "max-storage-buffer-binding-size",
    "shared_nbytes": "max-compute-workgroup-storage-size",
    "workgroup_lanes": "max-compute-invocations-per-workgroup",
    "workgroup_x": "max-compute-workgroup-size-x",
    "workgroup_y": "max-compute-workgroup-size-y",
    "workgroup_z": "max-compute-workgroup-size-z",
    "groups": "max-compute-workgroups-per-dimension",
    "words_nbytes": "max-uniform-buffer-binding-size",
    "words_alignment": "min-uniform-buffer-offset-alignment",
}
"""What Loom asks of a device, by WebGPU's names."""


@dataclass(frozen=True, eq=False)
class WebGpuAdapter:
    """An adapter not yet opened. ``key`` tells it from others, driver included."""

    native: Any
    name: str
    kind: str
    driver: str
    backend: str
    subgroup: int
    limits: dict[str, int]
    timed: bool
    doubles: bool
    packed_dots: bool
    key: str


_process: list[int] = []
"""The process that asked ``wgpu`` first."""


@contextmanager
def calls(where: str) -> Generator[None, None, None]:
    """Turn what ``wgpu`` raises into a DeviceError; raise one in a fork of the process that uses it."""
    if not _process:
        _process.append(os.getpid())
    elif _process[0] != os.getpid():
        raise DeviceError(
            where, "wgpu was in use when this process was forked, and its threads stayed behind",
            remedy="Start processes with spawn, or use webgpu in the child alone",
        )  # fmt: skip
    try:
        yield
    except DeviceError:
        raise
    except Exception as error:  # errors of wgpu have no class in common
        text = str(error).strip()
        what = "out of memory" if "memory" in text.lower() else "wgpu refused a call"
        told = " ".join(text.split())[:400] or type(error).__name__
        raise DeviceError(where, what, got=told, remedy="Use less at once, or another device") from error


def _wgpu() -> Any:
    try:
        return load("wgpu", "device 'webgpu'", DeviceError)
    except DeviceError:
        raise
    except Exception as error:  # a native library that does not fit this system
        raise DeviceError("device 'webgpu'", f"wgpu cannot be loaded: {error}", remedy="Install it anew") from error


@cache
def find_adapters() -> list[WebGpuAdapter]:
    """Return all adapters, GPUs first, but for those of OpenGL, which lack much; DeviceError without ``wgpu``."""
    wgpu = _wgpu()
    with calls("device 'webgpu'"), _without_a_screen():
        natives = list(wgpu.gpu.enumerate_adapters_sync())
    found = [_adapter(native) for native in natives]
    usable = [a for a in found if not a.backend.startswith("OpenGL")]
    return sorted(usable, key=lambda a: _ORDER.get(a.kind, 3))


@contextmanager
def _without_a_screen() -> Generator[None, None, None]:
    """Keep Mesa's layer from looking for a screen, of which it writes lines of its own where there is none."""
    if _LAYER in os.environ:
        yield
        return
    os.environ[_LAYER] = "1"
    try:
        yield
    finally:
        os.environ.pop(_LAYER, None)


def _adapter(native: Any) -> WebGpuAdapter:
    info = native.info
    limits = {name: int(native.limits[asked]) for name, asked in _LIMITS.items()}
    limits["buffer_nbytes"] = min(limits["buffer_nbytes"], int(native.limits["max-buffer-size"]))
    named = [str(info.get(part, "")) for part in ("vendor", "device", "description", "backend_type", "adapter_type")]
    return WebGpuAdapter(
        native, named[1], named[4], named[2], named[3], int(info.get('subgroup_min_size', 0) or 0) or 8, limits,
        "timestamp-query" in native.features, set(native.features) >= _DOUBLES,
        _PACKED_DOTS in _wgpu().gpu.wgsl_language_features,
        f"{' '.join(named)} {_wgpu().__version__}",
    )  # fmt: skip
