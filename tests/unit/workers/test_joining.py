"""What is found of a Ray before it is joined."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import types
from typing import Any

import pytest

from loom.core.errors import DeviceError, StateError
from loom.workers import joining


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n", None])
def test_a_port_of_something_else_is_refused_at_once(monkeypatch: pytest.MonkeyPatch, answer: bytes | None) -> None:
    monkeypatch.setattr(joining, "_SECONDS_TO_CONNECT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        lines: list[Any] = []

        def serve() -> None:
            line, _ = server.accept()
            lines.append(line)
            line.recv(64)
            if answer is not None:  # None: it says nothing
                line.sendall(answer)
                with contextlib.suppress(OSError):  # who has read enough may have hung up by now
                    line.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(DeviceError, match=r"is no Ray|nothing answers"):
            joining._require_answer("here", f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()
        lines[0].close()


def test_a_forked_process_is_refused_and_closes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    joined = joining.JoinedRay(object(), "there:1", is_own=True)
    assert joined.require_own_process("here") is joined
    monkeypatch.setitem(joining._joined_by, "there:1", os.getpid() + 1)
    with pytest.raises(StateError, match="forked"):
        joined.require_own_process("here")
    joined.close()  # Ray's shutdown would end its parent's, and ``object()`` has none


@pytest.mark.parametrize("asked", [None, "1"])
def test_ray_leaves_print_alone_unless_the_user_asks(monkeypatch: pytest.MonkeyPatch, asked: str | None) -> None:
    monkeypatch.setenv("RAY_TQDM_PATCH_PRINT", asked or "")
    if asked is None:
        monkeypatch.delenv("RAY_TQDM_PATCH_PRINT")
    seen: list[Any] = []
    ray = types.SimpleNamespace(init=lambda **options: seen.append((os.environ["RAY_TQDM_PATCH_PRINT"], options)))
    joining._init(ray, address="auto")
    ((patched, options),) = seen
    assert patched == (asked or "0")
    assert options["address"] == "auto"
    assert options["log_to_driver"] is False
