"""Of drawn kernels that load and store plainly, calls of those whose lanes meet are refused, and no others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loom.core.errors import RaceDetected, VerifyError
from unit.emulation.drawn_loops import loaded
from unit.ir.passes.drawn_plain import FAULTS, DrawnPlain, draw_plain


def _arrays(drawn: DrawnPlain, seed: int) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    at = rng.permutation(drawn.lanes).astype(np.uint32)
    return [at, rng.integers(0, 50, 6 * drawn.lanes + 8).astype(np.uint32)]


def _told(seed: int, folder: Path) -> str | None:
    """Return what a call is refused for, None if it ran."""
    drawn = draw_plain(seed)
    try:
        kernel = loaded(drawn.text, f"plain_{seed}", folder)
        kernel(*_arrays(drawn, seed), seed % 4, groups=drawn.groups, on="interp")
    except (RaceDetected, VerifyError) as error:
        return str(error)
    finally:
        sys.modules.pop(f"plain_{seed}", None)
    return None


def _judge(seeds: range, folder: Path) -> None:
    met: set[str | None] = set()
    for seed in seeds:
        drawn, told = draw_plain(seed), _told(seed, folder)
        met.add(drawn.fault)
        assert told is None or "no order between" in told or "lanes race on" in told, f"{seed}: {told}\n{drawn.text}"
        assert (told is None) is (drawn.fault is None), f"{seed}, {drawn.fault}: {told}\n{drawn.text}"
    assert met == {None, *FAULTS}


def test_calls_whose_lanes_meet_are_refused_and_no_others(tmp_path: Path) -> None:
    _judge(range(160), tmp_path)


@pytest.mark.slow
def test_five_thousand_that_load_and_store(tmp_path: Path) -> None:
    _judge(range(1000, 6000), tmp_path)


@pytest.mark.parametrize("seed", range(0, 16, 2))
def test_what_is_taken_has_the_same_bits_on_any_device(seed: int, tmp_path: Path, on: str) -> None:
    drawn = draw_plain(seed)
    kernel, found = loaded(drawn.text, f"bits_{seed}", tmp_path), list[bytes]()
    for device in ("interp", on):
        arrays = _arrays(drawn, seed)
        kernel(*arrays, seed % 4, groups=drawn.groups, on=device)
        found.append(arrays[1].tobytes())
    assert found[0] == found[1]
