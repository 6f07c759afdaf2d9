"""The Main side: capture and search open nothing, and go on side by side."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import numpy as np

from loom.vectors import VectorStore
from unit.vectors.vector_cases import vectors

_QUIET = """
import sys
import numpy as np
import loom
heard = []
is_on = False
def hear(event, args):
    if is_on and (event in ("open", "sqlite3.connect", "os.rename", "os.remove", "os.mkdir", "subprocess.Popen")
                  or event.startswith(("socket.", "shutil.", "tempfile."))):
        heard.append((event, str(args)[:200]))
sys.addaudithook(hear)
x = np.random.default_rng(1).standard_normal((3000, 20), np.float32)
for kept in ("f32", "f16", "i8"):
    db = loom.vectors.VectorStore(20, 1000, dtype=kept)
    is_on = True
    db.capture("first", x[0], {"n": 1})
    db.capture_many(None, x, {"n": 2})
    db.search(x[5], 7)
    db.search_many(x[:40], 3000)
    db.search_many(x[:3], 2, where={"n": ("<", 2)})
    db.update("first", x[1])
    db.delete([5, 6])
    db.compact()
    list(db.items())
    is_on = False
assert not heard, heard
"""


def test_capture_and_search_open_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", _QUIET], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_many_search_while_one_captures() -> None:
    """Every search sees whole captures, all that there were before, with their scores."""
    x, batch = vectors(1280, 16), 64
    db, whole = VectorStore(16, 256), VectorStore(16, 2000)
    whole.capture_many(None, x)
    known = [{hit.id: hit.score for hit in db_hits} for db_hits in whole.search_many(x[:4], 1280)]
    failed: list[Any] = []
    is_done = threading.Event()

    def look(n: int) -> None:
        last = 0
        try:
            while not is_done.is_set():
                hits = db.search(x[n], 2000)
                assert len(hits) % batch == 0
                assert len(hits) >= last
                last = len(hits)
                assert {hit.id for hit in hits} == set(range(last))
                assert all(known[n][hit.id] == hit.score for hit in hits)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=look, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for first in range(0, len(x), batch):
        db.capture_many(None, x[first : first + batch])
    is_done.set()
    for thread in threads:
        thread.join()
    assert not failed, failed[0]
    assert len(db.search(x[0], 2000)) == 1280


def test_searches_and_compactions_side_by_side() -> None:
    x = vectors(300, 8)
    db = VectorStore(8, 64)
    db.capture_many(None, x)
    failed: list[Any] = []

    def look() -> None:
        try:
            for _ in range(30):
                hits = db.search(x[1], 1000)
                assert len({hit.id for hit in hits}) == len(hits)
                assert hits[0].id == 1
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(2, 60):
        db.delete(n)
        if n % 10 == 0:
            db.compact()
    for thread in threads:
        thread.join()
    assert not failed, failed[0]
    assert np.array_equal(db[70].vector, x[70])
