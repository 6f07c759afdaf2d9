"""``scaled_dot_product_attention`` and ``rope``.

Layer: tensor. Invariant: a query that may see no key gives zeros, never NaN.

Sources: A. Vaswani and others, "Attention is all you need" (2017); J. Ainslie and others, "GQA" (2023); J. Su and
others, "RoFormer" (2021).
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.given import flag
from loom.core.numbers import real, whole
from loom.kernels.types import compute_type
from loom.tensor.arrays.functions import softmax
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.creation.creation import arange
from loom.tensor.neural.activations import wide
from loom.tensor.neural.rotary import rotate, turns
from loom.tensor.ops.elementwise import apply, cast, where
from loom.tensor.ops.products import matmul
from loom.tensor.ops.views import broadcast_to, expand_dims, reshape
from loom.tensor.record.graph import require_tensor

__all__ = ["rope", "scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """Return softmax(query key^T scale + mask) value: (.., heads, tokens, size) as torch's.

    ``attn_mask``: bools, true where a key may be seen, or numbers that are added, -inf where it may not; it broadcasts
    to (.., tokens, keys). ``is_causal``: key j is seen by queries from j on. ``scale``: by default 1 / sqrt(size).
    ``enable_gqa``: of ``query`` several heads share one of ``key`` and ``value``. Scores of f16 and bf16 are f32.

    Args:
        query: Tensor (.., heads, tokens, size).
        key: Tensor (.., heads, keys, size).
        value: Tensor (.., heads, keys, size of values).
        attn_mask: Tensor of bools (True takes part), or of floats that are added; None: none.
        is_causal: Whether a token sees none that follow.
        scale: Factor of the scores; None: size^-0.5.
        enable_gqa: Whether several query heads share one of the keys'.

    Raises:
        ArgumentError: A number is not usable there; not a number; an operand is no tensor.
        ShapeError: The shapes do not fit.
    """
    name = "scaled_dot_product_attention"
    for x in (query, key, value):
        wide(x, name)
    shared = flag(enable_gqa, f"{name}, enable_gqa")
    if (
        min(query.ndim, key.ndim, value.ndim) < 2
        or query.shape[-1] != key.shape[-1]
        or key.shape[-2] != value.shape[-2]
    ):
        raise ShapeError(name, "the shapes do not fit", expected="(.., tokens, size), (.., keys, size)",
                         got=f"{query.shape}, {key.shape}, {value.shape}", remedy="Transpose or reshape")  # fmt: skip
    heads = query.shape[:-2]
    if shared:
        query, key, value = _group_heads(query, key, value, name)
    factor = 1 / math.sqrt(max(1, query.shape[-1])) if scale is None else real(scale, f"{name}, scale")
    scores = cast(matmul(query, key, transpose_b=True), compute_type(query.dtype)) * factor
    seen, added = _mask(attn_mask, flag(is_causal, f"{name}, is_causal"), scores, heads, name)
    scores = scores if added is None else scores + added
    if seen is None:
        chances = softmax(scores)
    else:
        chances = where(seen, softmax(where(seen, scores, -math.inf)), 0)
    found = matmul(cast(chances, value.dtype), value)
    return reshape(found, (*heads, *found.shape[-2:])) if shared else found


def _group_heads(query: Tensor, key: Tensor, value: Tensor, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return operands with an axis of the queries' heads that share a key."""
    few = key.shape[-3] if key.ndim > 2 else 0
    if not few or query.ndim < 3 or value.shape[-3:-2] != (few,) or query.shape[-3] % few:
        got = f"{query.shape}, {key.shape}, {value.shape}"
        raise ShapeError(name, "no groups of heads", expected="heads of query a multiple of those of key and value",
                         got=got, remedy="Heads come third from last")  # fmt: skip
    groups = query.shape[-3] // few
    split = reshape(query, (*query.shape[:-3], few, groups, *query.shape[-2:]))
    return split, expand_dims(key, -3), expand_dims(value, -3)


def _mask(mask: Any, causal: bool, scores: Tensor, heads: tuple[int, ...], name: str) -> tuple[Any, Any]:
    """Return where keys are seen (None: everywhere), and what is added to scores."""
    seen, added = None, None
    if causal:
        tokens, keys = scores.shape[-2:]
        seen = expand_dims(arange(tokens, "i32"), 1) >= arange(keys, "i32")
    if mask is not None:
        require_tensor(mask, f"{name}, attn_mask")
        whole_mask = broadcast_to(mask, (*heads, *scores.shape[-2:]))
        whole_mask = reshape(whole_mask, scores.shape)
        if mask.dtype.is_bool:
            there = whole_mask
        elif mask.dtype.is_float:
            there = apply("gt", whole_mask, -math.inf)
            added = where(there, cast(whole_mask, scores.dtype), 0)
        else:
            raise DTypeError(f"{name}, attn_mask", "neither bools nor floats", expected="bool, or floats",
                             got=mask.dtype, remedy="Compare, mask != 0")  # fmt: skip
        seen = there if seen is None else there & seen
    return seen, added


def rope(x: Tensor, *, base: float = 10000.0, start: int = 0, interleaved: bool = False) -> Tensor:
    """Return ``x`` (.., tokens, size) with pairs of its last axis turned by each token's place times base^(-d / half).

    Pairs are (d, d + half), or (2 d, 2 d + 1) if they are ``interleaved``; the first token is at ``start``.

    Args:
        x: Tensor (.., tokens, size) of an even size.
        base: Base of the wavelengths.
        start: Place of the first token.
        interleaved: Whether pairs are neighbours; else halves go together.

    Raises:
        ArgumentError: A number is not usable there; not positive; an operand is no tensor; not a whole number.
        DTypeError: The elements are no floats.
        ShapeError: The shapes do not broadcast; not one element; no pairs.
    """
    require_tensor(x, "rope")
    if not x.dtype.is_float:
        raise DTypeError("rope", "unsupported dtype", expected="floats", got=x.dtype, remedy="Convert with astype")
    if x.ndim < 2 or x.shape[-1] % 2:
        raise ShapeError("rope", "no pairs", expected="(.., tokens, an even size)", got=x.shape,
                         remedy="Pad or reshape it")  # fmt: skip
    first, grows = whole(start, "rope, start", least=0), real(base, "rope, base")
    if grows <= 0:
        raise ArgumentError("rope, base", "not positive", expected="a number above 0", got=base, remedy="Use 10000")
    turned = turns(x.shape[-2], x.shape[-1] // 2, float(grows), x.dtype, x.device, first)
    return rotate(x, turned, interleaved=flag(interleaved, "rope, interleaved"))
