"""Where tables are run: these kernels are many, so that most widths are left to ``make prove``.

The conformance cases of the same kernels always run at width 4.
"""

from __future__ import annotations

import pytest

_ALWAYS, _RARELY = [("cpu", 16, 2), ("interp", None, None)], [("cpu", 1, 2), ("cpu", 4, 1), ("cpu", 8, 2)]
_PLACES = [*_ALWAYS, *(pytest.param(p, marks=pytest.mark.slow) for p in _RARELY)]


@pytest.fixture(params=_PLACES, ids=lambda p: "-".join(str(x) for x in p if x))
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a device, under settings that must not matter."""
    name, simd, threads = request.param
    if simd:
        monkeypatch.setenv("LOOM_SIMD", str(simd))
        monkeypatch.setenv("LOOM_THREADS", str(threads))
    return name
