"""A request: tokens in, tokens out, one after the other, for whoever waits for them.

Layer: models. Invariant: a request ends exactly once: with a reason, or with an error that everybody who waits gets.
"""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from loom.core.errors import LoomTimeout
from loom.core.numbers import real

if TYPE_CHECKING:
    from loom.models.sampling import SamplingConfig

__all__ = ["FinishReason", "Request", "Timings"]


class FinishReason(enum.StrEnum):
    """Why a text ended: at an end token, a stop string or the end of its grammar; at the most tokens, or that the
    context or the memory holds; or because it was cancelled."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"


class Timings:
    """When a request was submitted, first computed on, gave its first token and ended (seconds; ``perf_counter``)."""

    def __init__(self) -> None:
        self.submitted = time.perf_counter()
        self.started: float | None = None
        self.first: float | None = None
        self.ended: float | None = None

    @property
    def to_first(self) -> float | None:
        """Seconds from submission to the first token."""
        return None if self.first is None else self.first - self.submitted

    @property
    def total(self) -> float | None:
        """Seconds from submission to the end."""
        return None if self.ended is None else self.ended - self.submitted


class Request:
    """What ``InferenceEngine.submit`` returns: an iterator over the tokens made, from any thread, several times over.

    ``prompt``: the tokens given; ``tokens`` and ``logprobs``: those made so far, and the logarithms of their chances;
    ``likeliest``: for each token the ``top`` likeliest in its place with theirs; ``finish_reason``: None while it goes
    on; ``reused``: tokens of the prompt whose keys and values were there already; ``scores``: where they are wanted,
    parts of the prompt's logits.
    """

    def __init__(
        self, prompt: Sequence[int], config: SamplingConfig | None, *, eos: frozenset[int] = frozenset(),
        constraint: Any = None, until: Callable[[int], bool] | None = None, most: int = 0, scores: bool = False,
        top: int = 0,
    ) -> None:  # fmt: skip
        self.prompt = tuple(prompt)
        self.config = config
        self.eos = eos
        self.constraint = constraint
        self.until = until
        self.most = most
        self.top = top
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.likeliest: list[tuple[tuple[int, float], ...]] = []
        self.finish_reason: FinishReason | None = None
        self.scores: list[Any] | None = [] if scores else None
        self.reused = 0
        self.timings = Timings()
        self.error: BaseException | None = None
        self._cancelled = False
        self._wake: Callable[[], None] = lambda: None
        self._changed = threading.Condition()

    def __repr__(self) -> str:
        state = "failed" if self.error is not None else self.finish_reason or "under way"
        return f"<Request of {len(self.prompt)} tokens, {len(self.tokens)} made, {state}>"

    @property
    def is_done(self) -> bool:
        """Whether no token will follow."""
        return self.finish_reason is not None or self.error is not None

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked for its end."""
        return self._cancelled

    def cancel(self) -> None:
        """Have it end soon, its pages free for others; of one that is over nothing changes."""
        self._cancelled = True
        self._wake()

    def __iter__(self) -> Iterator[int]:
        """Yield the tokens from the first, waiting for those to come; raise the error that ended it, if one did."""
        given = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda at=given: len(self.tokens) > at or self.is_done)
                ready = self.tokens[given:]
            if not ready:
                self._raise()
                return
            given += len(ready)
            yield from ready

    def result(self, timeout: float | None = None) -> list[int]:
        """Wait for the end and return all tokens; LoomTimeout after ``timeout`` seconds (it goes on meanwhile)."""
        if timeout is not None:
            timeout = real(timeout, "Request.result, timeout")
        with self._changed:
            if not self._changed.wait_for(lambda: self.is_done, timeout):
                raise LoomTimeout("Request.result", "it is not over", expected=f"its end within {timeout} s",
                                  got=repr(self), remedy="Wait longer, or cancel it")  # fmt: skip
        self._raise()
        return list(self.tokens)

    def _raise(self) -> None:
        if self.error is None:
            return
        error = copy(self.error)  # each thread that waits raises one of its own, with its own traceback
        raise error from self.error

    # the engine's side

    def wake_with(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called when it is cancelled."""
        self._wake = wake

    def renew(self) -> None:
        """Forget threads that a fork left behind."""
        self._changed = threading.Condition()

    def begin(self, *, reused: int) -> None:
        """Note that it is computed from now on, and how many tokens of its prompt were there."""
        if self.timings.started is None:
            self.timings.started, self.reused = time.perf_counter(), reused

    def add(self, token: int, logprob: float, likeliest: tuple[tuple[int, float], ...] = ()) -> None:
        """Take a token."""
        with self._changed:
            if self.timings.first is None:
                self.timings.first = time.perf_counter()
            self.tokens.append(token)
            self.logprobs.append(logprob)
            self.likeliest.append(likeliest)
            self._changed.notify_all()

    def finish(self, reason: FinishReason | None, error: BaseException | None = None) -> None:
        """End it, unless it is over."""
        with self._changed:
            if not self.is_done:
                self.finish_reason, self.error = reason, error
                self.timings.ended = time.perf_counter()
                self._changed.notify_all()
