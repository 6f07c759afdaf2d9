"""A model that computes nothing: bytes are its tokens, what it writes follows from prompt, seed and position.

Its prompts give orders: ``!slow`` takes its time, ``!long`` never ends by itself, ``!fail`` and ``!device`` fail after
three tokens, ``!refuse`` is refused before any.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError, DeviceError
from loom.models.receipts import ModelIdentity
from loom.models.tasks.port import TextTask, TokenScore, TokenStep

EOS = 256
IDENTITY = ModelIdentity("11" * 32, "22" * 32, "33" * 32)


class Decoder:
    """UTF-8, whole characters only."""

    def __init__(self) -> None:
        self._left = b""

    def push(self, token: int) -> str:
        self._left += bytes([token])
        try:
            found = self._left.decode()
        except UnicodeDecodeError as error:
            if error.reason == "unexpected end of data" and len(self._left) < 4:
                return ""
            found = self._left.decode(errors="replace")
        self._left = b""
        return found

    def flush(self) -> str:
        left, self._left = self._left, b""
        return left.decode(errors="replace")


class Writing:
    def __init__(self, model: StandIn, task: TextTask) -> None:
        self.model, self.task = model, task
        self.finish_reason: str | None = None
        self.cancelled = threading.Event()

    def cancel(self) -> None:
        self.cancelled.set()

    def __iter__(self) -> Iterator[TokenStep]:
        with self.model.lock:
            self.model.under_way += 1
            self.model.most_under_way = max(self.model.most_under_way, self.model.under_way)
        try:
            yield from self._steps()
        finally:
            with self.model.lock:
                self.model.under_way -= 1

    def _steps(self) -> Iterator[TokenStep]:
        prompt, settings = bytes(t for t in self.task.prompt if t < 256), self.task.settings
        text = self._text(prompt)
        for at in range(settings["max_tokens"]):
            if self.cancelled.wait(0.01 if b"!slow" in prompt else 0):
                return
            if at == 3 and b"!fail" in prompt:
                raise RuntimeError("a secret of the inside")
            if at == 3 and b"!device" in prompt:
                raise DeviceError("stand-in", "the device is gone", remedy="Start again")
            token = EOS if at >= len(text) and b"!long" not in prompt else text[at % len(text)]
            value = float(np.float32(-(1 + token % 7) / 8))
            top = tuple(((token + more) % 256, float(np.float32(value - more))) for more in range(self.task.top))
            yield TokenStep(token, value, top)
            if token == EOS:
                self.finish_reason = "stop"
                return
        self.finish_reason = "length"

    def _text(self, prompt: bytes) -> bytes:
        if self.task.constraint is not None:
            return b'{"answer": 42}'
        if b"!say " in prompt:
            return prompt.partition(b"!say ")[2].partition(b"<")[0]
        settings = {k: v for k, v in self.task.settings.items() if k not in ("max_tokens", "stop", "logit_bias")}
        if settings["temperature"] == 0:
            settings["seed"] = settings["stream"] = 0
        key = repr((prompt, sorted(settings.items()))).encode()
        return hashlib.sha256(key).hexdigest()[:24].encode()


class StandIn:
    """See the module."""

    def __init__(
        self, name: str = "stand-in", *, writes: bool = True, embeds: bool = True, context: int = 4096
    ) -> None:
        self.name, self.created, self.device = name, 1_700_000_000, "none"
        self.writes, self.embeds, self.context_length, self.vocabulary_size = writes, embeds, context, 257
        self.eos, self.identity = frozenset({EOS}), IDENTITY
        self.lock, self.under_way, self.most_under_way, self.embeds_done = threading.Lock(), 0, 0, 0

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        return self.encode("".join(f"{m['role']}:{m['content']}<" for m in messages))

    def decoder(self, *, continuing: bool) -> Decoder:
        return Decoder()

    def token_bytes(self, token: int) -> bytes:
        return b"<eos>" if token == EOS else bytes([token])

    def write(self, task: TextTask) -> Writing:
        if b"!refuse" in bytes(t for t in task.prompt if t < 256):
            raise ArgumentError("stand-in", "a prompt of this kind", expected="another", remedy="Ask otherwise")
        if task.constraint is not None and task.constraint.schema is not None:
            if json.loads(task.constraint.schema).get("type") == "impossible":
                raise ArgumentError("stand-in", "no such schema", expected="another", remedy="Ask otherwise")
        return Writing(self, task)

    def score(self, tokens: Sequence[int], top: int) -> list[TokenScore]:
        told = (None if at == 0 else -0.5 for at in range(len(tokens)))
        return [TokenScore(t, score, ((t, -0.5),) * top) for t, score in zip(tokens, told, strict=True)]

    def embed(self, rows: Sequence[Sequence[int]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        self.embeds_done += 1
        if any(bytes(t for t in row if t < 256) == b"!sleep" for row in rows):
            time.sleep(0.5)
        made = [np.cos(np.arange(8) * (1 + sum(row))) for row in rows]
        return np.asarray(made, np.float32)

    def measures(self) -> Mapping[str, float]:
        return {"under_way": self.under_way, "pages_free": 7}
