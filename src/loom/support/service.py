"""The Support: boots units, moves data, keeps snapshots and checkpoints; one per application, one I/O thread.

Layer: support. The caller's code stays in its own thread: transfers are done by the I/O thread in the order asked
for, chains are built by workers. Invariant: what a transfer sees of a unit is what was launched before it was asked
for, and a later launch waits for it.
"""

from __future__ import annotations

import atexit
import copy
import os
import sys
import threading
import weakref
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from loom.core.errors import ArgumentError, DTypeError, StateError, near_matches
from loom.core.given import able, flag, items, text
from loom.core.given import path as path_of
from loom.core.options import thread_count
from loom.core.process.thread_pools import ThreadPool
from loom.core.tracebacks import brief_class
from loom.formats.vectors import Flushable, write_vectors
from loom.runtime.chain.program import Program, Submission
from loom.runtime.chain.timeline import deadline_of
from loom.runtime.memory.frames import Frame, checked_shape, take_frame
from loom.runtime.port.device import Device
from loom.runtime.port.values import as_count
from loom.runtime.units.unit import Unit, boot
from loom.support.checkpoint import copy_facts, read_checkpoint, write_checkpoint
from loom.support.io_thread import IoThread, Transfer
from loom.support.presenters import Presenter
from loom.support.snapshots import Snapshots, require_name

__all__ = ["SNAPSHOT_NBYTES", "Support"]

SNAPSHOT_NBYTES = 256 << 20
_MOST_WORKERS = 8
_opened: list[weakref.ref[Support]] = []
_opening = threading.Lock()


