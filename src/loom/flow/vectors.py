"""LoomDB under its older names: ``loomdb_create``, ``loomdb_capture``, ``loomdb_search`` and what belongs to them.

Layer: flow, over ``loom.vectors``. The database tells what vectors are called and mean, the other object holds them:
both belong together from the first capture on. A metric is named by each search: one store serves all. Invariant:
nothing here but ``loomdb_flush`` and the two that restore opens a file.
"""

from __future__ import annotations

import os
from typing import Any

from loom.core.errors import ArgumentError, DTypeError, StateError
from loom.core.given import one_of, text
from loom.core.tracebacks import brief_names
from loom.flow.counts import whole
from loom.vectors import Hit, VectorStore, flush, restore

__all__ = [
    "loomdb_capture",
    "loomdb_create",
    "loomdb_create_vectors",
    "loomdb_flush",
    "loomdb_gpu_search",
    "loomdb_needs_flush",
    "loomdb_normalize",
    "loomdb_restore_meta",
    "loomdb_restore_vectors",
    "loomdb_result_count",
    "loomdb_result_id",
    "loomdb_result_meta",
    "loomdb_result_score",
    "loomdb_search",
]

_METRICS = ("cosine", "dot", "euclidean")
_META = "meta"


class FlowVectors:
    """What holds the vectors of a database; see ``loomdb_create_vectors``."""

    def __init__(self) -> None:
        self.database: LoomDb | None = None
        self.path: str | None = None
        self.kept: VectorStore | None = None

    @property
    def store(self) -> VectorStore:
        """The store, made at its first use."""
        if self.kept is None:
            assert self.database is not None
            self.kept = VectorStore(self.database.dims, self.database.capacity)
        return self.kept


class LoomDb:
    """What a database is for, and the hits of its last search; see ``loomdb_create``."""

    def __init__(self, dims: int, capacity: int) -> None:
        self.dims, self.capacity = dims, capacity
        self.path: str | None = None
        self.vectors: FlowVectors | None = None
        self.hits: list[Hit] = []
        self.has_searched = False


def loomdb_create(dims: float, cap: float) -> LoomDb:
    """Return a database of vectors of ``dims`` elements, to be flushed once ``cap`` of them were captured.

    Args:
        dims: Elements of a vector.
        cap: Vectors after which it is to be flushed.

    Raises:
        ArgumentError: A number is out of range, or no whole one.
    """
    return LoomDb(whole(dims, "loomdb_create", "dims", least=1), whole(cap, "loomdb_create", "cap", least=1))


def loomdb_create_vectors() -> FlowVectors:
    """Return what will hold the vectors of one database, on the device."""
    return FlowVectors()


def loomdb_capture(ldb: LoomDb, vecs: FlowVectors, id: str, emb: Any, meta: str = "") -> float:  # noqa: A002 - their name
    """Keep a vector on the device under an id, with a text told of it; return how many there are. No file is opened.

    Args:
        ldb: Database, of ``loomdb_create``.
        vecs: Vectors, of ``loomdb_create_vectors``.
        id: Id, a text.
        emb: Vector, finite numbers.
        meta: Text told of it.

    Returns:
        Number of vectors.

    Raises:
        ArgumentError: The id is there; NaN or an infinity.
        DTypeError: Not numbers; a text that is none; not such a database, or vectors.
        ShapeError: A vector of another length.

    >>> ldb, vectors = loomdb_create(2.0, 100.0), loomdb_create_vectors()
    >>> loomdb_capture(ldb, vectors, "east", [1.0, 0.0], "batch=42")
    1.0
    >>> loomdb_search(ldb, vectors, [2.0, 1.0], 5.0, "dot")
    1.0
    >>> loomdb_result_id(ldb, 0), loomdb_result_score(ldb, 0), loomdb_result_meta(ldb, 0)
    ('east', 2.0, 'batch=42')
    """
    where = "loomdb_capture"
    _join(ldb, vecs, where)
    told = {_META: text(meta, f"{where}, meta")}
    store = vecs.store
    if text(id, f"{where}, id") in store:
        raise ArgumentError(where, f"there is a vector {id!r:.200} already", expected="a new id", got=id,
                            remedy="Capture it under another one")  # fmt: skip
    store.capture(id, emb, told)
    return float(len(store))


