"""Learning rates that were tuned, for each mode and architecture, on streams of other seeds than the benchmark's.

Layer: nn. Invariant: none was chosen by looking at a seed that is measured.
"""

from __future__ import annotations

from loom.nn.tween.modes import TweenMode

__all__ = ["rate_of"]

_RATES: dict[TweenMode, dict[str, float]] = {
    TweenMode.NORMAL: {
        "dense": 0.1,
        "conv2d": 0.03,
        "rnn": 0.1,
        "lstm": 0.1,
        "attention": 0.1,
        "layer_norm": 0.03,
        "agents": 0.1,
        "swiglu": 0.1,
        "gru": 0.3,
    },
    TweenMode.STEP: {
        "dense": 0.1,
        "conv2d": 0.03,
        "rnn": 0.3,
        "lstm": 1.0,
        "attention": 0.03,
        "layer_norm": 0.03,
        "agents": 0.03,
        "swiglu": 0.03,
        "gru": 0.3,
    },
    TweenMode.TWEEN: {
        "dense": 3.0,
        "conv2d": 3.0,
        "rnn": 3.0,
        "lstm": 3.0,
        "attention": 0.01,
        "layer_norm": 3.0,
        "agents": 10.0,
        "swiglu": 10.0,
        "gru": 10.0,
    },
    TweenMode.TWEEN_CHAIN: {
        "dense": 0.1,
        "conv2d": 0.03,
        "rnn": 0.1,
        "lstm": 0.3,
        "attention": 0.1,
        "layer_norm": 0.01,
        "agents": 0.3,
        "swiglu": 0.3,
        "gru": 1.0,
    },
    TweenMode.STEP_TWEEN: {
        "dense": 10.0,
        "conv2d": 10.0,
        "rnn": 10.0,
        "lstm": 10.0,
        "attention": 3.0,
        "agents": 10.0,
        "layer_norm": 10.0,
        "swiglu": 10.0,
        "gru": 10.0,
    },
    TweenMode.STEP_TWEEN_CHAIN: {
        "dense": 0.3,
        "conv2d": 0.01,
        "rnn": 0.3,
        "lstm": 1.0,
        "attention": 0.1,
        "agents": 0.03,
        "layer_norm": 0.3,
        "swiglu": 1.0,
    },
}
"""Mode -> architecture -> rate, as ``python -m bench.learning.adapt_rates`` found them."""


def rate_of(mode: TweenMode, layers: str) -> float:
    """Return the tuned rate of an architecture in a mode; those that were not tuned have that of "dense"."""
    return _RATES[mode].get(layers, _RATES[mode]["dense"])
