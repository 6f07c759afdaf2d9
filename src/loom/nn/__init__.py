"""Neural networks: documents, layers, training and inference.

Layer: nn (above ``tensor``; a stranger to ``patterns``). Invariant: a network computes through recorded
chains of ``loom.tensor`` alone, so its bits are those of every other program.

Stability: stable.
"""

from importlib import import_module
from typing import Any

from loom.core.names import missing_name

_OPEN = ("adapt", "formats", "inspect", "integer", "measure", "numeric", "spec", "step", "structure", "train", "tween")
"""Packages that the guide names: loaded when first used."""


def __getattr__(name: str) -> Any:
    if name in _OPEN:
        return import_module(f"loom.nn.{name}")
    raise missing_name("loom.nn", name, _OPEN)
