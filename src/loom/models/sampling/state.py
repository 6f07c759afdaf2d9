"""``SamplingState``: what one text has said so far, as the choice of its next token needs it.

Layer: models. Invariant: what a state feeds depends on its config, its prompt and the tokens pushed alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError
from loom.core.numbers import whole
from loom.kernels.sampling import weights as row
from loom.models.sampling.config import SamplingConfig

__all__ = ["SamplingState", "idle"]

_FRACTION = 1 << 32


class SamplingState:
    """Where a text stands: its ``position``, the place of the token to come, and which tokens count against it.

    ``prompt``: the tokens before the text. ``push`` adds a token once it is chosen.

    >>> state = SamplingState(SamplingConfig(frequency_penalty=1.0), prompt=[5, 6])
    >>> state.push(7)
    >>> state.position, state.adjusted
    (3, 1)
    """

    def __init__(self, config: SamplingConfig, prompt: Iterable[int] = ()) -> None:
        self.config = config
        self._places: dict[int, int] = {}
        self._tokens = np.zeros(16, np.uint32)
        self._counts = np.zeros(16, np.uint32)
        self._biases = np.zeros(16, np.float32)
        for token, bias in config.logit_bias.items():
            at = self._place(token)
            self._biases[at] = bias
        tokens = list(prompt)
        self.position = len(tokens)
        self._repeats = config.repetition_penalty != 1
        self._counting = config.frequency_penalty != 0 or config.presence_penalty != 0
        if self._repeats:
            for token in dict.fromkeys(tokens):
                at = self._place(whole(token, "SamplingState, prompt", least=0))
                self._counts[at] = row.SEEN
        self._numbers, self._words = _settings(config)

    @property
    def adjusted(self) -> int:
        """How many tokens have a penalty or a bias."""
        return len(self._places)

    def _place(self, token: int) -> int:
        at = self._places.setdefault(token, len(self._places))
        if at == len(self._tokens):
            self._tokens, self._counts, self._biases = (
                np.concatenate([each, np.zeros_like(each)]) for each in (self._tokens, self._counts, self._biases)
            )
        self._tokens[at] = token
        return at

    def push(self, token: int) -> None:
        """Take the token that was chosen."""
        self.position += 1
        if self._repeats or self._counting:
            at = self._place(int(token))
            self._counts[at] = (self._counts[at] + np.uint32(1)) | np.uint32(row.SEEN if self._repeats else 0)

    def write(self, numbers: Array, words: Array) -> None:
        """Write the settings of a row."""
        numbers[:] = self._numbers
        words[:] = self._words
        words[row.POSITION] = self.position
        words[row.ADJUSTED] = self.adjusted

    def write_adjusted(self, tokens: Array, counts: Array, biases: Array, size: int) -> None:
        """Write the tokens of a row that have a penalty or a bias; ArgumentError for one of no vocabulary."""
        n = self.adjusted
        if n and int(self._tokens[:n].max()) >= size:
            raise ArgumentError("SamplingConfig, logit_bias", "there is no such token", expected=f"0 to {size - 1}",
                                got=int(self._tokens[:n].max()),
                                remedy="Pass ids of the model's tokenizer")  # fmt: skip
        tokens[:n], counts[:n], biases[:n] = self._tokens[:n], self._counts[:n], self._biases[:n]


def _settings(config: SamplingConfig) -> tuple[Array, Array]:
    numbers, words = np.zeros(row.SETTINGS, np.float32), np.zeros(row.SETTINGS, np.uint32)
    numbers[row.TEMPERATURE] = config.temperature if config.temperature else 1
    numbers[row.MIN_P], numbers[row.REPETITION] = config.min_p, config.repetition_penalty
    numbers[row.FREQUENCY], numbers[row.PRESENCE] = config.frequency_penalty, config.presence_penalty
    words[row.TOP_K] = config.top_k
    words[row.TOP_P] = min(round(config.top_p * _FRACTION), _FRACTION - 1)
    words[row.SEED], words[row.SEED + 1] = config.seed & (_FRACTION - 1), config.seed >> 32
    words[row.STREAM] = config.stream
    words[row.FLAGS] = (row.GREEDY if config.greedy else 0) | (row.NUCLEUS if config.top_p < 1 else 0)
    return numbers, words


def idle(numbers: Array, words: Array) -> None:
    """Write the settings of a row that nobody asks for."""
    numbers[:], words[:] = 1, 0
    words[row.FLAGS] = row.GREEDY
