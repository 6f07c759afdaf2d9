"""What tests of Support Loom share: devices, and the check that nothing stays alive."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

import loom
from loom.core.errors import DeviceError
from loom.support.parking import POOL


@pytest.fixture(params=["cpu", "vulkan"])
def on(request: pytest.FixtureRequest) -> str:
    """Name a device; the test runs on each that is there."""
    try:
        loom.device(request.param)
    except DeviceError as error:
        pytest.skip(f"no such device: {error}")
    return request.param


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Have a test free all units and all memory it took."""
    POOL.clear()
    before = loom.stats()
    yield
    loom.vram_budget(None)
    loom.max_units(None)
    POOL.clear()
    if loom.stats().nbytes > before.nbytes:
        gc.collect()  # tracebacks of expected errors
    after = loom.stats()
    assert {u.name for u in after.units} <= {u.name for u in before.units}
    assert after.nbytes <= before.nbytes


@pytest.fixture
def support() -> Iterator[loom.Support]:
    with loom.Support() as opened:
        yield opened
