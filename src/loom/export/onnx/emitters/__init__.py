"""Operations of tensors as nodes of ONNX, a file a chapter; importing this enters them all. Layer: export.

Invariant: every node is one whose import records the same operations, so that a model that comes back has the bits.
"""

from importlib import import_module

__all__: list[str] = []

for _chapter in ("elementwise", "indexing", "ordering", "products", "quantised", "reductions", "views", "windows"):
    import_module(f"loom.export.onnx.emitters.{_chapter}")
