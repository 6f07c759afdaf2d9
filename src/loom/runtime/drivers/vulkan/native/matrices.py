"""Cooperative matrices of an adapter: of which shapes it multiplies bytes.

Layer: runtime. Invariant: a shape is told only where tiles of ``tile_product`` are whole matrices of it, and the lanes
that ask for a tile are whole subgroups.

Source: VK_KHR_cooperative_matrix, revision 2.
"""

from __future__ import annotations

from typing import Any

from loom.ir.passes.tiles import TILE_LANES, TILE_ROWS, TILE_STEP
from loom.runtime.drivers.vulkan.native.api import Vulkan

__all__ = ["COOPERATIVE_MATRICES", "MEMORY_MODEL", "matrix_shape"]

COOPERATIVE_MATRICES = "VK_KHR_cooperative_matrix"
MEMORY_MODEL = "VK_KHR_vulkan_memory_model"
"""What modules with such matrices are written for."""
_SUBGROUP_SCOPE, _INT8, _INT32 = 3, 3, 5
"""VK_SCOPE_SUBGROUP_KHR, VK_COMPONENT_TYPE_SINT8_KHR, VK_COMPONENT_TYPE_SINT32_KHR"""
_QUERY = "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"
_TILE = 2 * TILE_ROWS, TILE_ROWS, 4 * TILE_STEP
"""Rows, columns and bytes of the smallest tile."""


def matrix_shape(
    api: Vulkan, instance: Any, handle: Any, extensions: set[str], subgroup: int
) -> tuple[int, int, int] | None:
    """Return rows, columns and depth of the largest matrices of signed bytes with exact sums, None without any."""
    if not extensions.issuperset((COOPERATIVE_MATRICES, MEMORY_MODEL)) or not subgroup or TILE_LANES % subgroup:
        return None
    model = api.new("VkPhysicalDeviceVulkanMemoryModelFeatures")
    offered = api.new("VkPhysicalDeviceCooperativeMatrixFeaturesKHR", pNext=model)
    api.call("vkGetPhysicalDeviceFeatures2", handle, api.new("VkPhysicalDeviceFeatures2", pNext=offered))
    if not (offered.cooperativeMatrix and model.vulkanMemoryModel):
        return None
    shapes = [
        (p.MSize, p.NSize, p.KSize)
        for p in _properties(api, instance, handle)
        if (p.AType, p.BType, p.CType, p.ResultType) == (_INT8, _INT8, _INT32, _INT32)
        and p.scope == _SUBGROUP_SCOPE
        and not p.saturatingAccumulation
        and not any(of % by for of, by in zip(_TILE, (p.MSize, p.NSize, p.KSize), strict=True))
    ]
    return max(shapes, key=lambda s: (s[0] * s[1] * s[2], s), default=None)


def _properties(api: Vulkan, instance: Any, handle: Any) -> list[Any]:
    """Return what the adapter multiplies: a function of the extension, which loaders do not export."""
    found = api.lib.vkGetInstanceProcAddr(instance, api.ffi.new("char[]", _QUERY.encode()))
    if found == api.ffi.NULL:
        return []
    query = api.ffi.cast(f"PFN_{_QUERY}", found)
    count = api.ffi.new("uint32_t*")
    if query(handle, count, api.ffi.NULL) < 0:
        return []
    empty = api.new("VkCooperativeMatrixPropertiesKHR")
    table = api.ffi.new("VkCooperativeMatrixPropertiesKHR[]", [empty[0]] * count[0])
    return list(table[0 : count[0]]) if query(handle, count, table) >= 0 else []
