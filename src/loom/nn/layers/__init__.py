"""Layers as tensor graphs, one family a file: whatever file stands in this folder is known, by standing here.

Layer: nn. Invariant: batches are per sample: no sample's numbers depend on another's, ``batch_norm`` in training apart.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from loom.nn.layers.registry import LAYERS, Cache, Carried, Context, ForwardPass, Key, Known, init, layer

__all__ = ["LAYERS", "Cache", "Carried", "Context", "ForwardPass", "Key", "Known", "init", "layer"]

for _found in iter_modules(__path__):
    import_module(f"{__name__}.{_found.name}")
