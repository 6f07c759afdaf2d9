"""What a server does with strangers: malformed HTTP, wrong types everywhere, slow and vanishing clients, crowds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from loom.core.errors import ArgumentError
from loom.serve.http.application import Application, build_application
from loom.serve.http.guard import is_loopback
from loom.serve.http.server import BackgroundServer, listen
from loom.serve.limits import ServerLimits
from loom.serve.refusals import Refusal
from unit.serve.standin import StandIn

LIMITS = ServerLimits(body_bytes=20_000, sequences=4, queue=8, head_seconds=0.3, body_seconds=0.2, request_seconds=20)
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def model() -> StandIn:
    return StandIn()


@pytest.fixture(scope="module")
def application(model: StandIn) -> Application:
    return build_application([model], hosts=["loom.example"], limits=LIMITS)


@pytest.fixture(scope="module")
def server(application: Application) -> Iterator[BackgroundServer]:
    with BackgroundServer(application) as served:
        yield served


@pytest.fixture(scope="module")
def web(server: BackgroundServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, verify=False) as made:
        yield made


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "stand-in", "messages": [{"role": "user", "content": text}], **more}


def lives(web: httpx.Client) -> None:
    assert web.post(CHAT, json=asked("!say yes")).json()["choices"][0]["message"]["content"] == "yes"


def until(what: Any, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def address(server: BackgroundServer) -> tuple[str, int]:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return host, int(port)


def raw(server: BackgroundServer, data: bytes, wait: float = 2.0) -> bytes:
    """Return all that a connection answers to bytes, until it ends or nothing comes."""
    with socket.create_connection(address(server), wait) as sock:
        sock.sendall(data)
        found = b""
        try:
            while part := sock.recv(65536):
                found += part
                if b"\r\n\r\n" in found and b"chunked" not in found:
                    break
        except (TimeoutError, ConnectionResetError):
            pass
    return found


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
GOOD = json.dumps(asked("x")).encode()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x00\x01\x02\xff\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        (b"GET /health HTTP/1.1\r\nHost: LOOM.example:80\r\n\r\n", 200),
        (b"GET /health HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200),
        (b"GET /health HTTP/1.1\r\nHost: [::1\r\n\r\n", 403),
        (b"GET /health HTTP/1.1\r\nHost: \r\n\r\n", 403),
        (b"GET /health HTTP/1.1\r\nHost: [127.0.0.1]evil.example\r\n\r\n", 403),
        (b"GET /health HTTP/1.1\r\nHost: [::1]:80.evil.example\r\n\r\n", 403),
        (b"GET /health HTTP/1.1\r\nHost: localhost:evil.example\r\n\r\n", 403),
        (b"GET /health HTTP/1.1\r\nHost: 127.0.0.1@evil.example\r\n\r\n", 403),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n", 403),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n\r\n", 403),
        (b"GET /health HTTP/1.1\r\nHost: localhost:8000\r\nOrigin: http://localhost:8000\r\n\r\n", 200),
        (b"GET /" + b"a" * 30_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /%00%ff%2e%2e HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"BREW /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"GET /v1/models?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (HEAD + b"Content-Length: -5\r\n\r\n", 400),
        (HEAD + b"Content-Length: x\r\n\r\n", 400),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", 400),
        (HEAD + b"Content-Length: 99999999999999999999\r\n\r\n", 413),
        (HEAD + b"Content-Length: 99999999\r\n\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", 408),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 400),
        (HEAD + b"Content-Length: 50\r\n\r\n{", 408),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 415),
        (HEAD.replace(b"application/json", b"text/plain") + b"Content-Length: 2\r\n\r\n{}", 415),
        (HEAD + b"Content-Length: 0\r\n\r\n", 400),
        (HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(GOOD), GOOD), 200),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 200),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ],
    ids=lambda v: repr(v[:40]) if isinstance(v, bytes) else str(v),
)  # fmt: skip
def test_malformed_http(server: BackgroundServer, web: httpx.Client, data: bytes, status: int) -> None:
    found = raw(server, data)
    assert found.startswith(b"HTTP/1.1 %d " % status), found[:200]


@pytest.mark.parametrize("lengths", [b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                                     b"Transfer-Encoding: chunked\r\nContent-Length: 999\r\n"])  # fmt: skip
def test_a_request_of_two_lengths_is_the_last_of_its_connection(
    server: BackgroundServer, web: httpx.Client, lengths: bytes
) -> None:
    """A proxy may end it elsewhere (RFC 9112, 6.1): what follows would be a request of another client's."""
    smuggled = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(address(server), 2) as sock, sock.makefile("rb") as answers:
        sock.sendall(HEAD + lengths + b"\r\n0\r\n\r\n" + smuggled)
        found = answers.read()
    assert b'"ambiguous_length"' in found
    assert b"connection: close" in found.lower()
    assert found.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("head", [b"GET /" + b"a" * 2_000_000, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 300_000])
