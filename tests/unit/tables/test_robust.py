"""What may happen to a file: killed writers, two processes, a full disk, damage; nothing is lost, or it is told."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from loom.core.errors import ArgumentError, FileError, LoomError, LoomTimeout, StateError
from loom.tables import Database

WRITER = """
import sys
from loom.tables import Database

db = Database(sys.argv[1])
t = db.table("t", n=int, part=int)
n = max(t.distinct("n"), default=-1) + 1
print("ready", flush=True)
while True:
    with db.transaction():
        t.insert_many([(n, k) for k in range(50)])
        t.insert(n=n, part=50)
        if n > 3:
            t.delete(t.where("n", "==", n - 4).ids())
    print(n, flush=True)
    n += 1
"""


def killed(path: Path, rounds: int, seed: int) -> None:
    """Kill a writer with signal 9 at random moments; each time the file holds whole transactions, all it told of."""
    draw = random.Random(seed)
    for _ in range(rounds):
        done = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert done.stdout is not None
        assert done.stdout.readline() == "ready\n"
        time.sleep(draw.random() * 0.08)
        done.send_signal(signal.SIGKILL)
        told = [int(line) for line in done.stdout.read().splitlines() if line.strip().isdigit()]
        done.wait()
        done.stdout.close()
        with Database(path) as db:
            table = db.table("t")
            keys, sizes = table.group_by("n")
            assert set(sizes.tolist()) <= {51}
            there = keys.tolist()
            assert there == list(range(there[-1] - 3, there[-1] + 1))[-len(there) :] if there else not told
            assert not told or there[-1] in (told[-1], told[-1] + 1), "what was told is there"
            assert table.deleted().count() == 51 * max(0, (there[-1] - 3 if there else 0))
            assert db.sql("PRAGMA integrity_check").tuples() == [("ok",)]


def test_a_killed_writer_leaves_the_old_or_the_new_state(tmp_path: Path) -> None:
    killed(tmp_path / "a.odb", 3, 1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_hundred_killed_writers_do(tmp_path: Path) -> None:
    killed(tmp_path / "a.odb", 200, 2)


def test_readers_do_not_wait_for_a_writer_and_a_second_writer_is_told(tmp_path: Path) -> None:
    with Database(tmp_path / "a.odb") as one, Database(tmp_path / "a.odb", timeout=0.05) as two:
        ours, theirs = one.table("t", x=int), two.table("t")
        ours.insert(x=1)
        with one.transaction():
            ours.insert(x=2)
            assert theirs.rows() == [{"x": 1}]
            with pytest.raises(LoomTimeout, match="being written by another process or thread"):
                theirs.insert(x=3)
        assert theirs.insert(x=3) == 3
        assert ours.distinct("x") == [1, 2, 3]


COUNTER = """
import sys
from loom.tables import Database

with Database(sys.argv[1], timeout=60) as db:
    t = db.table("t", who=str, n=int)
    for n in range(30):
        t.insert(who=sys.argv[2], n=n)
"""


def test_processes_write_one_file_that_none_of_them_found(tmp_path: Path) -> None:
    path = tmp_path / "a.odb"
    writers = [subprocess.Popen([sys.executable, "-c", COUNTER, str(path), f"w{k}"]) for k in range(3)]
    assert [w.wait() for w in writers] == [0, 0, 0]
    with Database(path) as db:
        table = db.table("t")
        assert table.ids() == list(range(1, 91))
        assert table.group_by("who").values.tolist() == [30, 30, 30]


def test_threads_share_a_database(db: Database) -> None:
    table = db.table("t", who=int, n=int)
    failed: list[BaseException] = []

    def work(who: int) -> None:
        try:
            for n in range(20):
                table.insert(who=who, n=n)
                assert table.where("who", "==", who).count() == n + 1
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert table.count() == 80
    assert sorted(table.ids()) == list(range(1, 81))


def test_a_full_disk_is_told_and_nothing_changed(tmp_path: Path) -> None:
    with Database(tmp_path / "a.odb") as db:
        table = db.table("t", x=str)
        table.insert(x="kept")
        (pages,) = db.sql("PRAGMA page_count").tuples()[0]
        db.sql(f"PRAGMA max_page_count={pages + 5}")
        rows = [("x" * 1000,)] * 200
        with pytest.raises(FileError, match="disk full"):
            table.insert_many(rows)
        with db.transaction():
            table.insert(x="more")
        assert [row["x"] for row in table] == ["kept", "more"]
        db.sql(f"PRAGMA max_page_count={1 << 30}")
        assert table.insert_many(rows)[-1] > 200


FULL = """
import resource, signal, sys
from loom.core.errors import FileError
from loom.tables import Database

