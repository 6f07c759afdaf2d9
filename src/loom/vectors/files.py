"""Stores of vectors in files: the Support's side, which alone opens them.

Layer: vectors, over ``loom.support.vectors``. Invariant: what is restored gives the same hits, rows and score bits.
"""

from __future__ import annotations

import os
from typing import Any

from loom.core.errors import DTypeError
from loom.core.given import path as path_of
from loom.runtime.device import Device
from loom.support.vectors import open_vectors, write_vectors
from loom.vectors.growing import GrowingList
from loom.vectors.store import VectorStore

__all__ = ["flush", "restore"]


def flush(store: VectorStore, path: str | os.PathLike[str]) -> None:
    """Keep a store at ``path`` (``path.ldb`` and two data files), in place of one that is there.

    When this returns the store survives a power cut. A crash or a full disk at any moment leaves the one before. Others
    may search, capture and flush meanwhile: what is written is the store of this moment. FileError if it cannot be.
    """
    where = "vectors.flush"
    if not isinstance(store, VectorStore):
        raise DTypeError(where, "not a store of vectors", expected="a loom.vectors.VectorStore",
                         got=type(store).__name__, remedy="Pass the store, then the path")  # fmt: skip
    write_vectors(path_of(path, where), store.freeze())


def restore(
    path: str | os.PathLike[str],
    device: str | Device | None = None,
    *,
    on: str | Device | None = None,
    memory_budget: int | None = None,
) -> VectorStore:
    """Return the store that was flushed to ``path``, on a device, the same in every bit.

    ``memory_budget`` as of ``VectorStore``. FileError if there is none, or if it is cut off, changed, or of a newer
    version.
    """
    where = "vectors.restore"
    file, told = open_vectors(path_of(path, where))
    facts: dict[str, Any] = file.facts
    store = VectorStore(
        facts["dims"], facts["capacity"], facts["metric"], device, facts["dtype"], on=on, memory_budget=memory_budget,
    )  # fmt: skip
    state = store._state  # pyright: ignore[reportPrivateUsage] - both are of one package
    ids, metas = (
        GrowingList[Any](packed=lists, step=told.step, count=told.rows, unpack=told.read)
        for lists in (told.ids, told.metas)
    )
    state.adopt(file, ids, metas, told.gone)
    state.captured = facts["captured"]
    return store
