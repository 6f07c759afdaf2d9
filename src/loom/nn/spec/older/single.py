"""Older layers that hold no others: the shape that each sees in the flat vector, and its config.

Layer: nn. Invariant: a layer sees all elements of the sample; where the original would cut or pad, there is an error.
"""

from __future__ import annotations

from collections.abc import Callable

from loom.nn.spec.base.layer import Layer, Shape
from loom.nn.spec.base.shapes import count
from loom.nn.spec.layers.attention import MultiHeadAttention
from loom.nn.spec.layers.conv import Conv1D, Conv2D
from loom.nn.spec.layers.dense import Dense, Stitch
from loom.nn.spec.layers.embedding import Embedding
from loom.nn.spec.layers.norm import LayerNorm, RMSNorm
from loom.nn.spec.layers.recurrent import GRU, LSTM, RNN
from loom.nn.spec.layers.softmax import Softmax, Variant
from loom.nn.spec.layers.swiglu import SwiGLU
from loom.nn.spec.older.definition import Definition, Notes
from loom.nn.spec.older.names import member_of
from loom.nn.spec.older.start import size_told_by

__all__ = ["SINGLE", "SOFTMAX_KEYS", "softmax_of"]

Made = tuple[Shape, Layer] | None
"""The shape that the layer sees, and its config; None if a key is missing (noted)."""

_IN = ("width", "input_size", "input_height")
_OUT = ("height", "output_size", "output_height")


