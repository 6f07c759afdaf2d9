"""What tests of Support Loom share: the check that nothing stays alive."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

import loom
from loom.support.parking import POOL


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
