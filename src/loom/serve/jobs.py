"""Runs a request's texts: each is written by a thread of the engine's, and comes to the event loop piece by piece.

Layer: serve. Invariant: when a job is closed, for whatever reason, its texts are cancelled and its places given back.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from dataclasses import field
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import LoomError
from loom.core.late.dataclass import dataclass
from loom.models.tasks.port import ServedModel, TextTask, TokenStep
from loom.models.tasks.writer import TextWriter
from loom.serve.gate import ServerGate, Ticket
from loom.serve.refusals import Refusal, busy

__all__ = ["TextJob", "TextPart", "WrittenText", "embed_in_parts", "enter_in_time", "refusal_of"]

_TEXTS_OF_A_PART = 64
"""Texts whose vectors are computed between two looks at whether somebody waits; it changes no bit."""
_PARAMS = {"json_schema": "response_format", "chat template": "messages", "render_chat": "messages"}
"""The field at fault, by the place that an error of Loom's names first."""


@dataclass(slots=True)
class WrittenText:
    """What was written for one task so far."""

    steps: list[TokenStep] = field(default_factory=list[TokenStep])
    offsets: list[int] = field(default_factory=list[int])
    text: str = ""
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class TextPart:
    """A part of a choice: new text, the step that gave it (none at the end), why it ended (at the end).

    ``offset``: how many characters of the choice stand before the step's token.
    """

    index: int
    text: str
    step: TokenStep | None = None
    finish_reason: str | None = None
    error: BaseException | None = None
    offset: int = 0


class TextJob:
    """The texts of one request, under way.

    ``pieces`` may be iterated once; ``choices`` hold all that came. Close it in the end, from the event loop.
    """

    def __init__(self, model: ServedModel, tasks: Sequence[TextTask], deadline: float) -> None:
        self.model, self.tasks = model, tuple(tasks)
        self.choices = [WrittenText() for _ in self.tasks]
        self._deadline = deadline
        self._queue: asyncio.Queue[TextPart] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._writers: list[TextWriter] = []
        self._cancelled = False
        self._tickets: dict[int, Ticket] = {}
        self._feeder: asyncio.Task[None] | None = None

    async def start(self, gate: ServerGate, threads: Executor) -> None:
        """Wait for a place, then begin with the first text; Refusal if there is none, or time is over.

        The others begin as places become free, and need not queue: the request has been let in.
        """
        self._tickets[0] = await enter_in_time(gate, self._deadline)
        threads.submit(self._write, 0)
        if len(self.tasks) > 1:
            self._feeder = asyncio.ensure_future(self._feed(gate, threads))

    async def _feed(self, gate: ServerGate, threads: Executor) -> None:
        """Begin the other texts, one after the other."""
        for index in range(1, len(self.tasks)):
            try:
                self._tickets[index] = await gate.enter(patient=True)
            except Refusal as refusal:
                self._queue.put_nowait(TextPart(index, "", None, None, refusal))
                return
            threads.submit(self._write, index)

    def _write(self, index: int) -> None:
        """Write one text, in a thread of its own."""
        try:
            writer = TextWriter(self.model, self.tasks[index])
            with self._lock:
                self._writers.append(writer)
                gone = self._cancelled
            if gone:
                writer.cancel()
            for step, text in writer:
                self._tell(TextPart(index, text, step, offset=writer.offsets[-1]))
            self._tell(TextPart(index, writer.flush(), None, writer.finish_reason))
        except BaseException as error:
            self._tell(TextPart(index, "", None, None, error))

    def _tell(self, piece: TextPart) -> None:
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, piece)
        except RuntimeError:  # the loop is closed: nobody listens
            self._cancel()

    async def pieces(self) -> AsyncIterator[TextPart]:
        """Yield what is written until all is, then stop; what went wrong is raised, a Refusal when time is over."""
        left = len(self.tasks)
        try:
            while left:
                async with _until(self._deadline):
                    piece = await self._queue.get()
                if isinstance(piece.error, Refusal):
                    raise piece.error
                if piece.error is not None:
                    raise refusal_of(piece.error) from piece.error
                self._keep(piece)
                left -= piece.finish_reason is not None
                yield piece
        except (asyncio.TimeoutError, TimeoutError):
            raise Refusal(504, "The request took longer than the server allows.", code="timeout") from None

    def _keep(self, piece: TextPart) -> None:
        choice = self.choices[piece.index]
        choice.text += piece.text
        if piece.step is not None:
            choice.steps.append(piece.step)
            choice.offsets.append(piece.offset)
        choice.finish_reason = piece.finish_reason
        if piece.finish_reason is not None:
            self._tickets[piece.index].give_back()

    async def finish(self) -> list[WrittenText]:
        """Wait until everything is written."""
        async for _ in self.pieces():
            pass
        return self.choices

    def _cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            writers = list(self._writers)
        for writer in writers:
            writer.cancel()

    def close(self) -> None:
        """End what is under way and give the places back."""
        self._cancel()
        if self._feeder is not None:
            self._feeder.cancel()
        for ticket in self._tickets.values():
            ticket.give_back()


class _Until:
    """``async with``: TimeoutError when the time is over (``asyncio.timeout_at`` is of Python 3.11)."""

    def __init__(self, deadline: float) -> None:
        self._deadline, self._over = deadline, False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(self._deadline - time.monotonic(), 0), self._end)

    def _end(self) -> None:
        self._over = True
        self._task.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        self._timer.cancel()
        if self._over and kind is asyncio.CancelledError:
            if hasattr(self._task, "uncancel"):
                self._task.uncancel()
            raise TimeoutError from None


_until = _Until


async def enter_in_time(gate: ServerGate, deadline: float) -> Ticket:
    """Return a ticket for one place; Refusal if there is none, or time is over."""
    try:
        async with _until(deadline):
            return await gate.enter()
    except (asyncio.TimeoutError, TimeoutError):
        raise Refusal(503, "No place became free in time.", code="timeout", retry_after=5) from None


def embed_in_parts(model: ServedModel, rows: Sequence[Sequence[int]], over: threading.Event) -> Array:
    """Return a vector for each text; in parts, between which it ends where nobody waits any more."""
    order = sorted(range(len(rows)), key=lambda at: len(rows[at]))  # texts of like length are padded least
    made: list[Array] = []
    for begin in range(0, len(rows), _TEXTS_OF_A_PART):
        if over.is_set():
            raise busy("Nobody waits for these vectors.", status=503)
        made.append(model.embed([rows[at] for at in order[begin : begin + _TEXTS_OF_A_PART]]))
    return np.concatenate(made)[np.argsort(order)]


def refusal_of(error: BaseException) -> Refusal:
    """Return what a client is told of an error: the text of one of Loom's about its request, no more of any other."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, LoomError) and isinstance(error, (ValueError, TypeError)):
        param = _PARAMS.get(error.where.partition(",")[0])
        return Refusal(400, " ".join(str(error).split()), param=param, code="invalid_value")
    if isinstance(error, LoomError):
        return Refusal(500, " ".join(str(error).split()), code=type(error).__name__)
    return Refusal(500, "The server met an error of its own; it has written which to its log.", code="internal_error")
