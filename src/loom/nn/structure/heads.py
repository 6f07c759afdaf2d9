"""Networks made of parts of others: cut, and continued with other layers.

Layer: nn. Invariant: weights that are taken over keep their bits; the network that they are of is not changed.
"""

from __future__ import annotations

from typing import Any

from loom.nn.network import Network
from loom.nn.spec import to_document
from loom.nn.spec.document import parse
from loom.nn.spec.keys import chain_of, node_at
from loom.nn.structure.build import Layers, document, require_network
from loom.nn.weights.model import NetworkWeights
from loom.runtime.port.device import Device

__all__ = ["append", "cut"]


def append(net: Network, layers: Layers, *, on: str | Device | None = None) -> Network:
    """Return a new network: one that is a list of layers, then further ``layers``, its weights copied.

    The new layers' weights are drawn by the document's seed.

    Args:
        net: Network, a list of layers.
        layers: Layers of ``nn.structure``, or one.
        on: Device, or its name; None: the default device.

    Raises:
        ArgumentError: Not a network, or a graph.
        SpecError: The layers do not fit.

    >>> from loom.nn import structure
    >>> base = structure.network([structure.dense(8)], input=4)
    >>> structure.append(base, [structure.dense(2)]).forward([[1.0, 2.0, 3.0, 4.0]]).shape
    (1, 2)
    """
    require_network(net, "loom.nn.structure.append")
    chain_of(net.spec, "loom.nn.structure.append")
    value = to_document(net.spec)
    more = document(layers, input=1)["layers"]
    value["layers"] += more
    value.pop("outputs", None)
    value.pop("classes", None)
    return _network_of(net, value, on)


def cut(net: Network, at: str | int, *, on: str | Device | None = None) -> Network:
    """Return a new network: a list of layers up to and with one of them, weights copied.

    With ``append`` it gets another head: what was learned of one task is used for another.

    Args:
        net: Network, a list of layers.
        at: Name or number of the last layer.
        on: Device, or its name; None: the default device.

    Raises:
        ArgumentError: Not a network, or a graph; no layer is called so.
    """
    where = "loom.nn.structure.cut"
    require_network(net, where)
    chain_of(net.spec, where)
    name = node_at(net.spec, at, where)
    number = [n.name for n in net.spec.nodes].index(name)
    value = to_document(net.spec)
    value["layers"] = value["layers"][: number + 1]
    value.pop("outputs", None)
    value.pop("classes", None)
    return _network_of(net, value, on)


def _network_of(net: Network, value: dict[str, Any], on: str | Device | None) -> Network:
    spec = parse(value)
    wanted = spec.parameters() | spec.state()
    kept = {name: a for name, a in net.model.weights().items() if name in wanted and a.shape == wanted[name]}
    return Network(spec, on=net.model.device if on is None else on, weights=NetworkWeights(kept))
