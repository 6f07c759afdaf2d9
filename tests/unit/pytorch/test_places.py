"""Indices that a module computes, and batches that are too small, beside PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import loom
from loom.core.errors import IndexOutside, ShapeError

RECORDS: dict[str, Callable[[Any, Any], Any]] = {
    "index": lambda t, i: t[i],
    "second axis": lambda t, i: t[:, i],
    "doubled": lambda t, i: t[i * 2],
    "embedding": lambda t, i: torch.nn.functional.embedding(i * 1, t),
    "index_select": lambda t, i: t.index_select(0, i),
    "gather": lambda t, i: t.gather(0, i[:, None]),
    "take": lambda t, i: t.take(i),
    "one_hot": lambda t, i: torch.nn.functional.one_hot(i, 5),
    "index_put": lambda t, i: t.index_put((i,), torch.ones(3)),
    "scatter": lambda t, i: t.scatter(0, i[:, None], 1.0),
    "index_add": lambda t, i: t.index_add(0, i, torch.ones(2, 3)),
    "index_fill": lambda t, i: t.index_fill(0, i, 9.0),
}


def _table(record: Callable[[Any, Any], Any]) -> torch.nn.Module:
    class Table(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Parameter(torch.arange(15.0).reshape(5, 3))

        def forward(self, ids: Any) -> Any:
            return record(self.table, ids)

    return Table()


@pytest.mark.parametrize("name", RECORDS)
def test_an_index_outside_is_refused_where_torch_refuses_it(name: str) -> None:
    module = _table(RECORDS[name])
    model = loom.from_torch(module, torch.zeros(2, dtype=torch.int64), training=False, on="interp")
    for ids in ([0, 2], [1, -1], [0, 20], [-30, 1]):
        try:
            wanted = module(torch.tensor(ids)).detach().numpy()
        except (IndexError, RuntimeError):
            with pytest.raises(IndexOutside, match="an index that there is not"):
                model(np.array(ids))
        else:
            assert np.array_equal(model(np.array(ids)), wanted)


def test_a_sample_left_over_is_refused_with_a_remedy_that_works() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2))
    model = loom.from_torch(module, torch.zeros(2, 4), on="interp")
    x, y = np.eye(9, 4, dtype=np.float32), np.arange(9) % 2
    with pytest.raises(ShapeError, match="Let batches have 2 or more samples: choose a batch_size that"):
        model.train(x, y, batch_size=4, epochs=1)
    assert len(model.train(x, y, batch_size=3, epochs=1).loss) == 1
    assert len(model.train(x[:8], y[:8], batch_size=4, epochs=1).loss) == 1
