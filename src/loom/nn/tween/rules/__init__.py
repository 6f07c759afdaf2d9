"""Rules: what tweening does to a layer, by its type.

Layer: nn. Invariant: a layer without a rule of its own has that of its exact vector-Jacobian product: none is left out.
"""

from __future__ import annotations

from loom.nn.tween.link import Handed, Link
from loom.nn.tween.rules.dense import chain_dense, gap_dense
from loom.nn.tween.rules.exact import chain_exact, gap_exact
from loom.tensor import Tensor

__all__ = ["chain", "gap"]

_CHAIN = {"dense": chain_dense, "stitch": chain_dense}
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
