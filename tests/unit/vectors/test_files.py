"""Stores in files: what is restored is the same in every bit, and no failing step loses what was there."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

import loom
from loom.formats.vectors import write_vectors
from loom.storage.disk import FaultyDisk
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
    found = safetensors.load_file(vectors_file)
    assert np.array_equal(found["vectors"].transpose(0, 2, 1).reshape(-1, DIMS)[:200], vectors(200))
    assert np.allclose(found["weights"][:200], 1 / np.linalg.norm(vectors(200), axis=1))
    with sqlite3.connect(meta) as base:
        assert base.execute("select * from vectors where id = 'v9'").fetchall() == [(9, "v9", '{"batch":2}')]
        assert base.execute("select count(*), sum(row) from vectors").fetchall() == [(200, 199 * 100)]


@pytest.mark.parametrize("first", ["capture", "delete", "iterate", "flush", "compact", "tell"])
def test_a_restored_store_goes_on(first: str, tmp_path: Path) -> None:
    """Whatever asks first for ids that are still as the file has them."""
    db, x = VectorStore(3, 1000), vectors(2500, 3)
    db.capture_many(
        [n if n % 5 == 0 else f"null {n}" for n in range(2500)],
        x,
        [None if n < 1100 else {"n": n} for n in range(2500)],
    )
    db.delete(["null 3", 2000])
    flush(db, tmp_path / "store")
    back = restore(tmp_path / "store")
    assert (len(back), back.tombstones) == (2498, 2)
    steps = {
        "capture": lambda s: s.capture_many(["null 1024", "new"], x[:2], duplicates="skip"),
        "delete": lambda s: s.delete([1025, "null 3"], missing="skip"),
        "iterate": list,
        "flush": lambda s: flush(s, tmp_path / "again", replace=True),
        "compact": lambda s: s.compact(),
        "tell": lambda s: s.update("null 1023", meta={"n": -1}),
    }
    for name in sorted(steps, key=lambda name: name != first):
        results = [steps[name](store) for store in (db, back)]
        assert results[0] == results[1]
        assert len(back) == len(db)
    assert ("new" in back, "null 3" in back, 2000 in back, 2495 in back) == (True, False, False, True)
    flush(back, tmp_path / "store")
    for a, b in zip(db.items(), restore(tmp_path / "store").items(), strict=True):
        assert (a.id, a.meta, a.row, a.vector.tobytes()) == (b.id, b.meta, b.row, b.vector.tobytes())
    assert restore(tmp_path / "store").search(x[9], 5, where={"n": (">", 1200)}) == db.search(
        x[9], 5, where={"n": (">", 1200)}
    )


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
            write_vectors(path, new.freeze(), disk, replace=True)
        except OSError:
            assert len(restore(path)) in (20, 30)
        else:
            assert len(restore(path)) == 30
        assert restore(path).search(np.ones(DIMS), 3) in (old.search(np.ones(DIMS), 3), new.search(np.ones(DIMS), 3))
        flush(old, path, replace=True)  # what a failure left is in nobody's way
        assert len(restore(path)) == 20
        if disk.steps <= fails_at:
            return
    raise AssertionError("the disk was never whole")
