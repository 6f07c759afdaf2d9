"""A network from a document: trained, evaluated, saved, read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import loom
from loom.nn.train import Adam

Floats = npt.NDArray[np.float32]
DOCUMENT: dict[str, Any] = {
    "format": "loom/1",
    "input": {"shape": [4]},
    "layers": [
        {"type": "dense", "output_size": 16, "activation": "relu"},
        {"type": "dense", "output_size": 2},
    ],
}


def train(x: Floats, y: npt.NDArray[np.int32], epochs: int) -> tuple[loom.Network, float]:
    """Return a network and its accuracy on the samples."""
    network = loom.Network.from_json(DOCUMENT)
    history = network.train(x, y, epochs=epochs, optimizer=Adam(), learning_rate=0.01, batch_size=16)
    assert len(history.loss) == epochs
    return network, float(network.evaluate(x, y).accuracy)


def keep(network: loom.Network, path: Path) -> str:
    """Save a network and return the digest of what is read again."""
    network.save(path)
    return loom.Network.load(path).digest()


def classes(network: loom.Network, x: Floats) -> npt.NDArray[np.int64]:
    """Return the likeliest class of each sample."""
    return np.asarray(network.predict(x)).argmax(axis=-1)


def proved(device: str) -> bool:
    """Tell whether a device computes the golden bits of single operations."""
    return loom.verify(device, layers=[1]).exact
