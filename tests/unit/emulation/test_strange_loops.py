"""Loops that gather, drawn at random in the public language: every device leaves the interpreter's bits.

Among them are loops that CUDA's code reads several turns at once of, and such as it must not. What lies outside reads 0
and stores nothing; a kernel all of whose indexes are inside is also tried as one that is trusted, and nothing is told.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from emulation.driver.binding import Emulated
from loom.core.errors import OutOfBounds
from loom.targets.llvm.flow.loops import Loops
from unit.emulation.drawn_loops import Drawn, draw, loaded

Array = np.ndarray[Any, Any]
_FAST = (0, 1, 2, 3, 10, 31, 35, 40, 45, 61, 67, 90)
"""Most of them have loops that are read several turns at once."""


def _bits(array: Array) -> Array:
    """Return the bits of elements, all NaNs alike."""
    whole = np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}").copy()
    if array.dtype.kind not in "iub":
        with np.errstate(all="ignore"):
            whole[np.isnan(array.astype(np.float64))] = 0xFFF
    return whole


def left(kernel: Any, drawn: Drawn, on: str) -> tuple[list[Array], bool]:
    """Return the bits of all buffers after a run, and whether an index, not a difference, was told to lie outside."""
    copies = {id(each): each.copy() for each in drawn.buffers}
    bound = [copies[id(each)] for each in drawn.buffers]
    chain = loom.Chain(on)
    chain.dispatch(kernel, bound, [drawn.n], drawn.groups)
    told = False
    try:
        chain.build().run()
    except OutOfBounds as error:
        told = "a difference of unsigned numbers" not in str(error)
    return [_bits(each) for each in bound], told


def _wraps(kernel: Any, drawn: Drawn) -> bool:
    chain = loom.Chain("interp")
    chain.dispatch(kernel, [each.copy() for each in drawn.buffers], [drawn.n], drawn.groups)
    with loom.debug(nan=False):
        try:
            chain.build().run()
        except OutOfBounds as error:
            return "a difference of unsigned numbers" in str(error)
    return False


def agree(seed: int, devices: list[str], folder: Path, patch: pytest.MonkeyPatch, *, check: bool = True) -> bool:
    """Assert that devices leave what the interpreter leaves, in all modes; tell whether something was outside."""
    drawn, trusted = draw(seed)
    kernel = loaded(drawn.text, f"loops_{seed}", folder)
    wanted, _ = left(kernel, drawn, "interp")
    kinds = [kernel] if trusted is None else [kernel, loaded(trusted, f"loops_{seed}_trusted", folder)]
    outside = False
    for checked in (False, True)[: 1 + check]:
        patch.setenv("LOOM_CHECK", str(int(checked)))
        for each in kinds[: 1 if checked else 2]:
            for on in devices:
                found, told = left(each, drawn, on)
                outside |= told
                assert not told or (checked and not drawn.tame), f"{on} tells of an index outside in seed {seed}"
                same = [np.array_equal(a, b) for a, b in zip(found, wanted, strict=True)]
                assert all(same), f"{on} differs in seed {seed}, buffers {same}, checked {checked}, {each is kernel}"
    patch.delenv("LOOM_CHECK")
    return outside


def test_loops_that_gather(emulated: Emulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batched, batches = list[Any](), Loops.batches

    def noted(self: Loops, s: Any, index: Any, stop: Any) -> Any:
        batched.append(s)
        return batches(self, s, index, stop)

    monkeypatch.setattr(Loops, "batches", noted)
    outside = [agree(seed, ["cuda"], tmp_path, monkeypatch, check=seed % 5 == 0) for seed in _FAST]
    assert len(batched) > 5
    assert any(outside)
    assert emulated.reports == []


@pytest.mark.slow  # a second each: compiled for all devices, in all modes
@pytest.mark.parametrize("seed", sorted({*range(300)} - {*_FAST}))
def test_loops_that_gather_on_all_devices(
    emulated: Emulated, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agree(seed, ["cuda", "cpu", "vulkan"], tmp_path, monkeypatch)
    assert emulated.reports == []


@pytest.mark.parametrize("seed", [3, 5, *(pytest.param(s, marks=pytest.mark.slow) for s in range(300, 360))])
def test_nothing_is_found_wrong_in_those_that_stay_inside(seed: int, tmp_path: Path) -> None:
    drawn, _ = draw(seed)
    kernel = loaded(drawn.text, f"watched_{seed}", tmp_path)
    wanted, _ = left(kernel, drawn, "interp")
    with loom.debug(nan=False):
        found, told = left(kernel, drawn, "interp")
    assert not told or not drawn.tame
    # a difference that wraps ends the watched run where it is met, which leaves what was not written as it was
    assert told or _wraps(kernel, drawn) or all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
