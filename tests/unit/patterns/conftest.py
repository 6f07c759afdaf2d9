"""Where patterns are run: the CPU device under every vector width, with one thread or two, and the interpreter."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pytest

PLACES = [("cpu", 1, 2), ("cpu", 4, 1), ("cpu", 8, 2), ("cpu", 16, 1)]
EVERYWHERE = [*PLACES, ("interp", None, None)]


def _name(setting: tuple[Any, ...]) -> str:
    return "-".join(str(x) for x in setting if x)


def _marks(setting: tuple[Any, ...]) -> list[Any]:
    """Widths but the widest are wide tests."""
    return [] if setting in EVERYWHERE[-2:] else [pytest.mark.wide]


def placed(dtypes: Sequence[str], everywhere: Collection[str]) -> list[Any]:
    """Return the runs (place, dtype) of a test: ``make prove`` does all, always done are the types in ``everywhere``.

    The others are always done with the widest vectors and by the interpreter, since every width is compiled anew; the
    conformance cases have their kernels with other widths.
    """
    quick = EVERYWHERE[-2:]
    return [
        pytest.param(
            setting, dtype, id=f"{_name(setting)}-{dtype}",
            marks=_marks(setting) if dtype in everywhere or setting in quick else pytest.mark.slow,
        )
        for setting in EVERYWHERE
        for dtype in dtypes
    ]  # fmt: skip


@pytest.fixture(params=[pytest.param(setting, id=_name(setting), marks=_marks(setting)) for setting in EVERYWHERE])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a device, under settings that must not matter."""
    name, simd, threads = request.param
    if simd:
        monkeypatch.setenv("LOOM_SIMD", str(simd))
        monkeypatch.setenv("LOOM_THREADS", str(threads))
    return name