db = Database(sys.argv[1])
t = db.table("t", x=str)
t.insert(x="kept")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
for call in (lambda: t.insert_many([("x" * 1000,)] * 5000), lambda: t.import_csv(sys.argv[2])):
    try:
        call()
    except FileError as error:
        print(error)
    else:
        raise SystemExit("it was written")
assert t.rows() == [{"x": "kept"}]
"""


def test_files_that_cannot_grow(tmp_path: Path) -> None:
    """The system refuses to write on: SQLite's log is cut off, and what was there stays."""
    (tmp_path / "a.csv").write_text("x\n" + "y" * 1000 + "\n" + ("z" * 1000 + "\n") * 5000)
    command = [sys.executable, "-c", FULL, str(tmp_path / "a.odb"), str(tmp_path / "a.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Nothing was changed") == 2
    with Database(tmp_path / "a.odb") as db:
        assert db.table("t").rows() == [{"x": "kept"}]
        assert db.table("t").insert_many([("x" * 1000,)] * 2000)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY or os.name != "posix"


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """Return a sound file of some pages."""
    path = tmp_path / "sound.odb"
    with Database(path) as db:
        db.table("t", x=int, s=str).insert_many([(k, f"text {k}" * 20) for k in range(500)])
    return path


def _error_of(path: Path, rows: int) -> LoomError | None:
    """Return what reading a file raises; what is read without is all of it."""
    try:
        with Database(path) as db:
            assert len(db.table("t").rows()) == rows
    except LoomError as error:
        return error
    return None


def test_damage_is_told(sound: Path, tmp_path: Path) -> None:
    good = sound.read_bytes()
    expected = None
    with Database(sound) as db:
        expected = db.table("t").rows()
    draw = random.Random(3)
    told = 0
    for k in range(60):
        bad = tmp_path / "bad.odb"
        for suffix in ("-wal", "-shm"):
            Path(f"{bad}{suffix}").unlink(missing_ok=True)
        data = bytearray(good)
        if k < 30:
            data = data[: draw.randrange(1, len(good))]
        else:
            at = draw.randrange(len(good) // 4096) * 4096 + draw.randrange(100)  # where pages say what they are
            data[at] ^= 1 << draw.randrange(8)
        bad.write_bytes(data)
        error = _error_of(bad, len(expected))
        told += error is not None
        assert error is None or any(word in str(error) for word in ("bad.odb", "no table", "declared")), error
        assert error is None or k >= 30 or isinstance(error, FileError), error
    assert told >= 35


def test_files_that_are_none(tmp_path: Path, sound: Path) -> None:
    text = tmp_path / "text.odb"
    text.write_text("not a database at all, but more than a hundred bytes " * 10)
    with pytest.raises(FileError, match="damaged"):
        Database(text)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    with pytest.raises(ArgumentError, match="a SQLite database that Loom did not make"):
        Database(other)
    newer = tmp_path / "newer.odb"
    shutil.copy(sound, newer)
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version=2")
    connection.close()
    with pytest.raises(FileError, match="of a newer version of Loom: expected version 1, got 2"):
        Database(newer)
    with Database(sound) as db:
        db.check()
    with pytest.raises(FileError, match="is a folder"):
        Database(tmp_path)
    with pytest.raises(FileError):
        Database(text / "below.odb")
    with pytest.raises(LoomError):
        Database("a\0b")


def test_a_child_of_fork_opens_its_own(tmp_path: Path) -> None:
    with Database(tmp_path / "a.odb") as db, Database() as memory:
        table, other = db.table("t", x=int), memory.table("t", x=int)
        table.insert(x=1)
        child = os.fork()
        if not child:
            code = 1
            try:
                table.insert(x=2)
                try:
                    other.insert(x=2)
                except StateError:
                    code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert table.insert(x=3) == 3
        assert table.distinct("x") == [1, 2, 3]
