"""A second run in another order of lanes tells what depends on the order, by buffer and element."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, Out, f32, u32
from loom.core.dtype import lookup
from loom.core.errors import RaceDetected
from loom.ir.interp import Options, interpret
from loom.kernels.scan.onepass import scan_once, status_words
from unit.emulation.drawn_loops import loaded
from unit.ir.passes.drawn_order import draw

_ORDER = Options(order=True)


def _run(kernel: Any, *buffers: np.ndarray[Any, Any], params: tuple[Any, ...] = (), groups: int = 1) -> None:
    interpret(kernel.ir, buffers, params, (groups, 1, 1), options=_ORDER)


@loom.kernel(workgroup=4)
def from_afar(y: InOut[u32], n: u32) -> None:
    i = loom.global_id()
    if i < n:
        y[i] = y[(i + n // 2) % n] + 1


def test_a_read_of_what_other_groups_write() -> None:
    y = np.arange(16, dtype=np.uint32)
    with pytest.raises(
        RaceDetected, match=r"y\[\d+\] depends on the order of lanes: expected the same in any"
    ) as caught:
        _run(from_afar, y, params=(16,), groups=4)
    assert (caught.value.memory, y.tolist()) == ("y", [*range(9, 17), *range(1, 9)]), "the first run's memory stays"
    with pytest.raises(RaceDetected, match="depends on the order of lanes"), loom.debug(races=False):
        from_afar(np.arange(16, dtype=np.uint32), 16)
    with loom.debug(races=False, order=False):
        from_afar(np.arange(16, dtype=np.uint32), 16)


@loom.kernel(workgroup=8)
def without_barrier(x: In[u32], y: Out[u32]) -> None:
    s, lane = loom.shared(u32, 8), loom.local_id()
    s[x[lane] % 8] = lane + 1
    y[loom.global_id()] = s[lane]


def test_shared_memory_without_a_barrier() -> None:
    with pytest.raises(RaceDetected, match=r"y\[\d\] depends on the order of lanes"):
        _run(without_barrier, np.arange(3, 11, dtype=np.uint32), np.zeros(8, np.uint32))


@loom.kernel(workgroup=64)
def two_kinds(x: In[u32], y: InOut[u32]) -> None:
    i = loom.global_id()
    loom.atomic_add(y, 3, x[i])
    loom.atomic_xor(y, 3, x[i] * 3)


@loom.kernel(workgroup=64, order="any")
def any_order(x: In[u32], y: InOut[u32]) -> None:
    i = loom.global_id()
    loom.atomic_exchange(y, 3, x[i])


def test_atomics_of_two_kinds_and_those_that_may() -> None:
    x, y = np.arange(1, 129, dtype=np.uint32), np.zeros(5, np.uint32)
    with pytest.raises(RaceDetected, match=r"y\[3\] depends on the order of lanes: .* got \d+ and \d+. Give each lane"):
        _run(two_kinds, x, y, groups=2)
    _run(any_order, x, y, groups=2)


@loom.kernel(workgroup=32)
def turns_and_barriers(x: In[f32], y: Out[f32], n: u32) -> None:
    s, lane = loom.shared(f32, 32), loom.local_id()
    s[lane] = x[loom.global_id()]
    loom.barrier()
    for k in range(n + loom.group_id()):
        other = s[(lane + k) % 32]
        loom.barrier()
        if lane % 3 == k % 3:
            s[lane] = other * 0.5
        loom.barrier()
    y[loom.global_id()] = s[lane] / (x[0] - x[0])  # NaN and infinities


def test_what_is_ordered_passes() -> None:
    x, y = np.arange(128, dtype=np.float32), np.zeros(128, np.float32)
    _run(turns_and_barriers, x, y, params=(5,), groups=4)
    assert not np.isfinite(y).any()


@loom.kernel(workgroup=32)
def ending_early(x: In[u32], y: Out[u32]) -> None:
    i = loom.global_id()
    loom.barrier()
    for k in range(5):
        if x[i] == k:
            return
        y[i] = k
    assert x[i] < 100


def test_lanes_may_end_before_others() -> None:
    x = np.arange(64, dtype=np.uint32)
    _run(ending_early, x, np.zeros(64, np.uint32), groups=2)
    with pytest.raises(loom.LoomError, match="assertion failed in lane 3"):
        _run(ending_early, np.where(x == 3, 999, x).astype(np.uint32), np.zeros(64, np.uint32), groups=2)


@pytest.mark.parametrize("seed", range(0, 40, 2))
def test_drawn_kernels_that_show_no_order(seed: int, tmp_path: Path) -> None:
    drawn = draw(seed)
    kernel, size = loaded(drawn.text, f"again_{seed}", tmp_path), max(drawn.lanes, 64)
    rng, kind = np.random.default_rng(seed), lookup(drawn.dtype).numpy
    buffers = [rng.integers(0, 100, drawn.lanes).astype(np.uint32), *rng.integers(0, 50, (3, size)).astype(kind)]
    interpret(kernel.ir, buffers, [drawn.n], drawn.groups, options=_ORDER)


def test_a_library_kernel_that_waits_for_other_groups() -> None:
    """Whose proof stands in its docstring: a scan in one pass."""
    tiles, width = 5, 4096
    x = np.random.default_rng(1).integers(0, 99, tiles * width).astype(np.uint32)
    told, offsets, out = np.zeros(status_words(tiles), np.uint64), np.zeros(tiles, np.uint32), np.zeros_like(x)
    _run(scan_once("sum", loom.u32), x, told, offsets, out, params=(tiles,), groups=tiles + 1)
    assert (out == np.cumsum(x)).all()
