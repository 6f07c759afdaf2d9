"""Decisions that importers of graphs (``loom.onnx``, ``loom.pytorch``) share: registry, calls, recipes of operators.

Layer: importers, below both doors. Invariant: nothing here knows a format, or a package, that graphs come from.

Stability: new.
"""

__all__: list[str] = []
