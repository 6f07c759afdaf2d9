"""Tensor cores are used where their products were right on the GPU, and left alone where they were not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from loom.core.errors import DeviceError
from loom.runtime.drivers.cuda import selftest
from loom.runtime.drivers.probes.probe import Probe
from loom.runtime.drivers.probes.probes import TILES
from loom.runtime.drivers.probes.wide import WIDE, WIDE_PROBES

HOPPER, AMPERE = (9, 0), (8, 0)


def found(monkeypatch: pytest.MonkeyPatch, unit: Any, chip: tuple[int, int] = HOPPER) -> dict[str, str]:
    """Return what the self-test says of a GPU that is right but for what its tensor cores do."""
    gpu = SimpleNamespace(key="a GPU", name="a GPU", chip=chip)
    memory = SimpleNamespace(allocate=None)
    device: Any = SimpleNamespace(gpu=gpu, name="cuda", tiles=False, wide=False, memory=memory)

    def passes(probe: Probe, *_given: Any) -> bool:
        if not device.tiles and not device.wide:
            return True
        assert probe.operation == (WIDE if device.wide else TILES), "only what they are for"
        return unit(probe)

    monkeypatch.setattr(selftest, "passes", passes)
    monkeypatch.setattr(selftest, "read_found", lambda _path: None)
    monkeypatch.setattr(selftest, "write_found", lambda *_: None)
    operations = dict(selftest.test_gpu(device))
    assert not device.tiles, "it is for the device to decide"
    assert not device.wide, "and this too"
    return operations


def right(_probe: Probe) -> bool:
    return True


def wrong(_probe: Probe) -> bool:
    return False


def refused(_probe: Probe) -> bool:
    raise DeviceError("kernel 'probe'", "the driver does not compile it", remedy="Use another")


def test_products_of_tensor_cores_are_judged_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, right)[TILES] == selftest.TENSOR_CORES
    assert found(monkeypatch, wrong)[TILES] == "native"
    assert found(monkeypatch, refused)[TILES] == "native"


def test_products_of_64_rows_are_judged_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, right)[WIDE] == selftest.WIDE_CORES
    assert WIDE not in found(monkeypatch, right, AMPERE), "it has no instructions for them"
    assert WIDE not in found(monkeypatch, refused)
    for number in range(len(WIDE_PROBES)):

        def but_one(probe: Probe, number: int = number) -> bool:
            return probe is not WIDE_PROBES[number]

        operations = found(monkeypatch, but_one)
        assert WIDE not in operations
        assert operations[TILES] == selftest.TENSOR_CORES, "the smaller ones stay"
