"""Grafting and ensembles by the older names: ``create_network_for_graft``, ``graft_networks``, ...

Layer: flow, over ``loom.nn.structure``. Invariant: as there, layer number 1 of each network is taken; unlike there, the
network that comes of it is one that runs, trains and is saved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import items
from loom.flow.dnvm.current import set_current
from loom.flow.dnvm.grid import GridNetwork
from loom.nn.network import Document, Network
from loom.nn.structure.ensembles import match_ensembles
from loom.nn.structure.grafting import graft

__all__ = ["create_network_for_graft", "find_complementary_matches", "graft_networks"]


def create_network_for_graft(document: Document) -> Network:
    """Return a document's network, without making it the current one."""
    return Network.from_json(document)


def graft_networks(networks: Sequence[Network | GridNetwork], combine_mode: str = "concat") -> dict[str, Any]:
    """Graft layer number 1 (the second) of each network, all branches of one that is parallel; weights are shared.

    The graft is the current network, and under ``network`` of what is returned besides ``success``, ``type``,
    ``num_branches`` and ``combine_mode``.
    """
    given = items(networks, "loom.flow.dnvm.graft_networks, networks", "networks")
    nets = [net.network if isinstance(net, GridNetwork) else net for net in given]
    for number, net in enumerate(nets):
        if isinstance(net, Network) and len(net.spec.nodes) < 2:
            raise ArgumentError("loom.flow.dnvm.graft_networks", f"network {number} has no layer number 1",
                                expected="at least 2 layers", got=len(net.spec.nodes),
                                remedy="Put an input layer before it, or use loom.nn.structure.graft")  # fmt: skip
    made = graft(nets, combine_mode, layers=1, unfold=True, share=True)
    layer: Any = made.spec.nodes[0].layer
    return {
        "success": True, "type": "parallel", "num_branches": len(layer.branches),
        "combine_mode": layer.combine_mode.value, "network": set_current(made),
    }  # fmt: skip


def find_complementary_matches(masks: Mapping[str, Any], min_coverage: float = 0.0) -> list[dict[str, Any]]:
    """Return pairs of models by coverage and overlap of what they get right, under the older keys."""
    return [found.to_dict() for found in match_ensembles(masks, min_coverage)]