def _features(shape: Shape, given: int | None) -> Shape:
    """Return the shape of a layer along the last axis: as it is, if the size fits, else rows of that size."""
    total = count(shape)
    if given is None or (shape and shape[-1] == given):
        return shape or (1,)
    if total % given == 0 and total != given:
        return (total // given, given)
    return (given,)  # if it is not all of the sample, the view notes it


def _dense(d: Definition, shape: Shape, notes: Notes) -> Made:
    del notes
    inputs, outputs = d.first(*_IN), d.need(*_OUT)
    if outputs is None:
        return None
    total = count(shape)
    seen = shape if inputs not in (None, total) and shape and shape[-1] == inputs else (inputs or total,)
    if d.kind == "stitch":
        return seen, Stitch(output_size=outputs)
    return seen, Dense(output_size=outputs, activation=d.activation, bias=d.values.get("bias", True))


def _conv2d(d: Definition, shape: Shape, notes: Notes) -> Made:
    filters, kernel = d.need("filters"), d.need("kernel_size")
    if filters is None or kernel is None:
        return None
    is_image = len(shape) == 3
    channels = d.first("input_channels") or (shape[0] if is_image else 1)
    rows = d.first("input_height") or (shape[1] if is_image else None)
    cols = d.first("input_width") or (shape[2] if is_image else rows)
    if rows is None or cols is None:
        d.need("input_height")
        return None
    stride, padding = d.first("stride") or 1, d.first("padding") or 0
    layer = Conv2D(
        filters=filters, kernel_size=(kernel, kernel), stride=(stride, stride), padding=(padding, padding),
        activation=d.activation, bias=d.values.get("bias", True),
    )  # fmt: skip
    for name, n in (("output_height", rows), ("output_width", cols)):
        true = (n + 2 * padding - kernel) // stride + 1
        if d.first(name) not in (None, true):
            notes.add(d.place, f"{name} {d.first(name)} is not what the sizes give: {true} is used")
    return (channels, rows, cols), layer


def _conv1d(d: Definition, shape: Shape, notes: Notes) -> Made:
    filters, kernel = d.need("filters"), d.need("kernel_size")
    if filters is None or kernel is None:
        return None
    channels = d.first("input_channels") or (shape[0] if len(shape) == 2 else 1)
    length = d.first("input_length", "input_height", "input_width") or count(shape) // channels
    true = (length + 2 * (d.first("padding") or 0) - kernel) // (d.first("stride") or 1) + 1
    for name in ("output_height", "output_width"):
        if d.first(name) not in (None, true):
            notes.add(d.place, f"{name} {d.first(name)} is not what the sizes give: {true} is used")
    layer = Conv1D(
        filters=filters, kernel_size=kernel, stride=d.first("stride") or 1, padding=d.first("padding") or 0,
        activation=d.activation, bias=d.values.get("bias", True),
    )  # fmt: skip
    return (channels, max(length, 1)), layer


def _tokens(shape: Shape, width: int, told: int | None) -> Shape:
    """Return (tokens, features): as many tokens as there are, unless their number is told."""
    return (told or max(count(shape) // width, 1), width)


def _attention(d: Definition, shape: Shape, notes: Notes) -> Made:
    width = d.first("d_model") or (shape[-1] if shape else 1)
    heads, head_dim = d.first("num_heads") or 8, d.first("head_dim")
    base = d.first("rope_freq_base") or 10000.0
    if (head_dim or width // heads) % 2:
        notes.add(d.place, "rotary position embedding needs heads of even size: left out")
        base = None
    layer = MultiHeadAttention(
        num_heads=heads, num_kv_heads=d.first("num_kv_heads"), head_dim=head_dim, causal=True, rope_freq_base=base
    )
    told = d.first("seq_length")
    return _tokens(shape, width, None if told == 1 else told), layer  # 1 is what saved configs say of none


def _recurrent(d: Definition, shape: Shape, notes: Notes) -> Made:
    del notes
    hidden = d.need("hidden_size")
    if hidden is None:
        return None
    width = d.first("input_size") or (count(shape) // (d.first("seq_length") or 1) if len(shape) != 2 else shape[1])
    config = {"rnn": RNN, "lstm": LSTM, "gru": GRU}[d.kind]
    return _tokens(shape, max(width, 1), d.first("seq_length")), config(hidden_size=hidden)


def _norm(d: Definition, shape: Shape, notes: Notes) -> Made:
    del notes
    config = LayerNorm if d.kind == "layer_norm" else RMSNorm
    return _features(shape, d.first("norm_size")), config(epsilon=d.first("epsilon") or 1e-5)


def _swiglu(d: Definition, shape: Shape, notes: Notes) -> Made:
    del notes
    inner = d.need("output_size", "output_height")
    if inner is None:
        return None
    return _features(shape, d.first("input_size", "input_height")), SwiGLU(inner_size=inner)


def _embedding(d: Definition, shape: Shape, notes: Notes) -> Made:
    del notes
    rows, width = d.need("vocab_size"), d.need("embedding_dim")
    if rows is None or width is None:
        return None
    return (d.first("seq_length") or count(shape),), Embedding(vocab_size=rows, embedding_dim=width)


def _softmax(d: Definition, shape: Shape, notes: Notes) -> Made:
    total = count(shape)
    if size_told_by(d) not in (None, total):
        d.place.reading.misfit = (shape, (size_told_by(d) or 1,))
    return (total,), softmax_of(d, d.values.get("softmax_variant"), d.first("temperature"), total, notes)


def softmax_of(d: Definition, variant: object, temperature: float | None, total: int, notes: Notes) -> Softmax:
    """Return the softmax that a definition means for ``total`` elements; a variant without its keys is standard."""
    found = member_of(Variant, variant, d.place.at("softmax_variant"), Variant.STANDARD)
    heat = temperature or 1.0
    fields: dict[str, object] = {}
    for name, wanted in SOFTMAX_KEYS.items():
        if d.values.get(name) and found is not wanted:
            notes.add(d.place.at(name), f"only the softmax variant '{wanted.value}' has this key: left out")
    if found is Variant.GRID:
        rows, cols = d.first("softmax_rows"), d.first("softmax_cols")
        rows, cols = rows or (cols and total // cols), cols or (rows and total // rows)
        fields = {"rows": rows, "cols": cols} if rows and cols else {}
    elif found is Variant.HIERARCHICAL:
        fields = {"levels": d.values.get("hierarchy_levels", ())}
    elif found is Variant.MASKED:
        fields = {"mask": d.values.get("mask", ())}
    elif found is Variant.ADAPTIVE:
        fields = {"clusters": d.values.get("adaptive_clusters", ())}
    elif found is Variant.MIXTURE:
        fields = {"weights": _shares(d, notes)}
    elif found is Variant.ENTMAX:
        return Softmax(variant=found, temperature=heat, alpha=_alpha(d, notes))
    elif found is Variant.GUMBEL:
        return Softmax(variant=found, temperature=heat, noise=d.values.get("gumbel_noise", True))
    if found in _NEEDS and not all(fields.values() or [None]):
        notes.add(d.place, f"the softmax variant '{found.value}' without its {_NEEDS[found]} is 'standard'")
        return Softmax(temperature=heat)
    return Softmax(variant=found, temperature=heat, **fields)  # type: ignore[arg-type]


SOFTMAX_KEYS = {
    "softmax_rows": Variant.GRID,
    "softmax_cols": Variant.GRID,
    "hierarchy_levels": Variant.HIERARCHICAL,
    "mask": Variant.MASKED,
    "adaptive_clusters": Variant.ADAPTIVE,
    "mixture_weights": Variant.MIXTURE,
    "entmax_alpha": Variant.ENTMAX,
    "gumbel_noise": Variant.GUMBEL,
}
"""Key -> the one variant that has it."""


def _alpha(d: Definition, notes: Notes) -> float:
    told = d.first("entmax_alpha") or 1.5
    if not 1.0 <= told <= 100.0:
        notes.add(d.place.at("entmax_alpha"), f"{told:g} is outside 1 to 100: the nearest is used")
    return max(1.0, min(100.0, told))


_NEEDS = {
    Variant.GRID: "softmax_rows and softmax_cols",
    Variant.HIERARCHICAL: "hierarchy_levels",
    Variant.MASKED: "mask",
    Variant.ADAPTIVE: "adaptive_clusters",
    Variant.MIXTURE: "mixture_weights",
}


def _shares(d: Definition, notes: Notes) -> tuple[float, ...]:
    weights: tuple[float, ...] = d.values.get("mixture_weights", ())
    total = sum(weights)
    if not weights or total <= 0:
        return ()
    if abs(total - 1.0) > 1e-6:
        notes.add(d.place, f"mixture_weights add up to {total:g}: divided by it")
        return tuple(w / total for w in weights)
    return weights


SINGLE: dict[str, Callable[[Definition, Shape, Notes], Made]] = {
    "dense": _dense,
    "stitch": _dense,
    "conv1d": _conv1d,
    "conv2d": _conv2d,
    "multi_head_attention": _attention,
    "rnn": _recurrent,
    "lstm": _recurrent,
    "gru": _recurrent,
    "layer_norm": _norm,
    "rms_norm": _norm,
    "swiglu": _swiglu,
    "embedding": _embedding,
    "softmax": _softmax,
}
"""Type -> what makes its config, for a definition and the shape it meets."""
