"""Layers as tensor graphs, one family a file: whatever file stands in this folder is known, by standing here.

Layer: nn. Invariant: batches are per sample: no sample's numbers depend on another's, ``batch_norm`` in training apart.
"""

from __future__ import annotations

from loom.nn.layers.registry import LAYERS, Cache, Carried, Context, ForwardPass, Key, Known, init, layer

__all__ = ["LAYERS", "Cache", "Carried", "Context", "ForwardPass", "Key", "Known", "init", "layer"]
