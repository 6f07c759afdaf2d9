"""Stores of vectors in files: the Support's side, which alone opens them.

Layer: vectors, over ``loom.formats.vectors``. Invariant: what is restored gives the same hits, rows and score bits.
"""

from __future__ import annotations

import math
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

from loom.core.dtype import dtype_of, f32
from loom.core.errors import ArgumentError, DTypeError, FileError
from loom.core.given import flag, one_of
from loom.core.given import path as path_of
from loom.core.numbers import real, whole
from loom.core.tracebacks import brief_context
from loom.formats.vectors import open_vectors, write_vectors
from loom.formats.vectors.flush_turns import busy, lock_of
from loom.formats.vectors.manifest import digest_of, manifest_path
from loom.runtime.port.device import Device
from loom.storage.file_lock import FileLock
from loom.vectors.growing import GrowingList
from loom.vectors.known_places import KnownPlace
from loom.vectors.state import StoreState
from loom.vectors.store import METRICS, VectorStore

__all__ = ["edit", "flush", "restore"]


def flush(store: VectorStore, path: str | os.PathLike[str], *, replace: bool = False) -> None:
    """Keep a store in files, in place of the one it was restored from.

    When this returns the store survives a power cut. A crash or a full disk at any moment leaves the one before. Others
    may search, capture and flush meanwhile: what is written is the store of this moment. See ``edit`` for many that
    write to one place.

    Args:
        store: Store of vectors.
        path: Name of the store's files (``path.ldb`` and two data files).
        replace: Whether it takes the place of any store that is there.

    Raises:
        ArgumentError: ``replace`` is no truth.
        DTypeError: Not a store; not a path.
        StateError: Another holder flushed one there, or is writing it; the store is closed.
        FileError: It cannot be written.
    """
    where = "vectors.flush"
    if not isinstance(store, VectorStore):
        raise DTypeError(where, "not a store of vectors", expected="a loom.vectors.VectorStore",
                         got=type(store).__name__, remedy="Pass the store, then the path")  # fmt: skip
    insists = flag(replace, f"{where}, replace")
    write_vectors(path_of(path, where), store.freeze(), replace=insists)


def restore(
    path: str | os.PathLike[str],
    device: str | Device | None = None,
    *,
    on: str | Device | None = None,
    memory_budget: int | None = None,
) -> VectorStore:
    """Return the store that was flushed to files, on a device, the same in every bit.

    Args:
        path: Name of the store's files (``path.ldb`` and two data files).
        device: Device, or its name; None: the default device.
        on: The same as ``device``; one of the two is named.
        memory_budget: Bytes of the device that vectors may take; beyond them those that a flush has written leave the
            device, and come back when they are searched; None: no limit.

    Raises:
        ArgumentError: The budget is out of range; ``device`` and ``on`` differ.
        DTypeError: Not a path; not a device.
        FileError: There is none, or it is cut off, changed, or of a newer version.
        DeviceError: There is no such device.
    """
    where = "vectors.restore"
    named = path_of(path, where)
    file, told = open_vectors(named)
    facts: dict[str, Any] = file.facts
    store = VectorStore(
        facts["dims"], facts["capacity"], facts["metric"], device, facts["dtype"], on=on, memory_budget=memory_budget,
    )  # fmt: skip
    state = _state_of(store)
    ids, metas = (
        GrowingList[Any](packed=lists, step=told.step, count=told.rows, unpack=told.read)
        for lists in (told.ids, told.metas)
    )
    state.adopt(file, ids, metas, told.gone)
    state.captured = facts["captured"]
    _place(store, named).put(facts.get("generation", 0), digest_of(facts))
    return store


