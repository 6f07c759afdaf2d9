"""Kernels as functions of CUDA: PTX of the LLVM target, made machine code for the chip, loaded.

Layer: runtime. A kernel takes (address, elements) for each buffer, its parameters, the log, the dispatch's number, and
where dispatches are cut in parts the counts of the whole and where a part starts. Invariant: a kernel the GPU has no
room for is refused before anything is made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from loom.core.errors import DeviceError
from loom.ir.kernel import Kernel
from loom.ir.verify import VerifiedKernel
from loom.runtime.drivers.cuda.api import Api
from loom.runtime.drivers.cuda.gpus import Gpu
from loom.targets.base import Artifact, Bounds, Site
from loom.targets.llvm.machine import machine
from loom.targets.llvm.target import LlvmTarget

__all__ = ["LoadedFunction", "compile_kernel", "load_kernel"]

_MOST_ARGUMENTS = 4096
_LOG_NBYTES = 8192


@dataclass(frozen=True, eq=False)
class LoadedFunction:
    """A function; ``module`` keeps it."""

    verified: VerifiedKernel
    function: Any
    module: Any
    sites: tuple[Site, ...]


def compile_kernel(
    api: Api, name: str, verified: VerifiedKernel, bounds: Bounds, *, cut: bool, tiles: bool
) -> Artifact:
    """Return a kernel as machine code for the current context's GPU; DeviceError with what the driver says."""
    written = LlvmTarget(replace(machine("ptx"), cut=cut, tiles=tiles)).compile(verified, bounds)
    kinds, options = api.driver.CUjitInputType, api.driver.CUjit_option
    told = bytearray(_LOG_NBYTES)
    asked = [options.CU_JIT_ERROR_LOG_BUFFER, options.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES]
    state = api.cuLinkCreate(len(asked), asked, [told, _LOG_NBYTES])
    try:
        text = written.data + b"\0"
        api.cuLinkAddData(state, kinds.CU_JIT_INPUT_PTX, text, len(text), verified.name.encode(), 0, [], [])
        code, size = api.cuLinkComplete(state)
        data = _bytes_at(code, size)
    except DeviceError as error:
        said = " ".join(told.split(b"\0")[0].decode(errors="replace").split())
        raise DeviceError(
            f"kernel {verified.name!r} on device {name!r}", f"the driver does not compile it: {error.what}",
            got=said[:400] or None, remedy="Use less private or shared memory, or another device",
        ) from error  # fmt: skip
    finally:
        api.driver.cuLinkDestroy(state)
    return Artifact("cubin", data, written.entry, written.sites, written.facts)


def _bytes_at(address: Any, size: int) -> bytes:
    import ctypes

    return ctypes.string_at(int(address), size)


def load_kernel(api: Api, gpu: Gpu, name: str, verified: VerifiedKernel, artifact: Artifact) -> LoadedFunction:
    """Return the function of compiled code."""
    _check(gpu, f"kernel {verified.name!r} on device {name!r}", verified.kernel)
    module = api.cuModuleLoadDataEx(artifact.data, 0, [], [])
    return LoadedFunction(verified, api.cuModuleGetFunction(module, artifact.entry.encode()), module, artifact.sites)


def _check(gpu: Gpu, where: str, kernel: Kernel) -> None:
    """Raise DeviceError for what the GPU has no room for."""
    limits = gpu.limits
    shared = sum(-(-(m.size or 0) * m.dtype.nbytes // 16) * 16 for m in kernel.shared)
    arguments = 16 * len(kernel.buffers) + 8 * len(kernel.params) + 40
    rows = [
        ("too many buffers and parameters", f"at most {_MOST_ARGUMENTS} bytes", arguments, _MOST_ARGUMENTS),
        ("too much shared memory", f"at most {limits['shared_nbytes']} bytes", shared, limits["shared_nbytes"]),
        ("too many lanes", f"at most {limits['workgroup_lanes']}", kernel.lanes, limits["workgroup_lanes"]),
    ]
    rows += [
        (f"too many lanes along {axis}", f"at most {limits[f'workgroup_{axis}']}", n, limits[f"workgroup_{axis}"])
        for axis, n in zip("xyz", kernel.workgroup, strict=True)
    ]
    for what, expected, got, limit in rows:
        if got > limit:
            raise DeviceError(where, what, expected=expected, got=got, remedy="Use less, or another device")
