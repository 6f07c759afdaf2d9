"""How the older calls' arguments are read: flat vectors of samples, mappings whose keys have two spellings.

Layer: flow. Invariant: a key in two spellings is an error, and so is a vector that is not whole samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.given import items
from loom.nn.network import Network
from loom.nn.train.samples import numbers

_BATCH_KEYS = {"inputs": "input", "targets": "target"}
"""Other names of what a batch has."""


def require_one(net: Network, where: str) -> None:
    """See that a flat vector can be all that the network takes, and all that it gives."""
    ports = len(net.spec.inputs), len(net.spec.outputs)
    if ports != (1, 1):
        raise ArgumentError(where, "the network has several inputs or outputs", expected="one of each",
                            got=f"{ports[0]} and {ports[1]}",
                            remedy="Use the methods of the network: predict, train, evaluate")  # fmt: skip


def read_samples(net: Network, values: Any, where: str) -> np.ndarray[Any, Any]:
    """Return flat numbers as samples of the network's input."""
    require_one(net, where)
    shape = net.spec.inputs[0].shape
    found = numbers(values, where, "the input")
    each = int(np.prod(shape))
    if found.size == 0 or found.size % each:
        raise ShapeError(
            where,
            "not whole samples",
            expected=f"a multiple of {each} numbers",
            got=found.size,
            remedy="Pass one sample after the other",
        )
    return found.reshape(-1, *shape)


def read_pairs(inputs: Any, targets: Any, where: str) -> tuple[list[Any], list[Any]]:
    """Return inputs and targets of samples as lists; ShapeError if there are not as many of both."""
    one, other = items(inputs, f"{where}, inputs", "samples"), items(targets, f"{where}, targets", "samples")
    if len(one) != len(other):
        raise ShapeError(where, "not one target for each input", expected=len(one), got=len(other),
                         remedy="Pass as many of both")  # fmt: skip
    return one, other


def read_config(config: Any, where: str) -> dict[str, Any]:
    """Return a config's values by their plain keys, none of None."""
    return {} if config is None else plain_keys(config, f"{where}, config")


def plain_keys(found: Any, where: str) -> dict[str, Any]:
    """Return a mapping's values by its keys without underscores and capitals; ArgumentError for a key twice."""
    if not isinstance(found, Mapping):
        raise DTypeError(where, "not a mapping", expected="keys and values", got=type(found).__name__,
                         remedy="Pass a dict")  # fmt: skip
    plain: dict[str, Any] = {}
    spelt: dict[str, str] = {}
    for key, value in cast("Mapping[Any, Any]", found).items():
        name = str(key).replace("_", "").lower()
        name = _BATCH_KEYS.get(name, name)
        if name in plain:
            raise ArgumentError(where, "a key is there twice, in two spellings", expected="one of them",
                                got=f"{spelt[name]!r} and {key!r}", remedy="Leave one out")  # fmt: skip
        plain[name], spelt[name] = value, str(key)
    return plain
