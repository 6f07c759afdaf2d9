"""Flushes beside each other and under a budget: what was told to be kept is kept, and an error's remedy works."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loom.core.errors import StateError
from loom.formats.vectors import write_vectors
from loom.storage.disk import Disk
from loom.vectors import VectorStore, flush, restore
from loom.vectors.known_places import KnownPlace
from unit.vectors.vector_cases import vectors


def filled(db: VectorStore, x: Any, first: int) -> int:
    """Capture rows until the budget is full; return how many there are."""

    def go_on() -> None:
        for n in range(first, len(x)):
            db.capture(n, x[n])

    with pytest.raises(StateError, match=r"full of vectors that no file has.*Flush"):
        go_on()
    return len(db)


def test_a_full_budget_is_searched_flushed_and_goes_on(tmp_path: Path) -> None:
    x, size = vectors(600, 8), 32 * 44
    whole = VectorStore(8, 32, "dot")
    whole.capture_many(None, x)
    db = VectorStore(8, 32, "dot", memory_budget=4 * size)
    known = {hit.id: hit for hit in whole.search(x[5], 600)}
    count = 0
    for _ in range(4):
        before, count = count, filled(db, x, count)
        assert count > before
        assert db.nbytes <= 4 * size
        hits = db.search(x[5], 600)  # those that left the device come back beside those no file has
        assert hits == [known[h.id] for h in whole.search(x[5], 600) if h.id < count]
        assert all((e.vector == x[n]).all() and e.row == n for n, e in enumerate(db.items()))
        flush(db, tmp_path / "store")
        assert not db.needs_flush
    assert restore(tmp_path / "store", memory_budget=2 * size).search(x[5], 600) == db.search(x[5], 600)


@pytest.mark.parametrize("kept", ["f32", "i8"])
def test_compaction_under_a_budget_tells_what_helps(tmp_path: Path, kept: str) -> None:
    x, db = vectors(300, 8), VectorStore(8, 32, dtype=kept, memory_budget=4 * 32 * 44)
    size = db._programs.segment_nbytes
    for first in range(0, 300, 30):
        db.capture_many(range(first, first + 30), x[first : first + 30])
        flush(db, tmp_path / "store")
    before = db.search(x[3], 300)
    with pytest.raises(StateError, match=r"\[compact\].*too small.*restore it with a larger memory_budget") as told:
        db.compact()
    assert db.search(x[3], 300) == before
    needed = int(str(told.value).partition("at least ")[2].split()[0])
    back = restore(tmp_path / "store", memory_budget=needed)
    assert back.nbytes <= needed < 300 * size
    assert back.compact() == 0
    assert back.search(x[3], 300) == before
    db.delete(list(range(260)))
    flush(db, tmp_path / "store")
    left = [(hit.id, hit.score) for hit in db.search(x[290], 300)]
    assert db.compact() == 260
    assert [(hit.id, hit.score) for hit in db.search(x[290], 300)] == left


def test_an_older_state_never_replaces_a_newer_one(tmp_path: Path) -> None:
    db = VectorStore(4, 4, memory_budget=2 * 32 * 28)
    db.capture_many(None, vectors(10, 4))
    older = db.freeze()
    db.capture_many(None, vectors(10, 4, seed=2))
    flush(db, tmp_path / "store")
    write_vectors(tmp_path / "store", older)  # what a Support wrote later was asked for before
    assert len(restore(tmp_path / "store")) == 20
    assert len(list(tmp_path.iterdir())) == 3
    write_vectors(tmp_path / "elsewhere", older)
    assert len(restore(tmp_path / "elsewhere")) == 10
    for seed in range(3, 9):  # rows of the newer file stay those that come back
        db.capture_many(None, vectors(10, 4, seed=seed))
        flush(db, tmp_path / "store")
    assert [e.vector.tolist() for e in db.items()] == [
        row.tolist() for s in (1, *range(2, 9)) for row in vectors(10, 4, seed=s)
    ]


def test_two_flushes_of_the_same_changes_count_once(tmp_path: Path) -> None:
    db = VectorStore(2, 10)
    db.capture_many(None, np.ones((20, 2)))
    first, second = db.freeze(), db.freeze()
    write_vectors(tmp_path / "a", first)
    write_vectors(tmp_path / "b", second)
    assert not db.needs_flush
    db.capture_many(None, np.ones((10, 2)))
    assert db.needs_flush


def test_another_insists_right_after_a_flush(tmp_path: Path) -> None:
    db, other = VectorStore(2), VectorStore(2)
    db.capture("mine", [1, 2])
    other.capture("theirs", [3, 4])

    frozen = db.freeze()

    @contextmanager
    def overtaken(path: str) -> Generator[KnownPlace, None, None]:
        with frozen.placing(path) as place:
            yield place
        flush(other, tmp_path / "store", replace=True)  # and removes the files that this manifest named

    write_vectors(tmp_path / "store", replace(frozen, placing=overtaken))
    assert list(restore(tmp_path / "store")) == ["theirs"]
    assert not db.needs_flush


def test_an_index_is_never_asked_about_other_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch")
    x, db = vectors(200, 8), VectorStore(8)
    db.capture_many(None, x)
    db.build_index(samples=10)
    look = db._state.view

    def compacted_before(conditions: Any) -> Any:  # as another thread may
        db.delete(list(range(100)))
        db.compact()
        return look(conditions)

    monkeypatch.setattr(db._state, "view", compacted_before)
    with pytest.raises(StateError, match="there is no index"):
        db.search(x[150], 5, approximate=True)


def test_rows_are_read_while_their_segment_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, db = vectors(60, 8), VectorStore(8, 32, memory_budget=4 * 32 * 44)
    db.capture_many(None, x)
    flush(db, tmp_path / "store")
    residence = db._state.residence
    here = residence.here

    def leaving(segment: Any) -> Any:  # as other searches may make it
        found = here(segment)
        residence._here.clear()
        residence.most_nbytes = 1
        return found

    monkeypatch.setattr(residence, "here", leaving)
    assert [e.vector.tolist() for e in db.items()] == x.tolist()


def test_flushes_beside_each_other_leave_nothing_behind(tmp_path: Path) -> None:
    db, other = VectorStore(2), VectorStore(2)
    db.capture("mine", [1, 2])
    other.capture("theirs", [3, 4])
    with ThreadPoolExecutor(1) as beside:
        waiting: list[Future[None]] = []

        class Beside(Disk):
            def sync_folder(self, path: Path) -> None:  # the data is written, the manifest not yet
                if not waiting:
                    waiting.append(beside.submit(flush, other, tmp_path / "store", replace=True))
                super().sync_folder(path)

        write_vectors(tmp_path / "store", db.freeze(), Beside())
        waiting[0].result()
    assert list(restore(tmp_path / "store")) == ["theirs"]
    assert len(list(tmp_path.iterdir())) == 3
