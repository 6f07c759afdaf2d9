"""The adapters a machine has: what each says about itself, and whether Loom can use it.

Layer: runtime. Invariant: an adapter that lacks something is refused with a reason, never used halfway.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.errors import DeviceError
from loom.core.late.dataclass import dataclass
from loom.runtime.drivers.vulkan.native.api import Vulkan, load
from loom.runtime.drivers.vulkan.native.instance import API_VERSION, instance, version_to_ask
from loom.runtime.drivers.vulkan.native.matrices import COOPERATIVE_MATRICES, MEMORY_MODEL, matrix_shape

__all__ = ["DOT_PRODUCTS", "FLOAT_CONTROLS2", "FLOAT_CONTROLS2_TYPE", "Adapter", "find_adapters"]

_KINDS = {0: "other", 1: "integrated", 2: "discrete", 3: "virtual", 4: "cpu"}
_GRAPHICS, _COMPUTE = 0x1, 0x2
_COMPUTE_STAGE = 0x20
_LEAST_BUFFERS = 4
_MODES = ("RoundingModeRTE", "SignedZeroInfNanPreserve", "DenormPreserve")
_WANTED_EXTENSIONS = (
    "VK_KHR_8bit_storage", "VK_KHR_shader_float16_int8", "VK_KHR_shader_float_controls", "VK_KHR_shader_atomic_int64",
    "VK_KHR_driver_properties", "VK_KHR_shader_float_controls2", "VK_KHR_shader_integer_dot_product",
    COOPERATIVE_MATRICES, MEMORY_MODEL,
    "VK_KHR_portability_subset",  # where there is this one, Vulkan asks that it be enabled
)  # fmt: skip
FLOAT_CONTROLS2 = "VK_KHR_shader_float_controls2"
FLOAT_CONTROLS2_TYPE = 1000528000
"""VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT_CONTROLS_2_FEATURES_KHR"""
DOT_PRODUCTS = "VK_KHR_shader_integer_dot_product"
_PROCESSOR_COUNTS = (
    ("VK_NV_shader_sm_builtins", "VkPhysicalDeviceShaderSMBuiltinsPropertiesNV", "shaderSMCount"),
    ("VK_AMD_shader_core_properties2", "VkPhysicalDeviceShaderCoreProperties2AMD", "activeComputeUnitCount"),
)
_USUAL_PROCESSORS = 64
_HEAP_NBYTES = 1 << 28
"""Of private arrays that kernels keep in buffers, at most: dispatches that need more come in turns."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """A physical device. ``refused`` says why it cannot be used, None if it can; ``key`` names it and its driver.

    ``types``, ``float_modes``, ``dots`` (of packed bytes) and ``matrices`` (rows, columns and depth of those of bytes
    that it multiplies) are what it claims; ``driver_id`` is its driver's number in Vulkan's list. ``subgroup`` counts
    the lanes it runs as one, ``processors`` its multiprocessors, ``subgroup_operations`` are the bits of the kinds of
    them a compute kernel may use.
    """

    handle: Any
    name: str
    kind: str
    driver: str
    driver_id: int
    version: str
    spirv: tuple[int, int]
    limits: dict[str, int]
    types: tuple[str, ...]
    int64_atomics: bool
    float_modes: tuple[tuple[str, int], ...]
    float_controls2: bool
    dots: bool
    matrices: tuple[int, int, int] | None
    extensions: tuple[str, ...]
    queue_family: int
    queues: int
    timestamp_bits: int
    timestamp_period: float
    refused: str | None
    key: str
    subgroup: int
    subgroup_operations: int
    processors: int


@cache
def find_adapters() -> tuple[Adapter, ...]:
    """Return every adapter, usable ones first; DeviceError without a loader."""
    api = load()
    try:
        handles = api.enumerate("vkEnumeratePhysicalDevices", "VkPhysicalDevice", instance())
    except DeviceError as error:
        raise DeviceError("Vulkan", f"no driver answers ({error.what})", remedy="Install a Vulkan driver") from error
    rank = {"discrete": 0, "integrated": 1, "virtual": 2, "other": 3, "cpu": 4}
    found = [_describe(api, h) for h in handles]
    return tuple(sorted(found, key=lambda a: (a.refused is not None, rank[a.kind])))


_SPIRV = {0: (1, 0), 1: (1, 3), 2: (1, 5), 3: (1, 6)}
"""The newest SPIR-V that a minor version of Vulkan takes."""


def _describe(api: Vulkan, handle: Any) -> Adapter:
    subgroup = api.new("VkPhysicalDeviceSubgroupProperties")
    controls = api.new("VkPhysicalDeviceFloatControlsProperties", pNext=subgroup)
    driver = api.new("VkPhysicalDeviceDriverProperties", pNext=controls)
    whole = api.new("VkPhysicalDeviceProperties2", pNext=driver)
    api.call("vkGetPhysicalDeviceProperties2", handle, whole)
    properties = whole.properties
    found = api.enumerate("vkEnumerateDeviceExtensionProperties", "VkExtensionProperties", handle, api.ffi.NULL)
    extensions = {api.text(e.extensionName) for e in found}
    types, atomics = _types(api, handle)
    family, queues, bits = _queue_family(api, handle)
    version = properties.apiVersion
    name = f"{api.text(driver.driverName)} {api.text(driver.driverInfo)}".strip()
    unique = bytes(properties.pipelineCacheUUID).hex()
    return Adapter(
        handle=handle,
        name=api.text(properties.deviceName),
        kind=_KINDS[properties.deviceType],
        driver=name,
        driver_id=driver.driverID,
        version=f"{version >> 22}.{version >> 12 & 0x3FF}.{version & 0xFFF}",
        spirv=_SPIRV[min(version, version_to_ask()) >> 12 & 0x3FF],
        limits=_limits(properties.limits),
        types=types,
        int64_atomics=atomics and "VK_KHR_shader_atomic_int64" in extensions,
        float_modes=_float_modes(controls, types),
        float_controls2=_has_float_controls2(api, handle, extensions),
        dots=_has_dots(api, handle, extensions),
        matrices=matrix_shape(api, instance(), handle, extensions, subgroup.subgroupSize),
        extensions=tuple(n for n in _WANTED_EXTENSIONS if n in extensions),
        queue_family=family,
        queues=queues,
        timestamp_bits=bits,
        timestamp_period=properties.limits.timestampPeriod,
        refused=_reason(version, family, properties.limits),
        key=f"{properties.vendorID:x}:{properties.deviceID:x} {properties.driverVersion:x} {unique} {name}",
        subgroup=subgroup.subgroupSize,
        subgroup_operations=subgroup.supportedOperations if subgroup.supportedStages & _COMPUTE_STAGE else 0,
        processors=_processors(api, handle, extensions),
    )


def _processors(api: Vulkan, handle: Any, extensions: set[str]) -> int:
    """Return how many multiprocessors an adapter has, as its vendor's extension tells, or a middling number."""
    for extension, name, field in _PROCESSOR_COUNTS:
        if extension in extensions:
            counts = api.new(name)
            api.call("vkGetPhysicalDeviceProperties2", handle, api.new("VkPhysicalDeviceProperties2", pNext=counts))
            return max(1, getattr(counts, field))
    return _USUAL_PROCESSORS


