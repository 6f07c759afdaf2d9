"""A closed file is sealed: every byte that changes in it is told, and what is no damage raises no alarm."""

from __future__ import annotations

import builtins
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from loom.core.errors import FileError, LoomError, StateError
from loom.tables import Database
from loom.tables.files import seal, sqlite_files

pytestmark = pytest.mark.skipif(
    not hasattr(sqlite3.Connection, "serialize"), reason="files are sealed by Python 3.11 and newer"
)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """Give a file that was written and closed: rows, deleted rows, an index, two tables."""
    path = tmp_path / "sound.odb"
    with Database(path) as db:
        table = db.table("t", s=str, x=float)
        table.insert_many([("balance", 1.5)] * 300)
        table.delete([1, 2, 3])
        db.table("u", y=int).insert(y=3)
        db.sql("CREATE INDEX by_x ON t(x)")
    return path


@pytest.fixture
def opens_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have opening look through no file, as it does not through large ones."""
    monkeypatch.setattr(sqlite_files, "_MOST_NBYTES_LOOKED_AT", 0)


def change(path: Path, text: bytes = b"balance") -> None:
    """Change one byte of a value."""
    data = bytearray(path.read_bytes())
    data[data.rfind(text) + 1] = ord("e")
    path.write_bytes(data)


def is_told(path: Path, data: bytes) -> bool:
    """Tell whether opening and checking a file of these bytes says that it is damaged."""
    path.write_bytes(data)
    for suffix in ("-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    try:
        with Database(path) as db:
            db.check()
    except LoomError:
        return True
    return False


def test_a_byte_that_changed_is_told_when_the_file_is_opened_and_the_remedy_keeps_it(sound: Path) -> None:
    with Database(sound, verify=True) as db:
        assert db.check() == seal.Soundness(True)
    change(sound)
    before = sound.read_bytes()
    with pytest.raises(FileError, match=r"damaged \(its bytes are not those that were sealed\).*DROP TABLE"):
        Database(sound)
    assert sound.read_bytes() == before
    with closing(sqlite3.connect(sound)) as other:
        other.execute("DROP TABLE _octodb_seal")
    with Database(sound) as db:
        assert db.table("t").distinct("s") == ["balance", "belance"]
        assert not db.check().is_sealed


@pytest.mark.usefixtures("opens_unseen")
def test_a_large_file_is_compared_before_it_is_written_saved_or_loaded(sound: Path, tmp_path: Path) -> None:
    change(sound)
    before = sound.read_bytes()
    with Database(sound) as db:
        assert db.table("t").count() == 297, "opening did not look"
        for call in (
            db.check,
            lambda: db.table("t").insert(s="x"),
            lambda: db.sql("DELETE FROM t"),
            lambda: db.import_csv(tmp_path / "a.csv", "new"),
            lambda: db.save(tmp_path / "copy.odb"),
            lambda: Database().load(sound),
        ):
            (tmp_path / "a.csv").write_text("a\n1\n")
            with pytest.raises(FileError, match="not those that were sealed"):
                call()
    for only in (False, True):
        with pytest.raises(FileError, match="not those that were sealed"):
            Database(sound, verify=True, read_only=only)
    assert sound.read_bytes() == before
    assert not (tmp_path / "copy.odb").exists()


def test_every_bit_that_flips_in_a_closed_file_is_told(sound: Path, tmp_path: Path) -> None:
    """All of the header, of the seal and of the schema's text are there, and bits drawn from all of the file."""
    good, draw = sound.read_bytes(), random.Random(5)
    with closing(sqlite3.connect(sound)) as other:
        (kept,) = other.execute("SELECT seal FROM _octodb_seal").fetchone()
    at = good.find(kept)
    assert at > 0
    bits = {*range(8 * 100), *range(8 * at, 8 * (at + len(kept)))}
    bits |= {8 * k + draw.randrange(8) for k in range(len(good)) if good[k] and draw.random() < 0.05}
    bits |= {draw.randrange(8 * len(good)) for _ in range(200)}
    quiet: list[int] = []
    for bit in sorted(bits):
        data = bytearray(good)
        data[bit // 8] ^= 1 << bit % 8
        if not is_told(tmp_path / "bad.odb", bytes(data)):
            quiet.append(bit)
    assert not quiet
    assert not is_told(tmp_path / "bad.odb", good)


def test_files_that_were_cut_zeroed_grown_or_mixed_are_told(sound: Path, tmp_path: Path) -> None:
    good, draw, bad = sound.read_bytes(), random.Random(6), tmp_path / "bad.odb"
    for _ in range(25):
        assert is_told(bad, good[: draw.randrange(1, len(good))])
        assert is_told(bad, good + draw.randbytes(draw.randrange(1, 9000)))
        begin = draw.randrange(len(good))
        end = begin + draw.randrange(1, 5000)
        if any(good[begin:end]):
            assert is_told(bad, good[:begin] + bytes(len(good[begin:end])) + good[end:])
        one, two = draw.sample(range(len(good) // 4096), 2)
        pages = [good[k : k + 4096] for k in range(0, len(good), 4096)]
        pages[one], pages[two] = pages[two], pages[one]
        assert b"".join(pages) == good or is_told(bad, b"".join(pages))


def test_what_another_tool_wrote_is_no_damage(sound: Path) -> None:
    with closing(sqlite3.connect(sound)) as other, other:
        other.execute("UPDATE t SET x = 2.5")
    before = sound.read_bytes()
    with Database(sound) as db:
        assert db.check() == seal.Soundness(False, "it was written since: closing it after a write seals it")
    assert sound.read_bytes() == before, "who reads writes nothing"
    with pytest.raises(FileError, match=r"no seal of its present state \(it was written since"):
        Database(sound, verify=True)
    with Database(sound) as db:
        db.table("u").insert(y=4)
        assert not db.check().is_sealed
    with Database(sound, verify=True) as db:
        assert db.table("u").count() == 2
    with closing(sqlite3.connect(sound)) as other:
        other.execute("VACUUM")
    with Database(sound) as db:
        assert not db.check().is_sealed


def test_copies_by_other_tools_are_no_damage_whatever_their_counters(sound: Path, tmp_path: Path) -> None:
    """They take the table of the seal along; written on, each comes by the counter that the seal names."""
    counter = int.from_bytes(sound.read_bytes()[24:28], "big")
    target, seen = tmp_path / "copy.odb", set[int]()
    with closing(sqlite3.connect(sound, isolation_level=None)) as other:
        other.execute("VACUUM INTO ?", (str(tmp_path / "vacuum.odb"),))
        for _ in range(counter + 3):
            with closing(sqlite3.connect(target)) as copy:
                other.backup(copy)
            seen.add(int.from_bytes(target.read_bytes()[24:28], "big"))
            with Database(target) as db:
                assert not db.check().is_sealed
    assert counter in seen
    for k in range(counter + 3):
        with closing(sqlite3.connect(tmp_path / "vacuum.odb")) as copy, copy:
            copy.execute(f"CREATE TABLE extra_{k} (x)" if k % 2 else "UPDATE t SET x = x + 1")
        seen.add(-int.from_bytes((tmp_path / "vacuum.odb").read_bytes()[24:28], "big"))
        with Database(tmp_path / "vacuum.odb") as db:
            assert not db.check().is_sealed
    assert -counter in seen


def old_file(path: Path) -> None:
    """Make a file as Loom wrote them without seals: in WAL mode, closed."""
    with Database(path) as db:
        db.table("t", x=int).insert(x=1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("DROP TABLE IF EXISTS _octodb_seal")
        other.execute("PRAGMA journal_mode=WAL")


def test_a_file_without_a_seal_opens_is_told_and_sealed_by_the_next_who_writes(tmp_path: Path) -> None:
    path = tmp_path / "old.odb"
    old_file(path)
    before = path.read_bytes()
    with Database(path) as db:
        assert db.check() == seal.Soundness(False, "it never was: files up to 256 MiB are when they are closed")
        assert db.table("t").rows() == [{"x": 1}]
    assert path.read_bytes() == before
    with Database(path) as db:
        db.table("t").insert(x=2)
    with Database(path, verify=True) as db:
        assert db.check().is_sealed


def lacks_serialize(each: object, name: str) -> bool:
    """Stand for ``hasattr`` in a Python of before 3.11."""
    return name != "serialize" and builtins.hasattr(each, name)


def test_memory_large_files_and_old_pythons_have_no_seal(
    tmp_path: Path, sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Database() as db:
        assert db.check() == seal.Soundness(False, "a database in memory has no seal")
    monkeypatch.setattr(seal, "MOST_NBYTES", 1 << 13)
    with Database(tmp_path / "large.odb") as db:
        db.table("t", x=int).insert_many([(k,) for k in range(5000)])
    monkeypatch.undo()
    with Database(tmp_path / "large.odb") as db:
        assert "it never was" in db.check().reason
    change(sound)
    monkeypatch.setattr(seal, "hasattr", lacks_serialize, False)
    with Database(sound) as db:
        assert db.check() == seal.Soundness(False, "this Python cannot compare: 3.11 and newer can")
        db.table("u").insert(y=1)
    with pytest.raises(FileError, match="this Python cannot compare"):
        Database(sound, verify=True)


def test_saved_files_are_sealed(sound: Path, tmp_path: Path) -> None:
    with Database(sound) as db:
        for _ in range(2):  # a new file, then one that is there
            db.save(tmp_path / "all.odb")
            db.save(tmp_path / "one.odb", "t")
            for name in ("all", "one"):
                with Database(tmp_path / f"{name}.odb", verify=True) as copy:
                    assert copy.table("t").count() == 297


def test_who_closes_last_seals(sound: Path) -> None:
    writer, reader = Database(sound), Database(sound)
    assert reader.table("u").count() == 1
    writer.table("u").insert(y=4)
    assert reader.table("u").count() == 2
    writer.close()
    with Database(sound) as third:
        assert not third.check().is_sealed
    reader.close()
    with Database(sound, verify=True) as db:
        assert db.check().is_sealed


def test_what_nobody_closed_is_sealed_when_it_is_dropped_or_the_process_ends(sound: Path) -> None:
    Database(sound).table("u").insert(y=7)
    with Database(sound, verify=True) as db:
        assert db.table("u").count() == 2
    script = "import sys; from loom.tables import Database; db = Database(sys.argv[1]); db.table('u').insert(y=8)"
    subprocess.run([sys.executable, "-c", script, str(sound)], check=True)
    with Database(sound, verify=True) as db:
        assert db.table("u").count() == 3


CRASH = """
import os, sys
from loom.tables import Database
from loom.tables.files import seal

path, at, after = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "after"
steps, plain = [], seal._transact

def transact(connection, step):
    steps.append(step)
    if len(steps) == at and not after:
        connection.execute("BEGIN IMMEDIATE")
        step(connection)
        os._exit(9)  # written, not committed
    done = plain(connection, step)
    if len(steps) == at:
        os._exit(9)
    return done

seal._transact = transact
db = Database(path)
db.table("t", x=int).insert(x=len(steps))
db.close()
os._exit(0 if at > len(steps) else 1)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_while_a_file_is_sealed_is_no_damage(tmp_path: Path, when: str) -> None:
    """Two steps seal a file for the first time: the table of the seal, then what is in it; later on the second does."""
    path = tmp_path / "a.odb"
    for count, (at, code) in enumerate([(1, 9), (2, 9) if when == "before" else (1, 9), (1, 9), (2, 0)], 1):
        done = subprocess.run([sys.executable, "-c", CRASH, str(path), str(at), when], check=False)
        assert done.returncode == code
        with Database(path, read_only=True) as db:
            assert db.table("t").count() == count
            assert db.check().is_sealed == (code == 0 or (when == "after" and count in (2, 3)))
    with Database(path, verify=True) as db:
        assert db.table("t").count() == 4


def test_bytes_that_changed_are_not_sealed_anew(sound: Path) -> None:
    """Damage of a file that is open shows when its seal is looked at again, before the first write."""
    with Database(sound) as db:
        change(sound)
        with pytest.raises(FileError, match="not those that were sealed"):
            db.table("u").insert(y=9)
    with pytest.raises(FileError, match="not those that were sealed"):
        Database(sound)


@pytest.mark.parametrize("option", ["read_only", "verify"])
def test_options_of_nothing_are_refused(tmp_path: Path, option: str) -> None:
    opened: Callable[..., Database] = Database
    for path in (None, ":memory:"):
        with pytest.raises(LoomError, match=f"{option}.*a database in memory has nothing to read"):
            opened(path, **{option: True})
    with pytest.raises(FileError, match="there is no file"):
        opened(tmp_path / "a" / "none.odb", **{option: True})
    assert not list(tmp_path.iterdir())
    (tmp_path / "empty.odb").touch()
    with pytest.raises(LoomError):
        opened(tmp_path / "empty.odb", **{option: True})
    assert (tmp_path / "empty.odb").stat().st_size == 0


def test_a_closed_database_is_told_as_ever(sound: Path) -> None:
    db = Database(sound)
    db.close()
    with pytest.raises(StateError, match="closed"):
        db.check()
