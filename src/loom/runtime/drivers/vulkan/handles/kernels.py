"""Kernels as compute pipelines.

Layer: runtime. Invariant: a kernel the device has no room or no types for is refused before anything is made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from loom.core.errors import DeviceError
from loom.core.late.dataclass import dataclass
from loom.ir.kernel import Instr, Kernel, walk
from loom.ir.verified import VerifiedKernel
from loom.runtime.drivers.vulkan.native.api import is_unknown
from loom.runtime.drivers.vulkan.native.context import DeviceContext
from loom.runtime.drivers.vulkan.native.pipelines import Pipelines
from loom.targets.base import Artifact, Site
from loom.targets.base.push_layout import PushLayout, lanes_filled_up
from loom.targets.spirv.features import Features

__all__ = ["LoadedKernel", "check_room", "load_kernel", "make_pipeline"]

_COMPUTE_STAGE = 0x20
_STORAGE_BUFFER = 7


@dataclass(frozen=True, eq=False)
class LoadedKernel:
    """A pipeline with its layouts.

    ``bindings`` are numbers of descriptors: buffers, the log, the table of words, arrays of the heap. ``heap``: a
    group's bytes of each of these arrays.
    """

    verified: VerifiedKernel
    pipeline: Any
    layout: Any
    set_layout: Any
    module: Any
    push: PushLayout
    sites: tuple[Site, ...]
    bindings: tuple[int, ...]
    heap: tuple[int, ...] = ()

    def destroy(self, device: DeviceContext) -> None:
        """Free the native objects."""
        for kind, handle in (
            ("Pipeline", self.pipeline), ("PipelineLayout", self.layout), ("DescriptorSetLayout", self.set_layout),
            ("ShaderModule", self.module),
        ):  # fmt: skip
            device.destroy(kind, handle)


def load_kernel(pipelines: Pipelines, features: Features, verified: VerifiedKernel, artifact: Artifact) -> LoadedKernel:
    """Return the pipeline of a compiled kernel."""
    raw = artifact.facts["push"]
    starts = tuple(raw["starts"])
    push = PushLayout(
        tuple(raw["params"]), raw["lengths"], raw["number"], raw["groups"], (starts[0], starts[1], starts[2]),
        raw["words"], raw["in_table"],
    )  # fmt: skip
    count, heap = len(verified.kernel.buffers), tuple(artifact.facts.get("heap", ()))
    own = (*([count] if artifact.sites else []), *([count + 1] if push.in_table else []))
    bindings = (*range(count), *own, *range(count + 2, count + 2 + len(heap)))
    _check(pipelines.device, features, verified.kernel, len(bindings))
    return make_pipeline(pipelines, verified, artifact.data, "main", push, artifact.sites, bindings, heap)


def make_pipeline(
    pipelines: Pipelines, verified: VerifiedKernel, data: bytes, entry: str, push: PushLayout, sites: tuple[Site, ...],
    bindings: tuple[int, ...], heap: tuple[int, ...] = (),
) -> LoadedKernel:  # fmt: skip
    """Return the pipeline of a module's entry point; nothing is left of one that cannot be made."""
    made: list[tuple[str, Any]] = []
    try:
        return replace(_make(pipelines, verified, data, entry, push, sites, bindings, made), heap=heap)
    except DeviceError as error:
        device = pipelines.device
        for kind, handle in reversed(made):
            device.destroy(kind, handle)
        if not is_unknown(error):
            raise
        private = sum((m.size or 0) * m.dtype.nbytes for m in verified.kernel.private)
        raise DeviceError(
            f"kernel {verified.name!r} on device {device.name!r}", f"{error.what} ({error.where})",
            got=f"a kernel with {private} bytes of private memory a lane", remedy="Use less of it, or another device",
        ) from error  # fmt: skip


