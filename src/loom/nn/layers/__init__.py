"""Layers as tensor graphs, one family a file; importing this package makes every type of ``loom.nn.spec`` known.

Layer: nn. Invariant: batches are per sample: no sample's numbers depend on another's, ``batch_norm`` in training apart.
"""

from __future__ import annotations

from loom.nn.layers import (
    activation,
    attention,
    combine,
    conv,
    dense,
    dropout,
    embedding,
    nested,
    norm,
    pool,
    recurrent,
    scale,
    shaping,
    softmax,
    swiglu,
)
from loom.nn.layers.registry import LAYERS, Context, ForwardPass, Key, Known, init, layer

__all__ = [
    "LAYERS",
    "Context",
    "ForwardPass",
    "Key",
    "Known",
    "activation",
    "attention",
    "combine",
    "conv",
    "dense",
    "dropout",
    "embedding",
    "init",
    "layer",
    "nested",
    "norm",
    "pool",
    "recurrent",
    "scale",
    "shaping",
    "softmax",
    "swiglu",
]  # fmt: skip
