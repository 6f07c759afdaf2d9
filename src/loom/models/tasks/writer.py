"""A task's text as a model writes it: whole characters, nothing from a stop string on. Whoever asks, it is this one.

Layer: models. Invariant: the parts, put together, are the text whose parts they are; no part is taken back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from loom.models.receipts import Receipt
from loom.models.tasks.claims import receipt_of
from loom.models.tasks.port import ServedModel, TextTask, TokenStep
from loom.models.tokens import StopMatcher

__all__ = ["TextWriter", "text_of_prompt"]


class TextWriter:
    """Iterated once, by one thread: each step with the text that may be seen after it; ``flush`` gives the rest.

    ``steps``, ``text``: what was written so far; ``offsets``: for each step, how many characters stand before its
    token; ``finish_reason``: after ``flush``, "cancelled" where the iteration was left before its end.
    """

    def __init__(self, model: ServedModel, task: TextTask) -> None:
        self.task = task
        self.steps: list[TokenStep] = []
        self.offsets: list[int] = []
        self.text = ""
        self.finish_reason = "cancelled"
        self._model = model
        self._decoder = model.decoder(continuing=True)  # a prompt stands before it
        self._matcher = StopMatcher(task.settings.get("stop", ()))
        self._decoded = 0
        self._writing = model.write(task)

    def __iter__(self) -> Iterator[tuple[TokenStep, str]]:
        for step in self._writing:
            self.steps.append(step)
            self.offsets.append(self._decoded)
            decoded = "" if step.token in self._model.eos else self._decoder.push(step.token)
            self._decoded += len(decoded)
            part = self._matcher.push(decoded)
            self.text += part
            yield step, part
            if self._matcher.stopped is not None:
                break
        else:
            self.finish_reason = self._writing.finish_reason or "cancelled"

    def cancel(self) -> None:
        """End the iteration soon; any thread may."""
        self._writing.cancel()

    def flush(self) -> str:
        """End the text, and return what is left of it."""
        self._writing.cancel()
        rest = self._matcher.push(self._decoder.flush()) + self._matcher.flush()
        self.text += rest
        if self._matcher.stopped is not None:
            self.finish_reason = "stop"
        return rest

    def receipt(self, about: Mapping[str, object] | None = None) -> Receipt:
        """Return the receipt of what was written, once it was flushed."""
        return receipt_of(self._model, self.task, self.steps, self.text, self.finish_reason, about)


def text_of_prompt(model: ServedModel, tokens: Sequence[int]) -> tuple[str, list[int]]:
    """Return the text that tokens say where nothing stands before them, and where in it each begins."""
    decoder, found, offsets = model.decoder(continuing=False), "", list[int]()
    for token in tokens:
        offsets.append(len(found))
        found += decoder.push(token)
    return found + decoder.flush(), offsets
