"""Windows of any length, short of a group's elements and beyond them, are those that numpy cuts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loom.core.dtype import i32
from loom.schedules.recorder import Recorder, StorageLike
from loom.schedules.rolling import Windows
from unit.schedules.drafted import chained, drafted


def test_sums_of_windows_beyond_those_of_a_group() -> None:
    x = np.random.default_rng(1).integers(-99, 99, 9000).astype(np.int32)
    sums = np.cumsum(np.r_[0, x])
    for window in (3, 4096, 4097, 9000):
        what = Windows.of("sum", x.size, window, i32)
        expected = sums[window:] - sums[:-window]

        def record(recorder: Recorder, memory: Sequence[StorageLike], what: Windows = what) -> None:
            given, out = memory
            what.record(recorder, given, out, given)  # a sum of integers takes no memory of its own

        for run in (chained, drafted):
            assert np.array_equal(run(record, [x], [expected])[0], expected), window
