"""Evaluation by the older names: ``evaluate_network_simple``.

Layer: flow, over ``loom.nn.train.measures``. Invariant: the JSON's keys are those of section 11 of design/dnvm.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loom.flow.dnvm.current import current_network
from loom.flow.dnvm.reading import read_samples
from loom.nn.measure.deviation import deviation_metrics
from loom.nn.network import Network

__all__ = ["evaluate_network_simple"]


def evaluate_network_simple(inputs: Sequence[Sequence[float]], expected: Sequence[float]) -> dict[str, Any]:
    """Return the deviation metrics of the current network, under the names of the older JSON."""
    return measure(current_network(), inputs, expected, "evaluate_network_simple")


def measure(net: Network, inputs: Any, expected: Any, where: str) -> dict[str, Any]:
    """Return the deviation metrics of a network, as JSON."""
    return deviation_metrics(net.predict(read_samples(net, inputs, where)), expected).to_dict()
