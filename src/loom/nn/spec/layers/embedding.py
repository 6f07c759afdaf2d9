"""``embedding``, ``unembedding`` and ``position_embedding``: tables with a row for each token id or place.

Layer: nn. Invariant: an id outside the table gives a row of zeros and no gradient.
"""

from __future__ import annotations

from typing import ClassVar

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.fields import field_of, size
from loom.nn.spec.base.layer import Layer, Shape, TableRows, register
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.rules import LayerName
from loom.nn.spec.base.shapes import has_rank

__all__ = ["Embedding", "PositionEmbedding", "Unembedding"]


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding(Layer):
    """Row lookup, ids of any shape (...) to (..., embedding_dim); ids are integers, or floats that are whole.

    Weights: ``weight`` (vocab_size, embedding_dim), drawn from the standard normal distribution. An id outside the
    table, or that is not whole, is refused in data of a network's input; computed by other layers it gives zeros and
    has no gradient.
    """

    kind: ClassVar[str] = "embedding"

    vocab_size: int = size("the number of rows")
    embedding_dim: int = size("the number of features of a row")

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        del place
        return (*shape, self.embedding_dim)

    def table_rows(self) -> TableRows:
        return TableRows(self.vocab_size)

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        del shape
        return {"weight": (self.vocab_size, self.embedding_dim)}


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Unembedding(Layer):
    """Logits by the table of an embedding: ``x E^T`` along the last axis, (..., embedding_dim) to (..., vocab_size).

    It has no weights of its own: those of the embedding are trained by both.
    """

    kind: ClassVar[str] = "unembedding"

    table: str = field_of(LayerName(), "the embedding layer whose table it is")
    vocab_size: int = size("the number of rows of that table")

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        return (*shape[:-1], self.vocab_size) if has_rank(shape, place, 1, 0) else None

    def tables(self, shape: Shape) -> tuple[tuple[str, str, Shape], ...]:
        return (("table", "weight", (self.vocab_size, shape[-1])),)


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class PositionEmbedding(Layer):
    """``x + E[t]`` for token t, (tokens, features) to the same; tokens are counted from 0.

    Weights: ``weight`` (max_positions, features), drawn with deviation 0.02.
    """

    kind: ClassVar[str] = "position_embedding"

    max_positions: int = size("the number of rows: the most tokens that a sample may have")

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        if not has_rank(shape, place, 2):
            return None
        if shape[0] > self.max_positions:
            place.at("max_positions").fault("there are more tokens than rows", expected=f"at least {shape[0]}",
                                            got=self.max_positions)  # fmt: skip
        return shape

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        return {"weight": (self.max_positions, shape[-1])}
