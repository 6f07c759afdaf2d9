"""Tensor cores are used where their products were right on the GPU, and left alone where they were not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from loom.core.errors import DeviceError
from loom.runtime.drivers.cuda import selftest
from loom.runtime.drivers.probes.probe import Probe
from loom.runtime.drivers.probes.probes import TILES


def found(monkeypatch: pytest.MonkeyPatch, unit: Any) -> dict[str, str]:
    """Return what the self-test says of a GPU that is right but for what its tensor cores do."""
    gpu = SimpleNamespace(key="a GPU", name="a GPU")
    device: Any = SimpleNamespace(gpu=gpu, name="cuda", tiles=False, memory=SimpleNamespace(allocate=None))

    def passes(probe: Probe, *_given: Any) -> bool:
        if not device.tiles:
            return True
        assert probe.operation == TILES, "only what they are for"
        return unit()

    monkeypatch.setattr(selftest, "passes", passes)
    monkeypatch.setattr(selftest, "read_found", lambda _path: None)
    monkeypatch.setattr(selftest, "write_found", lambda *_: None)
    operations = dict(selftest.test_gpu(device))
    assert not device.tiles, "it is for the device to decide"
    return operations


def refused() -> bool:
    raise DeviceError("kernel 'probe'", "the driver does not compile it", remedy="Use another")


def test_products_of_tensor_cores_are_judged_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, lambda: True)[TILES] == selftest.TENSOR_CORES
    assert found(monkeypatch, lambda: False)[TILES] == "native"
    assert found(monkeypatch, refused)[TILES] == "native"
