"""Configs of all layers, one family a file: whatever file stands in this folder is known, by nothing but standing here.

Layer: nn. Invariant: each file is complete: fields, output shape, names and shapes of weights, formula.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

__all__ = ["NAMES"]

_FILES = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]

NAMES = {name: held for file in _FILES for name in file.__all__ if isinstance(held := getattr(file, name), type)}
"""Name -> class, of all configs and of what their fields hold."""
