"""Learning rates that were tuned, for each mode and architecture, on streams of other seeds than the benchmark's.

Layer: nn. Invariant: none was chosen by looking at a seed that is measured.
"""

from __future__ import annotations

from loom.nn.tween.modes import TweenMode

__all__ = ["rate_of"]

_RATES: dict[TweenMode, dict[str, float]] = {}
_ELSE = 0.1


def rate_of(mode: TweenMode, layers: str) -> float:
    """Return the tuned rate of an architecture in a mode."""
    return _RATES.get(mode, {}).get(layers, _ELSE)