@brief_class
class Support:
    """See above. A context manager: leaving it finishes all transfers and shuts down the units it booted.

    ``workers`` threads build chains (default: as many as cores, at most 8); ``snapshot_nbytes`` is the most that
    snapshots hold together. StateError if the application has a Support already. Every transfer returns a
    ``concurrent.futures.Future``; a failure that nobody asked for is raised by ``shutdown``.

    >>> import loom
    >>> with loom.Support() as support:
    ...     unit = support.boot("work", registers=2)
    ...     _ = support.upload("work", [7, 8], binding="registers")
    ...     support.download(unit).result().tolist()
    [7, 8]
    """

    def __init__(self, *, workers: int | None = None, snapshot_nbytes: int = SNAPSHOT_NBYTES) -> None:
        where = "loom.Support"
        count = min(_MOST_WORKERS, thread_count()) if workers is None else workers
        self._workers = max(1, as_count(count, where, "workers", "a number of threads, or None"))
        budget = as_count(snapshot_nbytes, where, "snapshot_nbytes", "a number of bytes, at least 0")
        self._units: dict[str, Unit] = {}
        self._own: list[Unit] = []
        self._snapshots = Snapshots(budget)
        self._builders: ThreadPool | None = None
        with _opening:
            if any(s is not None and s.is_open for s in (ref() for ref in _opened)):
                raise StateError(
                    where, "the application has a Support already", expected="one at a time",
                    remedy="Use it, or shut it down first",
                )  # fmt: skip
            self._io = IoThread("loom I/O")
            self.is_open = True
            _opened[:] = [weakref.ref(self)]
        weakref.finalize(self, self._io.abandon).atexit = False
        _end_before_devices()

    # units

    @property
    def units(self) -> dict[str, Unit]:
        """The units it serves, by name; those shut down are served no more."""
        return {name: unit for name, unit in self._units.items() if unit.is_open}

    @property
    def snapshots(self) -> list[str]:
        """Names of the snapshots kept, oldest first."""
        return self._snapshots.names

    def boot(
        self,
        name: str,
        registers: int,
        globals: int = 0,  # noqa: A002 - a word of loom.flow
        heap: Any = None,
        bindings: Any = (),
        device: str | Device | None = None,
        *,
        on: str | Device | None = None,
    ) -> Unit:
        """Return a new unit that this Support serves and shuts down (see ``loom.boot``)."""
        self._require_free(name)
        unit = boot(registers, globals, heap, bindings, device, name, on=on)
        self._own.append(unit)
        self._serve(name, unit)
        return unit

    def adopt(self, name: str, unit: Unit) -> None:
        """Serve a unit the caller booted, and will shut down."""
        self._require_free(name)
        if not isinstance(unit, Unit):
            raise DTypeError(
                f"support.adopt {name!r}", "not a unit", expected="what loom.boot returned", got=type(unit).__name__,
                remedy="Write loom.boot(registers, globals)",
            )  # fmt: skip
        self._serve(name, unit)

    def _serve(self, name: str, unit: Unit) -> None:
        self._units[name] = unit
        _end_before_devices()

    def _require_free(self, name: str) -> None:
        if not self.is_open:
            raise StateError("support.boot", "it is shut down", expected="a running Support", remedy="Open a new one")
        if require_name(name, "support.boot") in self.units:
            raise ArgumentError(
                "support.boot", "the name is taken", expected="a new name", got=name, remedy="Choose another"
            )

    def unit(self, which: str | Unit, where: str = "support.unit") -> Unit:
        """Return a unit it serves, by name or itself; ArgumentError for another."""
        units, where = self.units, text(where, "support.unit, where")
        found = units.get(which) if isinstance(which, str) else which
        if not isinstance(found, Unit) or found not in units.values():
            name = which if isinstance(which, str) else getattr(which, "name", repr(which))
            raise ArgumentError(
                where, f"no unit of this Support is called {name!r}",
                remedy=near_matches(str(name), units) if units else "Boot one: support.boot(name, registers)",
            )  # fmt: skip
        return found

    def _choose(self, units: Iterable[str] | None, where: str) -> dict[str, Unit]:
        """Return units by name, None: all."""
        if isinstance(units, str):
            units = [units]
        return (
            self.units
            if units is None
            else {name: self.unit(name, where) for name in items(units, where, "names of units")}
        )

    # transfers

    def upload(self, unit: str | Unit, data: Any, offset: int = 0, *, binding: str = "globals") -> Transfer:
        """Copy ``data`` into a binding (see ``Unit.write``); it is copied now, so the caller may change it."""
        target = self.unit(unit, "support.upload")
        try:
            kept = copy.deepcopy(data)
        except Exception as error:  # an object of others that cannot be copied
            raise DTypeError("support.upload", "not an array", expected="numbers", got=type(data).__name__,
                             remedy="Pass numbers") from error  # fmt: skip
        return self._io.ask("upload", lambda _: target.write(kept, offset, binding=binding), [target])

    def download(
        self,
        unit: str | Unit,
        offset: int = 0,
        count: int | None = None,
        dtype: Any = None,
        *,
        binding: str = "registers",
    ) -> Transfer:
        """Give a copy of a binding as it is now, runs launched so far included (see ``Unit.read``)."""
        source = self.unit(unit, "support.download")
        return self._io.ask("download", lambda _: source.read(offset, count, dtype, binding=binding), [source])

    def present(
        self,
        unit: str | Unit,
        shape: tuple[int, int],
        to: Presenter | None = None,
        *,
        binding: str = "globals",
        offset: int = 0,
    ) -> Transfer:
        """Take (height, width) pixels and show them at ``to`` (see ``Unit.present``); gives the ``Frame``.

        The unit is held only while the pixels are copied, not while they are shown.
        """
        source = self.unit(unit, "support.present")
        if to is not None:
            able(to, "support.present, to", "show", "a presenter")
        checked_shape(shape, f"{source.name}.present")

        def show(transfer: Transfer) -> Frame:
            frame = take_frame(source, shape, binding, offset)
            transfer.release()
            if to is not None:
                to.show(frame)
            return frame

        return self._io.ask("present", show, [source])

    def wait(self, what: str | Unit | Submission, timeout: float | None = None) -> Transfer:
        """Wait, on the I/O thread, for a submission or for all that was launched on a unit so far.

        LoomTimeout ``timeout`` seconds after this call if it is not over then; nothing is lost.
        """
        where = "support.wait"
        if isinstance(what, Submission):
            timeline, number = what.timeline, what.number
        else:
            timeline = self.unit(what, where).timeline("wait")
            number = timeline.submissions
        deadline = deadline_of(timeout, where)
        return self._io.ask("wait", lambda _: timeline.wait(number, timeout, where, deadline))

    # state

    def snapshot(self, name: str, units: Iterable[str] | None = None) -> Transfer:
        """Copy the memory of units (by name, None: all) on their devices, all of one moment.

        The heap, which kernels only read, is left out. A name given again replaces the snapshot. What was undone is
        dropped, and the oldest when the budget is full.
        """
        chosen = self._choose(units, "support.snapshot")
        require_name(name, "support.snapshot")
        return self._io.ask("snapshot", lambda _: self._snapshots.take(name, chosen), chosen.values())

    def restore(self, name: str) -> Transfer:
        """Give units the memory they had at a snapshot; undo and redo go on from there."""
        require_name(name, "support.restore")
        return self._io.ask("restore", lambda _: self._snapshots.restore(name), self.units.values())

    def undo(self) -> Transfer:
        """Restore the snapshot before the one last taken or restored; gives its name."""
        return self._io.ask("undo", lambda _: self._snapshots.step(-1, "undo"), self.units.values())

    def redo(self) -> Transfer:
        """Restore the snapshot that was undone last; gives its name."""
        return self._io.ask("redo", lambda _: self._snapshots.step(1, "redo"), self.units.values())

    def checkpoint(
        self, path: str | os.PathLike[str], facts: Any = None, units: Iterable[str] | None = None
    ) -> Transfer:
        """Write the memory of units, and ``facts`` (JSON), to the folder ``path``, in place of a checkpoint there.

        A crash or a full disk at any moment leaves the one before. Units are held only while their memory is copied.
        """
        folder, chosen, kept = (
            path_of(path, "support.checkpoint").absolute(),
            self._choose(units, "support.checkpoint"),
            copy_facts(facts),
        )

        def work(transfer: Transfer) -> None:
            write_checkpoint(folder, chosen, kept, transfer.release)

        return self._io.ask("checkpoint", work, chosen.values())

    def resume(self, path: str | os.PathLike[str], units: Iterable[str] | None = None) -> Transfer:
        """Give units the memory a checkpoint has, bit for bit; gives its facts. CheckpointError if it does not fit."""
        folder, chosen = path_of(path, "support.resume").absolute(), self._choose(units, "support.resume")
        return self._io.ask("resume", lambda _: read_checkpoint(folder, chosen), chosen.values())

    def flush(self, store: Flushable, path: str | os.PathLike[str], *, replace: bool = False) -> Transfer:
        """Write a store of vectors, as it is now, to ``path`` (see ``loom.vectors.flush``)."""
        where, insists = path_of(path, "support.flush").absolute(), flag(replace, "support.flush, replace")
        frozen = able(store, "support.flush", "freeze", "a loom.vectors.VectorStore").freeze()
        return self._io.ask("flush", lambda _: write_vectors(where, frozen, replace=insists))

    # building

    def build_all(self, units: Iterable[str | Unit]) -> list[Program]:
        """Build what is recorded for each unit, side by side on the workers; the programs in the order asked for.

        When one fails the others are built all the same, then the first error is raised.
        """
        chosen = [self.unit(u, "support.build_all") for u in items(units, "support.build_all", "units")]
        if len(chosen) < 2:
            return [unit.build() for unit in chosen]
        if self._builders is None:
            self._builders = ThreadPool(self._workers, "loom build")
        futures = [self._builders.submit(unit.build) for unit in chosen]
        for future in futures:
            future.exception()
        return [future.result() for future in futures]

    # life

    def shutdown(self) -> None:
        """Finish what was asked for, shut down the units booted here, end the threads; again does nothing.

        Raises the first failure of a transfer that nobody asked about, when all is freed.
        """
        with ExitStack() as last:
            last.callback(self._forget)
            if self._builders is not None:
                last.callback(self._builders.shutdown)
            for unit in self._own:
                last.callback(unit.shutdown)
            last.callback(self._snapshots.clear)
            last.callback(self._io.close)

    def _forget(self) -> None:
        self.is_open = False
        self._own, self._units, self._builders = [], {}, None

    def __enter__(self) -> Support:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        try:
            self.shutdown()
        except Exception:
            if kind is None:  # what is under way says more
                raise

    def __repr__(self) -> str:
        return f"<loom Support: {', '.join(self.units) or 'no units'}{'' if self.is_open else ', shut down'}>"


def _end_before_devices() -> None:
    """Have the Support end, when the process does, before the devices opened until now are closed."""
    atexit.unregister(_end_at_exit)
    atexit.register(_end_at_exit)


def _end_at_exit() -> None:
    for support in (ref() for ref in _opened):
        if support is not None:
            try:
                support.shutdown()
            except Exception as error:
                print(f"a transfer nobody asked about failed: {error}", file=sys.stderr)