def test_a_head_without_end_is_refused(server: BackgroundServer, web: httpx.Client, head: bytes) -> None:
    with socket.create_connection(address(server), 5) as sock, pytest.raises(OSError, match=r"reset|pipe"):
        sock.sendall(head * 100)  # it is not read for ever
    lives(web)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe{}", b'{"model": "\xc3"}', b'{"a": NaN}', b'{"a": Infinity}',
        b'{"model": "a", "model": "b"}', b'{"model": "\\ud800"}', b'{"\\udfff": 1}', b"[" * 19_000,
        b'{"a":' * 3_000 + b"1" + b"}" * 3_000, b'{"messages":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"n": ' + b"9" * 10_000 + b"}", b'{"n": 1e999}', b"\x00" * 100, b'{"model": "stand-in"} x',
    ],
    ids=lambda v: repr(v[:30]),
)  # fmt: skip
def test_what_is_no_json_object_is_refused(web: httpx.Client, body: bytes) -> None:
    found = web.post(CHAT, content=body, headers={"Content-Type": "application/json"})
    assert found.status_code == 400, found.text
    assert found.json()["error"]["code"] in ("invalid_json", "missing_required_parameter", "unknown_parameter")


def test_a_body_beyond_the_limit_is_refused_however_it_comes(server: BackgroundServer, web: httpx.Client) -> None:
    assert web.post(CHAT, json=asked("x" * 30_000)).status_code == 413

    def parts() -> Iterator[bytes]:
        for _ in range(30):
            yield b" " * 1000

    found = web.post(CHAT, content=parts(), headers={"Content-Type": "application/json"})
    assert (found.status_code, found.json()["error"]["code"]) == (413, "request_too_large")
    lives(web)


VALUES = [None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, -(2**70), 0.5, -0.5, 1e308, 5e-324, "", "x", "stand-in",
          "\x00", "x" * 600, "é🙂", [], [[]], [None], [1], [-1], [300], [2**40], [1.5], ["x"], [["x"]], [[1], "x"],
          [[1, 2], [3]], [{}], {}, {"": 1}, {"type": "text"}, {"type": "json_object"}, {"a": {"b": [1]}},
          {"5": 1}, {"-5": 1}, {"5": "x"}, {"include_usage": 1}, {"role": "user", "content": "x"},
          [{"role": "user", "content": 5}], [{"role": "user"}], [{"role": [], "content": {}}]]  # fmt: skip
FIELDS = ["model", "messages", "prompt", "input", "temperature", "top_p", "top_k", "min_p", "repetition_penalty",
          "frequency_penalty", "presence_penalty", "logit_bias", "seed", "stop", "n", "stream", "stream_options",
          "response_format", "user", "metadata", "max_tokens", "max_completion_tokens", "logprobs", "top_logprobs",
          "echo", "encoding_format", "dimensions", "suffix", "best_of", "tools", "", "é", "__proto__"]  # fmt: skip
PATHS = {CHAT: asked("x", max_tokens=3), "/v1/completions": {"model": "stand-in", "prompt": "x", "max_tokens": 3},
         "/v1/embeddings": {"model": "stand-in", "input": "x"}}  # fmt: skip


