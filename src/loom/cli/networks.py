"""Networks, samples and places for results, as the command line names them.

Layer: cli. Invariant: what has no weights gets starting weights only where the command says so; a place where nothing
can be written is told before anything runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from loom.core.errors import ArgumentError, ShapeError

if TYPE_CHECKING:
    from loom.nn.network import Network
    from loom.nn.train.datasets import Array

__all__ = ["inputs_for", "open_network", "require_place", "samples_for"]


def open_network(path: Path, device: str | None, *, trained: bool = False, model_id: str | None = None) -> Network:
    """Return the network of a file; ``trained``: ArgumentError for a document without weights."""
    from loom.nn.network import Network
    from loom.nn.persistence import SAFETENSORS, is_bundle

    if not path.is_file():
        raise ArgumentError("loom", "no such file", expected="a network's document or a model", got=str(path),
                            remedy="Check the path")  # fmt: skip
    if path.suffix == SAFETENSORS:
        return Network.load(path, model_id, on=device)
    if not path.read_bytes().lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
        raise ArgumentError(str(path), "not a network", expected="JSON or .safetensors", got="something else",
                            remedy="Check which file it is")  # fmt: skip
    if is_bundle(path):
        return Network.load(path, model_id, on=device)
    if trained:
        raise ArgumentError(str(path), "the file has no weights", expected="a bundle or .safetensors", got="a document",
                            remedy="Train it first: loom train NET.json --data ... --out MODEL.json")  # fmt: skip
    return Network.from_json(path, on=device)


def samples_for(net: Network, data: str) -> tuple[Array, Array]:
    """Return inputs and targets of ``--data`` as the network takes them.

    Targets of one number for each sample get the axis that a network of one output has.
    """
    from loom.nn.train.datasets import read_samples

    _require_one(net)
    x, y = read_samples(data, net.spec.inputs[0].shape)
    _require_size(net, data, x)
    one = net.spec.shapes()[net.spec.outputs[0]] == (1,)
    return x, y[:, None] if one and y.ndim == 1 else y


def inputs_for(net: Network, data: str) -> Array:
    """Return the inputs of ``--data``, with or without targets, as the network takes them."""
    from loom.nn.train.datasets import read_inputs

    _require_one(net)
    x = read_inputs(data, net.spec.inputs[0].shape)
    _require_size(net, data, x)
    return x


def _require_one(net: Network) -> None:
    """See that a file of samples and targets can be all that the network takes and is compared with."""
    ports = len(net.spec.inputs), len(net.spec.outputs)
    if ports != (1, 1):
        raise ArgumentError("--data", "the network has several inputs or outputs", expected="one of each",
                            got=f"{ports[0]} and {ports[1]}",
                            remedy="Use loom.Network in Python: it takes lists and dicts of arrays")  # fmt: skip


def _require_size(net: Network, data: str, x: Array) -> None:
    shape = net.spec.inputs[0].shape
    if x.shape[1:] != shape:
        raise ShapeError(f"--data {data}", "the samples do not fit the network's input", expected=shape,
                         got=x.shape[1:], remedy="In a .csv the last column is the target, the others are the sample",
                         )  # fmt: skip


def require_place(option: str, path: Path | None, endings: tuple[str, ...]) -> None:
    """See that a file of one of these endings can be written at ``path``, folders on the way included."""
    from loom.nn.persistence import SAFETENSORS
    from loom.nn.tensorfile import safetensors_library

    if path is None:
        return
    if path.suffix not in endings:
        raise ArgumentError(option, "not such a file", expected=" or ".join(endings), got=str(path),
                            remedy="Name it by its ending")  # fmt: skip
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ArgumentError(option, "cannot write there", expected="a file in a folder that can be written to",
                            got=str(path), remedy="Choose another place; nothing was run")  # fmt: skip
    if path.suffix == SAFETENSORS:
        safetensors_library()
