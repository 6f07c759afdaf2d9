"""``embedding``: a row of a table for each token id.

Layer: nn. Invariant: an id outside the table gives a row of zeros and no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from loom.nn.spec.fields import size
from loom.nn.spec.layer import Layer, Shape, register
from loom.nn.spec.problems import Place

__all__ = ["Embedding"]


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding(Layer):
    """Row lookup, ids of any shape (...) to (..., embedding_dim); ids are integers, or floats that are whole.

    Weights: ``weight`` (vocab_size, embedding_dim), drawn from the standard normal distribution. An id outside the
    table, or that is not whole, gives zeros and has no gradient.
    """

    kind: ClassVar[str] = "embedding"

    vocab_size: int = size("the number of rows")
    embedding_dim: int = size("the number of features of a row")

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        del place
        return (*shape, self.embedding_dim)

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        del shape
        return {"weight": (self.vocab_size, self.embedding_dim)}
