"""Several processes that write to one store: drawn steps of each, and what of it must be there in the end.

Run as a program: ``writers.py PATH NAME SEED STEPS`` takes drawn steps, and prints a line of JSON for each flush that
returned: the ids that it added, and those that it took away. Nothing that such a line tells may be lost.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from loom.core.errors import StateError
from loom.vectors import VectorStore, edit, flush, restore


class Writer:
    """One process: stores that it holds, some of them stale, and what was changed in each since its last flush."""

    def __init__(self, path: str, name: str, seed: int) -> None:
        self.path, self.name = path, name
        self.rng = np.random.default_rng(seed)
        self.count = 0
        self.held: list[tuple[VectorStore, set[str], set[str]]] = []

    def change(self, store: VectorStore, added: set[str], gone: set[str]) -> None:
        """Capture something, now and then delete, compact or normalize."""
        self.count += 1
        fresh = f"{self.name} {self.count}"
        store.capture(fresh, self.rng.standard_normal(3).astype(np.float32), {"n": self.count})
        added.add(fresh)
        if self.rng.random() < 0.25:
            names: list[Any] = list(store)
            old = names[int(self.rng.integers(len(names)))]
            store.delete(old)
            gone.add(old)
        if self.rng.random() < 0.25:
            store.compact()
        if self.rng.random() < 0.1:
            store.normalize()

    def tell(self, added: set[str], gone: set[str]) -> None:
        print(json.dumps([sorted(added), sorted(gone)]), flush=True)

    def step(self) -> None:
        """Edit; or take a store that is held, or restore one, change it, and flush it, which may be refused."""
        kind = self.rng.random()
        if kind < 0.35:
            added: set[str] = set()
            gone: set[str] = set()
            with edit(self.path, dims=3, timeout=60) as store:
                self.change(store, added, gone)
            self.tell(added, gone)
            return
        if kind < 0.7 or not self.held:
            try:
                self.held.append((restore(self.path), set(), set()))
            except FileNotFoundError:
                return
            except OSError as error:
                if "there is no store" not in str(error):
                    raise
                self.held.append((VectorStore(3), set(), set()))
        place = int(self.rng.integers(len(self.held)))
        store, added, gone = self.held[place]
        self.change(store, added, gone)
        if self.rng.random() < 0.3:
            return  # flushed later, if ever
        try:
            flush(store, self.path)
        except StateError as error:
            text = str(error)
            assert "was flushed by another" in text or "does not come from" in text or "being written" in text, text
            if "being written" not in text:
                del self.held[place]  # whoever is told so restores it
            return
        self.tell(added, gone)
        added.clear()
        gone.clear()


def race(folder: Path, seed: int, processes: int, steps: int) -> None:
    """Let processes write to one store, and see that it has what their flushes told, and nothing else."""
    path = folder / "store"
    command = [sys.executable, __file__, str(path)]
    running = [
        subprocess.Popen([*command, f"p{n}", str(seed * 100 + n), str(steps)], stdout=subprocess.PIPE, text=True)
        for n in range(processes)
    ]
    lines: list[Any] = []
    for each in running:
        out = each.communicate()[0]
        assert each.returncode == 0
        lines += [json.loads(line) for line in out.splitlines()]
    added, gone = ({name for line in lines for name in line[n]} for n in range(2))
    assert sum(len(line[0]) for line in lines) == len(added)
    assert set(restore(path)) == added - gone
    assert sorted(p.suffix for p in folder.iterdir()) == [".ldb", ".meta", ".vectors"]


if __name__ == "__main__":
    writer = Writer(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    for _ in range(int(sys.argv[4])):
        writer.step()
