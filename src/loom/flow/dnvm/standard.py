"""Training by samples: ``train_standard`` (targets), ``train_labels`` (classes) and ``train`` (pairs, of any network).

Layer: flow, over ``train_simple``. Invariant: each is ``train_simple`` with batches of its samples, in order, as many
in each as the document's ``batch_size`` says; settings have both spellings, and defaults of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError
from loom.core.given import is_list, items
from loom.flow.dnvm.current import current_network, set_current
from loom.flow.dnvm.grid import GridNetwork, network_of
from loom.flow.dnvm.reading import read_config, read_pairs
from loom.flow.dnvm.training import train_simple
from loom.nn.network import Network
from loom.nn.train.samples import numbers

__all__ = ["train", "train_labels", "train_standard"]

_DEFAULTS = {"epochs": 5, "learningrate": 0.05}


def train_standard(
    inputs: Sequence[Any], targets: Sequence[Any], config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Train the current network with samples and their targets; return what ``train_simple`` returns.

    Config as there; 5 epochs at a rate of 0.05 unless it says otherwise.
    """
    return _train(inputs, targets, config, _DEFAULTS, "train_standard")


def train_labels(
    inputs: Sequence[Any], labels: Sequence[int], config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Train the current network with samples and their classes, from 0: one-hot rows of as many as it has outputs."""
    net, where = current_network(), "train_labels"
    found = numbers(labels, where, "labels").astype(np.float64).reshape(-1)
    classes = int(np.prod(net.spec.shapes()[net.spec.outputs[0]]))
    if not ((found >= 0) & (found < classes) & (found == np.rint(found))).all():
        wanted = f"integers from 0 to {classes - 1}"
        raise ArgumentError(f"{where}, labels", "not the network's classes", expected=wanted,
                            got=f"{found.min():g} to {found.max():g}", remedy="Count classes from 0")  # fmt: skip
    return _train(inputs, np.eye(classes)[found.astype(np.int64)], config, _DEFAULTS, where)


def train(
    network: GridNetwork | Network, batches: Sequence[tuple[Any, Any]], config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Train a network with pairs of input and target, an update each, and make it the current one.

    Config as of ``train_simple``; 5 epochs at a rate of 0.001, and verbose, unless it says otherwise.
    """
    net, found = network_of(network, "loom.flow.dnvm.train"), items(batches, "train, batches", "pairs")
    for pair in found:
        if not is_list(pair) or len(pair) != 2:
            raise ArgumentError("train, batches", "not an input and its target", expected="(input, target)",
                                got=repr(pair)[:80], remedy="Pass pairs, or use train_simple")  # fmt: skip
    set_current(net)
    pairs = [{"Input": x, "Target": y} for x, y in found]
    told = read_config(config, "train")
    return train_simple(pairs, {"epochs": 5, "learningrate": 0.001, "verbose": True} | told)


def _train(inputs: Any, targets: Any, config: Any, defaults: Mapping[str, Any], where: str) -> dict[str, Any]:
    inputs, targets = read_pairs(inputs, targets, where)
    each = max(current_network().spec.batch_size, 1)
    rows = [numbers(x, where, "inputs").reshape(-1) for x in inputs]
    wanted = [numbers(y, where, "targets").reshape(-1) for y in targets]
    pairs = [
        {"Input": np.concatenate(rows[at : at + each]), "Target": np.concatenate(wanted[at : at + each])}
        for at in range(0, len(rows), each)
    ]
    return train_simple(pairs, {**defaults, **read_config(config, where)})
