"""Where pictures go: numbered PNG files, a page on this computer, or memory.

Layer: support. Nothing is opened before it is asked for; the page listens on 127.0.0.1 alone. Invariant: ``show``
returns when the frame has been taken over; what a reader of the page sees is a whole frame.
"""

from __future__ import annotations

import contextlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from loom.core.errors import ArgumentError, DeviceError, StateError
from loom.core.given import able, path
from loom.core.numbers import whole
from loom.core.tracebacks import brief_class
from loom.formats.file_writes import write_file
from loom.runtime.memory.frames import Frame

__all__ = ["Latest", "Page", "PngSequence", "Presenter"]

_LOCAL = "127.0.0.1"
_POLL_SECONDS = 10.0
"""How long the page's request for the next frame is kept waiting."""
_PAGE = b"""<!doctype html><meta charset="utf-8"><title>Loom</title>
<style>body{margin:0;background:#1a3a5c;display:grid;place-items:center;height:100vh}img{image-rendering:pixelated}</style>
<img id="f" alt="no frame yet"><script>
let n=0;async function next(){try{const r=await fetch("/frame.png?after="+n);
if(r.status===200){n=+r.headers.get("X-Frame");
const u=URL.createObjectURL(await r.blob()),i=document.getElementById("f");
i.onload=()=>URL.revokeObjectURL(u);i.src=u}}catch(e){await new Promise(d=>setTimeout(d,1000))}next()}next()</script>"""


class Presenter(Protocol):
    """Something that shows frames. ``show`` is called by one thread at a time."""

    def show(self, frame: Frame) -> None:
        """Take a frame."""
        ...

    def close(self) -> None:
        """Let go of files and sockets; calling it again does nothing."""
        ...


@brief_class
class Latest:
    """Keeps the last frame in memory; a notebook that shows the presenter shows it."""

    def __init__(self) -> None:
        self.frame: Frame | Any = None  # until the first is shown
        self.count = 0

    def show(self, frame: Frame) -> None:
        """Keep a frame in place of the last.

        Args:
            frame: ``loom.Frame``.
        """
        self.frame = frame
        self.count += 1

    def close(self) -> None:
        """Nothing to let go of."""

    def _repr_png_(self) -> bytes | None:
        return None if self.frame is None else self.frame.png()


@brief_class
class PngSequence:
    """A presenter that writes frames to files: frame-00000.png, frame-00001.png, ...

    Args:
        folder: Folder of the files.
        name: Name of a file, with a place for the number.
        first: Number of the first file.

    Raises:
        ArgumentError: A name without a place for the number, or of another folder; a number below 0 or no whole number.
        DTypeError: Not a path.
    """

    def __init__(self, folder: str | os.PathLike[str], *, name: str = "frame-{:05}.png", first: int = 0) -> None:
        try:
            distinct = (
                isinstance(name, str)
                and name.format(0) != name.format(1)
                and os.path.basename(name.format(0)) == name.format(0)
            )
        except (IndexError, KeyError, AttributeError, TypeError, ValueError):
            distinct = False
        if not distinct:
            raise ArgumentError(
                "loom.PngSequence", "unusable name",
                expected="a file's name with a place for the number, as frame-{:05}.png", got=repr(name),
                remedy="Leave it out",
            )  # fmt: skip
        self.folder = path(folder, "loom.PngSequence, folder")
        self.name = name
        self.next = whole(first, "loom.PngSequence, first", least=0)

    def show(self, frame: Frame) -> None:
        """Write the next file, whole or not at all.

        Args:
            frame: ``loom.Frame``.

        Raises:
            DTypeError: Not a frame.
            FileError: The file cannot be written.
        """
        where = "loom.PngSequence.show"
        picture = able(frame, where, "png", "a loom.Frame").png()
        write_file(self.folder / self.name.format(self.next), picture, where, durable=False)
        self.next += 1

    def close(self) -> None:
        """Nothing to let go of."""


class Page:
    """A page of this computer that shows the latest frame, at ``url``. A context manager.

    Args:
        port: Number of the port; 0: a free one.

    Raises:
        DeviceError: The port cannot be had.
    """

    def __init__(self, port: int = 0) -> None:
        self._news = threading.Condition()
        self._latest: Frame | None = None
        self._count = 0
        self._closed = False
        handler = type("Handler", (_Handler,), {"page": self})
        try:
            self._server = ThreadingHTTPServer((_LOCAL, port), handler)
        except (OSError, OverflowError, TypeError) as error:
            raise DeviceError(
                "loom.Page", f"no page at port {port!r} ({error})", remedy="Pass port=0 for a free one"
            ) from None
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="loom page", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{_LOCAL}:{self._server.server_address[1]}/"

    def show(self, frame: Frame) -> None:
        """Show a frame in place of the last; it is written as PNG when a reader asks.

        Args:
            frame: ``loom.Frame``.

        Raises:
            StateError: The page is closed.
        """
        with self._news:
            if self._closed:
                raise StateError("loom.Page.show", "the page is closed", remedy="Open a new one")
            self._latest = frame
            self._count += 1
            self._news.notify_all()

    def after(self, count: int) -> tuple[int, Frame] | None:
        """Return number and picture of the frame now shown, once it is later than ``count``; None if none comes.

        Args:
            count: Number of the frame seen last.
        """
        with self._news:
            self._news.wait_for(lambda: self._closed or self._count > count, _POLL_SECONDS)
            return None if self._closed or self._count <= count or self._latest is None else (self._count, self._latest)

    def close(self) -> None:
        """End the page."""
        with self._news:
            if self._closed:
                return
            self._closed = True
            self._news.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_exc: Any) -> None:
        self.close()


class _Handler(BaseHTTPRequestHandler):
    """Answers ``/`` and ``/frame.png?after=N``, to this computer's names only, so that no other site can read it."""

    page: Page

    def do_GET(self) -> None:
        with contextlib.suppress(ConnectionError):
            self._answer()

    def _answer(self) -> None:
        asked = urlsplit(self.path)
        if (self.headers.get("Host") or "").rsplit(":", 1)[0] not in (_LOCAL, "localhost"):
            self._send(403, "text/plain", b"this page is for 127.0.0.1 alone\n")
        elif asked.path == "/":
            self._send(200, "text/html", _PAGE)
        elif asked.path == "/frame.png":
            after = parse_qs(asked.query).get("after", ["0"])[0]
            found = self.page.after(int(after) if after.isdecimal() and len(after) < 19 else 0)
            if found is None:
                self._send(204, "image/png", b"")
            else:
                self._send(200, "image/png", found[1].png(), found[0])
        else:
            self._send(404, "text/plain", b"no such page\n")

    def _send(self, status: int, kind: str, body: bytes, number: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Frame", str(number))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the server's name)
        """Say nothing."""
