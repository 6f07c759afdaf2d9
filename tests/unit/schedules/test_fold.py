"""Every way of recording a fold, into chains and drafts, gives the bits of the canonical order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from loom.core.dtype import f32, i8, i64
from loom.kernels.types import kinds
from loom.schedules.axis import Rows
from loom.schedules.deviations import Spread
from loom.schedules.fold import Folding, record_fold
from loom.schedules.histogram import record_histogram
from loom.schedules.recorder import Recorder, StorageLike
from unit.patterns.canonical import canonical_reduce, same_bits
from unit.schedules.drafted import chained, drafted

Array = np.ndarray[Any, Any]


def wide(*shape: int) -> Array:
    """Numbers of very different size, so that any change of order shows."""
    rng = np.random.default_rng(sum(shape))
    return (rng.standard_normal(shape) * 2.0 ** rng.integers(-9, 9, shape)).astype(np.float32)


@pytest.mark.parametrize("threads", [None, pytest.param(False, marks=pytest.mark.wide), True])
@pytest.mark.parametrize("shape", [(1, 9000, 1), (3, 300, 1), (40, 60, 1), (2, 4200, 5)])
def test_sum(shape: tuple[int, int, int], threads: bool | None) -> None:
    x = wide(*shape)
    expected = canonical_reduce(x, np.add, 0, axis=1)

    def record(recorder: Recorder, memory: Sequence[StorageLike]) -> None:
        record_fold(recorder, memory[0], Rows(*shape), Folding("sum", f32, f32, f32), memory[1], threads=threads)

    for run in (chained, drafted):
        assert same_bits(run(record, [x], [expected])[0], expected)


def test_sum_of_integers() -> None:
    x = np.random.default_rng(1).integers(-9, 9, (2, 130, 5)).astype(np.int8)
    expected = x.sum(1, np.int64)

    def record(recorder: Recorder, memory: Sequence[StorageLike]) -> None:
        record_fold(recorder, memory[0], Rows(*x.shape), Folding("sum", i8, i64, i64), memory[1])

    assert np.array_equal(drafted(record, [x], [expected])[0], expected)


@pytest.mark.parametrize("shape", [(1, 300, 1), (30, 20, 1), (2, 30, 4)])
def test_variance_in_a_draft(shape: tuple[int, int, int]) -> None:
    x = wide(*shape)
    mean = (canonical_reduce(x, np.add, 0, axis=1) / np.float32(shape[1]))[:, None]
    expected = canonical_reduce((x - mean) * (x - mean), np.add, 0, axis=1) / np.float32(shape[1])
    spread = Spread(Rows(*shape), kinds(f32), left=shape[1], root=False)

    def record(recorder: Recorder, memory: Sequence[StorageLike]) -> None:
        means, squares = (recorder.device.allocate(n) for n in (expected.nbytes, spread.squares_nbytes))
        spread.record(recorder, memory[0], means, squares, memory[1], f32)

    for run in (chained, drafted):
        assert same_bits(run(record, [x], [expected])[0], expected)


def test_histogram_in_a_draft() -> None:
    x, edges = wide(700), np.linspace(-3, 3, 8).astype(np.float32)
    expected = np.histogram(x, edges)[0]

    def record(recorder: Recorder, memory: Sequence[StorageLike]) -> None:
        data, at, out = memory
        record_histogram(recorder, data, at, out, (x.size, expected.size), (f32, f32), None)

    assert np.array_equal(drafted(record, [x, edges], [expected])[0], expected)
