"""Drawn sequences of calls: every hit, every bit and every answer is that of a store in plain numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loom.vectors import VectorStore, flush, restore, state
from unit.vectors.sequences import Sequence


@pytest.mark.parametrize("seed", range(2))
def test_drawn_sequences(on: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_MANY", [1 << 22, 40][seed])  # few are laid down as many are
    Sequence(seed, tmp_path, (on,)).run(40)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(0, 400, 20))
def test_many_drawn_sequences(first: int, tmp_path: Path) -> None:
    """Stores move from device to device as they are restored."""
    for seed in range(1000 + first, 1020 + first):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            Sequence(seed, folder, ("cpu", "cpu", "interp", "vulkan")).run(120)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error


@pytest.mark.parametrize("kept", ["f32", "f16", "i8"])
def test_no_queries_have_no_hits(kept: str) -> None:
    db = VectorStore(5, dtype=kept)
    db.capture_many(None, np.eye(5))
    assert db.search_many(np.zeros((0, 5))) == []


def test_a_restored_store_takes_one_id_twice(tmp_path: Path) -> None:
    db = VectorStore(2)
    db.capture_many(["a", "b", "c"], [[1, 0], [0, 1], [1, 1]])
    db.delete("b")
    flush(db, tmp_path / "store")
    back = restore(tmp_path / "store")
    assert back.capture_many(["c", "d", "d"], [[2, 0], [0, 2], [3, 3]], duplicates="replace") == 2
    assert {e.id: (e.row, e.vector.tolist()) for e in back.items()} == {
        "a": (0, [1, 0]), "c": (3, [2, 0]), "d": (4, [3, 3]),
    }  # fmt: skip
