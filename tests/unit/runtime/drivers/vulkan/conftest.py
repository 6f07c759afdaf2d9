"""What tests of the Vulkan driver share; they are skipped, with the reason, where there is no device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

import loom
from loom.core.errors import DeviceError


@pytest.fixture(scope="session")
def vulkan() -> Any:
    try:
        return loom.device("vulkan")
    except DeviceError as error:
        pytest.skip(f"no Vulkan device: {error}")


@pytest.fixture
def other(vulkan: Any) -> Iterator[Callable[..., Any]]:
    """Return a function that opens the adapter once more, with other limits or features."""
    from loom.runtime.drivers.vulkan import VulkanDevice

    opened = []

    def make(features: dict[str, Any] | None = None, **limits: int) -> Any:
        adapter = replace(vulkan.adapter, limits={**vulkan.adapter.limits, **limits})
        device = VulkanDevice(adapter, "other", tested=False)
        opened.append(device)
        groups = tuple(adapter.limits[f"groups_{axis}"] for axis in "xyz")
        device.use(replace(vulkan.features, most_groups=groups, **(features or {})))
        return device

    yield make
    for device in opened:
        device.close()
        assert not +device.live