def loomdb_search(ldb: LoomDb, vecs: FlowVectors, q: Any, k: float, metric: str = "cosine") -> float:
    """Find the ``k`` vectors that are best by cosine, dot or euclidean, the best first; return how many there are.

    The device is Loom's default, as for captures; ids and score bits are the same on each. Read them with
    ``loomdb_result_id`` and ``loomdb_result_score``.

    Args:
        ldb: Database, of ``loomdb_create``.
        vecs: Vectors, of ``loomdb_create_vectors``.
        q: Query, a vector.
        k: Number of hits.
        metric: "cosine", "dot" or "euclidean".

    Returns:
        Number of hits.

    Raises:
        ArgumentError: A number is out of range, or no whole one; there is no such metric.
        DTypeError: Not such a database, or vectors; not numbers.
        ShapeError: A vector of another length.
    """
    return _search(ldb, vecs, q, k, metric, "loomdb_search")


def loomdb_gpu_search(ldb: LoomDb, vecs: FlowVectors, q: Any, k: float) -> float:
    """Do the same by cosine: vectors lie on Loom's default device, a GPU where ``LOOM_DEVICE`` names one.

    Args:
        ldb: Database, of ``loomdb_create``.
        vecs: Vectors, of ``loomdb_create_vectors``.
        q: Query, a vector.
        k: Number of hits.

    Returns:
        Number of hits.

    Raises:
        ArgumentError: A number is out of range, or no whole one.
        DTypeError: Not such a database, or vectors; not numbers.
        ShapeError: A vector of another length.
    """
    return _search(ldb, vecs, q, k, "cosine", "loomdb_gpu_search")


def _search(ldb: LoomDb, vecs: FlowVectors, q: Any, k: float, metric: str, where: str) -> float:
    _join(ldb, vecs, where)
    asked = one_of(metric, f"{where}, metric", _METRICS)
    ldb.hits = vecs.store.search(q, whole(k, where, "k", least=1), metric=asked)
    ldb.has_searched = True
    return float(len(ldb.hits))


def loomdb_normalize(ldb: LoomDb, vecs: FlowVectors) -> float:
    """Bring all vectors to length 1, those of length 0 left alone; return how many there are.

    Args:
        ldb: Database, of ``loomdb_create``.
        vecs: Vectors, of ``loomdb_create_vectors``.

    Returns:
        Number of vectors.

    Raises:
        DTypeError: Not such a database, or vectors.
    """
    _join(ldb, vecs, "loomdb_normalize")
    vecs.store.normalize()
    return float(len(vecs.store))


def loomdb_needs_flush(ldb: LoomDb) -> float:
    """Return 1.0 once as many vectors as the capacity were captured since the last flush, else 0.0.

    Args:
        ldb: Database, of ``loomdb_create``.

    Raises:
        DTypeError: Not such a database, or vectors.
    """
    _require(ldb, LoomDb, "loomdb_needs_flush", "a database of loomdb_create")
    return float(ldb.vectors is not None and ldb.vectors.store.needs_flush)


def loomdb_result_count(ldb: LoomDb) -> int:
    """Return how many hits the last search had; 0 before the first.

    Args:
        ldb: Database, of ``loomdb_create``.

    Raises:
        DTypeError: Not such a database, or vectors.
    """
    _require(ldb, LoomDb, "loomdb_result_count", "a database of loomdb_create")
    return len(ldb.hits)


def loomdb_result_id(ldb: LoomDb, i: float) -> str:
    """Return the id of a hit of the last search, counted from 0.

    Args:
        ldb: Database, of ``loomdb_create``.
        i: Number of the hit, from 0.

    Raises:
        ArgumentError: A number is out of range, or no whole one; there is no such hit.
        DTypeError: Not such a database, or vectors.
    """
    return str(_hit(ldb, i, "loomdb_result_id").id)


def loomdb_result_score(ldb: LoomDb, i: float) -> float:
    """Return its score: the cosine or product, or the euclidean distance.

    Args:
        ldb: Database, of ``loomdb_create``.
        i: Number of the hit, from 0.

    Raises:
        ArgumentError: A number is out of range, or no whole one; there is no such hit.
        DTypeError: Not such a database, or vectors.
    """
    return _hit(ldb, i, "loomdb_result_score").score


