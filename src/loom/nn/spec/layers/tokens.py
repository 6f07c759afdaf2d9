"""``token_pool`` and ``class_token``: many tokens brought to one, and one put before them.

Layer: nn. Invariant: tokens are the first axis of a sample, features the last.
"""

from __future__ import annotations

import enum
from typing import ClassVar

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.fields import choice, field_of
from loom.nn.spec.base.layer import Layer, Shape, register
from loom.nn.spec.base.meaning import NEITHER, Meaning
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.rules import Name
from loom.nn.spec.base.shapes import check_mask, has_rank

__all__ = ["ClassToken", "TokenPool", "TokenPoolMode"]


class TokenPoolMode(enum.Enum):
    """Which features stand for all tokens; padding counts as no token."""

    MEAN = "mean"
    """the mean of each feature"""
    FIRST = "first"
    """those of the first token, padding or not"""
    LAST = "last"
    """those of the last token that is no padding"""
    MAX = "max"
    """the largest of each feature"""


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPool(Layer):
    """One list of features for all tokens, (tokens, features) to (features,); zeros if all are padding."""

    kind: ClassVar[str] = "token_pool"

    mode: TokenPoolMode = choice(TokenPoolMode, "which features they are", TokenPoolMode.MEAN)
    padding_mask: str | None = field_of(
        Name(), "the network input of shape (tokens,) that is zero where a token is padding", None
    )

    def inspect(self, place: Place) -> None:
        """Note a mask that nothing asks."""
        if self.mode is TokenPoolMode.FIRST and self.padding_mask is not None:
            place.at("padding_mask").fault("the first token is taken whatever the mask says", remedy="Leave it out.")

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        if not has_rank(shape, place, 2):
            return None
        check_mask(self.padding_mask, shape[0], place)
        return shape[1:]

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        del shape
        return NEITHER if given.width else given


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class ClassToken(Layer):
    """A trained token before all others, (tokens, features) to (tokens + 1, features).

    Weights: ``weight`` (features,), drawn with deviation 0.02.
    """

    kind: ClassVar[str] = "class_token"

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        return (shape[0] + 1, shape[1]) if has_rank(shape, place, 2) else None

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        return {"weight": shape[-1:]}
