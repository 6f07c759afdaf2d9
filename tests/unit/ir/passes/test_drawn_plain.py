"""Of drawn kernels that load and store plainly, calls and chains refuse those whose lanes meet, and no others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import RaceDetected, VerifyError
from unit.emulation.drawn_loops import loaded
from unit.ir.passes.drawn_plain import FAULTS, DrawnPlain, draw_plain

_Run = Callable[[Any, "list[Any]", int, Any, str], None]


def _arrays(drawn: DrawnPlain, seed: int) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    at = rng.permutation(drawn.lanes).astype(np.uint32)
    return [at, rng.integers(0, 50, 6 * drawn.lanes + 8).astype(np.uint32)]


def _call(kernel: Any, arrays: list[Any], number: int, groups: Any, device: str) -> None:
    kernel(*arrays, number, groups=groups, on=device)


def _dispatch(kernel: Any, arrays: list[Any], number: int, groups: Any, device: str) -> None:
    chain = loom.Chain(device)
    chain.dispatch(kernel, arrays, [number], groups)
    chain.build().run()


def _told(seed: int, folder: Path, run: _Run) -> str | None:
    """Return what a call or a chain is refused for, None if it ran."""
    drawn = draw_plain(seed)
    try:
        kernel = loaded(drawn.text, f"plain_{seed}", folder)
        run(kernel, _arrays(drawn, seed), seed % 4, drawn.groups, "interp")
    except (RaceDetected, VerifyError) as error:
        return str(error)
    finally:
        sys.modules.pop(f"plain_{seed}", None)
    return None


def _judge(seeds: range, folder: Path, run: _Run) -> None:
    met: set[str | None] = set()
    for seed in seeds:
        drawn, told = draw_plain(seed), _told(seed, folder, run)
        met.add(drawn.fault)
        assert told is None or "no order between" in told or "lanes race on" in told, f"{seed}: {told}\n{drawn.text}"
        assert (told is None) is (drawn.fault is None), f"{seed}, {drawn.fault}: {told}\n{drawn.text}"
    assert met == {None, *FAULTS}


@pytest.mark.parametrize("run", [_call, _dispatch])
def test_those_whose_lanes_meet_are_refused_and_no_others(tmp_path: Path, run: _Run) -> None:
    _judge(range(160), tmp_path, run)


@pytest.mark.slow
@pytest.mark.parametrize("run", [_call, _dispatch])
def test_five_thousand_that_load_and_store(tmp_path: Path, run: _Run) -> None:
    _judge(range(1000, 6000), tmp_path, run)


@pytest.mark.parametrize("run", [_call, _dispatch])
@pytest.mark.parametrize("seed", range(0, 16, 2))
def test_what_is_taken_has_the_same_bits_on_any_device(seed: int, tmp_path: Path, on: str, run: _Run) -> None:
    drawn = draw_plain(seed)
    kernel, found = loaded(drawn.text, f"bits_{seed}", tmp_path), list[bytes]()
    for device in ("interp", on):
        arrays = _arrays(drawn, seed)
        run(kernel, arrays, seed % 4, drawn.groups, device)
        found.append(arrays[1].tobytes())
    assert found[0] == found[1]
