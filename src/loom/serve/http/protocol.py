"""HTTP/1.1 by uvicorn, for clients that take their time: a head, a body and an answer have to be through by then.

Layer: serve. Invariant: no connection lasts longer than its requests may, whatever a client sends or does not read.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from loom.serve.http.application import answer_of
from loom.serve.limits import ServerLimits
from loom.serve.refusals import Refusal, busy

__all__ = ["protocol_of"]

_LINGER_SECONDS = 2.0
"""After an answer that came before all of the request: time to read it."""


_CROWD = answer_of(busy("There are too many connections: come back later.", status=503, last=True))


class _Protocol(H11Protocol):
    limits = ServerLimits()
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._give(self.limits.head_seconds)

    def _give(self, seconds: float | None) -> None:
        """Let the connection last so many seconds from now, None: as long as it likes."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._end)

    def _end(self) -> None:
        self.transport.abort()

    def handle_events(self) -> None:
        before = self.cycle
        if len(self.connections) > self.limits.connections:
            self.app = _CROWD
        super().handle_events()
        if self.cycle is not before:  # a head is whole
            limits = self.limits
            self._give(limits.body_seconds + limits.request_seconds + limits.drain_seconds)

    def data_received(self, data: bytes) -> None:
        idle = self._idle()
        super().data_received(data)
        if idle and self._idle() and self._timer is None:  # the beginning of a further head
            self._give(self.limits.head_seconds)

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def on_response_complete(self) -> None:
        unread = self.conn.their_state in (h11.SEND_BODY, h11.SEND_RESPONSE)
        self._give(_LINGER_SECONDS if unread else None)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        data = json.dumps(Refusal(400, msg, code="invalid_http").body()).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(data))), ("connection", "close")]
        head = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        try:
            events = (head, h11.Data(data=data), h11.EndOfMessage())
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
            self.transport.close()
        except h11.LocalProtocolError:  # an answer is under way
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._give(None)
        super().connection_lost(exc)


def protocol_of(limits: ServerLimits) -> type[H11Protocol]:
    """Return the protocol that holds these limits."""
    return type("LimitedProtocol", (_Protocol,), {"limits": limits})