def _reason(version: int, family: int, limits: Any) -> str | None:
    """Return why an adapter cannot be used, None if it can."""
    if version < API_VERSION:
        return f"it has Vulkan {version >> 22}.{version >> 12 & 0x3FF}, and 1.1 is needed"
    if family < 0:
        return "it has no compute queue"
    if limits.maxPerStageDescriptorStorageBuffers < _LEAST_BUFFERS:
        return (
            f"a kernel may have {limits.maxPerStageDescriptorStorageBuffers} buffers, and {_LEAST_BUFFERS} are needed"
        )
    return None


def _limits(limits: Any) -> dict[str, int]:
    groups, lanes = limits.maxComputeWorkGroupCount, limits.maxComputeWorkGroupSize
    return {
        "buffer_nbytes": min(limits.maxStorageBufferRange, 2**32 - 4),
        "buffers": limits.maxPerStageDescriptorStorageBuffers,
        "shared_nbytes": limits.maxComputeSharedMemorySize,
        "push_nbytes": limits.maxPushConstantsSize,
        "workgroup_lanes": limits.maxComputeWorkGroupInvocations,
        **{f"workgroup_{axis}": lanes[n] for n, axis in enumerate("xyz")},
        **{f"groups_{axis}": groups[n] for n, axis in enumerate("xyz")},
        "heap_nbytes": min(limits.maxStorageBufferRange, _HEAP_NBYTES),
        "offset_alignment": limits.minStorageBufferOffsetAlignment,
        "allocations": limits.maxMemoryAllocationCount,
    }


