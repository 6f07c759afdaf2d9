"""The ASGI application: paths, what stands before them, and what becomes of errors.

Layer: serve. Invariant: every answer is counted, and an error of the server's own never tells what is inside.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from loom.core.errors import ArgumentError
from loom.core.version import __version__
from loom.models.tasks.port import ServedModel
from loom.serve.api.endpoints import Endpoints
from loom.serve.http.guard import RequestGuard, host_name, page_origin
from loom.serve.http.page import page_response
from loom.serve.jobs import refusal_of
from loom.serve.limits import ServerLimits
from loom.serve.refusals import Refusal
from loom.serve.state import ServerState

__all__ = ["Application", "answer_of", "build_application"]

_LOG = logging.getLogger("loom.serve")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Application:
    """The server as an ASGI application; ``state`` is what it keeps."""

    def __init__(self, models: Sequence[ServedModel], guard: RequestGuard, limits: ServerLimits) -> None:
        names = [model.name for model in models]
        twice = next((name for name in names if names.count(name) > 1), None)
        if not names or twice is not None:
            raise ArgumentError("loom serve", "models need names of their own", expected="one name each",
                                got="no model" if not names else f"{twice!r} twice",
                                remedy="Write NAME=MODEL")  # fmt: skip
        self.guard = guard
        self.state = ServerState({model.name: model for model in models}, limits)
        self._inner = self._routes()

    def _routes(self) -> Starlette:
        ends = Endpoints(self.state)
        routes = [
            Route("/", _page, methods=["GET"]),
            Route("/health", self._health, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            Route("/v1/models", ends.models, methods=["GET"]),
            Route("/v1/models/{name:path}", ends.model, methods=["GET"]),
            Route("/v1/completions", ends.completions, methods=["POST"]),
            Route("/v1/chat/completions", ends.chat, methods=["POST"]),
            Route("/v1/embeddings", ends.embeddings, methods=["POST"]),
            Route("/v1/receipts/{name}", ends.receipt, methods=["GET"]),
        ]
        handlers: dict[Any, Any] = {
            Refusal: _on_refusal, HTTPException: _on_http, ClientDisconnect: _on_gone, Exception: _on_error,
        }  # fmt: skip
        origins = self.guard.origins
        cors = Middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"],
                          allow_headers=["*"],  # OpenAI's client for pages sends a dozen of its own
                          expose_headers=["Loom-Receipt-Id"])  # fmt: skip
        return Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan,
                         middleware=[cors] if origins else [])  # fmt: skip

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        most = self.state.limits.sequences
        with ThreadPoolExecutor(most, "loom-write") as threads, ThreadPoolExecutor(2, "loom-read") as readers:
            self.state.start(threads, readers)
            try:
                yield
            finally:
                self.state.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._inner(scope, receive, send)
            return
        started, status = time.monotonic(), 0
        scope.setdefault("state", {})["started"] = started

        async def watch(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_SAFE]
            await send(message)

        try:
            try:
                self._require_small(scope)
                self.guard.check(scope["path"], scope["headers"], scope["method"])
            except Refusal as refusal:
                await answer_of(refusal)(scope, receive, watch)
                return
            await self._inner(scope, receive, watch)
        finally:
            endpoint = _endpoint_of(scope)
            self.state.metrics.count("loom_requests_total", endpoint=endpoint, status=str(status or 499))
            self.state.metrics.observe("loom_request_seconds", time.monotonic() - started, endpoint=endpoint)

    def _require_small(self, scope: Scope) -> None:
        """See that a head is within its limit of size, which h11 holds only of one that comes in parts."""
        most, parts = self.state.limits.head_bytes, [scope.get("raw_path", b""), scope["query_string"]]
        if sum(map(len, parts)) + sum(len(name) + len(value) for name, value in scope["headers"]) > most:
            raise Refusal(
                431, f"The head of the request is larger than {most} bytes.", code="request_too_large", last=True
            )

    async def _health(self, _: Request) -> Response:
        stopping = self.state.gate.closed
        body = {"status": "stopping" if stopping else "ok", "version": __version__}
        return JSONResponse(body, 503 if stopping else 200)

    async def _metrics(self, _: Request) -> Response:
        return PlainTextResponse(self.state.metrics.text(self.state.gauges()), media_type="text/plain; version=0.0.4")


_SAFE = (
    (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"), (b"cache-control", b"no-store"),
)  # fmt: skip

_PATHS = ("/", "/health", "/metrics", "/v1/models", "/v1/completions", "/v1/chat/completions", "/v1/embeddings")


def _endpoint_of(scope: Scope) -> str:
    """Return a path's name for counting: of those there are, for strangers must not make names."""
    path = scope["path"]
    if path in _PATHS:
        return path
    return next((start for start in ("/v1/models/", "/v1/receipts/") if path.startswith(start)), "other")


async def _page(_: Request) -> Response:
    return page_response()


def answer_of(refusal: Refusal) -> JSONResponse:
    """Return the answer to a request that is refused."""
    return JSONResponse(refusal.body(), refusal.status, refusal.headers())


async def _on_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    if error.status >= 500 and error.__cause__ is not None:
        _LOG.error("a request failed", exc_info=error.__cause__)
    return answer_of(error)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return answer_of(Refusal(404, f"There is no {request.method} {request.url.path[:200]}.", code="not_found"))
    made = answer_of(Refusal(error.status_code, str(error.detail), code="not_allowed"))
    made.headers.update(error.headers or {})
    return made


async def _on_gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)


async def _on_error(_: Request, error: Exception) -> Response:
    refusal = refusal_of(error)
    if refusal.status >= 500:
        _LOG.error("a request failed", exc_info=error)
    return answer_of(refusal)


def build_application(
    models: Sequence[ServedModel], *, keys: Sequence[str] = (), hosts: Sequence[str] = (), origins: Sequence[str] = (),
    limits: ServerLimits | None = None,
) -> Application:  # fmt: skip
    """Return the ASGI application that serves models.

    ``keys``: any of them is asked for. ``hosts``: names of the server beside its addresses. ``origins``: whose pages
    may use it beside its own. ArgumentError for models of one name, and for hosts and origins that no browser sends.
    """
    guard = RequestGuard(tuple(keys), tuple(map(host_name, hosts)), tuple(map(page_origin, origins)))
    return Application(models, guard, limits or ServerLimits())
