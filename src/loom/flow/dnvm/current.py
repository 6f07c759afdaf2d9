"""The current network, and what makes, loads, saves and asks it: ``create_network_from_json``, ``forward_simple``, ...

Layer: flow, over ``loom.nn``. One network is the current one: the one that the thread made or loaded last; in a thread
that made none, the one made last in any. Invariant: no thread takes another's network away.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from loom.core.errors import StateError
from loom.flow.dnvm.reading import read_samples
from loom.nn.network import Document, Network

__all__ = ["create_network_from_json", "forward_simple", "load_model_simple", "save_model_simple"]

_latest: list[Network] = []
"""The network made last in any thread."""
_own = threading.local()


def create_network_from_json(document: Document) -> Network:
    """Make a document's network the current one and return it."""
    return set_current(Network.from_json(document))


def forward_simple(values: Sequence[float]) -> list[float]:
    """Return the current network's outputs, flat, for one flat vector: one sample after the other."""
    net = current_network()
    return net.predict(read_samples(net, values, "forward_simple")).reshape(-1).tolist()


def save_model_simple(model_id: str = "model") -> str:
    """Return the current network with its weights as the text of a bundle."""
    return current_network().save(id=model_id)


def load_model_simple(bundle: Document, model_id: str | None = None) -> Network:
    """Make a model of a bundle the current network and return it."""
    return set_current(Network.load(bundle, model_id))


def set_current(net: Network) -> Network:
    """Make a network the current one and return it."""
    _latest[:] = [net]
    _own.network = net
    return net


def current_network() -> Network:
    """Return the current network, or raise StateError."""
    found = getattr(_own, "network", None) or next(iter(_latest), None)
    if found is None:
        raise StateError("loom.flow.dnvm", "there is no network", expected="create_network_from_json first", got="none",
                         remedy="Make or load one")  # fmt: skip
    return found
