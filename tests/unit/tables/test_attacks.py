"""Drawn attacks on a file: writers that are killed at any moment, seals under way, others beside them, and damage.

What was told of is there, whole; no crash is taken for damage; and once somebody closed the file, all damage is told.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loom.core.errors import FileError, LoomError
from loom.tables import Database
from loom.tables.files import seal

WRITER = """
import random, sys
from loom.tables import Database

path, who, draw = sys.argv[1], sys.argv[2], random.Random(int(sys.argv[3]))
print("ready", flush=True)
while True:
    with Database(path, timeout=60) as db:  # closed, and sealed, all the time
        t = db.table("t", who=str, round=int, part=int)
        for _ in range(draw.randrange(1, 3)):
            with db.transaction():
                n = t.where("who", "==", who).aggregate("round", "max")
                n = 0 if n is None else n + 1
                t.insert_many([(who, n, k) for k in range(draw.choice([1, 20, 400]))])
                t.insert(who=who, round=n, part=-1)
                if draw.random() < 0.3:
                    t.delete(t.where("round", "<", n - 3).where("who", "==", who).ids())
                if draw.random() < 0.3:
                    t.undelete(t.deleted().where("who", "==", who).ids()[:5])
                    t.delete(t.where("round", "<", n - 3).where("who", "==", who).ids())
            print(n, flush=True)
        if draw.random() < 0.2:
            db.sql("CREATE INDEX IF NOT EXISTS by_round ON t(round)")
        if draw.random() < 0.1:
            db.sql("VACUUM")
"""


def told_of(writer: subprocess.Popen[str]) -> int:
    """Kill a writer and return the last round that it told of; -1 if none."""
    writer.send_signal(signal.SIGKILL)
    assert writer.stdout is not None
    rounds = [int(line) for line in writer.stdout.read().splitlines() if line.strip().lstrip("-").isdigit()]
    writer.wait()
    writer.stdout.close()
    return max(rounds, default=-1)


def damaged(good: bytes, draw: random.Random) -> bytes:
    """Return the bytes of a file with one thing wrong."""
    data, kind = bytearray(good), draw.choice(["flip", "flip", "flip", "cut", "zero", "grow", "swap"])
    if kind == "flip":
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif kind == "cut":
        del data[draw.randrange(1, len(data)) :]
    elif kind == "zero":
        begin = draw.randrange(len(data))
        end = min(len(data), begin + draw.randrange(1, 5000))
        data[begin:end] = bytes(end - begin)
    elif kind == "grow":
        data += draw.randbytes(draw.randrange(1, 9000))
    else:
        one, two = (4096 * draw.randrange(len(data) // 4096) for _ in "ab")
        data[one : one + 4096], data[two : two + 4096] = data[two : two + 4096], data[one : one + 4096]
    return bytes(data)


def is_quiet(path: Path, data: bytes) -> bool:
    """Tell whether a damaged file passes for a sealed one."""
    path.write_bytes(data)
    for suffix in ("-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    try:
        with Database(path, read_only=True) as db:
            db.check()
    except LoomError:
        return False
    return True


def reopened(path: Path, *, read_only: bool) -> Database:
    """Open a file after a crash; where its journal has to be played back, who only reads is told to open it once."""
    try:
        return Database(path, read_only=read_only)
    except FileError as error:
        if read_only and "was not closed: a.odb-journal has changes" in str(error):
            return Database(path)
        raise


def attack(folder: Path, seed: int, rounds: int) -> None:
    """Kill one or several writers at drawn moments, look at what is there, then damage a copy."""
    draw, path, last = random.Random(seed), folder / "a.odb", dict[str, int]()
    for number in range(rounds):
        names = ["a", "b", "c"][: draw.choice([1, 1, 2, 3])]
        argv = [sys.executable, "-c", WRITER, str(path)]
        writers = {
            name: subprocess.Popen([*argv, name, str(seed * 1000 + number)], stdout=subprocess.PIPE, text=True)
            for name in names
        }
        for writer in writers.values():
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        time.sleep(draw.random() * 0.6)
        for name, writer in writers.items():
            last[name] = max(last.get(name, -1), told_of(writer))
        with reopened(path, read_only=draw.random() < 0.5) as db:
            db.check()  # a crash is no damage
            table = db.table("t") if db.tables() else None
            for name, told in last.items():
                mine = None if table is None else table.where("who", "==", name)
                there = None if mine is None else mine.aggregate("round", "max")
                assert there in ((told, told + 1) if told >= 0 else (None, 0)), (name, told, there)
                if mine is not None and there is not None:
                    ends = mine.where("part", "==", -1)
                    assert ends.distinct("round") == mine.distinct("round"), "whole transactions"
        with Database(path) as db:
            table = db.table("t", who=str, round=int, part=int)
            table.insert(who="us", round=number, part=-1)
        good = path.read_bytes()
        with Database(path, verify=True) as db:
            assert db.check() == seal.Soundness(True)
        assert path.read_bytes() == good
        for _ in range(6):
            bad = damaged(good, draw)
            assert bad == good or not is_quiet(folder / "bad.odb", bad), (seed, number)


TURNS = """
import sys
from loom.tables import Database

for k in range(15):
    with Database(sys.argv[1], timeout=60) as db:
        db.table("t", who=str, n=int).insert(who=sys.argv[2], n=k)
"""


def test_processes_that_open_write_and_close_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "a.odb"
    writers = [subprocess.Popen([sys.executable, "-c", TURNS, str(path), f"w{k}"]) for k in range(5)]
    assert [writer.wait() for writer in writers] == [0] * 5
    with Database(path) as db:
        assert db.table("t").group_by("who").values.tolist() == [15] * 5


sealed_here = pytest.mark.skipif(
    not hasattr(sqlite3.Connection, "serialize"), reason="files are sealed by Python 3.11 and newer"
)


@sealed_here
def test_killed_writers_and_damage(tmp_path: Path) -> None:
    attack(tmp_path, 1, 4)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@sealed_here
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_killed_writers_and_damages(tmp_path: Path, seed: int) -> None:
    attack(tmp_path, seed, 25)
