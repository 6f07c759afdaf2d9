"""A GPU whose PTX is interpreted in the place of NVIDIA's, for tests that ask for ``emulated``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulation.driver.binding import Emulated
from emulation.driver.installing import installed
from emulation.driver.interpreted import Interpreted
from emulation.driver.streams import Order
from loom.runtime.drivers.cuda import selftest


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulated]:
    """Name a GPU whose PTX is interpreted, a few groups at a time, ``cuda``."""
    monkeypatch.setattr(selftest, "test_gpu", lambda _device: ())  # has tests of its own, and takes seconds
    monkeypatch.setattr("emulation.ptx.run._MOST_TURNS", 200_000)
    with installed(Emulated(Interpreted(1), seed=1, order=Order.DRAWN)) as machine:
        yield machine
