"""Operators of images and signals. Layer: onnx.

Invariant: where elements are taken from is decided in f64 on the host where shapes decide it.
"""

from __future__ import annotations

__all__: list[str] = []
