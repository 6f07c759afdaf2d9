"""Neural tweening: six ways of moving a network towards targets, one update at a time, and what watches over them.

Layer: nn, over ``loom.nn.train``. Invariant: an update is one recorded program, the same bits on every device.

Stability: lab.
"""

from __future__ import annotations

from loom.nn.tween.config import LAYER_RATES, TweenConfig
from loom.nn.tween.diagnostics import LinkReport, TweenReport
from loom.nn.tween.fitting import FitSettings, TweenHistory
from loom.nn.tween.modes import TweenMode, mode_of
from loom.nn.tween.state import TweenState

__all__ = [
    "LAYER_RATES", "FitSettings", "LinkReport", "TweenConfig", "TweenHistory", "TweenMode", "TweenReport", "TweenState",
    "mode_of",
]  # fmt: skip
