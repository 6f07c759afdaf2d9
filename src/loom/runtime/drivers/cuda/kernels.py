"""Kernels as functions of CUDA: PTX of the LLVM target, made machine code for the chip, loaded.

Layer: runtime. A kernel takes (address, elements) for each buffer, its parameters, the log, the dispatch's number, and
where dispatches are cut in parts the counts of the whole and where a part starts. Invariant: a kernel the GPU has no
room for is refused before anything is made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from loom.core.errors import DeviceError
from loom.core.late.dataclass import dataclass
from loom.ir.kernel import Kernel
from loom.ir.passes.wide import has_wide
from loom.ir.verified import VerifiedKernel
from loom.runtime.drivers.cuda.api import Api
from loom.runtime.drivers.cuda.gpus import Gpu
from loom.targets.base import Artifact, Bounds, Site
from loom.targets.llvm.gpu.room import dynamic_nbytes, starts_of_shared
from loom.targets.llvm.machine import machine
from loom.targets.llvm.target import LlvmTarget

__all__ = ["LoadedFunction", "compile_kernel", "load_kernel"]

_MOST_ARGUMENTS = 4096
_LOG_NBYTES = 8192
_EARLY_CHIP = "sm_90"
"""The oldest whose kernels may be begun early."""
_WIDE_CHIP = "sm_90a"
"""What has instructions for products of 64 rows; no newer chip takes code for it."""


@dataclass(frozen=True, eq=False)
class LoadedFunction:
    """A function; ``module`` keeps it; ``shared_nbytes``: what launches ask for; ``waits``: it may be begun early."""

    verified: VerifiedKernel
    function: Any
    module: Any
    sites: tuple[Site, ...]
    shared_nbytes: int = 0
    waits: bool = False


def compile_kernel(
    api: Api, name: str, verified: VerifiedKernel, bounds: Bounds, *, cut: bool, tiles: bool, wide: bool, placed: bool,
    dependents: str,
) -> Artifact:  # fmt: skip
    """Return a kernel as machine code for the current context's GPU; DeviceError with what the driver says."""
    where = replace(machine("ptx"), cut=cut, tiles=tiles, placed=placed)
    if dependents:
        where = replace(where, dependents=dependents, cpu=_EARLY_CHIP)
    if wide and has_wide(verified.kernel):
        where = replace(where, wide=True, cpu=_WIDE_CHIP)
    written = LlvmTarget(where).compile(verified, bounds)
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


def load_kernel(
    api: Api, gpu: Gpu, name: str, verified: VerifiedKernel, artifact: Artifact, *, waits: bool
) -> LoadedFunction:
    """Return the function of compiled code."""
    _check(gpu, f"kernel {verified.name!r} on device {name!r}", verified.kernel)
    module = api.cuModuleLoadDataEx(artifact.data, 0, [], [])
    function, nbytes = api.cuModuleGetFunction(module, artifact.entry.encode()), dynamic_nbytes(verified.kernel)
    if nbytes:
        attribute = api.driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        api.cuFuncSetAttribute(function, attribute, nbytes)
    return LoadedFunction(verified, function, module, artifact.sites, nbytes, waits)


def _check(gpu: Gpu, where: str, kernel: Kernel) -> None:
    """Raise DeviceError for what the GPU has no room for."""
    limits = gpu.limits
    shared, most = (
        dynamic_nbytes(kernel) or starts_of_shared(kernel)[1],
        limits["shared_most" if has_wide(kernel) else "shared_nbytes"],
    )
    arguments = 16 * len(kernel.buffers) + 8 * len(kernel.params) + 40
    rows = [
        ("too many buffers and parameters", f"at most {_MOST_ARGUMENTS} bytes", arguments, _MOST_ARGUMENTS),
        ("too much shared memory", f"at most {most} bytes", shared, most),
        ("too many lanes", f"at most {limits['workgroup_lanes']}", kernel.lanes, limits["workgroup_lanes"]),
    ]
    rows += [
        (f"too many lanes along {axis}", f"at most {limits[f'workgroup_{axis}']}", n, limits[f"workgroup_{axis}"])
        for axis, n in zip("xyz", kernel.workgroup, strict=True)
    ]
    for what, expected, got, limit in rows:
        if got > limit:
            raise DeviceError(where, what, expected=expected, got=got, remedy="Use less, or another device")
