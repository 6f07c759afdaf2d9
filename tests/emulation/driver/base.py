"""What all of the emulated driver shares: results, handles, contexts, what is current in a thread.

Invariant: a handle that was destroyed, or is of another kind, is an error, as is a call without a context.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import Any, TypeVar

from emulation.driver.code import Code
from emulation.driver.streams import Order, Scheduler, Stream
from emulation.ptx.memory import EmulationError

__all__ = ["ATTRIBUTES", "Base", "Context", "Failure"]

ATTRIBUTES = {
    "MAX_THREADS_PER_BLOCK": 1024, "MAX_BLOCK_DIM_X": 1024, "MAX_BLOCK_DIM_Y": 1024, "MAX_BLOCK_DIM_Z": 64,
    "MAX_GRID_DIM_X": (1 << 31) - 1, "MAX_GRID_DIM_Y": 65535, "MAX_GRID_DIM_Z": 65535,
    "MAX_SHARED_MEMORY_PER_BLOCK": 49152, "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": 232448,
    "WARP_SIZE": 32, "MULTIPROCESSOR_COUNT": 4, "MEMORY_POOLS_SUPPORTED": 1, "COMPUTE_MODE": 0,
}  # fmt: skip
"""Of an H100, but for the multiprocessors, of which there are few so that schedules cut little."""
INVALID_VALUE, OUT_OF_MEMORY, INVALID_CONTEXT, INVALID_HANDLE = 1, 2, 201, 400
_Kind = TypeVar("_Kind")


class Failure(Exception):
    """A result that is not success."""

    def __init__(self, code: int, why: str = "") -> None:
        super().__init__(why)
        self.code, self.why = code, why


@dataclass(eq=False)
class Context:
    """A GPU's primary context. ``lost`` is what every call answers once something went wrong on the GPU."""

    number: int
    handle: int
    lost: int = 0
    users: int = 0
    used_nbytes: int = 0
    peers: set[int] = field(default_factory=set)


class Base:
    """A driver of ``count`` GPUs of a compute capability, each with ``room`` bytes of memory."""

    def __init__(
        self,
        code: Code,
        count: int = 1,
        chip: tuple[int, int] = (9, 0),
        *,
        room: int = 1 << 30,
        seed: int = 0,
        order: Order = Order.LATE,
        version: int = 12_080,
    ) -> None:
        self.count, self.chip, self.room, self.version = count, chip, room, version
        self.attributes = {**ATTRIBUTES, "COMPUTE_CAPABILITY_MAJOR": chip[0], "COMPUTE_CAPABILITY_MINOR": chip[1]}
        self.scheduler = Scheduler(seed, order)
        self.code = code
        self.memory = self.code.memory
        self.reports: list[EmulationError] = []
        """What went wrong on GPUs, as the emulation tells it."""
        self.waits: list[tuple[int, int]] = []
        """(stream, stream that it waits for), by handles."""
        self.launches_left: dict[int, int] = {}
        """Of GPUs that are to be lost: how many more launches they do."""
        self.why = ""
        """Of the newest call that failed."""
        self._numbers = itertools.count(0x1000, 0x10)
        self._objects: dict[int, Any] = {}
        self._default: dict[int, Stream] = {}
        self._local = threading.local()
        self.contexts = [Context(number, next(self._numbers)) for number in range(count)]
        self._objects.update({context.handle: context for context in self.contexts})

    # handles

    def made(self, thing: object) -> int:
        """Return a handle of something new."""
        handle = next(self._numbers)
        self._objects[handle] = thing
        return handle

    def of(self, kind: type[_Kind], handle: Any) -> _Kind:
        """Return what a handle is of."""
        found = self._objects.get(int(handle))
        if not isinstance(found, kind):
            raise Failure(INVALID_HANDLE, f"{int(handle):#x} is no {kind.__name__}")
        return found

    def destroyed(self, kind: type[_Kind], handle: Any) -> _Kind:
        """Return what a handle was of; from now on it is of nothing."""
        found = self.of(kind, handle)
        del self._objects[int(handle)]
        return found

    # contexts

    @property
    def stack(self) -> list[Context]:
        """Contexts of this thread; the last is current."""
        if not hasattr(self._local, "stack"):
            self._local.stack = []
        return self._local.stack

    @property
    def current(self) -> Context:
        """The current context."""
        if not self.stack:
            raise Failure(INVALID_CONTEXT, "no context is current in this thread")
        context = self.stack[-1]
        if context.lost:
            raise Failure(context.lost, "the context was lost before")
        return context

    def stream(self, handle: Any) -> Stream:
        """Return a stream of the current context; 0, 1 and 2 are its default ones."""
        context = self.current
        if int(handle) <= 2:
            return self._of_default(context)
        found = self.of(Stream, handle)
        if found.context != context.number:
            raise Failure(INVALID_HANDLE, "the stream is of another context than the current one")
        return found

    def adopt_stream(self, handle: int, number: int = 0) -> None:
        """Have a stream of another library, of a GPU."""
        self._objects[handle] = Stream(number)
        self.scheduler.streams.append(self._objects[handle])

    def _of_default(self, context: Context) -> Stream:
        found = self._default.get(context.number)
        if found is None:
            found = self._default[context.number] = Stream(context.number)
            self.scheduler.streams.append(found)
        return found

    def submit(self, stream: Stream, action: Any) -> None:
        """Queue what may go wrong on the GPU."""

        def done() -> None:
            try:
                action()
            except EmulationError as error:
                self.lose(stream.context, error)

        self.scheduler.submit(stream, done)

    def lose(self, number: int, error: EmulationError) -> None:
        """Lose the context of a GPU for what went wrong."""
        self.reports.append(error)
        self.contexts[number].lost = error.code
        self.scheduler.drop(number)

    def finish(self, *streams: Stream) -> None:
        """Do all work of streams; fail as the current context does then."""
        self.scheduler.drain(streams)
        _ = self.current
