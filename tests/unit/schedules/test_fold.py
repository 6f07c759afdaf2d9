"""Folds of columns on GPUs: few columns are cut narrower, so that more groups read them, and have the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.caps import Caps
from loom.core.dtype import DType, f32, f64, i32, i64
from loom.kernels.fold.threads import BESIDE, FEW_BESIDE
from loom.schedules.axis import Rows
from loom.schedules.fold import Folding, record_fold
from loom.tensor.record.draft import Draft, DraftBuffer

GPU = Caps(32, 48 << 10, 1024, False, 132, 1 << 20, threads=True)


def folded(x: Any, shape: Rows, folding: Folding, caps: Caps) -> tuple[bytes, list[int]]:
    """Return the bits of a fold as it is cut for a device's caps, and the groups of its dispatches."""
    draft, out = Draft(loom.device("cpu"), caps), np.zeros(shape.results, folding.result.numpy)
    given, left = DraftBuffer(x.nbytes), DraftBuffer(out.nbytes)
    places = {given: x, left: out}
    record_fold(draft, given, shape, folding, left)
    chain = loom.Chain("cpu")
    for d in draft.dispatches:
        arrays = [places.setdefault(b, np.zeros(b.nbytes // folding.accumulator.nbytes, folding.accumulator.numpy))
                  for b in d.buffers]  # fmt: skip
        chain.dispatch(d.kernel, arrays, d.params, d.groups)
    chain.build().run()
    return out.tobytes(), [d.groups for d in draft.dispatches]


@pytest.mark.parametrize("shape", [Rows(1, 2048, 64), Rows(1, 2000, 20), Rows(2, 100, 9), Rows(1, 4103, 33)])
@pytest.mark.parametrize(
    ("name", "element", "accumulator"), [("sum", f32, f32), ("max", f64, f64), ("sum", i32, i64), ("product", f32, f32)]
)
def test_the_bits_are_those_of_a_cpu(shape: Rows, name: str, element: DType, accumulator: DType) -> None:
    x = (np.random.default_rng(shape.n).standard_normal(shape.size) * 3).astype(element.numpy)
    folding = Folding(name, element, accumulator, accumulator)
    (few, narrow), (many, _) = (folded(x, shape, folding, caps) for caps in (GPU, Caps(8, 0, 64, True, 2, 0)))
    assert few == many
    assert narrow[0] == shape.outer * -(-shape.n // 4096) * -(-shape.inner // FEW_BESIDE)


def test_many_columns_are_cut_as_wide_as_memory_likes_best() -> None:
    x, shape = np.ones(3 * 32 * 132, np.float32), Rows(1, 3, 32 * 132)
    _, groups = folded(x, shape, Folding("sum", f32, f32, f32), GPU)
    assert groups == [shape.inner // BESIDE]