def _make(
    pipelines: Pipelines, verified: VerifiedKernel, data: bytes, entry: str, push: PushLayout, sites: tuple[Site, ...],
    bindings: tuple[int, ...], made: list[tuple[str, Any]],
) -> LoadedKernel:  # fmt: skip
    device = pipelines.device
    api = device.api

    def create(kind: str, info: Any) -> Any:
        made.append((kind, device.create(kind, info)))
        return made[-1][1]

    code = api.ffi.new("uint8_t[]", data)
    info = api.new("VkShaderModuleCreateInfo", codeSize=len(data), pCode=api.ffi.cast("uint32_t*", code))
    module = create("ShaderModule", info)
    set_layout = create("DescriptorSetLayout", _set_layout(device, bindings))
    ranges = api.new("VkPushConstantRange", stageFlags=_COMPUTE_STAGE, size=push.nbytes)
    wanted = api.new(
        "VkPipelineLayoutCreateInfo", setLayoutCount=1,
        pSetLayouts=api.ffi.new("VkDescriptorSetLayout[]", [set_layout]), pushConstantRangeCount=1,
        pPushConstantRanges=ranges,
    )  # fmt: skip
    layout = create("PipelineLayout", wanted)
    stage = api.new("VkPipelineShaderStageCreateInfo", stage=_COMPUTE_STAGE, module=module, pName=entry)
    pipeline = pipelines.create(api.new("VkComputePipelineCreateInfo", stage=stage[0], layout=layout))
    return LoadedKernel(verified, pipeline, layout, set_layout, module, push, sites, bindings)


def _set_layout(device: DeviceContext, bindings: tuple[int, ...]) -> Any:
    api = device.api
    rows = api.ffi.new("VkDescriptorSetLayoutBinding[]", max(1, len(bindings)))
    for row, number in zip(rows, bindings, strict=False):
        row.binding, row.descriptorType = number, _STORAGE_BUFFER
        row.descriptorCount, row.stageFlags = 1, _COMPUTE_STAGE
    return api.new("VkDescriptorSetLayoutCreateInfo", bindingCount=len(bindings), pBindings=rows)


def _check(device: DeviceContext, features: Features, kernel: Kernel, bindings: int) -> None:
    """Raise DeviceError for what the device has no room or no types for."""
    where = f"kernel {kernel.name!r} on device {device.name!r}"
    shared = sum((m.size or 0) * m.dtype.nbytes for m in kernel.shared)
    lanes = max(kernel.lanes, lanes_filled_up(kernel, features.whole_vectors))
    check_room(device, where, bindings=bindings, shared=shared, lanes=lanes, workgroup=kernel.workgroup)
    missing = _types_of(kernel) - set(features.types)
    if missing:
        raise DeviceError(
            where, "the device lacks types, or computes wrongly with them", expected=", ".join(sorted(missing)),
            got=", ".join(features.types) or "32-bit types only", remedy="Use another device",
        )  # fmt: skip
    if not features.int64_atomics and _has_wide_atomics(kernel):
        raise DeviceError(
            where, "the device lacks 64-bit atomics", expected="atomics of 32 bits", remedy="Use another device"
        )


def check_room(
    device: DeviceContext, where: str, *, bindings: int, shared: int, lanes: int, workgroup: tuple[int, int, int]
) -> None:
    """Raise DeviceError for a kernel of more buffers, shared bytes or lanes than the device takes."""
    limits = device.adapter.limits
    rows = [
        ("too many buffers", f"at most {limits['buffers']}", bindings, limits["buffers"]),
        ("too much shared memory", f"at most {limits['shared_nbytes']} bytes", shared, limits["shared_nbytes"]),
        ("too many lanes", f"at most {limits['workgroup_lanes']}", lanes, limits["workgroup_lanes"]),
    ]
    rows += [
        (f"too many lanes along {axis}", f"at most {limits[f'workgroup_{axis}']}", n, limits[f"workgroup_{axis}"])
        for axis, n in zip("xyz", workgroup, strict=True)
    ]
    for what, expected, got, limit in rows:
        if got > limit:
            raise DeviceError(where, what, expected=expected, got=got, remedy="Use less, or another device")


def _types_of(kernel: Kernel) -> set[str]:
    """Return the types a kernel uses that not every device has."""
    values = [s.type for s in walk(kernel.body) if isinstance(s, Instr) and s.dtype is not None]
    held = [m.dtype for m in (*kernel.buffers, *kernel.shared, *kernel.private)]
    names: set[str] = set()
    for dtype in (*values, *held, *(p.dtype for p in kernel.params), *(v.dtype for v in kernel.variables)):
        scalar = dtype.scalar
        if not scalar.is_bool and scalar.bits != 32:
            names.add("f64" if scalar.is_float and scalar.bits == 64 else f"i{scalar.bits}")
            if scalar.name == "f64":
                names.add("i64")  # signs are changed in the bits
    return names | ({"i8"} if any(m.is_bool for m in held) else set())


def _has_wide_atomics(kernel: Kernel) -> bool:
    atomics = (s for s in walk(kernel.body) if isinstance(s, Instr) and s.op.name.startswith("atomic"))
    return any(s.memory is not None and s.memory.dtype.bits == 64 for s in atomics)
