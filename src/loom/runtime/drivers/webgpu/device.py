"""A WebGPU adapter as a device: the port, over an adapter that was opened and tested.

Layer: runtime. Invariant: features are what the self-test found, never what an adapter claims.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loom.core import options
from loom.core.caps import Caps
from loom.core.numbers import whole
from loom.core.numerics import Guarantee
from loom.runtime.drivers.webgpu.adapter import WebGpuAdapter
from loom.runtime.drivers.webgpu.memory import WebGpuStorage
from loom.runtime.drivers.webgpu.opened import OpenWebGpu
from loom.runtime.drivers.webgpu.program import WebGpuProgram
from loom.runtime.plans.plan import Plan
from loom.runtime.port.device import DeviceInfo

if TYPE_CHECKING:
    from loom.runtime.drivers.webgpu.selftest import FormFindings

__all__ = ["WebGpuDevice", "describe_adapter"]

_USUAL_PROCESSORS = 32
_OF_UNITS = ("doubles", "dots")
"""Families whose last form is the usual one."""


class WebGpuDevice(OpenWebGpu):
    """One adapter, opened and tested; DeviceError if it computes what cannot be put right."""

    kind = "webgpu"
    guarantee = Guarantee.BIT_EXACT

    def __init__(self, adapter: WebGpuAdapter, name: str = "webgpu", *, tested: bool = True) -> None:
        super().__init__(adapter, name)
        self.findings: FormFindings | None = None
        if tested:
            from loom.runtime.drivers.webgpu.selftest import find_features

            features, self.findings = find_features(self)
            self.use(features)

    @property
    def caps(self) -> Caps:
        """What kernels may know of this device."""
        limits, forms = self.adapter.limits, dict(self.features.forms)
        return Caps(
            simd_lanes=self.adapter.subgroup, shared_nbytes=limits["shared_nbytes"],
            max_workgroup_lanes=limits["workgroup_lanes"], unified_memory=False,
            workers=options.thread_count() if self.adapter.kind == "CPU" else _USUAL_PROCESSORS,
            cache_nbytes=1 << 20, threads=True, buffer_nbytes=limits["buffer_nbytes"],
            short=any(form in ("guarded", "integers") for family, form in forms.items() if family not in _OF_UNITS),
            dots="dot4_i8" if forms.get("dots") == "wide" else "",
        )  # fmt: skip

    def describe(self) -> DeviceInfo:
        """Return what ``loom devices`` shows."""
        return describe_adapter(self.adapter, self.name, self.findings)

    def allocate(self, nbytes: int, *, zeroed: bool = True) -> WebGpuStorage:  # noqa: ARG002 (the port's)
        """Return memory, zeroed whether that is asked for or not; DeviceError if there is not enough."""
        return self.memory.allocate(whole(nbytes, "device.allocate, nbytes", least=0))

    def adopt(self, array: Any) -> None:
        """Arrays of the host cannot be used in place."""

    def build(self, plan: Plan) -> WebGpuProgram:
        """Compile the kernels of a plan and lay out its rows."""
        return WebGpuProgram(self, plan)


def describe_adapter(
    adapter: WebGpuAdapter, name: str, findings: FormFindings | None, refused: str | None = None
) -> DeviceInfo:
    """Return what is known of an adapter; ``findings`` are its self-test's."""
    limits = adapter.limits
    shown = {
        "adapter": adapter.name,
        "kind": adapter.kind,
        "shared memory": f"{limits['shared_nbytes'] // 1024} KiB",
        "workgroup": f"{limits['workgroup_lanes']} lanes",
        "groups": f"{limits['groups']} along a dimension",
        "buffer": f"{limits['buffer_nbytes'] >> 20} MiB",
        "buffers": limits["buffers"],
        "types": "64 bits by words of 32",
    }
    return DeviceInfo(
        name, "webgpu", f"WebGPU by wgpu, {adapter.backend}, {adapter.driver}", "none" if refused else "BIT_EXACT",
        shown, operations=dict(findings.operations) if findings is not None else {}, refused=refused,
    )  # fmt: skip
