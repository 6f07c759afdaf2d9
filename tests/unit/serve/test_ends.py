"""How requests end that nobody waits for, or that the server has no time for: told in OpenAI's words, not logged."""

from __future__ import annotations

import contextlib
import json
import logging
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from loom.serve.http.application import build_application
from loom.serve.http.server import BackgroundServer
from loom.serve.limits import ServerLimits
from unit.serve.standin import StandIn
from unit.serve.test_http import CHAT, HEAD, address, asked, raw, until

LONG = "!slow !long"
RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"


def sent(server: BackgroundServer, body: dict[str, Any], path: str = CHAT) -> socket.socket:
    """Return a connection that a request was sent by."""
    data, sock = json.dumps(body).encode(), socket.create_connection(address(server), 5)
    sock.sendall(HEAD.replace(CHAT.encode(), path.encode()) + b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
    return sock


@contextlib.contextmanager
def silent(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """See that nothing was logged."""
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        yield
    assert caplog.text == ""


@pytest.mark.parametrize("how", ["reset", "close", "shutdown"])
@pytest.mark.parametrize("stream", [True, False], ids=["parts", "whole"])
def test_clients_that_vanish_are_no_errors(how: str, stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    model = StandIn()
    application = build_application([model], limits=ServerLimits(sequences=3, queue=8))
    with silent(caplog), BackgroundServer(application) as server:
        opened = [sent(server, asked(LONG, max_tokens=4000, stream=stream)) for _ in range(6)]
        until(lambda: model.under_way == 3)
        until(lambda: application.state.gate.waiting == 3)
        if stream:
            (first, *_), _, _ = select.select(opened, [], [], 10)  # whichever of the six came first
            assert first.recv(12) == b"HTTP/1.1 200"
        for sock in opened:
            if how == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            elif how == "shutdown":
                sock.shutdown(socket.SHUT_WR)
            sock.close()
        until(lambda: model.under_way == 0)
        until(lambda: not application.state.jobs)


def ended(body: dict[str, Any], path: str = CHAT, **limits: Any) -> tuple[httpx.Response, float]:
    """Return the answer to a request during which the server is told to stop, and the seconds that this took."""
    model = StandIn()
    application = build_application([model], limits=ServerLimits(**{"drain_seconds": 0.1, **limits}))
    found: list[httpx.Response] = []
    with BackgroundServer(application) as server, httpx.Client(base_url=server.url, verify=False, timeout=20) as web:
        thread = threading.Thread(target=lambda: found.append(web.post(path, json=body)))
        thread.start()
        until(lambda: application.state.gate.running)
        time.sleep(0.1)
        begun = time.monotonic()
        server.stop()
        took = time.monotonic() - begun
        thread.join()
    assert (model.under_way, application.state.jobs, application.state.gate.running) == (0, set(), 0)
    return found[0], took


def is_told(found: httpx.Response) -> None:
    assert (found.status_code, found.headers["content-type"]) == (503, "application/json")
    assert int(found.headers["retry-after"]) > 0
    error = found.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", "service_unavailable")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, asked(LONG, max_tokens=4000)),
        (CHAT, asked(LONG, max_tokens=4000, n=3)),
        ("/v1/completions", {"model": "stand-in", "prompt": LONG, "max_tokens": 4000}),
        ("/v1/embeddings", {"model": "stand-in", "input": "!sleep"}),
    ],
    ids=["chat", "several", "completion", "vectors"],
)
def test_a_whole_answer_that_the_server_ends_is_told_so(
    path: str, body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with silent(caplog):
        found, took = ended(body, path)
    is_told(found)
    assert took < 3


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
def test_an_answer_in_parts_that_the_server_ends_has_an_event_of_it(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = asked(LONG, max_tokens=4000, stream=True)
    if path != CHAT:
        body = {"model": "stand-in", "prompt": LONG, "max_tokens": 4000, "stream": True}
    with silent(caplog):
        found, took = ended(body, path)  # httpx would raise for a body that is cut
    assert found.status_code == 200
    events = [line.removeprefix("data: ") for line in found.text.splitlines() if line]
    assert len(events) > 3
    assert json.loads(events[-1])["error"]["code"] == "service_unavailable"
    assert took < 3


def test_the_official_client_tries_again_or_raises() -> None:
    application = build_application([StandIn()], limits=ServerLimits(drain_seconds=0.3))
    caught: list[BaseException] = []
    with BackgroundServer(application) as server, openai.OpenAI(
        base_url=f"{server.url}/v1", api_key="none", max_retries=0
    ) as client:  # fmt: skip

        def ask(stream: bool) -> None:
            try:
                found: Any = client.chat.completions.create(
                    model="stand-in", messages=[{"role": "user", "content": LONG}], max_tokens=4000, stream=stream
                )
                list(found)
            except openai.APIError as error:
                caught.append(error)

        threads = [threading.Thread(target=ask, args=(stream,)) for stream in (True, False)]
        for thread in threads:
            thread.start()
        until(lambda: application.state.gate.running == 2)
        time.sleep(0.1)
        server.stop()
        for thread in threads:
            thread.join()
    assert sorted(type(each).__name__ for each in caught) == ["APIError", "InternalServerError"]
    assert all("stopped before" in str(each) for each in caught)


def test_whoever_sends_or_reads_slowly_is_told_or_ended(caplog: pytest.LogCaptureFixture) -> None:
    model = StandIn()
    limits = ServerLimits(drain_seconds=0.3, sequences=2)
    application = build_application([model], limits=limits)
    with silent(caplog), BackgroundServer(application) as server:
        half = socket.create_connection(address(server), 5)
        half.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        deaf.connect(address(server))
        data = json.dumps(asked("!long", max_tokens=4000, stream=True, logprobs=True, top_logprobs=20)).encode()
        deaf.sendall(HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        slow = sent(server, asked(LONG, max_tokens=4000))
        waiting = sent(server, asked(LONG, max_tokens=4000))
        until(lambda: application.state.gate.running == 2)
        time.sleep(0.3)
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 5
        for sock in (half, slow, waiting):
            with sock, sock.makefile("rb") as answer:
                found = answer.read()
            assert found.startswith(b"HTTP/1.1 503 "), found
            assert b'"service_unavailable"' in found
            assert b"retry-after: 5" in found.lower()
        deaf.close()
    assert (model.under_way, application.state.jobs) == (0, set())


@pytest.mark.parametrize("stream", [True, False], ids=["parts", "whole"])
def test_all_texts_of_a_request_that_was_let_in_may_end(stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    body = asked(LONG, max_tokens=30, n=6, seed=1, stream=stream)
    with silent(caplog):
        found, _ = ended(body, drain_seconds=10, sequences=2)
    assert (found.status_code, found.text.count('"length"')) == (200, 6)


@pytest.mark.parametrize("stream", [True, False], ids=["parts", "whole"])
def test_a_request_of_which_some_texts_wait_is_ended_in_silence(stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    with silent(caplog):
        found, _ = ended(asked(LONG, max_tokens=4000, n=6, stream=stream), sequences=2)
    assert (found.status_code, '"service_unavailable"' in found.text) == (200 if stream else 503, True)


def test_vectors_that_nobody_waits_for_are_not_computed(caplog: pytest.LogCaptureFixture) -> None:
    model = StandIn()
    application = build_application([model], limits=ServerLimits(sequences=1, drain_seconds=0.1))
    body = {"model": "stand-in", "input": ["!sleep"] * 1000}  # eight seconds
    with silent(caplog), BackgroundServer(application) as server:
        sock = sent(server, body, "/v1/embeddings")
        until(lambda: model.embeds_done == 2)
        sock.close()
        until(lambda: not application.state.gate.running)
        with httpx.Client(base_url=server.url, verify=False) as web:
            texts = [f"text {'x' * (n % 7)} {n}" for n in range(200)]
            found = web.post("/v1/embeddings", json={"model": "stand-in", "input": texts}).json()["data"]
        assert model.embeds_done <= 3 + 4
        wanted = model.embed([list(text.encode()) for text in texts])
        assert np.array_equal(np.asarray([each["embedding"] for each in found], np.float32), wanted)
        sock = sent(server, body, "/v1/embeddings")
        until(lambda: application.state.gate.running)
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 3
        with sock, sock.makefile("rb") as answer:
            assert answer.read().startswith(b"HTTP/1.1 503 ")


def test_a_request_for_vectors_takes_no_longer_than_any_waiting_included() -> None:
    application = build_application([StandIn()], limits=ServerLimits(sequences=1, request_seconds=0.5))
    body = {"model": "stand-in", "input": ["!sleep"] * 1000}
    with BackgroundServer(application) as server, httpx.Client(base_url=server.url, verify=False) as web:
        assert web.post("/v1/embeddings", json=body).status_code == 504
        until(lambda: application.state.gate.running == 0)
        application.state.gate.running = 1  # of one who stays
        found = web.post("/v1/embeddings", json=body)
        assert (found.status_code, found.json()["error"]["code"]) == (503, "timeout")
        assert found.headers["retry-after"] == "5"


class Broken(StandIn):
    """A model whose digests cannot be read, when the answer is there."""

    writes_once = False

    @property
    def identity(self) -> Any:
        if self.writes_once:
            raise RuntimeError("a secret of the inside")
        return self._identity

    @identity.setter
    def identity(self, value: Any) -> None:
        self._identity = value


def test_an_error_behind_the_first_part_is_the_last_event(caplog: pytest.LogCaptureFixture) -> None:
    model = Broken()
    with BackgroundServer(build_application([model])) as server:
        body = asked("!slow !long", max_tokens=50, stream=True)
        with httpx.stream("POST", server.url + CHAT, json=body, verify=False) as found:
            lines = found.iter_lines()
            next(lines)
            model.writes_once = True
            last = [line for line in lines if line][-1]
    error = json.loads(last.removeprefix("data: "))["error"]
    assert (error["code"], "secret" in last) == ("internal_error", False)
    assert caplog.text.count("RuntimeError: a secret of the inside") == 1
    assert "response already started" not in caplog.text


def test_a_crowd_is_told_to_come_back() -> None:
    application = build_application([StandIn()], limits=ServerLimits(connections=3))
    with BackgroundServer(application) as server, contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection(address(server), 5)) for _ in range(3)]
        with httpx.Client(base_url=server.url, verify=False) as web:
            found = web.get("/v1/models")
            is_told(found)
            opened.pop().close()
            time.sleep(0.2)
            assert web.get("/v1/models").status_code == 200


def test_what_is_no_http_is_refused_once_and_in_json() -> None:
    with BackgroundServer(build_application([StandIn()])) as server:
        found = raw(server, b"GET\r\n\r\n")
        assert json.loads(found.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_http"
        with socket.create_connection(address(server), 2) as sock, sock.makefile("rb") as answers:
            sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert answers.read().count(b"HTTP/1.1 ") == 1
        found = raw(server, b"GET /health HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 70_000 + b"\r\n\r\n")
        assert found.startswith(b"HTTP/1.1 431 "), found[:80]
        assert (
            raw(server, b"GET /health HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 30_000 + b"\r\n\r\n")[9:12] == b"200"
        )
