"""Operators of ONNX as tensors of Loom, a file a chapter; importing this enters them all. Layer: onnx.

Invariant: a chapter imports the registry and nothing of another chapter.
"""

from importlib import import_module

__all__: list[str] = []

for _chapter in (
    "classical.linear", "classical.machines", "classical.trees", "contrib", "control", "detection", "elementwise",
    "normalisation", "own", "picking", "products", "quantised", "recurrent", "reductions", "sampling", "sequences",
    "shaping", "spectra", "training", "vision", "windows",
):  # fmt: skip
    import_module(f"loom.onnx.operators.{_chapter}")