def loomdb_result_meta(ldb: LoomDb, i: float) -> str:
    """Return the text that it was captured with.

    Args:
        ldb: Database, of ``loomdb_create``.
        i: Number of the hit, from 0.

    Raises:
        ArgumentError: A number is out of range, or no whole one; there is no such hit.
        DTypeError: Not such a database, or vectors.
    """
    return (_hit(ldb, i, "loomdb_result_meta").meta or {}).get(_META, "")


def _hit(ldb: LoomDb, i: float, where: str) -> Hit:
    _require(ldb, LoomDb, where, "a database of loomdb_create")
    if not ldb.has_searched:
        raise StateError(where, "nothing was searched", expected="a search before", got="none",
                         remedy="Call loomdb_search first")  # fmt: skip
    number = whole(i, where, "position")
    if number >= len(ldb.hits):
        raise ArgumentError(where, "there is no such hit", expected=f"0 to {len(ldb.hits) - 1}" if ldb.hits else "none",
                            got=number, remedy="Stay below loomdb_result_count")  # fmt: skip
    return ldb.hits[number]


def loomdb_flush(ldb: LoomDb, vecs: FlowVectors, path: str | os.PathLike[str], *, replace: bool = False) -> float:
    """Keep the database at ``path`` (``.ldb``, ``.vectors``, ``.meta``); return how many vectors. This is I/O.

    Args:
        ldb: Database, of ``loomdb_create``.
        vecs: Vectors, of ``loomdb_create_vectors``.
        path: Name of its files.
        replace: Whether it takes the place of any database there.

    Returns:
        Number of vectors.

    Raises:
        ArgumentError: A flag is no truth.
        DTypeError: Not such a database, or vectors; not a path.
        StateError: Another database lies there, unless ``replace``.
        FileError: It cannot be written.
    """
    _join(ldb, vecs, "loomdb_flush")
    flush(vecs.store, path, replace=replace)
    vecs.path = ldb.path = _place(path)
    return float(len(vecs.store))


def loomdb_restore_meta(path: str | os.PathLike[str]) -> LoomDb:
    """Return the database that was flushed to ``path``, without its vectors. This is I/O.

    Args:
        path: Name of its files.

    Raises:
        DTypeError: Not a path.
        FileError: There is none, or it is cut off or changed.
    """
    store = restore(path)
    found = LoomDb(store.dims, store.capacity)
    found.path = _place(path)
    store.close()
    return found


def loomdb_restore_vectors(path: str | os.PathLike[str]) -> FlowVectors:
    """Return the vectors that were flushed to ``path``, on the device. This is I/O.

    Args:
        path: Name of its files.

    Raises:
        DTypeError: Not a path.
        FileError: There is none, or it is cut off or changed.
    """
    found = FlowVectors()
    found.kept, found.path = restore(path), _place(path)
    return found


def _place(path: str | os.PathLike[str]) -> str:
    place: str = os.path.realpath(os.fsdecode(path))
    return place.removesuffix(".ldb")


def _join(ldb: Any, vecs: Any, where: str) -> None:
    """See that a database and vectors belong together, from now on if they are new."""
    _require(ldb, LoomDb, where, "a database of loomdb_create")
    _require(vecs, FlowVectors, where, "vectors of loomdb_create_vectors")
    is_known = (vecs.database, ldb.vectors) == (ldb, vecs)
    is_new = (vecs.database, ldb.vectors) == (None, None)
    if not is_known and (not is_new or (vecs.kept is not None and vecs.kept.dims != ldb.dims)):
        raise ArgumentError(where, "these vectors are not of this database", expected="those it was first used with",
                            got="others",
                            remedy="Make vectors for each database with loomdb_create_vectors")  # fmt: skip
    if not is_known and ldb.path is not None and ldb.path != vecs.path:
        raise ArgumentError(
            where,
            "these vectors are not of this database",
            expected=f"those of {ldb.path!r}",
            got="new ones" if vecs.path is None else f"those of {vecs.path!r}",
            remedy=f"Call loomdb_restore_vectors({ldb.path!r})",
        )
    vecs.database, ldb.vectors = ldb, vecs


def _require(given: Any, kind: type, where: str, what: str) -> None:
    if not isinstance(given, kind):
        raise DTypeError(where, "another kind of argument", expected=what, got=type(given).__name__,
                         remedy="See docs/guide/flow.md for the order of arguments")  # fmt: skip


brief_names(globals(), __all__)
