"""Vulkan devices by name, and what is shown of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import loom
from loom.core.errors import DeviceError
from loom.runtime.drivers.vulkan import VulkanDevice, find_adapters
from loom.runtime.drivers.vulkan.describe import describe_adapter


def test_names(vulkan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert loom.device("vulkan") is loom.device("vulkan:0") is vulkan
    assert vulkan.name == "vulkan"
    monkeypatch.setenv("LOOM_DEVICE", "vulkan")
    assert loom.device() is vulkan
    assert loom.Chain().device is vulkan
    names = [info.name for info in loom.devices()]
    assert names[:3] == ["cpu", "interp", "vulkan"]
    assert len([name for name in names if name.startswith("vulkan")]) == len(find_adapters())


@pytest.mark.parametrize("name", ["vulkan:99", "vulkan:x", "vulkan:"])
def test_unknown_names(vulkan: Any, name: str) -> None:
    if name == "vulkan:":
        assert loom.device(name) is vulkan
        return
    with pytest.raises(DeviceError) as caught:
        loom.device(name)
    assert str(caught.value).startswith(
        f"[loom.device] no device is called {name!r}: expected vulkan:0 ({vulkan.adapter.name})"
    )


def test_a_lost_device_is_made_anew(vulkan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from loom.runtime.drivers.vulkan import registry

    monkeypatch.setattr(registry._DEVICES, "_opened", {})
    first = loom.device("vulkan")
    assert first is not vulkan
    first.lost = True
    second = loom.device("vulkan")
    assert second is not first
    assert first.handle is None
    second.close()


def test_what_is_shown(vulkan: Any) -> None:
    info = vulkan.describe()
    assert (info.name, info.kind, info.guarantee, info.refused) == ("vulkan", "vulkan", "BIT_EXACT", None)
    assert info.limits["adapter"] == vulkan.adapter.name
    assert info.limits["pushed"] == f"{vulkan.adapter.limits['push_nbytes']} bytes"
    assert info.operations["f32 add"] == "native"
    assert set(info.operations) >= {"f32 division", "f32 contraction", "long loops", "i64 order"}


def test_a_refused_adapter_is_shown_with_the_reason(vulkan: Any) -> None:
    adapter = replace(vulkan.adapter, refused="it has Vulkan 1.0, and 1.1 is needed")
    info = describe_adapter(adapter, "vulkan:1", None)
    assert (info.guarantee, info.refused, info.operations) == ("none", "it has Vulkan 1.0, and 1.1 is needed", {})
    with pytest.raises(DeviceError) as caught:
        VulkanDevice(adapter, "vulkan:1")
    assert str(caught.value) == (
        f"[device 'vulkan:1'] {adapter.name} cannot be used: it has Vulkan 1.0, and 1.1 is needed. Use another device."
    )


def test_capabilities(vulkan: Any) -> None:
    caps = vulkan.caps
    assert caps.max_workgroup_lanes == vulkan.adapter.limits["workgroup_lanes"] >= 128
    assert caps.shared_nbytes >= 16384  # what Vulkan promises
