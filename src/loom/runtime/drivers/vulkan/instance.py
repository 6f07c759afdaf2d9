"""The one Vulkan instance of a process.

Layer: runtime. ``LOOM_VULKAN_VALIDATE=1`` loads the validation layer, whose words are kept in
``validation_messages``. Invariant: the instance lives as long as the process.
"""

from __future__ import annotations

import atexit
import os
from functools import cache
from typing import Any

from loom.runtime.drivers.vulkan.api import Vulkan, load

__all__ = ["API_VERSION", "instance", "validation_messages"]

API_VERSION = 1 << 22 | 1 << 12
"""Vulkan 1.1."""
_VALIDATION_LAYER = "VK_LAYER_KHRONOS_validation"
validation_messages: list[str] = []
"""What the validation layer said."""


@cache
def instance() -> Any:
    """Return the instance; DeviceError without a loader."""
    api = load()
    application = api.new("VkApplicationInfo", pApplicationName="loom", pEngineName="loom", apiVersion=API_VERSION)
    validate = os.environ.get("LOOM_VULKAN_VALIDATE") == "1"
    layers = api.texts([_VALIDATION_LAYER] if validate else [])
    extensions = api.texts(["VK_EXT_debug_utils"] if validate else [])
    info = api.new(
        "VkInstanceCreateInfo", pApplicationInfo=application, enabledLayerCount=len(layers), ppEnabledLayerNames=layers,
        enabledExtensionCount=len(extensions), ppEnabledExtensionNames=extensions,
    )  # fmt: skip
    out = api.ffi.new("VkInstance*")
    api.call("vkCreateInstance", info, api.ffi.NULL, out)
    if validate:
        _listen(api, out[0])
    return out[0]


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
