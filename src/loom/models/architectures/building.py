"""A checkpoint made a network on a device.

Layer: models. Invariant: weights go to the device one layer at a time; at no time are two copies of all in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loom.formats.opening import open_checkpoint
from loom.models.architectures.description import ModelDescription
from loom.models.architectures.detection import describe
from loom.models.architectures.sources import CheckpointWeights
from loom.nn.network import Network
from loom.nn.spec import parse
from loom.runtime.port.device import Device

__all__ = ["build"]


def build(
    source: Any, *, on: str | Device | None = None, tokens: int | None = None,
    config: Mapping[str, Any] | None = None, description: ModelDescription | None = None,
) -> Network:  # fmt: skip
    """Return the network of a checkpoint, with its weights, in f32.

    ``forward`` of a model of text takes ids (batch, tokens), of any number of tokens up to the context, and gives what
    its output is: logits (batch, tokens, vocabulary) for the task "generate". ``on``: the device; ``description``: what
    ``describe`` returned, if it is there; other arguments and errors are those of ``describe``.
    """
    checkpoint = open_checkpoint(source)
    found = describe(checkpoint, tokens=tokens, config=config) if description is None else description
    found.warn()
    with CheckpointWeights(checkpoint, found.sources) as weights:
        return Network(parse(found.document), on=on, weights=weights)
