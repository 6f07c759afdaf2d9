"""Many that write to one place: nothing that another flushed is dropped unless somebody insists."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, FileError, StateError
from loom.formats.vectors import flush_turns, write_vectors
from loom.formats.vectors.manifest import read_manifest, sign
from loom.storage.disk import Disk
from loom.storage.file_lock import FileLock
from loom.vectors import VectorStore, edit, flush, restore
from unit.vectors.writers import race

FIXTURES = Path(__file__).parent / "fixtures"


def one(name: Any) -> VectorStore:
    db = VectorStore(2)
    db.capture(name, [1, 0])
    return db


@pytest.fixture
def path(tmp_path: Path) -> Path:
    flush(one("x"), tmp_path / "store")
    return tmp_path / "store"


def test_a_stale_store_drops_nothing(path: Path) -> None:
    a, b = restore(path), restore(path)
    b.capture("y", [0, 1])
    flush(b, path)
    a.capture("z", [1, 1])
    told = (
        r"\[vectors.flush\] the store at '.*store.ldb' was flushed by another since this one was: expected generation 1"
    )
    with pytest.raises(StateError, match=told + r", got 2. Restore it and make the changes there.*replace=True"):
        flush(a, path)
    assert list(restore(path)) == ["x", "y"]
    b.capture("w", [1, 2])
    flush(b, path)  # who is not stale goes on
    flush(a, path, replace=True)
    assert list(restore(path)) == ["x", "z"]
    a.capture("v", [2, 1])
    flush(a, path)
    with pytest.raises(StateError, match="expected generation 3, got 5"):
        flush(b, path)


def test_a_store_that_comes_from_elsewhere(path: Path, tmp_path: Path) -> None:
    with pytest.raises(
        StateError, match=r"that this one does not come from: expected nothing, or the store.*generation 1"
    ):
        flush(one("other"), path)
    db = restore(path)
    flush(db, tmp_path / "copy")
    shutil.copytree(tmp_path, tmp_path / "moved")
    flush(restore(tmp_path / "moved/store"), tmp_path / "moved/store.ldb")
    (tmp_path / "store.ldb").unlink()
    flush(db, path)  # what is gone is dropped by nobody
    assert list(restore(path)) == ["x"]
    with loom.Support() as support:
        with pytest.raises(StateError, match="does not come from"):
            support.flush(one("other"), path).result()
        support.flush(one("other"), path, replace=True).result()
    assert list(restore(path)) == ["other"]


def test_a_flush_that_failed_late_is_known(path: Path) -> None:
    """The manifest is in place, and the step after it fails."""
    db = restore(path)
    db.capture("y", [0, 1])

    class Late(Disk):
        def rename(self, source: Path, target: Path) -> None:
            super().rename(source, target)
            raise OSError("lost")

    with pytest.raises(FileError, match="lost"):
        write_vectors(path, db.freeze(), Late())
    assert list(restore(path)) == ["x", "y"]
    flush(db, path)


@pytest.mark.parametrize("version", ["v1_f32", "v2_i8"])
def test_stores_without_a_generation(version: str, tmp_path: Path) -> None:
    for file in FIXTURES.glob(f"{version}.*"):
        shutil.copy(file, tmp_path)
    assert "generation" not in read_manifest(tmp_path / f"{version}.ldb")
    a, b = restore(tmp_path / version), restore(tmp_path / version)
    flush(a, tmp_path / version)
    assert read_manifest(tmp_path / f"{version}.ldb")["generation"] == 1
    with pytest.raises(StateError, match=r"flushed by another|does not come from"):
        flush(b, tmp_path / version)


# edit


def test_edit_makes_changes_and_leaves_what_fails(path: Path) -> None:
    with edit(path) as db:
        db.capture("y", [0, 1])
        flush(db, path)
        db.capture("z", [0, 1])
    assert not db.is_open
    before = path.with_suffix(".ldb").read_bytes()

    def go_wrong() -> None:
        with edit(path) as db:
            db.capture("w", [0, 1])
            raise KeyError

    with pytest.raises(KeyError):
        go_wrong()
    with edit(path):
        pass  # nothing is written where nothing changed
    assert path.with_suffix(".ldb").read_bytes() == before
    assert list(restore(path)) == ["x", "y", "z"]
    assert len(list(path.parent.iterdir())) == 3
    with edit(path, device="cpu") as here, edit(path.with_name("other"), 2, on="cpu", memory_budget=1 << 22) as there:
        assert (here.device.name, there.device.name, there.memory_budget) == ("cpu", "cpu", 1 << 22)
    with edit(path.with_name("new"), dims=3, metric="dot", dtype="f16", capacity=5):
        pass
    made = restore(path.with_name("new"))
    assert (made.dims, made.metric, made.dtype, made.capacity, len(made)) == (3, "dot", loom.f16, 5, 0)


@pytest.mark.parametrize(
    ("call", "kind", "told"),
    [
        (lambda p: edit(p.with_name("none")), FileError, r"\[vectors.edit\] there is no store at .*Pass dims"),
        (lambda p: edit(p, dims=3), ArgumentError, r"\[vectors.edit, dims\].*expected 2, got 3"),
        (lambda p: edit(p, metric="dot"), ArgumentError, r"\[vectors.edit, metric\].*expected cosine, got dot"),
        (lambda p: edit(p, dtype="f16"), ArgumentError, r"\[vectors.edit, dtype\].*expected f32, got f16"),
        (lambda p: edit(p, capacity=7), ArgumentError, r"\[vectors.edit, capacity\].*got 7"),
        (lambda p: edit(p, timeout=-1), ArgumentError, r"\[vectors.edit, timeout\]"),
        (lambda p: edit(p / "below"), FileError, r"\[vectors.edit\] cannot write to"),
        (lambda p: flush(one("a"), p, replace=1), LookupError, ""),
    ],
)  # fmt: skip
def test_what_cannot_be_edited(path: Path, call: Callable[[Path], Any], kind: type[Exception], told: str) -> None:
    if kind is LookupError:
        with pytest.raises(loom.LoomError, match="replace"):
            call(path)
        return
    (path.parent / "store").write_text("a file")  # no folder

    def enter() -> None:
        with call(path):
            pass

    with pytest.raises(kind, match=told):
        enter()
    assert not path.with_suffix(".ldb.lock").exists()


def test_nobody_else_flushes_meanwhile(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flush_turns, "_TURN_SECONDS", 0.05)
    with edit(path) as db:
        for call in (lambda: flush(restore(path), path), lambda: flush(one("a"), path, replace=True)):
            with pytest.raises(StateError, match=rf"is being written by process {os.getpid()}.*within 0.05 seconds"):
                call()
        with pytest.raises(StateError, match=r"\[vectors.edit\].*is being written"), edit(path, timeout=0):
            pass
        assert list(restore(path)) == ["x"]
        db.capture("y", [0, 1])
    assert list(restore(path)) == ["x", "y"]


def test_threads_take_turns(path: Path) -> None:
    def work(n: int) -> None:
        for k in range(4):
            with edit(path, timeout=None) as db:
                db.capture(f"{n} {k}", [n, k + 1])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(restore(path)) == 13


_HOLDER = """
import sys, time
from loom.vectors import edit
with edit(sys.argv[1]) as db:
    db.capture("half", [1, 1])
    print("here", flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_holder_that_is_killed_holds_nobody_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flush_turns, "_TURN_SECONDS", 0.05)
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "here\n"
    with pytest.raises(StateError, match=f"written by process {holder.pid}"):
        flush(restore(path), path)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert path.with_suffix(".ldb.lock").exists()
    with edit(path, timeout=0) as db:
        db.capture("y", [1, 1])
    assert list(restore(path)) == ["x", "y"]
    assert len(list(path.parent.iterdir())) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_child_has_no_lock_of_its_parent(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    assert lock.acquire(0)
    child = os.fork()
    if not child:
        other = FileLock(tmp_path / "lock")
        mine, got = lock.is_mine, other.acquire(0)
        lock.release()
        os._exit(10 + mine + 2 * got)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 10
    assert lock.is_mine
    assert not FileLock(tmp_path / "lock").acquire(0)
    lock.release()
    lock.release()
    assert FileLock(tmp_path / "lock").acquire(0)


@pytest.mark.parametrize("kind", ["text", "folder", "link", "read-only"])
def test_strange_files_in_the_place_of_the_lock(path: Path, kind: str) -> None:
    lock, other = path.with_suffix(".ldb.lock"), path.parent / "other"
    other.write_text("mine")
    {
        "text": lambda: lock.write_bytes(b"\xff" * 100),
        "folder": lock.mkdir,
        "link": lambda: lock.symlink_to(other),
        "read-only": lambda: (lock.write_text("1"), lock.chmod(0o444)),
    }[kind]()
    db = restore(path)
    db.capture("y", [1, 1])
    if kind in ("folder", "link"):
        with pytest.raises(FileError, match=r"cannot write to .*store.*\.ldb\.lock"):
            flush(db, path)
        assert (list(restore(path)), other.read_text()) == (["x"], "mine")
    else:
        flush(db, path)
        assert not lock.exists()


def test_without_locks_of_the_system(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushes go on, and leave what others may be writing; to edit is refused."""

    def none(lock: FileLock, _descriptor: int) -> bool:
        lock.is_real = False
        return True

    monkeypatch.setattr(FileLock, "_lock", none)
    (path.parent / "store.0123456789abcdef.vectors").write_bytes(b"of another")
    db = restore(path)
    flush(db, path)
    assert (path.parent / "store.0123456789abcdef.vectors").exists()
    with pytest.raises(FileError, match="cannot be locked: expected a file system with locks"), edit(path):
        pass
    assert not path.with_suffix(".ldb.lock").exists()


# drawn


def test_three_processes(tmp_path: Path) -> None:
    race(tmp_path, 1, processes=3, steps=15)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_steps_of_three_processes(tmp_path: Path, seed: int) -> None:
    race(tmp_path, seed, processes=3, steps=60)


@pytest.mark.parametrize("seed", range(3))
def test_drawn_manifests(path: Path, seed: int) -> None:
    """Flipped, cut, or sound and telling nonsense: restore refuses or is right, a flush drops nothing unasked."""
    rng, manifest = np.random.default_rng(seed), path.with_suffix(".ldb")
    sound = manifest.read_bytes()
    db = restore(path)
    nonsense: list[Any] = [None, -1, "1", 1.5, [], {}, True, 10**30, "../x", {"file": "x"}]
    for _ in range(40):
        data, kind = bytearray(sound), int(rng.integers(4))
        if kind == 0:
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data = data[: int(rng.integers(len(data)))]
        elif kind == 2:
            data += bytes(rng.integers(0, 256, 5, np.uint8))
        else:
            facts = read_manifest(manifest)
            name = list(facts)[int(rng.integers(len(facts)))]
            facts[name] = nonsense[int(rng.integers(len(nonsense)))]
            data = bytearray(sign(facts))
        manifest.write_bytes(data)
        try:
            found = list(restore(path))
        except (FileError, ArgumentError):
            found = None
        assert found in (None, ["x"])
        if bytes(data) != sound:
            with pytest.raises(StateError, match=r"\[vectors.flush\].*replace=True"):
                flush(db, path)
            assert manifest.read_bytes() == data
        manifest.write_bytes(sound)
    manifest.write_bytes(b"{")
    flush(db, path, replace=True)
    assert list(restore(path)) == ["x"]
