"""The input of an older network: what its first layer tells of it, and how many rows a sample has.

Layer: nn. Invariant: a first layer that tells the size of a row alone takes as many rows as the layers after it ask
for; one row, where they ask for none.
"""

from __future__ import annotations

from math import prod

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.layer import Shape
from loom.nn.spec.older.definition import Definition

__all__ = ["Start", "size_told_by", "start_of"]


@dataclass(frozen=True, slots=True)
class Start:
    """What a first layer tells of a sample: ``rows`` rows of ``width`` elements, as many as fit if ``is_open``.

    ``has_rows``: the sample has two axes even if it has one row; ``is_guess``: not even the width is told.
    """

    width: tuple[int, ...]
    rows: int = 1
    is_open: bool = False
    has_rows: bool = False
    is_guess: bool = False

    def shape(self, times: int) -> Shape:
        """Return the sample's shape for ``times`` as many rows."""
        rows = self.rows * times
        if self.is_guess or not self.width:
            return (rows,)
        return (rows, *self.width) if self.has_rows or rows > 1 else self.width


_GUESS = Start((1,), is_open=True, is_guess=True)


def start_of(d: Definition) -> Start | None:
    """Return what a first layer tells of the input; None if it tells nothing that others could complete."""
    v = d.first
    if d.kind == "embedding":
        return Start((), v("seq_length") or 1, is_open=not v("seq_length"))
    if d.kind in ("dense", "stitch"):
        return _exact(v("width", "input_size", "input_height"))
    if d.kind == "conv2d":
        return _image(v("input_channels") or 1, v("input_height"), v("input_width") or v("input_height"))
    if d.kind == "conv1d":
        return _image(v("input_channels") or 1, v("input_length", "input_height", "input_width"))
    if d.kind in ("multi_head_attention", "rnn", "lstm", "gru"):
        return _tokens(d)
    if d.kind in ("layer_norm", "rms_norm", "swiglu"):
        return _rows(d)
    return (
        _exact(v("input_size", "input_height") or size_told_by(d)) if d.kind in ("softmax", "residual") else _outer(d)
    )


def _exact(size: int | None) -> Start:
    return Start((size,)) if size else _GUESS


def _image(*sizes: int | None) -> Start | None:
    known = tuple(n for n in sizes if n)
    return Start(known) if len(known) == len(sizes) else None


def _tokens(d: Definition) -> Start | None:
    is_attention = d.kind == "multi_head_attention"
    width, told = d.first("d_model" if is_attention else "input_size"), d.first("seq_length")
    if width is None:
        return None if is_attention else _GUESS
    is_open = told is None or (is_attention and told == 1)  # 1 is what saved configs say of none
    return Start((width,), told or 1, is_open=is_open, has_rows=True)


def _rows(d: Definition) -> Start:
    """Return the input of a layer along the last axis: a norm's ``input_size`` is that of all rows."""
    told, rows = d.first("input_size", "input_height"), d.first("rows")
    width = told if d.kind == "swiglu" else d.first("norm_size")
    if rows and width:
        return Start((width,), rows, has_rows=True)
    if width is None:
        return _exact(told)
    if d.kind != "swiglu" and told and told % width == 0:
        return Start((width,), told // width)
    return Start((width,), is_open=True)


def size_told_by(d: Definition) -> int | None:
    """Return the number of elements that a softmax's keys tell; None if they do not, or for another layer."""
    if d.kind != "softmax":
        return None
    v = d.first
    found = (v("softmax_rows") or 0) * (v("softmax_cols") or 0) or len(d.values.get("mask", ()))
    found = found or (prod(d.values["hierarchy_levels"]) if d.values.get("hierarchy_levels") else 0)
    return found or sum(len(c) for c in d.values.get("adaptive_clusters", ())) or None


def _outer(d: Definition) -> Start | None:
    """Return the input of a layer that holds others: what it tells, else what those tell that see the input."""
    told = d.first("input_size", "input_height")
    if told:
        return Start((told,))
    if d.kind == "kmeans":
        return start_of(d.attached) if d.attached else _exact(d.first("cluster_dim"))
    starts = [s for b in d.branches if (s := start_of(b)) is not None]
    if d.kind == "sequential":
        return starts[0] if starts else None
    ranked = sorted(starts, key=lambda s: (s.is_open, s.is_guess))  # stable: the first of those that tell most
    return ranked[0] if ranked else None
