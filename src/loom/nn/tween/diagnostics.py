"""What an update saw: link budgets, gaps and the depth barrier, layer by layer.

Layer: nn. Measurement, on the host. Invariant: all of it is of the pass before the weights were moved.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from loom.core.late.dataclass import dataclass

__all__ = ["LinkReport", "TweenReport"]


@dataclass(frozen=True, slots=True)
class LinkReport:
    """One layer: its link ``budget``, (cos of output and target + 1) / 2, ``gap``, their mean squared difference, both
    the mean over samples, and ``barrier``, the product of the budgets from the input's side up to it."""

    name: str
    budget: float
    gap: float
    barrier: float


@dataclass(frozen=True, slots=True)
class TweenReport:
    """All layers in the order they run. ``loss`` is the squared gap of the output, as ``step`` returns it."""

    loss: float
    links: tuple[LinkReport, ...]

    @property
    def depth_barrier(self) -> float:
        """The product of all budgets: how much of a target reaches the input's side."""
        return self.links[-1].barrier

    @property
    def mean_budget(self) -> float:
        """The mean of the layers' link budgets."""
        return sum(link.budget for link in self.links) / len(self.links)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self) | {"depth_barrier": self.depth_barrier, "mean_budget": self.mean_budget}

    @classmethod
    def of(cls, loss: float, budgets: dict[str, float], gaps: dict[str, float]) -> TweenReport:
        """Return the report of budgets and gaps by layer.

        Args:
            loss: Squared gap of the output.
            budgets: Link budgets by layer, in the order they run.
            gaps: Gaps by layer.
        """
        links, barrier = list[LinkReport](), 1.0
        for name, budget in budgets.items():
            barrier *= budget
            links.append(LinkReport(name, budget, gaps[name], barrier))
        return cls(loss, tuple(links))
