"""Models of ONNX as commands take them: a file, and the shapes of its inputs as texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loom.core.errors import ArgumentError

__all__ = ["freeze_file"]


def freeze_file(path: Path, shapes: Sequence[str], batch: int, name: str) -> Any:
    """Return a model of ONNX frozen for an export; ``shapes``: texts such as image=1x3x224x224."""
    import loom.onnx
    from loom.export import freeze_onnx

    return freeze_onnx(loom.onnx.load(path), dict(map(_read_shape, shapes)), batch=batch, name=name)


def _read_shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, lengths = text.rpartition("=")
    parts = lengths.replace(",", "x").split("x") if lengths else []
    if not name or not all(p.strip().isascii() and p.strip().isdigit() for p in parts):
        raise ArgumentError("loom export, --shape", "no shape of an input", expected="image=1x3x224x224", got=text,
                            remedy="Write the input's name, = and its lengths")  # fmt: skip
    return name, tuple(int(p) for p in parts)
