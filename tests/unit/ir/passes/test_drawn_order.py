"""Of drawn kernels those that show the order of lanes do not run unless they say so, and no others are refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.dtype import lookup
from loom.core.errors import KernelError
from unit.emulation.drawn_loops import loaded
from unit.ir.passes.drawn_order import FAULTS, Drawn, draw

_REFUSALS = ("depends on the order of lanes", "these groups do not keep apart", "lanes race on")


def _arrays(drawn: Drawn, seed: int) -> list[np.ndarray[Any, Any]]:
    rng, size = np.random.default_rng(seed), max(drawn.lanes, 64)
    kind = lookup(drawn.dtype).numpy
    return [rng.integers(0, 100, drawn.lanes).astype(np.uint32), *rng.integers(0, 50, (3, size)).astype(kind)]


def _refusal(seed: int, folder: Path) -> str | None:
    """Return what a kernel is refused for, None if it may run."""
    drawn = draw(seed)
    try:
        kernel = loaded(drawn.text, f"order_{seed}", folder)
        loom.Chain("interp").dispatch(kernel, _arrays(drawn, seed), [drawn.n], drawn.groups)
    except loom.LoomError as error:
        return str(error)
    finally:
        sys.modules.pop(f"order_{seed}", None)
    return None


def _judge(seeds: range, folder: Path) -> None:
    met: set[str | None] = set()
    for seed in seeds:
        drawn, refusal = draw(seed), _refusal(seed, folder)
        met.add(drawn.fault)
        assert refusal is None or any(text in refusal for text in _REFUSALS), f"{seed}: {refusal}\n{drawn.text}"
        assert (refusal is None) is (drawn.fault is None), f"{seed}, {drawn.fault}: {refusal}\n{drawn.text}"
    assert met == {None, *FAULTS}


def test_those_that_show_the_order_are_refused_and_no_others(tmp_path: Path) -> None:
    _judge(range(300), tmp_path)


@pytest.mark.slow
def test_ten_thousand_that_may_show_the_order(tmp_path: Path) -> None:
    _judge(range(1000, 11_000), tmp_path)


@pytest.mark.parametrize("seed", range(0, 24, 2))
def test_what_is_taken_has_the_same_bits_on_any_device(seed: int, tmp_path: Path, on: str) -> None:
    drawn = draw(seed)
    kernel, found = loaded(drawn.text, f"bits_{seed}", tmp_path), []
    for device in ("interp", on):
        arrays, chain = _arrays(drawn, seed), loom.Chain(device)
        chain.dispatch(kernel, arrays, [drawn.n], drawn.groups)
        try:
            chain.build(loom.Guarantee.BIT_EXACT).run()
        except KernelError as error:
            if "WGSL has no 64-bit atomics" not in str(error):
                raise
            pytest.skip(str(error))
        found.append([a.tobytes() for a in arrays])
    assert found[0] == found[1]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_mark_lets_it_run_and_promises_nothing(fault: str, tmp_path: Path) -> None:
    seed = next(s for s in range(1, 999, 2) if draw(s).fault == fault and "lanes race" not in _told(s, tmp_path))
    drawn = draw(seed)
    kernel = loaded(drawn.text.replace("@loom.kernel(", '@loom.kernel(order="any", '), f"any_{seed}", tmp_path)
    chain = loom.Chain("cpu")
    chain.dispatch(kernel, _arrays(drawn, seed), [drawn.n], drawn.groups)
    with pytest.raises(loom.LoomError, match="got FAST, for kernel 'drawn' has order='any'"):
        chain.build(loom.Guarantee.BIT_EXACT)
    program = chain.build()
    program.run()
    assert program.guarantee is loom.Guarantee.FAST


def _told(seed: int, folder: Path) -> str:
    return _refusal(seed, folder) or ""
