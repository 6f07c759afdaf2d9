"""``multi_head_attention``: every token looks at every other, heads at a time.

Layer: nn. Invariant: weights are ``[in][out]``, heads lie next to each other along the feature axis.
"""

from __future__ import annotations

from typing import ClassVar

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.fields import field_of, flag, real, several, size, value_fields
from loom.nn.spec.base.layer import Shape, register
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.rules import Flag, LayerName, Name, Real
from loom.nn.spec.base.shapes import agrees, check_mask, has_rank
from loom.nn.spec.layers.lora import Adaptable

__all__ = ["MultiHeadAttention"]


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class MultiHeadAttention(Adaptable):
    """Scaled dot-product self-attention, (tokens, d_model) to (tokens, d_model).

    Head h attends with key and value head ``h // (num_heads // num_kv_heads)``; scores are multiplied by ``scale``; the
    heads' results go through the output weights. With ``rope_freq_base``, the first ``rope_dims`` features of queries
    and keys are rotated: of r features pair d, which is (d, d + r / 2), or (2 d, 2 d + 1) if ``rope_interleaved``, of
    token t by ``t base^(-2d / r) / rope_factors[d]``. With ``qk_norm_epsilon`` queries and keys are first brought to a
    root mean square of 1, head by head, and multiplied by ``q_norm`` and ``k_norm``. With ``relative_buckets`` head h
    adds ``relative_weight[b][h]`` to a score, b the bucket of key's place less query's: half of the buckets are for
    keys behind the query unless it is causal; half of those are one distance each, the others grow as a geometric
    sequence up to ``relative_distance``.

    Weights: ``q_weight`` (d_model, heads head_dim), ``k_weight`` and ``v_weight`` (d_model, kv_heads head_dim),
    ``o_weight`` (heads head_dim, d_model); ``q_bias``, ``k_bias``, ``v_bias`` unless ``bias`` is false, ``o_bias``
    unless ``output_bias`` is; ``q_norm``, ``k_norm`` (head_dim,); ``relative_weight`` (relative_buckets, heads) unless
    ``relative_table`` names another attention layer that has it.
    """

    kind: ClassVar[str] = "multi_head_attention"
    matrices: ClassVar[tuple[str, ...]] = ("q_weight", "k_weight", "v_weight", "o_weight")
    other_names: ClassVar[tuple[str, ...]] = ("mha", "attention", "multiheadattention")

    num_heads: int = size("the number of query heads")
    num_kv_heads: int | None = size("the number of key and value heads; as many as query heads if not given", None)
    d_model: int | None = size("the number of features of a token, if it is to be checked", None)
    head_dim: int | None = size("features of a head; d_model / num_heads if not given", None)
    causal: bool = flag("true if a token sees only itself and those before it", False)
    rope_freq_base: float | None = real("base of the rotary position embedding; none if not given", None, above=0.0)
    rope_dims: int | None = size("how many features of a head are rotated, the first ones; all if not given", None)
    rope_interleaved: bool = flag("true if the features of a pair lie next to each other", False)
    rope_factors: tuple[float, ...] = several(
        Real(above=0.0), "what each pair's frequency is divided by: one number for each pair, or none", ()
    )
    scale: float | None = real("what scores are multiplied by; 1 / sqrt(head_dim) if not given", None, above=0.0)
    window: int | None = size("causal: how many tokens a token sees, itself the last; all if not given", None)
    qk_norm_epsilon: float | None = real(
        "added to the mean square of each head's query and key, which are normalised; not so if not given", None,
        above=0.0,
    )  # fmt: skip
    relative_buckets: int | None = size(
        "the number of buckets of the relative position bias; none if not given", None, low=4
    )
    relative_distance: int = size("the distance from which on all tokens have one bucket", 128)
    relative_table: str | None = field_of(
        LayerName(), "the attention layer whose relative position bias is used; an own one if not given", None
    )
    padding_mask: str | None = field_of(
        Name(), "the network input of shape (tokens,) that is zero where a token is padding and must not be seen", None
    )
    bias: bool = flag("true if the projections of queries, keys and values have biases", True)
    output_bias: bool | None = field_of(
        Flag(), "true if the output projection has a bias; as those of queries, keys and values if not given", None
    )

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads."""
        return self.num_kv_heads or self.num_heads

    @property
    def has_output_bias(self) -> bool:
        """True if the output projection has a bias."""
        return self.bias if self.output_bias is None else self.output_bias

    def head_size(self, d_model: int) -> int:
        """Return the number of features of a head."""
        return self.head_dim or d_model // self.num_heads

    def beyond_first(self) -> tuple[str, ...]:
        """Return the keys given that attention of the first generations of documents has not."""
        return tuple(
            f.name for f in value_fields(type(self)) if f.name in _LATER and getattr(self, f.name) != f.default
        )

    def inspect(self, place: Place) -> None:
        """Note fields that do not go together."""
        Adaptable.inspect(self, place)
        if self.num_heads % self.kv_heads:
            place.at("num_kv_heads").fault(
                "query heads cannot be shared out evenly", expected=f"a divisor of num_heads {self.num_heads}",
                got=self.kv_heads,
            )  # fmt: skip
        self._inspect_needs(place)
        if self.window is not None and not self.causal:
            place.at("window").fault("only tokens before it are in a token's window", expected="causal: true")
        if self.relative_buckets is not None:
            self._inspect_buckets(self.relative_buckets, place)
        if self.d_model is not None:
            self._inspect_width(self.d_model, place)

    def _inspect_needs(self, place: Place) -> None:
        """Note keys that do nothing without another."""
        needs = {"rope_dims": "rope_freq_base", "rope_interleaved": "rope_freq_base", "rope_factors": "rope_freq_base",
                 "relative_distance": "relative_buckets", "relative_table": "relative_buckets"}  # fmt: skip
        defaults = {f.name: f.default for f in value_fields(type(self))}
        for key, other in needs.items():
            if getattr(self, key) != defaults[key] and getattr(self, other) is None:
                place.at(key).fault(f"it does nothing without {other!r}", remedy=f"Give {other}, or leave it out.")

    def _inspect_buckets(self, buckets: int, place: Place) -> None:
        near = (buckets if self.causal else buckets // 2) // 2
        if buckets % (2 if self.causal else 4):
            place.at("relative_buckets").fault(
                "buckets cannot be halved", got=buckets,
                expected="an even number" if self.causal else "a multiple of 4, as it is not causal",
            )  # fmt: skip
        elif self.relative_distance <= near:
            place.at("relative_distance").fault(
                "no distance is left for the buckets that grow", expected=f"above {near}", got=self.relative_distance
            )

    def _inspect_width(self, d_model: int, place: Place) -> bool:
        if self.head_dim is None and d_model % self.num_heads:
            place.at("num_heads").fault(
                "features cannot be shared out evenly", expected=f"a divisor of d_model {d_model}", got=self.num_heads,
                remedy="Give head_dim.",
            )  # fmt: skip
            return False
        return self.rope_freq_base is None or self._inspect_pairs(self.head_size(d_model), place)

    def _inspect_pairs(self, head: int, place: Place) -> bool:
        """Note features that are no pairs to be rotated."""
        rotated = head if self.rope_dims is None else self.rope_dims
        if rotated % 2 or rotated > head:
            where, wanted = ("rope_freq_base", "an even head_dim") if self.rope_dims is None else (
                "rope_dims", f"an even number up to head_dim {head}")  # fmt: skip
            place.at(where).fault("rotary position embedding needs pairs of features", expected=wanted, got=rotated)
            return False
        if self.rope_factors and len(self.rope_factors) != rotated // 2:
            place.at("rope_factors").fault(
                "not one number for each pair of rotated features", expected=rotated // 2, got=len(self.rope_factors)
            )
            return False
        return True

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        if not has_rank(shape, place, 2):
            return None
        if agrees(self.d_model, shape[1], "d_model", place, "features of a token"):
            self._inspect_width(shape[1], place)
        check_mask(self.padding_mask, shape[0], place)
        return shape

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        width, head = shape[1], self.head_size(shape[1])
        query, key = self.num_heads * head, self.kv_heads * head
        found: dict[str, Shape] = {
            "q_weight": (width, query),
            "k_weight": (width, key),
            "v_weight": (width, key),
            "o_weight": (query, width),
        }
        if self.bias:
            found |= {"q_bias": (query,), "k_bias": (key,), "v_bias": (key,)}
        if self.has_output_bias:
            found |= {"o_bias": (width,)}
        if self.qk_norm_epsilon is not None:
            found |= {"q_norm": (head,), "k_norm": (head,)}
        if self.relative_buckets is not None and self.relative_table is None:
            found |= {"relative_weight": (self.relative_buckets, self.num_heads)}
        return self.with_adapters(found)

    def tables(self, shape: Shape) -> tuple[tuple[str, str, Shape], ...]:
        del shape
        if self.relative_table is None or self.relative_buckets is None:
            return ()
        return (("relative_table", "relative_weight", (self.relative_buckets, self.num_heads)),)


_LATER = frozenset((
    "rope_dims", "rope_interleaved", "rope_factors", "scale", "window", "qk_norm_epsilon", "relative_buckets",
    "relative_distance", "relative_table", "output_bias",
))  # fmt: skip
