"""Stores in files: what is restored is the same in every bit, and no failing step loses what was there."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

import loom
from loom.storage.disk import FaultyDisk
from loom.support.vectors import write_vectors
from loom.vectors import VectorStore, flush, restore
from unit.vectors.vector_cases import DIMS, KEPT, vectors


def filled(count: int = 200, kept: str = "f32", metric: str = "cosine") -> VectorStore:
    db = VectorStore(DIMS, 64, metric, dtype=kept)
    db.capture_many([f"v{n}" for n in range(count)], vectors(count), [{"batch": n % 7} for n in range(count)])
    return db


@pytest.mark.parametrize("kept", KEPT)
def test_what_is_restored_is_the_same(on: str, kept: str, tmp_path: Path) -> None:
    db, queries = filled(kept=kept), vectors(4, seed=2)
    db.delete(["v3", "v199"])
    assert db.needs_flush
    flush(db, tmp_path / "a/store")
    assert not db.needs_flush
    back = restore(tmp_path / "a/store", on)
    assert back.search_many(queries, 9, where={"batch": ("in", [1, 3])}) == db.search_many(
        queries, 9, where={"batch": ("in", [1, 3])}
    )
    assert (list(back), back.dims, back.metric, back.dtype, back.capacity, back.tombstones) == (
        list(db), DIMS, "cosine", db.dtype, 64, 2)  # fmt: skip
    assert np.array_equal(back["v5"].vector.view(np.uint32), db["v5"].vector.view(np.uint32))
    assert not back.needs_flush


def test_the_files_are_those_of_other_tools(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    flush(filled(), tmp_path / "store")
    (vectors_file,), (meta,) = tmp_path.glob("*.vectors"), tmp_path.glob("*.meta")
    assert np.array_equal(safetensors.load_file(vectors_file)["vectors"], vectors(200))
    with sqlite3.connect(meta) as base:
        assert base.execute("select * from vectors where id = 'v9'").fetchall() == [(9, "v9", '{"batch": 2}')]


def test_support_flushes_in_the_background(tmp_path: Path) -> None:
    db = filled()
    with loom.Support() as support:
        done = support.flush(db, tmp_path / "store")
        db.delete("v0")
        done.result()
    assert len(restore(tmp_path / "store")) == 200


@pytest.mark.parametrize("torn", [True, False])
def test_every_step_may_fail(tmp_path: Path, torn: bool) -> None:
    old, new = filled(20), filled(30)
    for fails_at in range(100):
        path = tmp_path / str(fails_at) / "store"
        flush(old, path)
        disk = FaultyDisk(fails_at, torn=torn)
        try:
            write_vectors(path, new.freeze(), disk)
        except OSError:
            assert len(restore(path)) in (20, 30)
        else:
            assert len(restore(path)) == 30
        assert restore(path).search(np.ones(DIMS), 3) in (old.search(np.ones(DIMS), 3), new.search(np.ones(DIMS), 3))
        flush(old, path)  # what a failure left is in nobody's way
        assert len(restore(path)) == 20
        if disk.steps <= fails_at:
            return
    raise AssertionError("the disk was never whole")
