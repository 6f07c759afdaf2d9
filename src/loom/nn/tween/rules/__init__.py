"""Rules: what tweening does to a layer, by its type.

Layer: nn. Invariant: a layer without a rule of its own has that of its exact vector-Jacobian product: none is left out.
"""

from __future__ import annotations

from loom.nn.tween.link import Handed, Link
from loom.nn.tween.rules.attention import chain_attention
from loom.nn.tween.rules.conv import chain_conv
from loom.nn.tween.rules.dense import chain_dense, gap_dense
from loom.nn.tween.rules.exact import chain_exact, gap_exact
from loom.nn.tween.rules.norm import chain_norm
from loom.nn.tween.rules.recurrent import chain_lstm, chain_rnn
from loom.nn.tween.rules.swiglu import chain_swiglu
from loom.tensor import Tensor

__all__ = ["chain", "gap"]

_CHAIN = {
    "dense": chain_dense, "stitch": chain_dense, "conv1d": chain_conv, "conv2d": chain_conv, "rnn": chain_rnn,
    "lstm": chain_lstm, "layer_norm": chain_norm, "rms_norm": chain_norm, "swiglu": chain_swiglu,
    "multi_head_attention": chain_attention,
}  # fmt: skip
"""Type -> (link, signal at the output, rate times D) -> what it hands down and moves; None: by the exact one."""


def chain(link: Link, signal: Tensor, rate: Tensor) -> Handed:
    """Return what the bounded chain rule makes of the signal at a layer's output."""
    rule = None if link.config.exact_links else _CHAIN.get(link.layer.kind)
    found = None if rule is None else rule(link, signal, rate)
    return chain_exact(link, signal, rate) if found is None else found


def gap(link: Link, target: Tensor, rate: Tensor) -> Handed:
    """Return what a target for a layer's output makes of it; ``rate`` is one number for each sample."""
    if link.layer.kind in ("dense", "stitch"):
        return gap_dense(link, target, rate)
    return gap_exact(link, target, rate)
