"""Answers in parts: server-sent events, and work that ends when the client goes away.

Layer: serve. Invariant: whatever ends an answer, what it held is given back, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from loom.serve.refusals import Refusal

__all__ = ["EventStream", "unless_gone"]

T = TypeVar("T")
_LOG = logging.getLogger("loom.serve")


async def _gone(receive: Receive) -> None:
    """Return when the client went away."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return what the work gives; ClientDisconnect, the work cancelled, if the client goes away before."""
    task, watch = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for each in (task, watch):
            each.cancel()
        with contextlib.suppress(BaseException):
            await asyncio.wait((task, watch))


class EventStream(Response):
    """Events, each an object, as they come; ``close`` is called at the end, whatever that is.

    Nothing is sent before there is a first event, so that what is refused until then is an answer of its own.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[dict[str, Any]], close: Callable[[bool], None]) -> None:
        super().__init__()
        self._events, self._close = events, close

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send everything."""
        whole = False
        try:
            first = await unless_gone(receive, self._first())
            await unless_gone(receive, self._send(first, send))
            whole = True
        except OSError as error:  # the connection broke while something was sent
            raise ClientDisconnect from error
        finally:
            self._close(whole)
            closing: Awaitable[None] | None = getattr(self._events, "aclose", lambda: None)()
            if closing is not None:
                await closing

    async def _first(self) -> dict[str, Any]:
        return await anext(self._events)

    async def _send(self, first: dict[str, Any], send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send(_part(_event(first)))
        try:
            async for event in self._events:
                await send(_part(_event(event)))
        except Refusal as refusal:
            if refusal.status >= 500 and refusal.__cause__ is not None:
                _LOG.error("an answer in parts failed", exc_info=refusal.__cause__)
            await send(_part(_event(refusal.body()), more=False))
            return
        await send(_part(b"data: [DONE]\n\n", more=False))


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _part(data: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}