def fuzz(web: httpx.Client, bodies: Iterator[tuple[str, Any]]) -> int:
    """Send bodies; every answer is a 200, or a refusal whose body says so. Return how many were answered 200."""
    good = 0
    for path, body in bodies:
        found = web.post(path, json=body)
        assert found.status_code in (200, 400, 404, 413), (found.status_code, path, body, found.text)
        if found.status_code == 200:
            good += 1
            if "data: " not in found.text:
                assert "receipt_id" in found.json(), (path, body)
        else:
            error = found.json()["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert error["type"] in ("invalid_request_error", "not_found_error")
    return good


def drawn(seed: int, count: int) -> Iterator[tuple[str, Any]]:
    draw = random.Random(seed)
    for _ in range(count):
        path, base = draw.choice(list(PATHS.items()))
        body = dict(base)
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            body[draw.choice(FIELDS)] = draw.choice(VALUES)
        if draw.random() < 0.1:
            body.pop(draw.choice(list(body)))
        yield path, body


def test_wrong_types_for_every_field(web: httpx.Client) -> None:
    every = [(path, {**base, name: value}) for path, base in PATHS.items() for name in FIELDS for value in VALUES]
    chosen = random.Random(1).sample(every, 300)
    assert 10 < fuzz(web, iter(chosen)) < 300
    fuzz(web, drawn(2, 60))
    lives(web)


@pytest.mark.slow
def test_wrong_types_for_every_field_at_length(web: httpx.Client) -> None:
    fuzz(web, ((path, {**base, name: value}) for path, base in PATHS.items() for name in FIELDS for value in VALUES))
    fuzz(web, drawn(3, 5000))
    lives(web)


def test_drawn_bytes_do_not_hurt(server: BackgroundServer, web: httpx.Client) -> None:
    draw = random.Random(5)
    good = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(GOOD), GOOD)
    for _ in range(40):
        data = bytearray(good)
        for _ in range(draw.randint(1, 8)):
            at = draw.randrange(len(data))
            data[at : at + draw.choice((0, 1, 1, 4))] = draw.randbytes(draw.choice((0, 1, 1, 3)))
        with socket.create_connection(address(server), 1) as sock:
            sock.sendall(data)
            sock.settimeout(0.1)
            found = b""
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                found = sock.recv(65536)
        assert not found.startswith(b"HTTP/1.1 5"), (bytes(data), found)
    lives(web)


def test_slow_clients_are_let_go(server: BackgroundServer, web: httpx.Client) -> None:
    opened = [socket.create_connection(address(server), 5) for _ in range(20)]
    begun = time.monotonic()
    for sock in opened[:15]:
        sock.sendall(b"GET / HTTP/1.1\r\nHo")
    lives(web)
    for sock in opened:
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(10) == b""  # ended, not answered
        sock.close()
    assert time.monotonic() - begun < 3


def test_a_drip_within_a_kept_connection_is_let_go(server: BackgroundServer) -> None:
    with socket.create_connection(address(server), 5) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        begun = time.monotonic()
        try:
            for _ in range(100):
                sock.sendall(b"G" if _ == 0 else b"E")
                time.sleep(0.02)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert time.monotonic() - begun < 1.5


