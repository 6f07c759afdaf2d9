"""``Vocabulary``: what a tokenizer is made of, whatever file it comes from; and how parts of it are built.

Layer: models, over the package tokenizers (extra ``models``). Invariant: no truncation and no padding is left on a
backend, as a text that lost its end in silence would be another text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.core.optional import load, require

__all__ = ["Vocabulary", "begin_and_end", "build", "tokenizers"]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A ``tokenizers.Tokenizer``, texts of named special tokens (``bos_token`` ..), what ends a text, templates."""

    backend: Any
    named: Mapping[str, str]
    ends: frozenset[int]
    templates: Mapping[str, str] = field(default_factory=dict[str, str])


def tokenizers() -> Any:
    """Return the package; StateError where it is not installed."""
    return load("tokenizers", "loom.models.tokens")


def build(where: str, make: Any, *args: Any, **options: Any) -> Any:
    """Return what the package makes of a file's contents; ArgumentError if it cannot."""
    try:
        return make(*args, **options)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the package raises Exception itself; its panics are not even one
        raise ArgumentError(where, f"the tokenizer cannot be read ({str(error)[:300]})", expected="a tokenizer",
                            remedy="Fetch the model's files again") from error  # fmt: skip


def begin_and_end(backend: Any, begins: Sequence[str], ends: Sequence[str]) -> None:
    """Make texts begin and end with special tokens."""
    require("tokenizers", "loom.models.tokens")
    from tokenizers.processors import TemplateProcessing

    before, after = "".join(f"{each}:0 " for each in begins), "".join(f" {each}:0" for each in ends)
    special = [(each, backend.token_to_id(each)) for each in dict.fromkeys([*begins, *ends])]
    backend.post_processor = TemplateProcessing(
        single=f"{before}$A:0{after}", pair=f"{before}$A:0{after} $B:1{after.replace(':0', ':1')}",
        special_tokens=special,
    )  # fmt: skip
