"""Floats that lie side by side are read and written as words, where both are, and nowhere else."""

from __future__ import annotations

import pytest

from loom.core.dtype import DType, f32, f64, u64
from loom.ir.kernel import Access
from loom.kernels.maps.nest import Apply, Load, LoopNest, Store
from loom.kernels.maps.pairs import pair_words

READ, WRITE = (f32, Access.READ), (f32, Access.WRITE)


def _conjugates(*, second: int = 1, stride: int = 2, dtype: DType = f32) -> LoopNest:
    """Return the nest that negates the second of two floats, read at 0 and at ``second``."""
    values = (Load(0, 0, (stride,)), Load(0, second, (stride,)), Apply("neg", (1,)))
    stores = (Store(0, 1, 0, (2,)), Store(2, 1, 1, (2,)))
    return LoopNest((8,), values, stores, ((dtype, Access.READ), WRITE))


def test_pairs_are_words() -> None:
    found = pair_words(_conjugates())
    assert [dtype for dtype, _ in found.buffers] == [u64, u64]
    assert [v for v in found.values if isinstance(v, Load)] == [Load(0, 0, (1,))]
    (store,) = found.stores
    assert (store.buffer, store.offset, store.strides) == (1, 0, (1,))
    assert store.value == len(found.values) - 1


@pytest.mark.parametrize("nest", [
    _conjugates(second=3), _conjugates(second=2), _conjugates(stride=1), _conjugates(dtype=f64),
], ids=["another pair", "one half", "an odd stride", "doubles"])  # fmt: skip
def test_what_is_no_pair_stays(nest: LoopNest) -> None:
    assert pair_words(nest).buffers[0] == nest.buffers[0]
    assert pair_words(nest).buffers[1][0] == u64


def test_one_half_alone_stays_as_it_is() -> None:
    nest = LoopNest((8,), (Load(0, 0, (2,)),), (Store(0, 1, 0, (1,)),), (READ, WRITE))
    assert pair_words(nest) is nest
