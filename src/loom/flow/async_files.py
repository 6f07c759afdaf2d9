"""Files beside chains: raw arrays are read and written by a thread of their own while units run.

Layer: flow, over ``loom.support``. A file holds numbers one after the other, of 32 bits each. Invariant: what a unit
was asked after a read into it waits for that read, so that what comes out does not depend on when the file does.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Generator, Iterator
from concurrent import futures
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any

from loom.core.arrays import Array
from loom.core.dtype import dtype_of, f32, i32, u32
from loom.core.errors import ArgumentError, DTypeError, LoomTimeout
from loom.core.given import path as path_of
from loom.flow.counts import whole
from loom.flow.draft import binding_name
from loom.flow.unit_bindings import further_bindings, require_unit
from loom.flow.words import as_words, words_of
from loom.formats.raw_arrays import RawArray, open_array, write_array
from loom.runtime.chain.timeline import deadline_of
from loom.runtime.units.unit import Unit
from loom.support.io_thread import IoThread, Transfer

__all__ = ["loom_async_read", "loom_async_write", "loom_await", "loom_stream"]

_threads: dict[int, IoThread] = {}
"""The thread of each process, which a child of fork lacks."""
_starting = Lock()
_writes: dict[str, Transfer] = {}
"""The last write to each file that is not done."""


def loom_async_read(
    path: str | os.PathLike[str],
    off: float = 0,
    len: float | None = None,  # noqa: A002 - a word of loom.flow
    *,
    dtype: object = f32,
    unit: Unit | None = None,
    at: float = 0,
    bind: float | str = 1,
) -> Transfer:
    """Begin to read ``len`` numbers (None: all) from number ``off`` of a file on; ``loom_await`` gives them.

    With a ``unit`` they go to word ``at`` of its globals, or of another binding, and ``loom_await`` gives how many:
    as by ``loom_write``, and what the unit is asked meanwhile waits for them. ``dtype``: loom.f32, u32 or i32.
    FileError if the file has fewer, ArgumentError for ``at`` or ``bind`` without a unit. A write to the file that was
    asked for before is waited for.

    Args:
        path: File.
        off: Number of numbers before the first.
        len: Number of numbers; None: all.
        dtype: loom.f32, u32 or i32; None: f32.
        unit: Unit that they go to; None: ``loom_await`` gives them.
        at: Number of words before the first there; None: 0.
        bind: Number or name of the unit's binding; None: the globals.

    Returns:
        Read under way, for ``loom_await``.

    Raises:
        ArgumentError: A place without a unit; a number is out of range, or no whole one; there is no such binding.
        DTypeError: Not a unit; not a path; not a dtype of 32 bits.
        FileError: It cannot be read, or is shorter.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = loom_await(loom_async_write(f"{folder}/numbers", [1.0, 2.0, 3.0]))
    ...     loom_await(loom_async_read(f"{folder}/numbers", 1.0)).tolist()
    [2.0, 3.0]
    """
    where = "loom_async_read"
    array = _array(path, off, len, dtype, where)
    if unit is None:
        for name, given, usual in (("at", at, 0), ("bind", bind, 1)):
            if not isinstance(given, (int, float)) or given != usual:
                what = "has no effect without a unit"
                raise ArgumentError(f"{where}, {name}", what, expected=usual, got=repr(given), remedy="Pass unit=")
        return _thread().ask(where, lambda _: array.read())
    target = require_unit(unit, where)
    binding, start = binding_name(bind, where, further_bindings(target)), whole(at, where, "at")
    take = words_of(target).expect(target, binding, start, array.count, array.dtype, where)

    def load(_: Transfer) -> int:
        take(array.read())
        return array.count

    return _thread().ask(where, load, [target])


def loom_async_write(path: str | os.PathLike[str], data: object) -> Transfer:
    """Begin to write numbers to a file, in place of one that is there; ``loom_await`` gives how many.

    They are taken as by ``loom_write``, and copied now. A crash at any moment leaves the file before.

    Args:
        path: File.
        data: Numbers: a list, or an array.

    Returns:
        Write under way, for ``loom_await``.

    Raises:
        DTypeError: Not numbers of 32 bits; not a path.
        FileError: The file cannot be written.
    """
    where = "loom_async_write"
    target, words = _place(path, where), as_words(data, where).copy()
    name = os.path.realpath(target)
    handle = _writes[name] = _thread().ask(where, lambda _: write_array(target, words, where))
    handle.add_done_callback(lambda done: _writes.pop(name) if _writes.get(name) is done else None)
    return handle


def loom_await(handle: Transfer, timeout: float | None = None) -> Any:
    """Wait for a read or a write and return what it gives.

    Raises what went wrong: FileError for a file that was cut off meanwhile.

    Args:
        handle: Read or write, of ``loom_async_read`` or ``loom_async_write``.
        timeout: Seconds; None: without end.

    Returns:
        Numbers of a read without a unit, else how many they are.

    Raises:
        ArgumentError: Not a number of seconds, at least 0.
        DTypeError: Neither a read nor a write.
        LoomTimeout: The time is over; nothing is lost.
        FileError: The file was cut off meanwhile.
    """
    if not isinstance(handle, Transfer):
        raise DTypeError(
            "loom_await",
            "not under way",
            expected="what loom_async_read or loom_async_write returned",
            got=type(handle).__name__,
            remedy="Write handle = loom_async_read(path)",
        )
    deadline = deadline_of(timeout, "loom_await")
    try:
        return handle.result(None if deadline is None else max(0.0, deadline - monotonic()))
    except futures.TimeoutError:
        raise LoomTimeout(
            "loom_await",
            "still under way",
            expected=f"done within {timeout} s",
            remedy="Wait again: the work goes on and nothing is lost",
        ) from None


def loom_stream(
    path: str | os.PathLike[str],
    len: float,  # noqa: A002 - a word of loom.flow
    *,
    off: float = 0,
    dtype: object = f32,
) -> Generator[Array, None, None]:
    """Give the numbers of a file from ``off`` on, ``len`` at a time; the next are read while these are in use.

    Args:
        path: File.
        len: Numbers of a part.
        off: Number of numbers before the first.
        dtype: loom.f32, u32 or i32; None: f32.

    Returns:
        Iterator of arrays.

    Raises:
        ArgumentError: A number is out of range, or no whole one.
        DTypeError: Not a dtype of 32 bits; not a path.
        FileError: The file is shorter; it cannot be read, or is shorter.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = loom_await(loom_async_write(f"{folder}/numbers", range(5)))
    ...     [part.tolist() for part in loom_stream(f"{folder}/numbers", 2.0, dtype="u32")]
    [[0, 1], [2, 3], [4]]
    """
    where = "loom_stream"
    parts = _array(path, off, None, dtype, where).parts(whole(len, where, "len", least=1))
    return _ahead(parts)


def _ahead(parts: Iterator[RawArray]) -> Generator[Array, None, None]:
    coming: Transfer | None = None
    try:
        for part in parts:
            ready, coming = coming, _thread().ask("loom_stream", lambda _, part=part: part.read())
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()
    finally:
        if coming is not None:  # a part that nobody comes for: what goes wrong with it is nobody's
            coming.heard = True
            coming.cancel()


def _array(path: str | os.PathLike[str], off: float, count: float | None, dtype: object, where: str) -> RawArray:
    kind = dtype_of(dtype, f"{where}, dtype")
    if kind not in (f32, u32, i32):
        raise DTypeError(
            f"{where}, dtype", "memory is 32-bit words", expected="f32, u32 or i32", got=kind, remedy="Use u32"
        )
    wanted = None if count is None else whole(count, where, "len")
    _thread()  # which lets go of what a parent of this process was writing
    target = _place(path, where)
    pending = _writes.get(os.path.realpath(target))
    if pending is not None:  # how long the file is, and whether there is one, is known when it is written
        futures.wait([pending])
    return open_array(target, kind, whole(off, where, "off"), wanted, where)


def _place(path: str | os.PathLike[str], where: str) -> Path:
    """Return the path as it is meant at the call: the thread may get to it in another working directory."""
    return path_of(path, where).absolute()


def _thread() -> IoThread:
    """Return this process's thread for files, started at its first use."""
    with _starting:
        found = _threads.get(os.getpid())
        if found is None:
            _threads.clear()
            _writes.clear()
            found = _threads[os.getpid()] = IoThread("loom files")
        atexit.unregister(_end)
        atexit.register(_end)  # anew, so that it comes before the end of devices that were opened meanwhile
        return found


def _end() -> None:
    """Finish what was asked for; what failed and nobody awaited is told."""
    found = _threads.pop(os.getpid(), None)
    if found is not None:
        found.close()
