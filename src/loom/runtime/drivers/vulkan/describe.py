"""What ``loom devices`` shows of an adapter.

Layer: runtime. Invariant: nothing here opens a device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom.runtime.drivers.vulkan.native.adapter import Adapter
from loom.runtime.port.device import DeviceInfo

if TYPE_CHECKING:
    from loom.runtime.drivers.vulkan.selftest.levels import Findings

__all__ = ["describe_adapter"]

_MAKERS = {
    1: "AMD's own", 2: "AMDVLK (AMD)", 3: "RADV (Mesa, for AMD)", 4: "NVIDIA's", 5: "Intel's own, of Windows",
    6: "ANV (Mesa, for Intel)", 7: "Imagination's", 8: "Qualcomm's", 9: "ARM's", 10: "SwiftShader (Google, on the CPU)",
    12: "Broadcom's", 13: "lavapipe (Mesa, on the CPU)", 14: "MoltenVK (on Metal)", 18: "Turnip (Mesa, for Qualcomm)",
    19: "V3DV (Mesa, for Broadcom)", 20: "PanVK (Mesa, for ARM)", 21: "Samsung's", 22: "Venus (of a virtual machine)",
    23: "Dozen (Mesa, on Direct3D)", 24: "NVK (Mesa, for NVIDIA)", 25: "PowerVR (Mesa, for Imagination)",
    26: "Honeykrisp (Mesa, for Apple)",
}  # fmt: skip
"""Drivers by VkDriverId, as people call them."""


def describe_adapter(adapter: Adapter, name: str, findings: Findings | None, refused: str | None = None) -> DeviceInfo:
    """Return what is known of an adapter; ``findings`` are its self-test's."""
    limits = adapter.limits
    refused = adapter.refused or refused
    shown = {
        "adapter": adapter.name,
        "kind": adapter.kind,
        "driver": _MAKERS.get(adapter.driver_id, adapter.driver or "unknown"),
        "shared memory": f"{limits['shared_nbytes'] // 1024} KiB",
        "workgroup": f"{limits['workgroup_lanes']} lanes",
        "groups": " x ".join(str(limits[f"groups_{axis}"]) for axis in "xyz"),
        "buffer": f"{limits['buffer_nbytes'] >> 20} MiB",
        "buffers": limits["buffers"],
        "pushed": f"{limits['push_nbytes']} bytes",
        "queues": adapter.queues,
        "types": ", ".join(findings.types if findings is not None else adapter.types) or "32-bit only",
    }
    return DeviceInfo(
        name, "vulkan", f"Vulkan {adapter.version}, {adapter.driver}", "none" if refused else "BIT_EXACT", shown,
        operations=dict(findings.operations) if findings is not None else {}, refused=refused,
    )  # fmt: skip
