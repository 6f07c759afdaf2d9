"""Answers in parts: server-sent events, and work that ends when the client goes away.

Layer: serve. Invariant: whatever ends an answer, what it held is given back, once.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from loom.serve.jobs import refusal_of
from loom.serve.refusals import Refusal

__all__ = ["EventStream", "first_of", "watch_client"]

T = TypeVar("T")
_LOG = logging.getLogger("loom.serve")


async def watch_client(receive: Receive) -> NoReturn:
    """Raise ClientDisconnect when the client goes away."""
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ClientDisconnect


async def first_of(work: Awaitable[T], *watches: Awaitable[NoReturn]) -> T:
    """Return what the work gives; or raise what a watch raises before that, the work cancelled."""
    tasks = (asyncio.ensure_future(work), *map(asyncio.ensure_future, watches))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done()).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class EventStream(Response):
    """Events, each an object, as they come; ``close`` is called at the end, whatever that is.

    Nothing is sent before there is a first event, so that what is refused until then is an answer of its own; what is
    refused later is the last event. ``watch_end`` raises a Refusal when the server takes no more time.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncIterator[dict[str, Any]],
        close: Callable[[bool], None],
        watch_end: Callable[[], Awaitable[NoReturn]],
    ) -> None:
        super().__init__()
        self._events, self._close, self._watch_end = events, close, watch_end

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send everything."""
        whole = False
        try:
            first = await first_of(self._next(), watch_client(receive), self._watch_end())
            whole = await self._send(first, receive, send)
        finally:
            self._close(whole)
            closing: Awaitable[None] | None = getattr(self._events, "aclose", lambda: None)()
            if closing is not None:
                await closing

    async def _next(self) -> dict[str, Any] | None:
        try:
            return await anext(self._events, None)
        except Refusal:
            raise
        except Exception as error:
            raise refusal_of(error) from error

    async def _send(self, first: dict[str, Any] | None, receive: Receive, send: Send) -> bool:
        """Send head and events; return whether that was all. A client that goes away is no error."""
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            try:
                await first_of(self._send_events(first, send), watch_client(receive), self._watch_end())
            except Refusal as refusal:
                if refusal.status >= 500 and refusal.__cause__ is not None:
                    _LOG.error("an answer in parts failed", exc_info=refusal.__cause__)
                await send(_part(_event(refusal.body()), more=False))
        except (ClientDisconnect, OSError):
            return False
        return True

    async def _send_events(self, first: dict[str, Any] | None, send: Send) -> None:
        event = first
        while event is not None:
            await send(_part(_event(event)))
            event = await self._next()
        await send(_part(b"data: [DONE]\n\n", more=False))


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _part(data: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}
