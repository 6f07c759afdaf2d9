"""A store of vectors in plain numpy and Python, bit for bit: what tests hold the real one against.

Sums are in the order that docs/numerics.md gives matrix products: blocks of 128, each from +0, added one after the
other. Nothing here is of ``loom``.
"""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

import numpy as np

F = np.float32
_BLOCK = 128


class Row(NamedTuple):
    """A row that was captured: elements as they are kept, what integers are multiplied by."""

    id: Any
    kept: Any
    scale: Any
    meta: Any


def ordered_sum(terms: Any) -> Any:
    """Sum over the last axis, f32."""
    total = np.zeros(terms.shape[:-1], F)
    for first in range(0, terms.shape[-1], _BLOCK):
        part = np.zeros(terms.shape[:-1], F)
        for k in range(first, min(first + _BLOCK, terms.shape[-1])):
            part = part + terms[..., k]
        total = total + part
    return total


def inverse(squares: Any) -> Any:
    with np.errstate(divide="ignore"):
        return np.where(squares > 0, F(1) / np.sqrt(squares, dtype=F), F(0)).astype(F)


def keep(x: Any, kind: str) -> tuple[Any, Any]:
    """Return a vector of f32 as it is kept, and its scale."""
    if kind == "i8":
        largest = np.abs(x).max()
        fine = F(127) / largest if largest > 0 else F(0)
        return np.rint(x * fine).astype(np.int8), largest / F(127)
    return x.astype(np.float16 if kind == "f16" else F), F(1)


class Model:
    def __init__(self, dims: int, metric: str, kind: str) -> None:
        self.dims, self.metric, self.kind = dims, metric, kind
        self.rows: list[Row | None] = []
        self.captured = 0

    def copy(self) -> Model:
        return copy.deepcopy(self)

    # what there is

    def place(self, name: Any) -> int | None:
        return next((n for n, row in enumerate(self.rows) if row is not None and row.id == name), None)

    def alive(self) -> list[int]:
        return [n for n, row in enumerate(self.rows) if row is not None]

    def names(self) -> list[Any]:
        return [row.id for row in self.rows if row is not None]

    def floats(self, n: int) -> Any:
        row = self.rows[n]
        assert row is not None
        return row.kept.astype(F) * row.scale if self.kind == "i8" else row.kept.astype(F)

    # changes

    def numbered(self, count: int) -> list[Any]:
        taken, names, n = set(self.names()), [], self.captured
        while len(names) < count:
            if n not in taken:
                names.append(n)
            n += 1
        return names

    def capture(self, names: list[Any], x: Any, metas: list[Any], duplicates: str) -> int | None:
        """Return how many are kept; None for an error."""
        taken = set(self.names())
        if duplicates == "error" and (len(set(names)) < len(names) or taken & set(names)):
            return None
        chosen: dict[Any, int] = {}
        for n, name in enumerate(names):
            if duplicates == "replace" or (name not in taken and name not in chosen):
                chosen[name] = n
        places = sorted(chosen.values())
        for n in places:
            old = self.place(names[n])
            if old is not None:
                self.rows[old] = None
            self.rows.append(Row(names[n], *keep(x[n], self.kind), copy.deepcopy(metas[n])))
        self.captured += len(places)
        return len(places)

    def delete(self, names: list[Any]) -> int:
        found = {n for n in map(self.place, names) if n is not None}
        for n in found:
            self.rows[n] = None
        return len(found)

    def tell(self, n: int, meta: Any) -> None:
        row = self.rows[n]
        assert row is not None
        self.rows[n] = row._replace(meta=copy.deepcopy(meta))

    def compact(self) -> int:
        before = len(self.rows)
        self.rows = [row for row in self.rows if row is not None]
        return before - len(self.rows)

    def normalize(self) -> None:
        self.compact()
        for n, row in enumerate(self.rows):
            assert row is not None
            x = self.floats(n)
            total = F(0)
            for each in x:
                total = F(total + each * each)
            if total > 0:
                kept, scale = keep(x / np.sqrt(total), self.kind)
                self.rows[n] = row._replace(kept=kept, scale=scale)
            else:
                self.rows[n] = row._replace(kept=keep(x, self.kind)[0], scale=keep(x, self.kind)[1])

    # search

    def scores(self, query: Any, places: list[int]) -> Any:
        """Return the scores of rows, larger for better but for distances."""
        rows = [self.rows[n] for n in places]
        kept = np.array([row.kept for row in rows if row is not None]).reshape(-1, self.dims)
        if self.kind == "i8":
            return self._of_integers(
                query, kept.astype(np.int64), np.array([r.scale for r in rows if r is not None], F)
            )
        x = kept.astype(F)
        if self.metric == "euclidean":
            apart = query - x
            return np.sqrt(ordered_sum(apart * apart))
        products = ordered_sum(query * x)
        if self.metric == "dot":
            return products + F(0)
        return products * inverse(ordered_sum(x * x)) * inverse(ordered_sum(query * query)) + F(0)

    def _of_integers(self, query: Any, x: Any, scales: Any) -> Any:
        most = min(32767, ((1 << 24) - 1) // self.dims)
        largest = np.abs(query).max()
        fine, scale = (F(most) / largest if largest > 0 else F(0)), largest / F(most)
        q = np.rint(query * fine).astype(np.int64)
        squares, own = (x * x).sum(-1).astype(F), F((q * q).sum())
        products = (x * q).sum(-1).astype(F)
        if self.metric == "cosine":
            return products * inverse(squares) * inverse(own) + F(0)
        found = products * scales * scale + F(0)
        if self.metric == "dot":
            return found
        return np.sqrt(np.maximum((squares * scales * scales + own * scale * scale) - 2 * found, F(0)))

    def search(self, query: Any, k: int, test: Any = None) -> list[tuple[Any, int, Any, int]]:
        """Return (id, bits of the score, meta, row) of the best."""
        places = [n for n in self.alive() if test is None or test(self.rows[n].meta)]  # type: ignore[union-attr]
        found = self.scores(query, places)
        order = sorted(range(len(places)), key=lambda n: (found[n] if self.metric == "euclidean" else -found[n], n))
        hits = []
        for n in order[:k]:
            row = self.rows[places[n]]
            assert row is not None
            assert math.isfinite(found[n])
            hits.append((row.id, int(found[n].view(np.uint32)), row.meta, places[n]))
        return hits
