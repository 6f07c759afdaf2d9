"""What a request may be: its tokens, its settings, what ends it and what it is held to, read before it waits.

Layer: models. Invariant: what one request asks wrongly is told to whoever asks, at once; others never hear of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any, cast

from loom.core.arrays import read_array
from loom.core.errors import ArgumentError
from loom.core.numbers import whole
from loom.models.sampling import SamplingConfig

__all__ = ["read_config", "read_constraint", "read_ends", "read_tokens", "read_until"]

WHERE = "loom.models.inference.InferenceEngine"
_HELD = ("start", "words", "advance", "is_complete")


def read_tokens(tokens: Any, vocabulary: int) -> list[int]:
    """Return a prompt as ints; ArgumentError for what is no list of ids of the vocabulary, or empty."""
    has_shape = hasattr(tokens, "shape")
    is_several = has_shape or isinstance(tokens, Iterable)
    if not is_several or isinstance(tokens, str | bytes | bytearray | Set | Mapping):
        raise ArgumentError(WHERE, "not tokens", expected="a list of ids", got=repr(cast(object, tokens))[:80],
                            remedy="Encode a text by the model's tokenizer; write [id] for one token")  # fmt: skip
    listed = cast("Any", tokens) if has_shape else list(cast("Iterable[Any]", tokens))
    found, dtype = read_array(listed, f"{WHERE}, tokens")
    if not found.size:
        raise ArgumentError(WHERE, "no tokens: there is nothing to go on from", expected="at least one id", got="none",
                            remedy="Begin with the tokenizer's bos, or with a space")  # fmt: skip
    if found.ndim != 1 or not dtype.is_integer:
        raise ArgumentError(WHERE, "no tokens", expected="one row of whole numbers", got=f"{dtype} {found.shape}",
                            remedy="Pass a list of ids, of one text at a time")  # fmt: skip
    if int(found.min()) < 0 or int(found.max()) >= vocabulary:
        raise ArgumentError(WHERE, "a token is not in the vocabulary", expected=f"0 to {vocabulary - 1}",
                            got=f"{found.min()} to {found.max()}", remedy="Use the model's tokenizer")  # fmt: skip
    return [int(t) for t in found]


def read_config(config: Any, vocabulary: int) -> SamplingConfig:
    """Return settings; ArgumentError for a bias of a token that is not there."""
    if config is None:
        return SamplingConfig()
    if not isinstance(config, SamplingConfig):
        raise ArgumentError(f"{WHERE}, config", "no settings", expected="a SamplingConfig", got=repr(config)[:80],
                            remedy="Write SamplingConfig(temperature=0)")  # fmt: skip
    last = max(config.logit_bias, default=0)
    if last >= vocabulary:
        raise ArgumentError("SamplingConfig, logit_bias", "there is no such token", expected=f"0 to {vocabulary - 1}",
                            got=last, remedy="Pass ids of the model's tokenizer")  # fmt: skip
    return config


def read_ends(eos: Any, vocabulary: int) -> frozenset[int]:
    """Return the tokens that end a text."""
    if not isinstance(eos, Iterable) or isinstance(eos, str | bytes):
        raise ArgumentError(f"{WHERE}, eos", "not tokens", expected="a list of ids", got=repr(eos)[:80],
                            remedy="Write [id] for one")  # fmt: skip
    each: Iterable[Any] = eos  # pyright: ignore[reportUnknownVariableType] - of anything
    return frozenset(whole(t, f"{WHERE}, eos", least=0, most=vocabulary - 1) for t in each)


def read_until(until: Any) -> Any:
    """Return a function that is told each token, or None."""
    if until is not None and not callable(until):
        raise ArgumentError(f"{WHERE}, until", "it cannot be called", expected="a function of a token",
                            got=repr(until)[:80], remedy="Write lambda token: token == 5")  # fmt: skip
    return until


def read_constraint(constraint: Any, vocabulary: int) -> Any:
    """Return a grammar, or None; ArgumentError for one over more tokens than there are."""
    if constraint is None:
        return None
    if not all(callable(getattr(constraint, name, None)) for name in _HELD):
        raise ArgumentError(f"{WHERE}, constraint", "no grammar", expected="one of loom.models.tokens.grammar",
                            got=repr(constraint)[:80],
                            remedy="Write grammar.regex(pattern, tokenizer), or json_schema(..)")  # fmt: skip
    if getattr(constraint, "size", 0) > vocabulary:
        raise ArgumentError(f"{WHERE}, constraint", "the grammar is over another tokenizer's tokens",
                            expected=f"at most {vocabulary}", got=constraint.size,
                            remedy="Make it with the model's tokenizer")  # fmt: skip
    return constraint
