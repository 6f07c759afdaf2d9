"""Which token follows, for the rows that a pass has shown: each request's own settings, in one program for all.

Layer: models. Invariant: what a row gets depends on its logits, its request's settings, its constraint and its position
alone; what is wrong with one row is told to its request, and to no other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence as Several
from typing import Any

import numpy as np

from loom import tensor
from loom.core.errors import LoomError, NotFinite, ShapeError
from loom.core.late.dataclass import dataclass
from loom.models.inference.programs import PassPrograms, Shown, round_shown
from loom.models.inference.request import Request
from loom.models.sampling import SamplingConfig, SamplingState, TokenChoice, logprobs_of, room
from loom.models.sampling.choice import require_token
from loom.tensor import TensorProgram

__all__ = ["Chooser", "Chosen", "TokenState"]

_MOST_PROGRAMS = 16
_TOPS = (0, 8, 64)
"""How many of the likeliest tokens programs tell: few sizes, so that there are few programs."""


class TokenState:
    """Where a request stands in its choice of tokens; ``plain``: it takes the likeliest token of all."""

    def __init__(self, request: Request) -> None:
        config = request.config or SamplingConfig(temperature=0)
        self.constraint = request.constraint
        self.sampling = SamplingState(config, request.prompt)
        self.grammar: Any = None if self.constraint is None else self.constraint.start()
        self.plain = config.greedy and not config.adjusts and self.constraint is None and not request.top

    def mask(self, size: int) -> Any:
        """Return which tokens may come, as words, None for all."""
        if self.constraint is None:
            return None
        found = np.asarray(self.constraint.words(self.grammar, size))
        if found.shape != (-(-size // 32),) or found.dtype != np.uint32:
            raise ShapeError("constraint.words", "not of this vocabulary", expected=f"{-(-size // 32)} u32",
                             got=f"{found.shape} {found.dtype}",
                             remedy="Make it with the model's tokenizer")  # fmt: skip
        return found

    def push(self, token: int) -> bool:
        """Take the token that came; tell whether nothing may follow."""
        self.sampling.push(token)
        if self.constraint is None:
            return False
        self.grammar = self.constraint.advance(self.grammar, token)
        return bool(self.constraint.is_complete(self.grammar))


@dataclass(frozen=True, slots=True)
class Chosen:
    """A token, the logarithm of its chance, and the likeliest tokens with theirs; or what is wrong."""

    token: int = 0
    logprob: float = 0.0
    top: tuple[tuple[int, float], ...] = ()
    error: Exception | None = None


class Chooser:
    """Programs that choose, by how many rows are shown and what takes part; the one used longest ago is forgotten."""

    def __init__(self, programs: PassPrograms) -> None:
        self.programs = programs
        self._made: OrderedDict[Any, tuple[TokenChoice, TensorProgram]] = OrderedDict()

    def choose(self, shown: Shown, tokens: int, states: Several[TokenState | None], tops: Several[int]) -> list[Chosen]:
        """Return what follows on each row shown by a pass over ``tokens`` tokens; None: nobody asks."""
        if all(state is None or state.plain for state in states):
            return [_likeliest(*pair) for pair in zip(shown.tokens.tolist(), shown.logprobs.tolist(), strict=True)]
        size = self.programs.network.vocabulary_size
        masks, failed = _masks(states, size)
        states = [None if n in failed else state for n, state in enumerate(states)]
        masked = any(mask is not None for mask in masks)
        adjusted = room(max((state.sampling.adjusted for state in states if state is not None), default=0))
        top = next(n for n in _TOPS if n >= max(tops))
        choice, program = self._program(round_shown(len(states), tokens), adjusted, masked, top)
        asked = [None if state is None else state.sampling for state in states]
        program.run(**choice.feed(asked, masks if masked else None))
        found, chances, *most = program.read()
        return [
            _choice_of(n, found, chances, most, wanted) if states[n] is not None else Chosen(error=failed.get(n))
            for n, wanted in enumerate(tops)
        ]

    def _program(self, count: int, adjusted: int, masked: bool, top: int) -> tuple[TokenChoice, TensorProgram]:
        key = count, adjusted, masked, top
        if key not in self._made:
            logits = self.programs.logits(count)
            choice = TokenChoice(logits, adjustments=adjusted, masked=masked)
            outputs = [choice.tokens, *logprobs_of(logits, choice.tokens, top)]
            self._made[key] = choice, tensor.compile(outputs, on=self.programs.model.device, name="choice of tokens")
            if len(self._made) > _MOST_PROGRAMS:
                self._made.popitem(last=False)[1][1].free()
        self._made.move_to_end(key)
        return self._made[key]

    def free(self) -> None:
        """Give up all programs."""
        for _, program in self._made.values():
            program.free()
        self._made.clear()


def _masks(states: Several[TokenState | None], size: int) -> tuple[list[Any], dict[int, Exception]]:
    """Return a mask for each row, and what went wrong with those that have none: it is told to their owners alone."""
    masks: list[Any] = [None] * len(states)
    failed: dict[int, Exception] = {}
    for n, state in enumerate(states):
        try:
            masks[n] = None if state is None else state.mask(size)
        except Exception as error:  # a grammar may be anybody's
            failed[n] = error
    return masks, failed


def _likeliest(token: int, logprob: float) -> Chosen:
    if np.isfinite(logprob):
        return Chosen(token, logprob)
    return Chosen(error=NotFinite("loom.models", "a logit is NaN or infinite", expected="numbers", got=logprob,
                                  remedy="Look at the model's weights and the prompt"))  # fmt: skip


def _choice_of(row: int, tokens: Any, chances: Any, most: list[Any], wanted: int) -> Chosen:
    try:
        token = require_token(int(tokens[row]), row)
    except LoomError as error:
        return Chosen(error=error)
    top = zip(most[1][row, :wanted].tolist(), most[0][row, :wanted].tolist(), strict=True) if most and wanted else ()
    return Chosen(token, float(chances[row]), tuple(top))
