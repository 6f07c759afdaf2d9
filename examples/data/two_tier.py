"""Two tiers: what is searched lies on the device, what is kept lies on disk.

A store of vectors with a memory budget holds hot segments on the device; cold ones wait in its files and come back when
a search needs them. A table in an ``.odb`` file knows everything else about each row, and any tool for SQLite opens it.
"""

import sqlite3
import tempfile
from pathlib import Path

import numpy as np

import loom

DIMS, COUNT = 64, 20_000
random = np.random.default_rng(3)
vectors = random.normal(size=(COUNT, DIMS)).astype(np.float32)

with tempfile.TemporaryDirectory() as folder:
    place = Path(folder)

    # between runs: everything on disk
    hot = loom.vectors.VectorStore(dims=DIMS, capacity=4096)
    hot.capture_many(range(COUNT), vectors)
    loom.vectors.flush(hot, place / "embeddings")
    with loom.tables.Database(place / "facts.odb") as db:
        facts = db.table("facts", item=int, price=float, city=str)
        cities = ("Oslo", "Lima", "Pune")
        facts.insert_many([(n, float(n % 97), cities[n % 3]) for n in range(COUNT)])

    # the next run: as much on the device as the budget allows
    cold = loom.vectors.restore(place / "embeddings", memory_budget=2 << 20)
    found = cold.search(vectors[123], k=5)
    assert found == hot.search(vectors[123], k=5), "hits and score bits do not depend on what is on the device"
    with loom.tables.Database(place / "facts.odb") as db:
        rows = {row["item"]: row for row in db.table("facts").where("item", "in", [hit.id for hit in found])}
        for hit in found:
            print(f"item {hit.id}: score {hit.score:.4f}, {rows[hit.id]['price']} in {rows[hit.id]['city']}")
        assert found[0].id == 123
        assert db.table("facts").where("city", "==", "Oslo").count() == len(range(0, COUNT, 3))
    other = sqlite3.connect(place / "facts.odb")
    assert other.execute("SELECT city FROM facts WHERE item = 123").fetchone() == ("Oslo",)
    other.close()
    print(f"{len(cold)} vectors with {cold.nbytes:,} bytes on the device, of {hot.nbytes:,}")
assert cold.nbytes <= 2 << 20 < hot.nbytes
