"""Settings of the tests of fusion."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def eight_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile for vectors of eight lanes.

    Kernels of GPUs' schedules are compiled for this processor here, which takes LLVM up to ten times as long for
    sixteen; ``conformance`` has such kernels at every width.
    """
    monkeypatch.setenv("LOOM_SIMD", "8")