@brief_context
def edit(
    path: str | os.PathLike[str],
    dims: int | None = None,
    capacity: int | None = None,
    metric: str | None = None,
    device: str | Device | None = None,
    dtype: object = None,
    *,
    memory_budget: int | None = None,
    on: str | Device | None = None,
    timeout: float | None = 10.0,
) -> Generator[VectorStore, None, None]:
    """Give a store to be changed while nobody else may flush there; flush it at the end of the ``with``.

    Where there is none and ``dims`` are told, a new one: these and the rest as of ``VectorStore``. An error inside the
    ``with`` leaves the files as they were. Others wait for it up to ``timeout`` seconds (None: for as long as it
    takes), then StateError; ``restore`` waits for nobody, and gives what was flushed last. A process that ends lets go
    of the store, however it ends.

    Args:
        path: Name of the store's files (``path.ldb`` and two data files).
        dims: Elements of a vector, of a new store; None: there is one.
        capacity: Vectors after which ``needs_flush`` says so; None: that of the store, else 10000.
        metric: "cosine", "dot" or "euclidean"; None: that of the store, else "cosine".
        device: Device, or its name; None: the default device.
        dtype: Dtype that elements are kept as; None: that of the store, else f32.
        memory_budget: Bytes of the device that vectors may take; beyond them those that a flush has written leave the
            device, and come back when they are searched; None: no limit.
        on: The same as ``device``; one of the two is named.
        timeout: Seconds to wait for others that hold it; None: for as long as it takes.

    Returns:
        Context manager of the store.

    Raises:
        ArgumentError: The one that is there has other dims, another metric or dtype; a setting is unusable.
        DTypeError: Not a path; not a device; not a dtype.
        FileError: There is none, and no ``dims``; the file system has no locks.
        DeviceError: There is no such device.
        StateError: Others hold it for longer than ``timeout``.

    >>> import tempfile
    >>> import loom
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for n in range(2):
    ...         with loom.vectors.edit(f"{folder}/store", dims=2) as store:
    ...             _ = store.capture(n, [1.0, n])
    ...     len(loom.vectors.restore(f"{folder}/store"))
    2
    """
    where = "vectors.edit"
    named = path_of(path, where)
    lock = _lock(named, timeout, where)
    try:
        if manifest_path(named).exists():
            store = restore(named, device, on=on, memory_budget=memory_budget)
            _require_same(store, dims, capacity, metric, dtype, where)
        elif dims is None:
            raise FileError(
                where,
                f"there is no store at {str(manifest_path(named))!r}",
                expected="what flush wrote",
                remedy="Pass dims for a new one, or name the path that was flushed to",
            )
        else:
            store = VectorStore(
                dims,
                10_000 if capacity is None else capacity,
                "cosine" if metric is None else metric,
                device,
                f32 if dtype is None else dtype,
                on=on,
                memory_budget=memory_budget,
            )
        _place(store, named).lock = lock
        with store:
            yield store
            if not _is_there(store, named):
                flush(store, named)
    finally:
        lock.release()


def _state_of(store: VectorStore) -> StoreState:
    return store._state  # pyright: ignore[reportPrivateUsage] - both are of one package


def _place(store: VectorStore, path: Path) -> KnownPlace:
    """Return where a store lies, or will lie, as it knows the place."""
    return _state_of(store).places[os.path.realpath(manifest_path(path))]


def _is_there(store: VectorStore, path: Path) -> bool:
    """Tell whether a place has all that was ever changed in a store."""
    state = _state_of(store)
    return store.is_open and not state.unflushed and _place(store, path).generation > 0


def _lock(path: Path, timeout: float | None, where: str) -> FileLock:
    """Return the lock of a store; StateError if others have it for longer than ``timeout``."""
    seconds = math.inf if timeout is None else real(timeout, f"{where}, timeout", least=0)
    manifest = manifest_path(path)
    lock = lock_of(manifest)
    try:
        manifest.parent.mkdir(parents=True, exist_ok=True)
        is_mine = lock.acquire(seconds)
    except OSError as error:
        raise FileError(
            where,
            f"cannot write to {str(path)!r} ({error})",
            remedy="Name a place that can be written to, or restore what is there",
        ) from error
    if not is_mine:
        raise busy(manifest, lock, seconds, where)
    if not lock.is_real:
        lock.release()
        raise FileError(
            where,
            f"files beside {str(path)!r} cannot be locked",
            expected="a file system with locks",
            remedy="Name another place, or see to it that one process at a time flushes there",
        )
    return lock


def _require_same(
    store: VectorStore, dims: int | None, capacity: int | None, metric: str | None, dtype: object, where: str
) -> None:
    """ArgumentError where what is told of a store is not so."""
    told = {
        "dims": (None if dims is None else whole(dims, f"{where}, dims", least=1), store.dims),
        "capacity": (None if capacity is None else whole(capacity, f"{where}, capacity", least=1), store.capacity),
        "metric": (None if metric is None else one_of(metric, f"{where}, metric", METRICS), store.metric),
        "dtype": (None if dtype is None else dtype_of(dtype, f"{where}, dtype"), store.dtype),
    }
    for name, (given, found) in told.items():
        if given is not None and given != found:
            raise ArgumentError(
                f"{where}, {name}",
                "the store that is there has another",
                expected=found,
                got=given,
                remedy="Leave it out, or name another place",
            )
