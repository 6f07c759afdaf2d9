"""A page in headless Chromium, over the pipe of its DevTools protocol: scripts, the pointer, pictures."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = ("--headless=new", "--no-sandbox", "--hide-scrollbars", "--remote-debugging-pipe",
          "--no-first-run", "--force-color-profile=srgb", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader",
          "--enable-features=Vulkan")  # fmt: skip


class Page:
    """One page, of so many pixels."""

    def __init__(self, url: str, profile: Path, size: tuple[int, int] = (1240, 1250)) -> None:
        assert CHROMIUM is not None
        (to_read, self._to), (self._from, from_write) = os.pipe(), os.pipe()
        flags = [*_FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "about:blank"]

        # Chromium reads of 3 and writes to 4
        words = ["bash", "-c", f'exec "$0" "$@" 3<&{to_read} 4>&{from_write}', CHROMIUM, *flags]
        self._process = subprocess.Popen(
            words, pass_fds=(to_read, from_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_read)
        os.close(from_write)
        self._left, self._number, self.messages = b"", 0, list[Any]()
        self._session: str | None = None
        target = next(t for t in self.ask("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        self.ask("Page.navigate", url=url)

    def __enter__(self) -> Page:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(30)
        os.close(self._to)
        os.close(self._from)

    def ask(self, method: str, **params: Any) -> Any:
        """Send a command and return its result; AssertionError with what Chromium says is wrong."""
        self._number += 1
        asked: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            asked["sessionId"] = self._session
        os.write(self._to, json.dumps(asked).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._number:
                assert "error" not in found, found["error"]
                return found["result"]
            self.messages.append(found)

    def _next(self) -> Any:
        while b"\0" not in self._left:
            part = os.read(self._from, 1 << 20)
            assert part, "Chromium ended"
            self._left += part
        whole, _, self._left = self._left.partition(b"\0")
        return json.loads(whole)

    def run(self, script: str) -> Any:
        """Return the value of an expression; promises are awaited."""
        found = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, script: str, seconds: float) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, f"not in {seconds} s: {script}; {self.faults()}"
            time.sleep(0.1)

    def faults(self) -> list[str]:
        """Return what the page complained of: exceptions, and what was not found."""
        told = [m for m in self.messages if m.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")]
        return [json.dumps(m["params"]) for m in told]

    def stroke(self, points: list[tuple[float, float]]) -> None:
        """Press, move through points of the page and let go."""
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1)]
        for kind, (x, y) in zip(kinds, points, strict=True):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)
        x, y = points[-1]
        self.ask("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left", clickCount=1)

    def picture(self, path: Path) -> None:
        """Write what is seen as a PNG."""
        path.write_bytes(
            base64.b64decode(self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"])
        )
