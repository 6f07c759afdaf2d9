"""Where patterns are run: every registered device, under every vector width, with one thread or two."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pytest

import loom
from conformance.running import kinds
from loom.core.errors import DeviceError

Place = tuple[str, "int | None", "int | None"]
EVERYWHERE: list[Place] = [
    (kind, simd, threads)
    for kind in kinds()
    for simd, threads in (((1, 2), (4, 1), (8, 2), (16, 1)) if kind in kinds("vectors") else ((None, None),))
]
"""Devices with their settings: width and threads."""
PLACES = [place for place in EVERYWHERE if place[0] == "cpu"]
ALWAYS: list[Place] = [("cpu", 16, 1), ("interp", None, None)]


def _name(setting: Place) -> str:
    return "-".join(str(x) for x in setting if x)


def _marks(setting: Place, *, all_widths: bool) -> list[Any]:
    """Other devices, and for some tests other widths than the widest, are not always run."""
    is_always_run = setting in ALWAYS or (all_widths and setting[0] == "cpu")
    return [] if is_always_run else [pytest.mark.slow]


def places(*, all_widths: bool = True) -> list[Any]:
    """Return every place as a parameter of the fixture ``place``."""
    return [
        pytest.param(place, id=_name(place), marks=_marks(place, all_widths=all_widths)) for place in EVERYWHERE
    ]  # fmt: skip


def placed(dtypes: Sequence[str], everywhere: Collection[str]) -> list[Any]:
    """Return the runs (place, dtype) of a test: ``make prove`` does all, always done are the types in ``everywhere``.

    The others are always done with the widest vectors and by the interpreter, since every width is compiled anew; the
    conformance cases have their kernels with other widths.
    """
    return [
        pytest.param(
            setting, dtype, id=f"{_name(setting)}-{dtype}",
            marks=_marks(setting, all_widths=dtype in everywhere),
        )
        for setting in EVERYWHERE
        for dtype in dtypes
    ]  # fmt: skip


def settle(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Apply the settings of a place and name its device; the test is skipped where there is none."""
    name, simd, threads = request.param
    if simd:
        monkeypatch.setenv("LOOM_SIMD", str(simd))
        monkeypatch.setenv("LOOM_THREADS", str(threads))
    try:
        loom.device(name)
    except DeviceError as error:
        pytest.skip(f"no device {name!r}: {error}")
    return name


@pytest.fixture(params=places())
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a device, under settings that must not matter."""
    return settle(request, monkeypatch)
