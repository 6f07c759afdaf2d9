"""Kernels as compute pipelines of WebGPU.

Layer: runtime. Binding 0 holds the words of a dispatch, then come the buffers, then the log. Invariant: a kernel the
device has no room for is refused before anything is made.
"""

from __future__ import annotations

from typing import Any

from loom.core.errors import DeviceError
from loom.core.late.dataclass import dataclass
from loom.ir.kernel import Kernel
from loom.ir.verified import VerifiedKernel
from loom.runtime.drivers.webgpu.adapter import WebGpuAdapter, calls
from loom.targets.base import Artifact, Site
from loom.targets.base.push_layout import PushLayout, lanes_filled_up

__all__ = ["LoadedPipeline", "load_kernel"]

_COMPUTE = 4


@dataclass(frozen=True, eq=False)
class LoadedPipeline:
    """A pipeline; ``slots`` tells which binding each buffer lies in, counted from binding 1."""

    verified: VerifiedKernel
    pipeline: Any
    layout: Any
    push: PushLayout
    words: int
    sites: tuple[Site, ...]
    slots: tuple[int, ...]


def load_kernel(
    native: Any, adapter: WebGpuAdapter, name: str, verified: VerifiedKernel, artifact: Artifact,
    slots: tuple[int, ...], whole: int,
) -> LoadedPipeline:  # fmt: skip
    """Return the pipeline of a compiled kernel, whose groups are filled up to a multiple of ``whole`` lanes."""
    raw = artifact.facts["push"]
    starts = tuple(raw["starts"])
    push = PushLayout(
        tuple(raw["params"]), raw["lengths"], raw["number"], raw["groups"], (starts[0], starts[1], starts[2]),
        raw["words"], raw["in_table"],
    )  # fmt: skip
    words = artifact.facts["words"]
    where = f"kernel {verified.name!r} on device {name!r}"
    count = len(set(slots)) + bool(artifact.sites)
    _check(adapter, where, verified.kernel, count, words, lanes_filled_up(verified.kernel, whole))
    entries: list[dict[str, Any]] = [_entry(0, "uniform", has_dynamic_offset=True)]
    entries += [_entry(n + 1, "storage") for n in range(count)]
    with calls(where):
        layout = native.create_bind_group_layout(entries=entries)
        module = native.create_shader_module(code=artifact.data.decode())
        pipeline = native.create_compute_pipeline(
            layout=native.create_pipeline_layout(bind_group_layouts=[layout]),
            compute={"module": module, "entry_point": artifact.entry},
        )
    return LoadedPipeline(verified, pipeline, layout, push, words, artifact.sites, slots)


def _entry(binding: int, kind: str, **more: Any) -> dict[str, Any]:
    return {"binding": binding, "visibility": _COMPUTE, "buffer": {"type": kind, **more}}


def _check(adapter: WebGpuAdapter, where: str, kernel: Kernel, bindings: int, words: int, filled: int) -> None:
    """Raise DeviceError for what the device has no room for."""
    limits = adapter.limits
    shared = sum((m.size or 0) * m.dtype.lanes * max(4, m.dtype.scalar.nbytes) for m in kernel.shared)
    rows = [
        ("too many buffers", "at most {}", bindings, limits["buffers"]),
        ("too much shared memory, where 8 and 16 bits take 32", "at most {} bytes", shared, limits["shared_nbytes"]),
        ("too many lanes", "at most {}", max(kernel.lanes, filled), limits["workgroup_lanes"]),
        ("too many parameters", "at most {} bytes", 4 * words, limits["words_nbytes"]),
    ]
    rows += [
        (f"too many lanes along {axis}", "at most {}", n, limits[f"workgroup_{axis}"])
        for axis, n in zip("xyz", kernel.workgroup, strict=True)
    ]
    for what, expected, got, limit in rows:
        if got > limit:
            raise DeviceError(
                where, what, expected=expected.format(limit), got=got, remedy="Use less, or another device"
            )