def test_clients_that_vanish_cancel_what_they_asked_for(
    server: BackgroundServer, web: httpx.Client, model: StandIn, application: Application
) -> None:
    body = json.dumps(asked("!slow !long", max_tokens=4000)).encode()
    streamed = json.dumps(asked("!slow !long", max_tokens=4000, stream=True)).encode()
    for data in (body, streamed):
        opened = [socket.create_connection(address(server), 5) for _ in range(10)]
        for sock in opened:
            sock.sendall(HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        until(lambda: model.under_way == 4)
        until(lambda: application.state.gate.waiting >= 6)
        for n, sock in enumerate(opened):
            if n % 2:  # a reset, not an end
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            sock.close()
        until(lambda: model.under_way == 0)
        until(lambda: application.state.gate.running == application.state.gate.waiting == 0)
    until(lambda: not application.state.jobs)
    lives(web)


def test_too_many_are_told_to_come_back(server: BackgroundServer, web: httpx.Client, model: StandIn) -> None:
    data = json.dumps(asked("!slow !long", max_tokens=4000)).encode()
    opened = [socket.create_connection(address(server), 5) for _ in range(12)]  # 4 written, 8 wait
    for sock in opened:
        sock.sendall(HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
    until(lambda: "loom_sequences_waiting 8" in web.get("/metrics").text)
    found = web.post(CHAT, json=asked("x"))
    assert (found.status_code, found.headers["retry-after"]) == (429, "1")
    assert found.json()["error"]["type"] == "rate_limit_error"
    for sock in opened:
        sock.close()
    until(lambda: model.under_way == 0)
    lives(web)


def test_a_request_of_many_texts_takes_places_as_they_become_free(
    web: httpx.Client, model: StandIn, application: Application
) -> None:
    model.most_under_way = 0
    body = {"model": "stand-in", "prompt": [f"!slow number {n}" for n in range(20)], "n": 2, "max_tokens": 4, "seed": 1}
    found = web.post("/v1/completions", json=body).json()
    assert len({choice["text"] for choice in found["choices"]}) == 40
    assert 1 < model.most_under_way <= 4
    one = web.post("/v1/completions", json={**body, "prompt": "!slow number 7", "n": 1}).json()
    assert one["choices"][0]["receipt_id"] == found["choices"][14]["receipt_id"]
    failed = web.post("/v1/completions", json={**body, "prompt": ["a", "!fail", "!slow !long"], "max_tokens": 400})
    assert failed.status_code == 500
    until(lambda: application.state.gate.running == application.state.gate.waiting == 0)
    assert web.post("/v1/completions", json={**body, "n": 16, "prompt": ["a"] * 129}).json()["error"]["param"] == "n"


def test_200_clients_at_once(model: StandIn) -> None:
    """Each gets the text that it gets alone, and never are more written than there are places."""
    application = build_application([model], limits=ServerLimits(sequences=8, queue=512))
    model.most_under_way = 0

    async def one(number: int) -> tuple[int, str]:
        body = json.dumps(asked(f"number {number}", seed=number, stream=bool(number % 2), max_tokens=6)).encode()
        reader, writer = await asyncio.open_connection(*address(served))
        writer.write(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        head, _, text = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        lines = text.splitlines()
        events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith(("{", "data: {"))]
        parts = [e["choices"][0].get("delta") or e["choices"][0].get("message", {}) for e in events]
        return int(head.split()[1]), "".join(part.get("content", "") for part in parts)

    async def every() -> list[tuple[int, str]]:
        return await asyncio.gather(*(one(number) for number in range(200)))

    with BackgroundServer(application) as served:
        together = asyncio.run(every())
        with httpx.Client(base_url=served.url, verify=False) as web:
            for number in (0, 77, 198):
                alone = web.post(CHAT, json=asked(f"number {number}", seed=number, max_tokens=6)).json()
                assert together[number][1] == alone["choices"][0]["message"]["content"]
    assert {status for status, _ in together} == {200}
    assert len({text for _, text in together}) == 200
    assert 1 < model.most_under_way <= 8


def test_a_stop_lets_answers_end_and_nobody_in(model: StandIn) -> None:
    application = build_application([model], limits=ServerLimits(drain_seconds=5))
    served = BackgroundServer(application)
    with served, httpx.Client(base_url=served.url, verify=False, timeout=20) as web:
        found: list[httpx.Response] = []
        body = asked("!slow !long", max_tokens=40)
        threads = [threading.Thread(target=lambda: found.append(web.post(CHAT, json=body))) for _ in range(3)]
        for thread in threads:
            thread.start()
        until(lambda: model.under_way == 3)
        served.stop()
        for thread in threads:
            thread.join()
    assert [len(f.json()["choices"][0]["message"]["content"]) for f in found] == [40] * 3
    with pytest.raises(OSError, match=r"."):
        socket.create_connection(address(served), 1)


def test_a_stop_has_an_end(model: StandIn) -> None:
    application = build_application([model], limits=ServerLimits(drain_seconds=1))
    served = BackgroundServer(application)
    with served:
        sock = socket.create_connection(address(served), 5)
        data = json.dumps(asked("!slow !long", max_tokens=4000, stream=True)).encode()
        sock.sendall(HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        until(lambda: model.under_way == 1)
        begun = time.monotonic()
        served.stop()
        assert time.monotonic() - begun < 4
        sock.close()
    until(lambda: model.under_way == 0)


def test_keys() -> None:
    application = build_application([StandIn()], keys=["first-key", "second-key"])
    with BackgroundServer(application) as served, httpx.Client(base_url=served.url, verify=False) as web:
        for wrong in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Bearer first-key2"},
                      {"Authorization": "first-key"}, {"Authorization": "Basic first-key"},
                      {"Authorization": b"Bearer \xff\xfe"}):  # fmt: skip
            for path in ("/v1/models", "/metrics", "/v1/receipts/x"):
                found = web.get(path, headers=wrong)
                assert (found.status_code, found.json()["error"]["code"]) == (401, "invalid_api_key")
        for key in ("first-key", "second-key"):
            assert web.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
        assert web.get("/").status_code == web.get("/health").status_code == 200


def test_an_address_that_others_reach_needs_a_key() -> None:
    with pytest.raises(ArgumentError, match="no key is asked for"):
        listen("0.0.0.0", 0, keyed=False)
    listen("0.0.0.0", 0, keyed=True).close()
    listen("0.0.0.0", 0, keyed=False, no_key=True).close()
    taken = listen("127.0.0.1", 0, keyed=False)
    with pytest.raises(ArgumentError, match="cannot be had"):
        listen("127.0.0.1", taken.getsockname()[1], keyed=False)
    taken.close()
    for host in ("no-such-host.invalid", "256.1.1.1", "a" * 300, "\x00"):
        with pytest.raises(ArgumentError):
            listen(host, 0, keyed=True)
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "")))


