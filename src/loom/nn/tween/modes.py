"""The six ways of training, by name.

Layer: nn. Invariant: a mode is one algorithm; the table of docs/guide/networks/tweening.md says what each computes.
"""

from __future__ import annotations

import enum
from typing import Any

from loom.core.errors import ArgumentError, near_matches

__all__ = ["TweenMode", "mode_of"]


class TweenMode(enum.Enum):
    """How a network is moved towards a target."""

    NORMAL = "normal"
    """back-propagation of one forward pass"""
    STEP = "step"
    """a tick of all layers from the buffers of the tick before, then back-propagation through those"""
    TWEEN = "tween"
    """one forward pass; each layer is moved by the gap between what it gave and a target handed down to it"""
    TWEEN_CHAIN = "tween_chain"
    """one forward pass; each layer is moved by a bounded chain rule"""
    STEP_TWEEN = "step_tween"
    """a tick, then ``tween`` from the buffers"""
    STEP_TWEEN_CHAIN = "step_tween_chain"
    """a tick, then ``tween_chain`` from the buffers"""

    @property
    def is_step(self) -> bool:
        """Tell whether layers run from the buffers of the tick before."""
        return self in (TweenMode.STEP, TweenMode.STEP_TWEEN, TweenMode.STEP_TWEEN_CHAIN)

    @property
    def is_chain(self) -> bool:
        """Tell whether the bounded chain rule moves layers."""
        return self in (TweenMode.TWEEN_CHAIN, TweenMode.STEP_TWEEN_CHAIN)

    @property
    def is_gap(self) -> bool:
        """Tell whether target gaps move layers."""
        return self in (TweenMode.TWEEN, TweenMode.STEP_TWEEN)

    @property
    def is_tween(self) -> bool:
        """Tell whether it is no back-propagation."""
        return self.is_chain or self.is_gap


_OTHER_NAMES = {
    "normalbp": "normal", "bp": "normal", "backprop": "normal", "stepbp": "step", "tweenchain": "tween_chain",
    "steptween": "step_tween", "steptweenchain": "step_tween_chain",
}  # fmt: skip


def mode_of(name: Any, where: str = "tween, mode") -> TweenMode:
    """Return the mode of a name, as here or as the seeds write it (``StepTweenChain``).

    Args:
        name: Name, or a ``TweenMode``.
        where: Beginning of the error's text.

    Raises:
        ArgumentError: No mode is called so.

    >>> mode_of("StepTweenChain").value
    'step_tween_chain'
    """
    if isinstance(name, TweenMode):
        return name
    names = [m.value for m in TweenMode]
    if isinstance(name, str):
        plain = name.lower().replace("-", "_")
        plain = _OTHER_NAMES.get(plain.replace("_", ""), plain)
        if plain in names:
            return TweenMode(plain)
    remedy = near_matches(name, names) if isinstance(name, str) else ""
    raise ArgumentError(where, f"no mode is called {name!r}", expected=", ".join(names),
                        remedy=remedy or "Name one of them")  # fmt: skip
