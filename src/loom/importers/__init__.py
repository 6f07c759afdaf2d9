"""Home of what importers of graphs (``loom.onnx``, ``loom.pytorch``) share: models, recordings, recipes.

Layer: importers, below both doors. Invariant: nothing here knows a format, or a package, that graphs come from.

Stability: new.
"""

__all__: list[str] = []
