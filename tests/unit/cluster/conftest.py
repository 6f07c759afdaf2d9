"""One Ray for all tests of the folder, of two workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import loom
from loom.workers import WorkerPool


@pytest.fixture(scope="session")
def pool() -> Iterator[WorkerPool]:
    with loom.cluster.connect(2, store_nbytes=300 << 20, device="cpu") as found:
        yield found
