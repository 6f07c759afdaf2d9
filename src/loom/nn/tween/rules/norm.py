"""The rule of ``layer_norm`` and ``rms_norm``.

Layer: nn. Source: the seeds' neural tweening. Invariant: a signal keeps its place: no feature's reaches another.
"""

from __future__ import annotations

from loom.nn.tween.link import Handed, Link, Move, clip_finite, rows
from loom.tensor import Tensor

__all__ = ["chain_norm"]


def chain_norm(link: Link, signal: Tensor, rate: Tensor) -> Handed:
    """Down: clip(gamma G D); gamma and beta: clip(r G)."""
    config, total = link.config, rows(signal).sum(0)
    down = clip_finite(signal * link.matrix("gamma") * link.depth, config.link_clip)
    moves = {key: Move(total * link.speed(key, rate), config.update_clip) for key in link.weights}
    return Handed([down], moves)