def test_pages_of_other_origins_are_let_in_by_name() -> None:
    application = build_application([StandIn()], origins=["https://mine.example"])
    with BackgroundServer(application) as served, httpx.Client(base_url=served.url, verify=False) as web:
        found = web.get("/v1/models", headers={"Origin": "https://mine.example"})
        assert found.headers["access-control-allow-origin"] == "https://mine.example"
        asks = {"Origin": "https://mine.example", "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type"}  # fmt: skip
        assert web.options(CHAT, headers=asks).status_code == 200
        assert web.get("/v1/models", headers={"Origin": "https://other.example"}).status_code == 403


def test_a_page_may_ask_before_it_shows_its_key() -> None:
    """A browser asks without the key whether a page may send one, and OpenAI's client sends headers of its own."""
    application = build_application([StandIn()], keys=["the-key"], origins=["https://mine.example"])
    with BackgroundServer(application) as served, httpx.Client(base_url=served.url, verify=False) as web:
        asks = {"Origin": "https://mine.example", "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os"}  # fmt: skip
        found = web.options(CHAT, headers=asks)
        assert found.status_code == 200
        assert "x-stainless-os" in found.headers["access-control-allow-headers"]
        assert web.options(CHAT, headers=asks | {"Origin": "https://other.example"}).status_code == 403
        assert web.options(CHAT, headers={"Origin": "https://mine.example"}).status_code == 401
        assert web.post(CHAT, json=asked("!say a"), headers={"Origin": "https://mine.example"}).status_code == 401


@pytest.mark.parametrize(
    ("told", "sent"),
    [("https://mine.example/", "https://mine.example"), ("HTTPS://Mine.example", "https://mine.example"),
     ("https://mine.example:443", "https://mine.example"), ("http://[::1]:3000", "http://[::1]:3000"),
     ("app://obsidian.md", "app://obsidian.md"), ("null", "null")],
)  # fmt: skip
def test_origins_are_those_that_browsers_send(told: str, sent: str) -> None:
    guard = build_application([StandIn()], origins=[told]).guard
    guard.check("/", [(b"host", b"localhost"), (b"origin", sent.encode())])
    with pytest.raises(Refusal):
        guard.check("/", [(b"host", b"localhost"), (b"origin", sent.encode() + b".evil")])


@pytest.mark.parametrize(
    "told", ["*", "mine.example", "https://mine.example/page", "https://*.mine.example", "", "//a"]
)
def test_an_origin_that_no_browser_sends_is_refused(told: str) -> None:
    with pytest.raises(ArgumentError, match=r"no origin of a page.*Write https://example\.org"):
        build_application([StandIn()], origins=[told])


@pytest.mark.parametrize("told", ["mine.example:80", "http://mine.example", "*.mine.example", "", "bücher.example"])
def test_a_host_that_no_client_names_is_refused(told: str) -> None:
    with pytest.raises(ArgumentError, match=r"no name of a host.*Write example\.org"):
        build_application([StandIn()], hosts=[told])
    assert build_application([StandIn()], hosts=["Mine.Example", "::1", "a_b"]).guard.hosts[0] == "mine.example"


def test_a_number_of_many_digits_is_told_to_the_client(web: httpx.Client) -> None:
    body = '{"model": "stand-in", "seed": %s}' % ("9" * 5000)
    found = web.post(CHAT, content=body, headers={"Content-Type": "application/json"})
    assert found.json()["error"]["message"] == ("The body is not usable JSON: a whole number has thousands of digits.")
