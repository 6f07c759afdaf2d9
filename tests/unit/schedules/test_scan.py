"""Every way of recording a scan, into chains and drafts, gives the bits of the canonical order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from loom.core.dtype import f32, i8, i64
from loom.schedules.axis import Rows
from loom.schedules.recorder import Recorder, StorageLike
from loom.schedules.scan import Scanning, record_scan
from unit.patterns.canonical import canonical_scan, same_bits, scan_of_items
from unit.schedules.drafted import chained, drafted

Array = np.ndarray[Any, Any]
WAYS = [None, False, True]
SUM = Scanning("sum", f32, f32, f32)


def wide(*shape: int) -> Array:
    """Numbers of very different size, so that any change of order shows."""
    rng = np.random.default_rng(sum(shape))
    return (rng.standard_normal(shape) * 2.0 ** rng.integers(-9, 9, shape)).astype(np.float32)


@pytest.mark.parametrize("threads", WAYS)
@pytest.mark.parametrize("shape", [(3, 4700, 1), (3, 700, 1), (1, 4160, 2), (2, 600, 20)])
def test_scan(shape: tuple[int, int, int], threads: bool | None) -> None:
    x = wide(*shape)
    expected = np.apply_along_axis(canonical_scan, 1, x)

    def record(recorder: Recorder, memory: Sequence[StorageLike]) -> None:
        record_scan(recorder, *memory, Rows(*shape), SUM, threads=threads)

    for run in (chained, drafted):
        assert same_bits(run(record, [x], [x])[0], expected)


@pytest.mark.parametrize("threads", WAYS)
@pytest.mark.parametrize("n", [70, 4500])
def test_scan_of_segments(n: int, threads: bool | None) -> None:
    x, marks = wide(n), (np.random.default_rng(n).random(n) < 0.02).astype(np.uint8)
    pairs = scan_of_items(list(zip(marks, x, strict=True)), lambda a, b: (a[0] | b[0], b[1] if b[0] else a[1] + b[1]))
    expected = np.array([value for _, value in pairs], np.float32)

    def record(recorder: Recorder, memory: Sequence[StorageLike]) -> None:
        given, begins, out = memory
        record_scan(recorder, given, out, Rows(1, n), SUM, begins, threads=threads)

    for run in (chained, drafted):
        assert same_bits(run(record, [x, marks], [x])[0], expected)


@pytest.mark.parametrize("threads", WAYS[1:])
def test_exclusive_scan_of_integers(threads: bool) -> None:
    x = np.random.default_rng(1).integers(-9, 9, (2, 130, 5)).astype(np.int8)
    expected = np.cumsum(x, 1, np.int64) - x
    scanning = Scanning("sum", i8, i64, i64, exclusive=True)

    def record(recorder: Recorder, memory: Sequence[StorageLike]) -> None:
        record_scan(recorder, *memory, Rows(*x.shape), scanning, threads=threads)

    assert np.array_equal(drafted(record, [x], [expected])[0], expected)
