"""Where patterns are run: the CPU device under every vector width, with one thread or two, and the interpreter."""

from __future__ import annotations

import pytest

PLACES = [("cpu", 1, 2), ("cpu", 4, 1), ("cpu", 8, 2), ("cpu", 16, 1)]


@pytest.fixture(params=[*PLACES, ("interp", None, None)], ids=lambda p: "-".join(str(x) for x in p if x))
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a device, under settings that must not matter."""
    name, simd, threads = request.param
    if simd:
        monkeypatch.setenv("LOOM_SIMD", str(simd))
        monkeypatch.setenv("LOOM_THREADS", str(threads))
    return name
