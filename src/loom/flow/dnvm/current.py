"""The current network, and what makes, loads, saves and asks it: ``create_network_from_json``, ``forward_simple``, ...

Layer: flow, over ``loom.nn``. One network is the current one: the one that the thread made or loaded last; in a thread
that made none, the one made last in any. Invariant: no thread takes another's network away.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from loom.core.arrays import Array
from loom.core.errors import StateError
from loom.core.given import flag
from loom.core.late.dataclass import dataclass
from loom.flow.dnvm.reading import read_samples
from loom.nn.network import Document, Network
from loom.nn.train.loop.trainer import Trainer

__all__ = ["create_network_from_json", "enable_gpu_global", "forward_simple", "load_model_simple", "save_model_simple"]

_latest: list[Network] = []
"""The network made last in any thread."""
_own = threading.local()
_gpu: list[bool] = []
"""Holds something while networks are made on a GPU."""


def create_network_from_json(document: Document) -> Network:
    """Make a document's network the current one and return it."""
    return set_current(Network.from_json(document, on=device_of_new()))


def forward_simple(values: Sequence[float]) -> list[float]:
    """Return the current network's outputs, flat, for one flat vector: one sample after the other."""
    return forward_flat(current_network(), values, "forward_simple")


def save_model_simple(model_id: str = "model") -> str:
    """Return the current network with its weights as the text of a bundle."""
    return current_network().save(id=model_id)


def load_model_simple(bundle: Document, model_id: str | None = None) -> Network:
    """Make a model of a bundle the current network and return it."""
    return set_current(Network.load(bundle, model_id, on=device_of_new()))


def enable_gpu_global(enable: bool = True) -> None:
    """Have networks that are made or loaded from now on run on the best GPU (DeviceError then, if there is none).

    False: on the default device again.
    """
    _gpu[:] = [True] if flag(enable, "enable_gpu_global") else []


def device_of_new() -> str | None:
    """Return where networks are made."""
    return "gpu" if _gpu else None


@dataclass(slots=True)
class KeptPass:
    """A network's last forward pass by these names: what went in, what came out, what a pass back gave for it."""

    x: Array
    output: Array
    gradient: Array | None = None
    trainer: Trainer | None = None


_passes: WeakKeyDictionary[Network, KeptPass] = WeakKeyDictionary()


def forward_flat(net: Network, values: Any, where: str) -> list[float]:
    """Return a network's outputs, flat, and keep the pass for one back."""
    x = read_samples(net, values, where)
    output = net.predict(x)
    before = _passes.get(net)
    _passes[net] = KeptPass(x, output, trainer=before.trainer if before is not None else None)
    return output.reshape(-1).tolist()


def last_pass(net: Network) -> KeptPass | None:
    """Return what went through a network last, None if nothing did."""
    return _passes.get(net)


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
