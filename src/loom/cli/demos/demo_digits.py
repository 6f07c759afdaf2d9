"""The demo's network: handwritten digits told apart by a convnet of a JSON document, trained on each device.

Layer: cli (no printing here). ``digits.json`` is the document; the data are scikit-learn's ``load_digits``, a fifth of
them held out. Invariant: the digest of the weights depends on document, data and epochs alone; two devices that
disagree on any bit of any step disagree on it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from loom.cli.demos.demo import DemoLine
from loom.core.optional import has

if TYPE_CHECKING:
    from loom.nn.train.datasets import Array

__all__ = ["MISSING", "digits_devices", "document", "golden_digest", "has_digits", "train_digits"]

SETTINGS: dict[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": 0.003,
    "schedule": "cosine",
    "batch_size": 32,
    "seed": 0,
}
"""Those of ``loom train``'s defaults that are not named here are the same there."""
HELD_OUT = 0.2
MISSING = "digits not trained: scikit-learn, which has them, is not installed: pip install 'loom-compute[demo]'"


def document() -> str:
    """Return the network's JSON text."""
    return files("loom.cli").joinpath("digits.json").read_text(encoding="utf-8")


def has_digits() -> bool:
    """Tell whether the samples can be read."""
    return has("sklearn")


def golden_digest(epochs: int) -> str:
    """Return the digest that every device must give after 1 or 20 epochs."""
    text = files("loom.cli").joinpath("demo_digests.json").read_text(encoding="utf-8")
    return json.loads(text)["digits"][str(epochs)]


def digits_devices(device: str | None, *, quick: bool) -> list[str]:
    """Return where to train: the device asked for, with ``quick`` the default one, else all but the interpreter.

    The interpreter takes a second or more for each of the 900 steps; ``loom verify --device interp`` is its proof.
    """
    import loom

    if device is not None or quick:
        return [loom.device(device).name]
    return [about.name for about in loom.devices() if about.refused is None and about.kind != "interp"]


def train_digits(epochs: int, devices: list[str]) -> Iterator[DemoLine]:
    """Train for so many epochs on one device after the other; a line's answer counts what was held out."""
    from loom.nn.train.datasets import divide, read_samples

    kept, held_out = divide(*read_samples("digits", (1, 8, 8)), HELD_OUT, SETTINGS["seed"])
    assert held_out is not None
    for name in devices:
        yield _train(epochs, name, kept, held_out)


def _train(epochs: int, device: str, kept: tuple[Array, Array], held_out: tuple[Array, Array]) -> DemoLine:
    import loom

    start = time.perf_counter()
    network = loom.Network.from_json(document(), on=device)
    network.train(*kept, epochs=epochs, progress=False, **SETTINGS)
    seconds = time.perf_counter() - start
    x, y = held_out
    right = int((network.predict(x).argmax(-1) == y).sum())
    what = f"digits on {device}, {epochs} epoch{'s' if epochs > 1 else ''}"
    return DemoLine("digits", what, f"{right} of {len(y)} right", seconds, network.digest())
