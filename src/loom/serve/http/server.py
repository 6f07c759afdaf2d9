"""Runs the application: a socket, signals, and a stop that lets answers end.

Layer: serve. Invariant: the port is taken before anything is told of it, and a server that was told to stop ends within
its limit of time.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Generator
from types import TracebackType

import uvicorn

from loom.core.errors import ArgumentError, StateError
from loom.serve.http.application import Application
from loom.serve.http.guard import is_loopback
from loom.serve.http.protocol import protocol_of

__all__ = ["BackgroundServer", "listen", "serve_on", "url_of"]

_START_SECONDS = 30
_LAST_SECONDS = 1.0
"""For answers that the end of the draining cuts to reach their clients."""


def listen(host: str, port: int, *, keyed: bool, no_key: bool = False) -> socket.socket:
    """Return a socket that listens; ArgumentError if the address cannot be had, or anyone could come without a key."""
    if not is_loopback(host) and not keyed and not no_key:
        raise ArgumentError("loom serve, --host", "other machines reach this address, and no key is asked for",
                            expected="--key, or 127.0.0.1", got=host,
                            remedy="Pass --key KEY, or --no-key if everyone may use it")  # fmt: skip
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)  # asyncio sends small parts at once over what is told to be TCP
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            made.listen(2048)
        except BaseException:
            made.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        raise ArgumentError("loom serve", "the address cannot be had", expected="a free address of this machine",
                            got=f"{host}:{port} ({error})",
                            remedy="Choose another --port or --host") from None  # fmt: skip
    return made


def url_of(sock: socket.socket) -> str:
    """Return where a socket is reached: ``http://127.0.0.1:8000``."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve_on(application: Application, sock: socket.socket, *, ready: Callable[[], None] | None = None) -> None:
    """Serve until a signal says to stop (SIGINT, SIGTERM): then nobody new comes in, and answers may end.

    ``ready`` is called when requests are answered. A second SIGINT waits for nothing. Closes the socket.
    """
    try:
        _server(application, ready).run(sockets=[sock])
    finally:
        sock.close()


def _server(application: Application, ready: Callable[[], None] | None) -> _Server:
    limits = application.state.limits
    config = uvicorn.Config(
        application, http=protocol_of(limits), ws="none", lifespan="on", log_level="error", access_log=False,
        log_config=None, server_header=False, proxy_headers=False, backlog=2048,
        timeout_keep_alive=max(int(limits.idle_seconds), 1),
        timeout_graceful_shutdown=int(limits.drain_seconds + _LAST_SECONDS) + 5,
        h11_max_incomplete_event_size=limits.head_bytes,
    )  # fmt: skip
    return _Server(config, application, ready)


class _Server(uvicorn.Server):
    """uvicorn's server, which tells when it is ready, and lets nobody in while it waits for what is under way."""

    def __init__(self, config: uvicorn.Config, application: Application, ready: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._application, self._ready = application, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._ready is not None:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._application.state.gate.close()
        end = asyncio.ensure_future(self._end_of_draining())
        try:
            await super().shutdown(sockets)
            if self.force_exit:  # uvicorn leaves what is under way, and the application, to be cancelled
                self._application.state.end()
                if left := tuple(self.server_state.tasks):
                    await asyncio.wait(left, timeout=_LAST_SECONDS)
                await self.lifespan.shutdown()
        finally:
            end.cancel()

    async def _end_of_draining(self) -> None:
        """Have what is under way end when its time is over, and then connections that do not read that."""
        await asyncio.sleep(self._application.state.limits.drain_seconds)
        self._application.state.end()
        await asyncio.sleep(_LAST_SECONDS)
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop on signals, and do not send them to oneself again at the end: it is no failure."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class BackgroundServer:
    """A server in a thread of this process: ``with BackgroundServer(application) as server: server.url``."""

    def __init__(self, application: Application, host: str = "127.0.0.1", port: int = 0) -> None:
        self._sock = listen(host, port, keyed=bool(application.guard.keys))
        self.url = url_of(self._sock)
        self._ready = threading.Event()
        self._server = _server(application, self._ready.set)
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="loom-serve", daemon=True)

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._sock])
        except BaseException as error:
            self._failed.append(error)
        finally:
            self._sock.close()
            self._ready.set()

    def __enter__(self) -> BackgroundServer:
        self._thread.start()
        self._ready.wait(_START_SECONDS)
        if self._failed or not self._server.started:
            raise StateError("loom.serve.BackgroundServer", "the server did not start", got=repr(self._failed[:1]),
                             remedy="Read what it says")  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Let answers end, within the limit of time, and stop."""
        self._server.should_exit = True
        self._thread.join()

    def __repr__(self) -> str:
        return f"<BackgroundServer {self.url}>"
