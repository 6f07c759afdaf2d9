"""``multi_head_attention``: every token looks at every other, heads at a time.

Layer: nn. Invariant: weights are ``[in][out]``, heads lie next to each other along the feature axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from loom.nn.spec.fields import field_of, flag, real, size
from loom.nn.spec.layer import Layer, Shape, register
from loom.nn.spec.problems import Place
from loom.nn.spec.rules import Name
from loom.nn.spec.shapes import agrees, has_rank

__all__ = ["MultiHeadAttention"]


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class MultiHeadAttention(Layer):
    """Scaled dot-product self-attention, (tokens, d_model) to (tokens, d_model).

    Head h attends with key and value head ``h // (num_heads // num_kv_heads)``; scores are divided by
    sqrt(head_dim); the heads' results go through the output weights. With ``rope_freq_base``, queries and keys are
    rotated by halves: pair (d, d + head_dim / 2) of token t by ``t base^(-2d / head_dim)``. Weights: ``q_weight``
    (d_model, heads head_dim), ``k_weight`` and ``v_weight`` (d_model, kv_heads head_dim), ``o_weight`` (heads head_dim,
    d_model) and, unless ``bias`` is false, ``q_bias``, ``k_bias``, ``v_bias``, ``o_bias``.
    """

    kind: ClassVar[str] = "multi_head_attention"
    other_names: ClassVar[tuple[str, ...]] = ("mha", "attention", "multiheadattention")

    num_heads: int = size("the number of query heads")
    num_kv_heads: int | None = size("the number of key and value heads; as many as query heads if not given", None)
    d_model: int | None = size("the number of features of a token, if it is to be checked", None)
    head_dim: int | None = size("features of a head; d_model / num_heads if not given", None)
    causal: bool = flag("true if a token sees only itself and those before it", False)
    rope_freq_base: float | None = real("base of the rotary position embedding; none if not given", None, above=0.0)
    padding_mask: str | None = field_of(
        Name(), "the network input of shape (tokens,) that is zero where a token is padding and must not be seen", None
    )
    bias: bool = flag("true if the four projections have biases", True)

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads."""
        return self.num_kv_heads or self.num_heads

    def head_size(self, d_model: int) -> int:
        """Return the number of features of a head."""
        return self.head_dim or d_model // self.num_heads

    def inspect(self, place: Place) -> None:
        """Note fields that do not go together."""
        if self.num_heads % self.kv_heads:
            place.at("num_kv_heads").fault(
                "query heads cannot be shared out evenly", expected=f"a divisor of num_heads {self.num_heads}",
                got=self.kv_heads,
            )  # fmt: skip
        if self.d_model is not None:
            self._inspect_width(self.d_model, place)

    def _inspect_width(self, d_model: int, place: Place) -> bool:
        if self.head_dim is None and d_model % self.num_heads:
            place.at("num_heads").fault(
                "features cannot be shared out evenly", expected=f"a divisor of d_model {d_model}", got=self.num_heads,
                remedy="Give head_dim.",
            )  # fmt: skip
            return False
        if self.rope_freq_base is not None and self.head_size(d_model) % 2:
            place.at("rope_freq_base").fault(
                "rotary position embedding needs pairs of features", expected="an even head_dim",
                got=self.head_size(d_model),
            )  # fmt: skip
            return False
        return True

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        if not has_rank(shape, place, 2):
            return None
        if agrees(self.d_model, shape[1], "d_model", place, "features of a token"):
            self._inspect_width(shape[1], place)
        self._infer_mask(shape, place)
        return shape

    def _infer_mask(self, shape: Shape, place: Place) -> None:
        inputs = place.reading.inputs
        if self.padding_mask is None or inputs is None:
            return
        if self.padding_mask not in inputs:
            place.at("padding_mask").unknown("network input", self.padding_mask, inputs)
        elif inputs[self.padding_mask] != shape[:1]:
            place.at("padding_mask").fault(
                "the mask does not have one element per token", expected=f"shape {shape[:1]}",
                got=f"shape {inputs[self.padding_mask]}",
            )  # fmt: skip

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        width = shape[1]
        query, key = self.num_heads * self.head_size(width), self.kv_heads * self.head_size(width)
        weights = {
            "q_weight": (width, query),
            "k_weight": (width, key),
            "v_weight": (width, key),
            "o_weight": (query, width),
        }
        biases: dict[str, Shape] = {"q_bias": (query,), "k_bias": (key,), "v_bias": (key,), "o_bias": (width,)}
        return weights | (biases if self.bias else {})
