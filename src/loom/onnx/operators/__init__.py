"""Operators of ONNX as tensors of Loom, a file a chapter; importing this enters them all. Layer: onnx.

Invariant: a chapter imports the registry and nothing of another chapter.
"""

from loom.onnx.operators import (  # noqa: F401  # pyright: ignore[reportUnusedImport] - importing them enters operators
    control,
    detection,
    elementwise,
    normalisation,
    picking,
    products,
    quantised,
    recurrent,
    reductions,
    shaping,
    spectra,
    training,
    vision,
    windows,
)

__all__: list[str] = []
