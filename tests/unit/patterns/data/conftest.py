"""Where tables are run: these kernels are many, so that most widths are left to ``make prove``.

The conformance cases of the same kernels always run at width 4.
"""

from __future__ import annotations

import pytest

from unit.patterns.conftest import places, settle


@pytest.fixture(params=places(all_widths=False))
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a device, under settings that must not matter."""
    return settle(request, monkeypatch)
