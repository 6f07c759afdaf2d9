"""The one Vulkan instance of a process.

Layer: runtime. ``LOOM_VULKAN_VALIDATE=1`` loads the validation layer, whose words are kept in
``validation_messages``. Loaders leave out drivers that have not all of Vulkan, MoltenVK among them, unless they are
asked for by name of an extension and by a flag. Invariant: the instance lives as long as the process.
"""

from __future__ import annotations

import atexit
from functools import cache
from typing import Any

from loom.core import options
from loom.runtime.drivers.vulkan.native.api import Vulkan, load

__all__ = ["API_VERSION", "instance", "validation_messages", "version_to_ask"]

API_VERSION = 1 << 22 | 1 << 12
"""Vulkan 1.1, the least that is asked for."""
_NEWEST_VERSION = 1 << 22 | 3 << 12
"""Vulkan 1.3, which is asked for where the loader has it, so that modules of others may be as new."""
_VALIDATION_LAYER = "VK_LAYER_KHRONOS_validation"
_PORTABILITY = "VK_KHR_portability_enumeration"
_WITH_PORTABILITY = 1
"""VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR"""
validation_messages: list[str] = []
"""What the validation layer said."""


@cache
def version_to_ask() -> int:
    """Return the version of Vulkan that the instance asks for: 1.1 to 1.3, as the loader has it."""
    api = load()
    found = api.ffi.new("uint32_t*")
    api.call("vkEnumerateInstanceVersion", found)
    return max(API_VERSION, min(_NEWEST_VERSION, found[0]))


@cache
def instance() -> Any:
    """Return the instance; DeviceError without a loader."""
    api = load()
    application = api.new("VkApplicationInfo", pApplicationName="loom", pEngineName="loom", apiVersion=version_to_ask())
    validate = options.validate_vulkan()
    layers = api.texts([_VALIDATION_LAYER] if validate else [])
    portable = _has_extension(api, _PORTABILITY)
    extensions = api.texts(["VK_EXT_debug_utils"] * validate + [_PORTABILITY] * portable)
    info = api.new(
        "VkInstanceCreateInfo", pApplicationInfo=application, enabledLayerCount=len(layers), ppEnabledLayerNames=layers,
        enabledExtensionCount=len(extensions), ppEnabledExtensionNames=extensions,
        flags=_WITH_PORTABILITY if portable else 0,
    )  # fmt: skip
    out = api.ffi.new("VkInstance*")
    api.call("vkCreateInstance", info, api.ffi.NULL, out)
    if validate:
        _listen(api, out[0])
    return out[0]


def _has_extension(api: Vulkan, name: str) -> bool:
    """Tell whether the loader, or a driver, has an extension of instances."""
    found = api.enumerate("vkEnumerateInstanceExtensionProperties", "VkExtensionProperties", api.ffi.NULL)
    return any(api.text(e.extensionName) == name for e in found)


def _listen(api: Vulkan, made: Any) -> None:
    """Collect the validation layer's warnings and errors."""
    ffi = api.ffi

    def heard(_severity: int, _kind: int, data: Any, _user: Any) -> int:
        validation_messages.append(api.text(data.pMessage))
        return 0

    callback = ffi.callback("PFN_vkDebugUtilsMessengerCallbackEXT", heard)
    info = api.new(
        "VkDebugUtilsMessengerCreateInfoEXT", messageSeverity=0x1100, messageType=0x7, pfnUserCallback=callback
    )
    create = ffi.cast(
        "PFN_vkCreateDebugUtilsMessengerEXT",
        api.lib.vkGetInstanceProcAddr(made, ffi.new("char[]", b"vkCreateDebugUtilsMessengerEXT")),
    )
    messenger = ffi.new("VkDebugUtilsMessengerEXT*")
    create(made, info, ffi.NULL, messenger)
    atexit.register(lambda: (callback, info))  # alive as long as the process
