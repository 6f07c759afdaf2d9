"""Files that are read without rights to write: as another user, in a folder that nobody writes, beside a log."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from loom.core.errors import FileError, StateError
from loom.tables import Database

NOBODY = 65534
CRASH = """
import os, sys
from loom.tables import Database

db = Database(sys.argv[1])
db.table("t").insert(x=3)
os._exit(0)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder that every user may enter, as those of tests are not."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    yield made
    made.chmod(0o755)
    shutil.rmtree(made)


def a_file(path: Path, *, logged: bool = False) -> Path:
    """Make a file that was closed; ``logged``: as Loom left them without seals, in WAL mode."""
    with Database(path) as db:
        db.table("t", x=int).insert_many([(1,), (2,)])
    if logged:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("DROP TABLE IF EXISTS _octodb_seal")
            other.execute("PRAGMA journal_mode=WAL")
    return path


def as_another(folder: Path, work: Callable[[], None]) -> None:
    """Run in a process that may write nothing in a folder: as nobody where this one is root's."""
    with Database() as db:  # what is imported late is imported now
        db.table("t", x=int).insert(x=1)
        db.table("t").rows()
    folder.chmod(0o555)
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    folder.chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="rights are those of POSIX")
@pytest.mark.parametrize("logged", [False, True])
def test_a_file_in_a_folder_that_nobody_writes_is_read(folder: Path, logged: bool) -> None:
    path = a_file(folder / "a b#?%41.odb", logged=logged)
    path.chmod(0o444)

    def work() -> None:
        with Database(path, read_only=True) as db:
            assert db.table("t").rows() == [{"x": 1}, {"x": 2}]
            assert db.sql("SELECT sum(x) FROM t").tuples() == [(3,)]
            assert db.check().is_sealed != logged
            with pytest.raises(StateError, match="was opened read_only"):
                db.table("t").insert(x=3)
            with pytest.raises(FileError):
                db.save(folder / "copy.odb")
        with Database() as memory:
            assert memory.load(path) == ["t"]
            assert memory.table("t").count() == 2
        if not logged:
            with Database(path) as db:  # a closed file is one file: reading it asks for no rights
                assert db.table("t").count() == 2
                with pytest.raises(FileError, match=r"cannot be written.*read_only=True is enough"):
                    db.table("t").insert(x=3)
        else:
            with pytest.raises(FileError, match=r"cannot be written.*read_only=True is enough"):
                Database(path)

    as_another(folder, work)
    assert [each.name for each in folder.iterdir()] == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="rights are those of POSIX")
def test_a_log_that_cannot_be_read_is_named(folder: Path) -> None:
    path = a_file(folder / "a.odb")
    subprocess.run([sys.executable, "-c", CRASH, str(path)], check=True)
    Path(f"{path}-shm").unlink()
    for each in folder.iterdir():
        each.chmod(0o444)

    def work() -> None:
        with pytest.raises(FileError, match=r"was not closed: a.odb-wal has changes.*copy both into a folder of yours"):
            Database(path, read_only=True)
        with tempfile.TemporaryDirectory() as mine:
            for each in folder.iterdir():
                shutil.copyfile(each, Path(mine, each.name))
            with Database(Path(mine, "a.odb"), read_only=True) as db:
                assert db.table("t").count() == 3

    as_another(folder, work)


@pytest.mark.skipif(os.name != "posix", reason="rights are those of POSIX")
def test_a_file_that_changes_while_it_is_read_without_locks_is_told(folder: Path) -> None:
    path = a_file(folder / "a.odb", logged=True)
    path.chmod(0o666)

    def work() -> None:
        with Database(path, read_only=True) as db:
            assert db.table("t").count() == 2
            path.write_bytes(path.read_bytes() + bytes(4096))  # its folder alone lets nobody write
            with pytest.raises(FileError, match="was replaced or written since it was opened"):
                db.table("t").count()

    as_another(folder, work)


@pytest.mark.skipif(os.name != "posix", reason="rights are those of POSIX")
def test_whoever_may_not_read_is_told(folder: Path) -> None:
    path = a_file(folder / "a.odb")
    path.chmod(0)

    def work() -> None:
        with pytest.raises(FileError, match="Check the path and its rights"):
            Database(path, read_only=True)

    as_another(folder, work)


def test_every_call_that_writes_is_refused_by_name(tmp_path: Path) -> None:
    path, source = a_file(tmp_path / "a.odb"), tmp_path / "a.csv"
    source.write_text("x\n5\n")
    other = a_file(tmp_path / "b.odb")
    before = path.read_bytes()
    with Database(path, read_only=True) as db:
        t = db.table("t")
        writes: list[Callable[[], object]] = [
            lambda: t.insert(x=1), lambda: t.insert_many([(1,)]), lambda: t.update(1, x=2), lambda: t.delete(1),
            lambda: t.undelete(1), lambda: t.import_csv(source), lambda: t.add_column("y", int),
            lambda: t.rename_column("x", "y"), lambda: t.drop_column("x"), lambda: t.change_type("x", float),
            lambda: db.table("new", y=int), lambda: db.drop("t"), lambda: db.load(other), lambda: db.import_csv(source),
            lambda: db.sql("DELETE FROM t"), lambda: db.sql("CREATE TABLE n (x)"), lambda: db.sql("DROP TABLE t"),
            lambda: db.transaction().__enter__(), lambda: db.sql("WITH a AS (SELECT 1) DELETE FROM t"),
        ]  # fmt: skip
        for write in writes:
            with pytest.raises(StateError, match=r"a.odb was opened read_only: expected a call that reads"):
                write()
        assert db.sql("WITH a AS (SELECT x FROM t) SELECT sum(x) FROM a").tuples() == [(3,)]
        assert t.to_numpy("x").tolist() == [1, 2]
        db.save(tmp_path / "copy.odb")
    assert path.read_bytes() == before
    assert not [each for each in tmp_path.iterdir() if each.name.startswith("a.odb-")]
    with Database(tmp_path / "copy.odb") as db:
        assert db.table("t").insert(x=3) == 3


def test_who_reads_sees_what_others_write(tmp_path: Path) -> None:
    path = a_file(tmp_path / "a.odb")
    with Database(path, read_only=True) as reader, Database(path) as writer:
        assert reader.table("t").count() == 2
        with writer.transaction():
            writer.table("t").insert(x=3)
            assert reader.table("t").count() == 2
        assert reader.table("t").count() == 3
    with Database(path) as db:
        db.table("t").insert(x=4)
    with Database(path, read_only=True, verify=True) as db:
        assert db.table("t").count() == 4