def _types(api: Vulkan, handle: Any) -> tuple[tuple[str, ...], bool]:
    """Return the types beyond 32 bits that an adapter says it has, and whether it has 64-bit atomics."""
    features, narrow, bytes_, words, atomics = _features(api, handle)
    claims = (
        ("i8", narrow.shaderInt8 and bytes_.storageBuffer8BitAccess),
        ("i16", features.shaderInt16 and words.storageBuffer16BitAccess),
        ("i64", features.shaderInt64),
        ("f64", features.shaderFloat64),
    )
    return tuple(name for name, present in claims if present), bool(atomics.shaderBufferInt64Atomics)


def _features(api: Vulkan, handle: Any) -> tuple[Any, ...]:
    atomics = api.new("VkPhysicalDeviceShaderAtomicInt64Features")
    words = api.new("VkPhysicalDevice16BitStorageFeatures", pNext=atomics)
    bytes_ = api.new("VkPhysicalDevice8BitStorageFeatures", pNext=words)
    narrow = api.new("VkPhysicalDeviceShaderFloat16Int8Features", pNext=bytes_)
    whole = api.new("VkPhysicalDeviceFeatures2", pNext=narrow)
    api.call("vkGetPhysicalDeviceFeatures2", handle, whole)
    return whole.features, narrow, bytes_, words, atomics


def _has_float_controls2(api: Vulkan, handle: Any, extensions: set[str]) -> bool:
    """Tell whether modules may forbid fast math; the binding does not know this structure yet."""
    if FLOAT_CONTROLS2 not in extensions:
        return False
    record = api.ffi.new("uint64_t[3]", [FLOAT_CONTROLS2_TYPE, 0, 0])  # type, next, a flag of 32 bits
    following = api.ffi.cast("void*", record)
    api.call("vkGetPhysicalDeviceFeatures2", handle, api.new("VkPhysicalDeviceFeatures2", pNext=following))
    return bool(record[2] & 0xFFFFFFFF)


def _has_dots(api: Vulkan, handle: Any, extensions: set[str]) -> bool:
    """Tell whether modules may multiply packed bytes in one instruction."""
    if DOT_PRODUCTS not in extensions:
        return False
    found = api.new("VkPhysicalDeviceShaderIntegerDotProductFeatures")
    api.call("vkGetPhysicalDeviceFeatures2", handle, api.new("VkPhysicalDeviceFeatures2", pNext=found))
    return bool(found.shaderIntegerDotProduct)


def _float_modes(controls: Any, types: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """Return the float controls that an adapter offers."""
    found: list[tuple[str, int]] = []
    for width in (32, 64) if "f64" in types else (32,):
        found += [(mode, width) for mode in _MODES if getattr(controls, f"shader{mode}Float{width}")]
    return tuple(found)


def _queue_family(api: Vulkan, handle: Any) -> tuple[int, int, int]:
    """Return the best compute family: its number, queues and timestamp bits; -1 if there is none.

    One without graphics is better: on an H200, work on its queues overlaps, and on those of the other it does not.
    """
    families = api.enumerate("vkGetPhysicalDeviceQueueFamilyProperties", "VkQueueFamilyProperties", handle)
    usable = [(n, f) for n, f in enumerate(families) if f.queueFlags & _COMPUTE]
    if not usable:
        return -1, 0, 0
    number, family = max(usable, key=lambda nf: (not nf[1].queueFlags & _GRAPHICS, nf[1].queueCount))
    return number, family.queueCount, family.timestampValidBits
