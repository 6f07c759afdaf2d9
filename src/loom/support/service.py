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
from loom.core.process.bound import ProcessBound
from loom.core.process.thread_pools import ThreadPool
from loom.core.tracebacks import brief_class
from loom.formats.vectors import Flushable, write_vectors
from loom.runtime.chain.program import Program, Submission
from loom.runtime.chain.timeline import deadline_of
from loom.runtime.memory.frames import Frame, require_shape, take_frame
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
class Support(ProcessBound):
    """The part of an application that boots units, moves data and keeps state.

    A context manager: leaving it finishes all transfers and shuts down the units it booted. Every transfer returns a
    ``concurrent.futures.Future``; a failure that nobody asked for is raised by ``shutdown``.

    Args:
        workers: Threads that build chains; None: as many as cores, at most 8.
        snapshot_nbytes: Most bytes that snapshots hold together.

    Raises:
        ArgumentError: A number below 0 or no whole number.
        StateError: The application has a Support already.

    >>> import loom
    >>> with loom.Support() as support:
    ...     unit = support.boot("work", registers=2)
    ...     _ = support.upload("work", [7, 8], binding="registers")
    ...     support.download(unit).result().tolist()
    [7, 8]
    """

    copied_instead = "Open another where it is needed"

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
        """Return a new unit that this Support serves and shuts down (see ``loom.boot``).

        Args:
            name: Name of the unit.
            registers: Number of 32-bit words, zeroed.
            globals: Number of 32-bit words beside them.
            heap: Array that kernels only read; None: none.
            bindings: Typed buffers, as of ``loom.boot``.
            device: Device, or its name; None: the default device.
            on: The same as ``device``; one of the two is named.

        Raises:
            ArgumentError: The name is taken, or no text; a size below 0 or no whole number; an unusable binding;
                ``device`` and ``on`` differ.
            DTypeError: Not a device; a heap or a binding of no numbers.
            DeviceError: There is no such device; the device or a limit has no room.
            StateError: The Support is shut down.
        """
        self._require_free(name)
        unit = boot(registers, globals, heap, bindings, device, name, on=on)
        self._own.append(unit)
        self._serve(name, unit)
        return unit

    def adopt(self, name: str, unit: Unit) -> None:
        """Serve a unit the caller booted, and will shut down.

        Args:
            name: Name for it here.
            unit: Unit, of ``loom.boot``.

        Raises:
            ArgumentError: The name is taken, or no text.
            DTypeError: Not a unit.
            StateError: The Support is shut down.
        """
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
        """Return a unit it serves.

        Args:
            which: Its name, or itself.
            where: Name of the call that asks, for the error.

        Raises:
            ArgumentError: No unit of this Support is called so.
            DTypeError: ``where`` is no text.
        """
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
        """Copy ``data`` into a binding (see ``Unit.write``); it is copied now, so the caller may change it.

        Args:
            unit: Unit that it serves, or its name.
            data: Array or list, as of ``Unit.write``.
            offset: Number of words, of typed bindings of elements, before the first.
            binding: Name of the binding.

        Returns:
            Transfer: a future, of nothing.

        Raises:
            ArgumentError: No unit of this Support is called so; of the future, no binding has this name.
            DTypeError: The data cannot be copied; of the future, as of ``Unit.write``.
            ShapeError: Of the future: part of it lies outside the binding.
            StateError: The Support is shut down; of the future, the unit is.
        """
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
        """Return a copy of a binding as it is now, runs launched so far included (see ``Unit.read``).

        Args:
            unit: Unit that it serves, or its name.
            offset: Number of words, of typed bindings of elements, before the first.
            count: Number of them; None: to the end.
            dtype: Dtype to read them as; None: u32 for words, its own for a typed binding.
            binding: Name of the binding.

        Returns:
            Transfer: a future of the array.

        Raises:
            ArgumentError: No unit of this Support is called so; of the future, no binding has this name.
            DTypeError: Of the future: as of ``Unit.read``.
            ShapeError: Of the future: part of it lies outside the binding.
            StateError: The Support is shut down; of the future, the unit is.
        """
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
        """Take pixels of a unit and show them (see ``Unit.present``).

        The unit is held only while the pixels are copied, not while they are shown.

        Args:
            unit: Unit that it serves, or its name.
            shape: (height, width) of the picture.
            to: Presenter; None: none.
            binding: Name of the binding.
            offset: Number of words before the first pixel.

        Returns:
            Transfer: a future of the ``Frame``.

        Raises:
            ArgumentError: No unit of this Support is called so; of the future, no binding has this name.
            DTypeError: Not a presenter; of the future, the binding holds no pixels.
            ShapeError: Not the shape of a picture; of the future, part of it lies outside the binding.
            StateError: The Support is shut down; of the future, the unit is.
        """
        source = self.unit(unit, "support.present")
        if to is not None:
            able(to, "support.present, to", "show", "a presenter")
        require_shape(shape, f"{source.name}.present")

        def show(transfer: Transfer) -> Frame:
            frame = take_frame(source, shape, binding, offset)
            transfer.release()
            if to is not None:
                to.show(frame)
            return frame

        return self._io.ask("present", show, [source])

    def wait(self, what: str | Unit | Submission, timeout: float | None = None) -> Transfer:
        """Wait, on the I/O thread, for a submission or for all that was launched on a unit so far.

        Args:
            what: Submission, unit, or name of a unit.
            timeout: Seconds from this call on; None: without end.

        Returns:
            Transfer: a future, of nothing.

        Raises:
            ArgumentError: Not a number of seconds, at least 0; no unit of this Support is called so.
            LoomTimeout: Of the future: the time is over; the runs go on.
            StateError: The Support is shut down.
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
        """Copy the memory of units on their devices, all of one moment.

        The heap, which kernels only read, is left out. A name given again replaces the snapshot. What was undone is
        dropped, and the oldest when the budget is full.

        Args:
            name: Name of the snapshot.
            units: Names of units, or one; None: all that it serves.

        Returns:
            Transfer: a future, of nothing.

        Raises:
            ArgumentError: The name is no text, or empty; no unit of this Support is called so; not several.
            DeviceError: Of the future: larger than all snapshots may be, or than the device has room for.
            StateError: The Support is shut down.
        """
        chosen = self._choose(units, "support.snapshot")
        require_name(name, "support.snapshot")
        return self._io.ask("snapshot", lambda _: self._snapshots.take(name, chosen), chosen.values())

    def restore(self, name: str) -> Transfer:
        """Give units the memory they had at a snapshot; undo and redo go on from there.

        Args:
            name: Name of the snapshot.

        Returns:
            Transfer: a future, of nothing.

        Raises:
            ArgumentError: The name is no text, or empty; of the future, no snapshot has it.
            StateError: The Support is shut down.
        """
        require_name(name, "support.restore")
        return self._io.ask("restore", lambda _: self._snapshots.restore(name), self.units.values())

    def undo(self) -> Transfer:
        """Restore the snapshot before the one last taken or restored.

        Returns:
            Transfer: a future of its name.

        Raises:
            StateError: The Support is shut down; of the future, there is no snapshot before.
        """
        return self._io.ask("undo", lambda _: self._snapshots.step(-1, "undo"), self.units.values())

    def redo(self) -> Transfer:
        """Restore the snapshot that was undone last.

        Returns:
            Transfer: a future of its name.

        Raises:
            StateError: The Support is shut down; of the future, nothing was undone.
        """
        return self._io.ask("redo", lambda _: self._snapshots.step(1, "redo"), self.units.values())

    def checkpoint(
        self, path: str | os.PathLike[str], facts: Any = None, units: Iterable[str] | None = None
    ) -> Transfer:
        """Write the memory of units to a folder, in place of a checkpoint there.

        A crash or a full disk at any moment leaves the one before. Units are held only while their memory is copied.

        Args:
            path: Folder.
            facts: JSON kept with it; None: none.
            units: Names of units, or one; None: all that it serves.

        Returns:
            Transfer: a future, of nothing.

        Raises:
            ArgumentError: JSON cannot hold the facts; no unit of this Support is called so; not several.
            DTypeError: Not a path.
            CheckpointError: Of the future: the folder cannot be written.
            StateError: The Support is shut down.
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
        """Give units the memory a checkpoint has, bit for bit.

        Args:
            path: Folder.
            units: Names of units, or one; None: all that it serves.

        Returns:
            Transfer: a future of the facts kept with it.

        Raises:
            ArgumentError: No unit of this Support is called so; not several.
            DTypeError: Not a path.
            CheckpointError: Of the future: there is no sound checkpoint, or it is of other units; no unit is changed
                then.
            StateError: The Support is shut down.
        """
        folder, chosen = path_of(path, "support.resume").absolute(), self._choose(units, "support.resume")
        return self._io.ask("resume", lambda _: read_checkpoint(folder, chosen), chosen.values())

    def flush(self, store: Flushable, path: str | os.PathLike[str], *, replace: bool = False) -> Transfer:
        """Write a store of vectors, as it is now, to ``path`` (see ``loom.vectors.flush``).

        Args:
            store: ``loom.vectors.VectorStore``.
            path: Folder to write, as of ``loom.vectors.flush``.
            replace: Whether another store there is written over.

        Returns:
            Transfer: a future, of nothing.

        Raises:
            ArgumentError: ``replace`` is no truth.
            DTypeError: Not a store; not a path.
            StateError: The Support is shut down.
        """
        where, insists = path_of(path, "support.flush").absolute(), flag(replace, "support.flush, replace")
        frozen = able(store, "support.flush", "freeze", "a loom.vectors.VectorStore").freeze()
        return self._io.ask("flush", lambda _: write_vectors(where, frozen, replace=insists))

    # building

    def build_all(self, units: Iterable[str | Unit]) -> list[Program]:
        """Build what is recorded for each unit, side by side on the workers.

        When one fails the others are built all the same, then the first error is raised.

        Args:
            units: Units that it serves, or their names.

        Returns:
            Programs in the order of the units.

        Raises:
            ArgumentError: No unit of this Support is called so; not several.
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

        Raises:
            LoomError: The first failure of a transfer that nobody asked about, when all is freed.
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
