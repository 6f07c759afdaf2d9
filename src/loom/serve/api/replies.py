"""The bodies of answers, as OpenAI's interface words them.

Layer: serve. Invariant: an answer in parts says what the whole one says.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from loom.core.late.dataclass import dataclass
from loom.models.tasks.port import ServedModel, TokenScore, TokenStep
from loom.serve.jobs import TextPart, WrittenText

__all__ = ["ChatReply", "CompletionReply", "EchoedPrompt", "Reply", "embedding_body", "model_body", "usage"]

_FAR = -9999.0
"""What OpenAI says instead of minus infinity, which JSON has not."""


def usage(prompts: Iterable[Sequence[int]], choices: Sequence[WrittenText]) -> dict[str, int]:
    """Return how many tokens were read and written."""
    read, written = sum(map(len, prompts)), sum(len(choice.steps) for choice in choices)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _finite_logprob(logprob: float | None) -> float | None:
    return logprob if logprob is None else logprob if math.isfinite(logprob) else _FAR


def _token(model: ServedModel, token: int) -> tuple[str, list[int]]:
    found = model.token_bytes(token)
    return found.decode(errors="replace"), list(found)


@dataclass(frozen=True, slots=True)
class EchoedPrompt:
    """A prompt as it is told before its answer: its text, where in it tokens begin, their scores if asked for."""

    text: str
    offsets: Sequence[int]
    scores: Sequence[TokenScore]


@dataclass(frozen=True, slots=True)
class Reply:
    """What all bodies of one answer have in common."""

    id: str
    created: int
    model: ServedModel
    scored: bool

    kind: ClassVar[str] = ""
    """What the whole answer is called."""

    def last(self, index: int, reason: str) -> dict[str, Any]:
        """Return the choice of the part that closes an answer."""
        raise NotImplementedError

    def base(self, kind: str) -> dict[str, Any]:
        """Return the fields of every body."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model.name,
                "system_fingerprint": f"loom-{self.model.identity.weights[:16]}"}  # fmt: skip


class ChatReply(Reply):
    """Bodies of a chat's answer."""

    kind = "chat.completion"

    def whole(self, choices: Sequence[WrittenText]) -> list[dict[str, Any]]:
        """Return the choices of a whole answer."""
        return [
            {"index": at, "message": {"role": "assistant", "content": choice.text, "refusal": None},
             "logprobs": self._logprobs(choice.steps), "finish_reason": choice.finish_reason}
            for at, choice in enumerate(choices)
        ]  # fmt: skip

    def first(self, index: int) -> dict[str, Any]:
        """Return the choice of the part that opens an answer."""
        return self._part(index, {"role": "assistant", "content": "", "refusal": None}, ())

    def part(self, piece: TextPart) -> dict[str, Any]:
        """Return the choice of one part."""
        return self._part(piece.index, {"content": piece.text}, () if piece.step is None else (piece.step,))

    def last(self, index: int, reason: str) -> dict[str, Any]:
        """Return the choice of the part that closes an answer."""
        return {**self._part(index, {}, ()), "finish_reason": reason}

    def _part(self, index: int, delta: dict[str, Any], steps: Sequence[TokenStep]) -> dict[str, Any]:
        scored = self._logprobs(steps) if steps else None
        return {"index": index, "delta": delta, "logprobs": scored, "finish_reason": None}

    def _logprobs(self, steps: Sequence[TokenStep]) -> dict[str, Any] | None:
        if not self.scored:
            return None
        told = [
            {**self._one(step.token, step.logprob), "top_logprobs": [self._one(t, v) for t, v in step.top]}
            for step in steps
            if step.token not in self.model.eos
        ]
        return {"content": told, "refusal": None}

    def _one(self, token: int, logprob: float) -> dict[str, Any]:
        name, data = _token(self.model, token)
        return {"token": name, "bytes": data, "logprob": _finite_logprob(logprob)}


