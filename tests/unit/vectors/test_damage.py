"""Files that are damaged, old or of tomorrow, and writers that are killed: a clear error, the old store or the new."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from loom.core.errors import FileError
from loom.formats.vectors import VERSION, write_vectors
from loom.formats.vectors.manifest import read_manifest, sign
from loom.storage.disk import Disk
from loom.vectors import VectorStore, flush, restore
from unit.vectors.vector_cases import vectors

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    db = VectorStore(4, dtype="i8")
    db.capture_many([f"v{n}" for n in range(50)], vectors(50, 4), {"n": 1})
    flush(db, folder / "store")
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    return tmp_path


def one(folder: Path, kind: str) -> Path:
    (found,) = folder.glob(f"*.{kind}")
    return found


@pytest.mark.parametrize("kind", ["ldb", "vectors", "meta"])
def test_damaged_files(folder: Path, kind: str) -> None:
    file = one(folder, kind)
    data = file.read_bytes()
    for broken in (data[:-1], data[: len(data) // 2], b"", data + b"x"):
        file.write_bytes(broken)
        with pytest.raises(FileError, match="no sound store"):
            restore(folder / "store")
    for at in range(0, len(data), max(1, len(data) // 60)):
        for bit in (1, 128):
            flipped = bytearray(data)
            flipped[at] ^= bit
            file.write_bytes(flipped)
            with pytest.raises(FileError):
                restore(folder / "store")
    file.unlink()
    with pytest.raises(FileError, match="is missing" if kind != "ldb" else "there is no store"):
        restore(folder / "store")


@pytest.mark.parametrize("ids", ['["a"', '["a"]', '{"a": 1}', "7"])
def test_lists_that_are_none(folder: Path, ids: str) -> None:
    """A writer that went wrong: the checksums hold, what they are of does not."""
    meta = one(folder, "meta")
    with contextlib.closing(sqlite3.connect(meta)) as base, base:
        base.execute("update lists set ids = ?", (ids,))
    manifest = one(folder, "ldb")
    facts = read_manifest(manifest)
    facts["meta"] |= {"nbytes": meta.stat().st_size, "crc32": zlib.crc32(meta.read_bytes())}
    manifest.write_bytes(sign(facts))
    with pytest.raises(FileError, match=r"no sound store.*list 0 of the file of ids is none"):
        restore(folder / "store").search([1, 2, 3, 4])


def test_a_newer_version(folder: Path) -> None:
    file = one(folder, "ldb")
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": VERSION + 1}))
    with pytest.raises(FileError, match=rf"newer version: expected at most {VERSION}, got {VERSION + 1}.*newer Loom"):
        restore(folder / "store")


@pytest.mark.parametrize("kept", ["f32", "f16", "i8"])
@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_every_version_is_read(version: int, kept: str) -> None:
    """The fixtures were written by that version, by ``write_fixtures`` below; their hits are in ``hits.json``."""
    db = restore(FIXTURES / f"v{version}_{kept}")
    told = json.loads((FIXTURES / "hits.json").read_text())[f"v{version}_{kept}"]
    found = [[hit.id, float.hex(hit.score), hit.meta, hit.row] for hit in db.search([1, -2, 3, -4, 5], 4)]
    assert found == told
    assert list(db) == ["a", 7, "ü", "d"]
    assert db.tombstones == 1


def write_fixtures() -> None:
    """Write those of today's version, once."""
    hits = json.loads((FIXTURES / "hits.json").read_text()) if (FIXTURES / "hits.json").exists() else {}
    for kept in ("f32", "f16", "i8"):
        db = VectorStore(5, 100, "cosine", dtype=kept)
        db.capture_many(["a", 7, "gone", "ü", "d"], vectors(5, 5), [{"n": 1}, None, None, {"t": ["x", None]}, {}])
        db.delete("gone")
        flush(db, FIXTURES / f"v{VERSION}_{kept}")
        found = db.search([1, -2, 3, -4, 5], 4)
        hits[f"v{VERSION}_{kept}"] = [[h.id, float.hex(h.score), h.meta, h.row] for h in found]
    (FIXTURES / "hits.json").write_text(json.dumps(hits, indent=1))


def test_a_full_disk(tmp_path: Path) -> None:
    db = VectorStore(4)
    db.capture("old", [1, 2, 3, 4])
    flush(db, tmp_path / "store")
    db.capture("new", [1, 2, 3, 4])

    class Full(Disk):
        def append(self, file: object, part: object) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(FileError, match=r"No space left on device.*store before is still there"):
        write_vectors(tmp_path / "store", db.freeze(), Full())
    assert list(restore(tmp_path / "store")) == ["old"]
    assert len(list(tmp_path.iterdir())) == 3  # nothing is left lying about
    flush(db, tmp_path / "store")
    assert list(restore(tmp_path / "store")) == ["old", "new"]


def test_what_a_crash_left_is_swept(folder: Path) -> None:
    tag = "0123456789abcdef"
    for name in (f"store.{tag}.vectors", f"store.{tag}.meta", f"store.ldb.{tag}.partial", "store.ldb.lock",
                 f"other.{tag}.meta"):  # fmt: skip
        (folder / name).write_bytes(b"half")
    flush(restore(folder / "store"), folder / "store")
    assert sorted(p.name.partition(".")[0] for p in folder.iterdir()) == ["other", "store", "store", "store"]


_WRITER = """
import sys
import numpy as np
from loom.vectors import VectorStore, flush
db = VectorStore(16, 64)
n = 0
print("ready", flush=True)
while True:
    db.capture(n, np.full(16, n + 1.0), {"n": n})
    n += 1
    flush(db, sys.argv[1])
    print(n, flush=True)
"""


def killed(path: Path, times: int, seed: int) -> None:
    """Kill a writer at random moments: what is restored is at least what it told, whole, and one flush more at most."""
    rng, done = np.random.default_rng(seed), 0
    while done < times:
        for old in path.parent.glob("*"):
            old.unlink()
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        told = [int(writer.stdout.readline())]
        time.sleep(rng.uniform(0, 0.05))
        writer.send_signal(signal.SIGKILL)
        told += [int(line) for line in writer.stdout.read().split()]
        writer.wait()
        writer.stdout.close()
        db = restore(path)
        assert len(db) in (told[-1], told[-1] + 1)
        assert all(e.id == n and e.meta == {"n": n} and (e.vector == n + 1).all() for n, e in enumerate(db.items()))
        done += 1


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_writers(tmp_path: Path) -> None:
    killed(tmp_path / "store", 3, 1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_many_killed_writers(tmp_path: Path) -> None:
    killed(tmp_path / "store", 200, 2)
