"""Memory of a device is nobody else's while a storage holds it, whenever the collector of garbage comes."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest


@pytest.fixture
def _eager_collector() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    yield
    gc.set_threshold(*before)


class _Ring:
    """Garbage that only the collector finds, with the storages it holds."""


def _leave_garbage(vulkan: Any, rng: random.Random) -> None:
    ring: Any = _Ring()
    ring.itself = ring
    ring.held = [vulkan.allocate(rng.randrange(1, 4000), zeroed=False) for _ in range(2)]


@pytest.mark.usefixtures("_eager_collector")
def test_ranges_given_back_in_the_middle_of_an_allocation_are_not_given_twice(vulkan: Any) -> None:
    """Sixteen were in 3000 turns, while the collector could change the list that an allocation was reading."""
    rng = random.Random(1)
    live: list[Any] = []
    for _ in range(3000):
        _leave_garbage(vulkan, rng)
        live.append(vulkan.allocate(rng.randrange(1, 4000), zeroed=False))
        if len(live) > 30:
            live.pop(rng.randrange(30))
        assert all(end <= begin for (_, end), (begin, _) in pairwise(sorted(s.extent() for s in live)))
