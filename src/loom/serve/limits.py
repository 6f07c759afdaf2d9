"""What a server takes upon itself: sizes, times, and how much at once.

Layer: serve. Invariant: everything a client can make grow has a limit here.
"""

from __future__ import annotations

from dataclasses import fields

from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.core.numbers import real, whole

__all__ = ["ServerLimits"]


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a server takes; times in seconds, sizes in bytes.

    ``sequences``: texts written at once. ``queue``: texts that may wait for that. ``prompts``: prompts (or texts to
    embed) of one request. ``choices``: the most ``n``. ``prompt_tokens`` and ``output_tokens`` beside what the model's
    context holds. ``request_seconds``: of one request, waiting included. ``head_seconds`` and ``body_seconds``: for a
    client to send a request. ``drain_seconds``: for what is under way when the server is told to stop.
    ``head_bytes``: of what stands before a body. ``connections``: more are answered 503. ``receipts``: how many are
    kept.

    >>> ServerLimits(queue=0).queue
    0
    """

    head_bytes: int = 64 << 10
    body_bytes: int = 4 << 20
    prompt_tokens: int = 1 << 20
    output_tokens: int = 1 << 16
    prompts: int = 2048
    choices: int = 16
    sequences: int = 32
    queue: int = 512
    connections: int = 512
    request_seconds: float = 600.0
    head_seconds: float = 15.0
    body_seconds: float = 60.0
    idle_seconds: float = 15.0
    drain_seconds: float = 30.0
    receipts: int = 4096

    def __post_init__(self) -> None:
        for field in fields(self):
            where, value = f"loom.serve.ServerLimits, {field.name}", getattr(self, field.name)
            if field.name.endswith("seconds"):
                if not real(value, where, least=0, most=1e6):
                    raise ArgumentError(where, "no time at all", expected="more than 0", got=value,
                                        remedy="Pass some seconds")  # fmt: skip
            else:
                whole(value, where, least=0 if field.name == "queue" else 1, most=1 << 40)