class CompletionReply(Reply):
    """Bodies of a completion; with ``echo`` the prompt stands before what was written."""

    kind = "text_completion"

    def whole(
        self, choices: Sequence[WrittenText], echoed: Sequence[EchoedPrompt] | None = None
    ) -> list[dict[str, Any]]:
        """Return the choices of a whole answer; ``echoed``: each one's prompt."""
        found: list[dict[str, Any]] = []
        for at, choice in enumerate(choices):
            before = EchoedPrompt("", (), ()) if echoed is None else echoed[at]
            told = [
                *zip(before.scores, before.offsets, strict=False),
                *self._steps(choice.steps, choice.offsets, len(before.text)),
            ]
            found.append({"index": at, "text": before.text + choice.text, "logprobs": self._scores(told),
                          "finish_reason": choice.finish_reason})  # fmt: skip
        return found

    def part(self, piece: TextPart, before: int) -> dict[str, Any]:
        """Return the choice of one part, of an answer with so many characters ``before`` it."""
        step = piece.step
        told = None if step is None else self._scores(self._steps([step], [piece.offset], before))
        return {"index": piece.index, "text": piece.text, "logprobs": told, "finish_reason": None}

    def opening(self, index: int, echoed: EchoedPrompt) -> dict[str, Any]:
        """Return the choice of the part that holds the prompt."""
        told = self._scores([*zip(echoed.scores, echoed.offsets, strict=False)])
        return {"index": index, "text": echoed.text, "logprobs": told, "finish_reason": None}

    def last(self, index: int, reason: str) -> dict[str, Any]:
        """Return the choice of the part that closes an answer."""
        return {"index": index, "text": "", "logprobs": None, "finish_reason": reason}

    def _steps(self, steps: Sequence[TokenStep], offsets: Sequence[int], before: int) -> list[tuple[TokenScore, int]]:
        """Return what was written and where, without the token that ends a text."""
        return [
            (TokenScore(step.token, step.logprob, step.top), before + offset)
            for step, offset in zip(steps, offsets, strict=True)
            if step.token not in self.model.eos
        ]

    def _scores(self, told: Sequence[tuple[TokenScore, int]]) -> dict[str, Any] | None:
        """Return tokens with their probabilities and where each begins in the text."""
        if not self.scored:
            return None
        scores = [score for score, _ in told]
        tops = [
            None if score.logprob is None else {_token(self.model, t)[0]: _finite_logprob(v) for t, v in score.top}
            for score in scores
        ]
        return {
            "tokens": [_token(self.model, score.token)[0] for score in scores],
            "token_logprobs": [_finite_logprob(score.logprob) for score in scores],
            "top_logprobs": tops,
            "text_offset": [offset for _, offset in told],
        }


def embedding_body(
    model: ServedModel, vectors: np.ndarray[Any, np.dtype[np.float32]], rows: Sequence[Sequence[int]], coded: bool
) -> dict[str, Any]:
    """Return the body of vectors: numbers that read back to the same bits, or those bits as base64."""
    count = sum(map(len, rows))
    plain = np.ascontiguousarray(vectors, "<f4")
    told: Iterable[Any] = (base64.b64encode(v.tobytes()).decode() for v in plain) if coded else plain.tolist()
    data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(told)]
    return {"object": "list", "data": data, "model": model.name,
            "usage": {"prompt_tokens": count, "total_tokens": count}}  # fmt: skip


def model_body(model: ServedModel) -> dict[str, Any]:
    """Return what is told of a model."""
    about: Mapping[str, Any] = {
        "id": model.name, "object": "model", "created": model.created, "owned_by": "loom",
        "context_length": model.context_length, "vocabulary_size": model.vocabulary_size,
        "tasks": [name for name, can in (("text", model.writes), ("embedding", model.embeds)) if can],
        "digests": model.identity.claims(), "device": model.device,
    }  # fmt: skip
    return dict(about)
