"""The server as a process of its own: signals, a death without warning, a page in a browser."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import loom
from loom.models.receipts import Receipt
from loom.serve.http.application import build_application
from loom.serve.http.server import BackgroundServer
from unit.serve.standin import StandIn
from web.chromium import CHROMIUM, Page

HERE = Path(__file__).parents[2]
SCRIPT = """
import sys
from loom.cli.main import main
from loom.cli.models import asking
from unit.serve.standin import StandIn
asking.open_model = lambda *a: StandIn()
sys.argv = ["loom", "serve", "m", *sys.argv[1:]]
main()
"""
CHAT = "/v1/chat/completions"


class Process:
    """``loom serve`` of the stand-in, answering."""

    def __init__(self, port: int = 0, *more: str) -> None:
        paths = os.pathsep.join((str(HERE), str(Path(loom.__file__).parents[1])))
        words = [sys.executable, "-c", SCRIPT, "--port", str(port), *more]
        settings = {**os.environ, "PYTHONPATH": paths}
        self.process = subprocess.Popen(words, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "stand-in: on none, weights 1111111111111111\n"
        told = self.process.stdout.readline()
        assert told.startswith("serving at http://127.0.0.1:"), (told, self.process.stderr)
        self.url = told.split()[2]
        self.port = int(self.url.rpartition(":")[2])

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        return self.left()

    def left(self) -> tuple[int, str]:
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "stand-in", "messages": [{"role": "user", "content": text}], **more}


@pytest.mark.slow
def test_kill_and_a_clean_restart_on_the_same_port() -> None:
    port = 0
    for _ in range(3):
        served = Process(port)
        port = served.port
        with httpx.Client(base_url=served.url, verify=False, timeout=10) as web:
            first = web.post(CHAT, json=asked("hello", seed=1)).json()
            opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
            data = json.dumps(asked("!slow !long", max_tokens=4000, stream=True))
            head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length:"
            for sock in opened:
                sock.sendall(f"{head} {len(data)}\r\n\r\n{data}".encode())
                assert sock.recv(10) == b"HTTP/1.1 2"
            served.process.kill()
            served.process.communicate(timeout=30)
            for sock in opened:
                while sock.recv(65536):  # the end of it, or a reset
                    pass
                sock.close()
            with pytest.raises(httpx.TransportError):
                web.get("/health")
    again = Process(port)
    with httpx.Client(base_url=again.url, verify=False, timeout=10) as web:
        assert web.post(CHAT, json=asked("hello", seed=1)).json()["receipt_id"] == first["receipt_id"]
    assert again.end() == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_answers_end(number: int) -> None:
    served = Process()
    found: list[Any] = []
    with httpx.Client(base_url=served.url, verify=False, timeout=20) as web:
        thread = threading.Thread(
            target=lambda: found.append(web.post(CHAT, json=asked("!slow !long", max_tokens=100)).json())
        )
        thread.start()
        time.sleep(0.3)
        assert served.end(number) == (0, "")
        thread.join()
    assert len(found[0]["choices"][0]["message"]["content"]) == 100


@pytest.mark.slow
@pytest.mark.parametrize("twice", [False, True], ids=["drained", "second Ctrl-C"])
def test_a_stop_does_not_wait_for_ever(twice: bool) -> None:
    served = Process(0, "--drain", "30" if twice else "1")
    with socket.create_connection(("127.0.0.1", served.port)) as sock:
        data = json.dumps(asked("!slow !long", max_tokens=4000, stream=True))
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length:"
        sock.sendall(f"{head} {len(data)}\r\n\r\n{data}".encode())
        sock.recv(10)
        begun = time.monotonic()
        if twice:
            served.process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        code, said = served.end(signal.SIGINT if twice else signal.SIGTERM)
        assert (code, said, time.monotonic() - begun < 5) == (0, "", True)
        with sock.makefile("rb") as answer:
            assert b'"service_unavailable"' in answer.read()


@pytest.mark.slow
def test_generate_stops_on_an_interrupt_and_a_broken_pipe(tmp_path: Path) -> None:
    script = SCRIPT.replace('"serve", "m"', '"generate", "m"')
    paths = os.pathsep.join((str(HERE), str(Path(loom.__file__).parents[1])))
    receipt = tmp_path / "receipt.json"
    words = [sys.executable, "-c", script, "--prompt", "!slow !long", "--max-tokens", "4000", "--receipt", str(receipt)]
    for broken in (False, True):
        process = subprocess.Popen(
            words, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.read(10)) == 10
        if broken:
            process.stdout.close()
            assert process.wait(20) == 141
            assert process.stderr.read() == b""
            process.stderr.close()
        else:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
            assert (process.returncode, said) == (130, b"")
            assert Receipt.from_json(receipt.read_bytes()).claims["output"]["finish_reason"] == "cancelled"


@pytest.fixture
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    application = build_application([StandIn("a"), StandIn("vectors", writes=False)])
    with BackgroundServer(application) as served, Page(served.url, tmp_path_factory.mktemp("profile")) as opened:
        opened.wait("document.body?.dataset.ready === 'yes'", 30)
        yield opened


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_chats(page: Page) -> None:
    def say(text: str) -> None:
        page.run(f"at('prompt').value = {json.dumps(text)}; at('send').click()")

    def shown() -> list[list[str]]:
        return page.run("[...document.querySelectorAll('article')].map((a) => [a.className, a.textContent])")

    idle = "document.body.dataset.state === 'idle'"
    assert page.run("[...at('model').options].map((o) => o.value)") == ["a"]
    say("hello")
    page.wait(f"!!({idle} && document.querySelector('article.assistant small'))", 10)
    (_, first), (kind, second) = shown()
    assert (first, kind) == ("hello", "assistant")
    assert "tokens, receipt " in second

    # what a model says is text, whatever it looks like
    attack = '<img src=x onerror="window.hurt = 1"><script>window.hurt = 1</script>&amp;'
    say(f"!say {attack}")  # the stand-in ends at <: let the user's own message be the attack
    page.wait(f"!!({idle} && document.querySelectorAll('article').length === 4)", 10)
    assert shown()[2][1] == f"!say {attack}"
    page.run("at('clear').click()")
    say("!say " + "\u202e\u0000 world")
    page.wait(f"!!({idle} && document.querySelectorAll('article').length === 2)", 10)
    assert page.run("window.hurt === undefined && document.querySelectorAll('article img').length === 0")
    assert page.run(
        "(() => { try { const s = document.createElement('script'); s.textContent = 'window.hurt = 1';"
        " document.body.append(s) } catch {} return window.hurt === undefined })()"
    )

    # stopping, and errors
    page.run("at('clear').click()")
    page.run("at('most').value = 3000")
    say("!slow !long")
    page.wait("!!((document.querySelector('article.assistant')?.textContent ?? '').length > 5)", 10)
    page.run("at('stop').click()")
    page.wait(f"!!({idle} && document.querySelector('article.assistant small')?.textContent.startsWith('stopped'))", 10)
    say("!slow !long")
    page.wait("!!((document.querySelectorAll('article.assistant')[1]?.textContent ?? '').length > 5)", 10)
    page.run("at('clear').click()")
    time.sleep(0.3)  # the answer that was ended says its last
    assert page.run("[messages.length, at('log').children.length, document.body.dataset.state]") == [0, 0, "idle"]
    say("!refuse")
    page.wait(f"!!({idle} && document.querySelector('article.wrong'))", 10)
    assert "a prompt of this kind" in shown()[-1][1]
    assert page.run("at('prompt').value") == "!refuse"  # to be asked otherwise
    faults = [
        f for f in page.faults() if "Content Security Policy" not in f and "400" not in f and "TrustedScript" not in f
    ]
    assert faults == []


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_asks_for_a_key(tmp_path: Path) -> None:
    application = build_application([StandIn("a")], keys=["the-key"])
    with BackgroundServer(application) as served, Page(served.url, tmp_path) as opened:
        opened.wait("document.body?.dataset.ready === 'keyless'", 30)
        assert not opened.run("at('keyed').hidden")
        opened.run("at('key').value = 'the-key'; at('key').dispatchEvent(new Event('change'))")
        opened.wait("document.body.dataset.ready === 'yes'", 10)
