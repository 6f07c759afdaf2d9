"""``SamplingConfig``: how the next token is chosen, and when a text ends.

Layer: models. Invariant: a config is checked when it is made, so that whoever holds one may use every field as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from types import MappingProxyType
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import is_mapping, items, text
from loom.core.late.dataclass import dataclass
from loom.core.numbers import real, whole

__all__ = ["MOST_BIAS", "MOST_STOPS", "SamplingConfig"]

MOST_BIAS = 4096
"""Tokens that may have a bias."""
MOST_STOPS = 64
"""Stop strings of one text."""
LEAST_TEMPERATURE = 1e-5
_WORD = (1 << 32) - 1


@dataclass(frozen=True, slots=True, eq=True)
class SamplingConfig:
    """How a token is chosen from logits (``sample``), and when a text ends.

    The order is that of transformers: ``repetition_penalty`` (of every token of prompt and text: a positive logit is
    divided by it, another multiplied), ``frequency_penalty`` (times the count within the text, taken off),
    ``presence_penalty`` (taken off once, of tokens within the text), ``logit_bias`` (added), ``temperature`` (divides;
    0 is greedy: the largest logit, the lowest index of equal ones), ``top_k`` (0: all), ``top_p``, ``min_p`` (of the
    largest chance). ``seed`` and ``stream`` are key and stream of Philox, whose counter is the token's position;
    ``max_tokens`` (None: as many as the context holds) and ``stop`` end a text. ArgumentError for what is out of range.

    >>> SamplingConfig(temperature=0).greedy, SamplingConfig(stop="END").stop
    (True, ('END',))
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float], hash=False)
    seed: int = 0
    stream: int = 0
    max_tokens: int | None = None
    stop: str | Sequence[str] = ()

    def __post_init__(self) -> None:
        where = "SamplingConfig, "

        def keep(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        keep("temperature", real(self.temperature, where + "temperature", least=0, most=100))
        if 0 < self.temperature < LEAST_TEMPERATURE:
            raise ArgumentError(where + "temperature", "too small", expected=f"0, or at least {LEAST_TEMPERATURE}",
                                got=self.temperature, remedy="Pass 0 for the largest logit")  # fmt: skip
        keep("top_k", whole(self.top_k, where + "top_k", least=0, most=_WORD))
        keep("top_p", real(self.top_p, where + "top_p", least=0, most=1))
        keep("min_p", real(self.min_p, where + "min_p", least=0, most=1))
        keep("repetition_penalty", real(self.repetition_penalty, where + "repetition_penalty", least=0.01, most=100))
        for name in ("frequency_penalty", "presence_penalty"):
            keep(name, real(getattr(self, name), where + name, least=-100, most=100))
        keep("seed", whole(self.seed, where + "seed", least=0, most=(1 << 64) - 1))
        keep("stream", whole(self.stream, where + "stream", least=0, most=_WORD))
        if self.max_tokens is not None:
            keep("max_tokens", whole(self.max_tokens, where + "max_tokens", least=0))
        keep("logit_bias", _biases(self.logit_bias, where + "logit_bias"))
        keep("stop", _stops(self.stop, where + "stop"))

    @property
    def greedy(self) -> bool:
        """Whether the largest logit is taken, and nothing is drawn."""
        return self.temperature == 0

    @property
    def adjusts(self) -> bool:
        """Whether logits are changed before a token is chosen: penalties or biases."""
        return bool(self.logit_bias) or self.penalises

    @property
    def penalises(self) -> bool:
        """Whether tokens that came before count."""
        return self.repetition_penalty != 1 or self.frequency_penalty != 0 or self.presence_penalty != 0


def _biases(given: Any, where: str) -> Mapping[int, float]:
    if not is_mapping(given) or len(given) > MOST_BIAS:
        raise ArgumentError(
            where,
            "not usable",
            expected=f"a dict of at most {MOST_BIAS} tokens",
            got=repr(given)[:200],
            remedy="Write {token: bias}",
        )
    found = {whole(k, where, least=0, most=_WORD): real(v, where, least=-1e4, most=1e4) for k, v in given.items()}
    return MappingProxyType(found)


def _stops(given: Any, where: str) -> tuple[str, ...]:
    found = [given] if isinstance(given, str) else items(given, where, "texts")
    if not all(text(each, where) for each in found) or len(found) > MOST_STOPS:
        raise ArgumentError(
            where,
            "not usable",
            expected=f"at most {MOST_STOPS} texts, none empty",
            got=repr(found)[:200],
            remedy="Leave out empty ones",
        )
    return tuple(found)
