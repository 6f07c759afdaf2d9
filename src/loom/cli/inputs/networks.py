"""Networks, samples and places for results, as the command line names them.

Layer: cli. Invariant: what has no weights gets starting weights only where the command says so; a place where nothing
can be written is told before anything runs.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from loom.core.errors import ArgumentError, ShapeError

if TYPE_CHECKING:
    from loom.nn.network import Network
    from loom.nn.train.datasets import Array

__all__ = ["inputs_for", "name_classes", "open_network", "require_place", "samples_for"]


def open_network(
    path: Path, device: str | None, *, trained: bool = False, model_id: str | None = None, scaled: bool = False
) -> Network:
    """Return the network of a file; ``trained``: ArgumentError for a document without weights.

    ``scaled``: with a layer ``scale`` at its input; ArgumentError for a model that was trained without one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are printed
        net = _open(path, device, trained, model_id, scaled)
    for warning in net.warnings:
        typer.echo(f"note: {warning}", err=True)
    return net


def _open(path: Path, device: str | None, trained: bool, model_id: str | None, scaled: bool) -> Network:
    from loom.nn.network import Network
    from loom.nn.spec import convert, with_scaling
    from loom.nn.weights.saved import SAFETENSORS, is_bundle

    if not path.is_file():
        raise ArgumentError("loom", "no such file", expected="a network's document or a model", got=str(path),
                            remedy="Check the path")  # fmt: skip
    if path.suffix == SAFETENSORS:
        return _with_its_scaling(Network.load(path, model_id, on=device), scaled)
    if not path.read_bytes().lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
        raise ArgumentError(str(path), "not a network", expected="JSON or .safetensors", got="something else",
                            remedy="Check which file it is")  # fmt: skip
    if is_bundle(path):
        return _with_its_scaling(Network.load(path, model_id, on=device), scaled)
    if trained:
        raise ArgumentError(str(path), "the file has no weights", expected="a bundle or .safetensors", got="a document",
                            remedy="Train it first: loom train NET.json --data ... --out MODEL.json")  # fmt: skip
    if not scaled:
        return Network.from_json(path, on=device)
    found = convert(path)
    return Network(with_scaling(found.network), on=device, warnings=tuple(found.warnings))


def _with_its_scaling(net: Network, scaled: bool) -> Network:
    if scaled and not any(node.layer.kind == "scale" for node in net.spec.nodes):
        raise ArgumentError("--scale", "the model was trained without scaling", expected="a document",
                            got="a model without it", remedy="Leave it out or train the document")  # fmt: skip
    return net


def samples_for(net: Network, data: str, names: str | None = None, *, learn_names: bool = False) -> tuple[Array, Array]:
    """Return inputs and targets of ``--data`` as the network takes them.

    Texts are numbered as the model's classes are (or ``--names``, where it has none; with ``learn_names`` those of the
    samples become the model's, in alphabetical order). Targets of one number for each sample get the axis that a
    network of one output has.
    """
    from loom.nn.train.datasets import class_names, number_classes, read_targets

    _require_one(net)
    x, y = read_targets(data, net.spec.inputs[0].shape)
    _require_size(net, data, x)
    if names is not None:
        name_classes(net, tuple(name.strip() for name in names.split(",")))
    elif learn_names and not net.spec.classes and y.dtype.kind == "U":
        name_classes(net, class_names(y))
    if y.dtype.kind == "U" and not net.spec.classes:
        raise ArgumentError(f"--data {data}", "the model does not know the names of its classes", expected="numbers",
                            got=f"texts such as {y.tolist()[0]!r}", remedy="Pass them in the order "
                            "that it was trained with: --names a,b,...")  # fmt: skip
    y = number_classes(y, net.spec.classes, data)
    return x, y[:, None] if _outputs(net) == 1 and y.ndim == 1 else y


def name_classes(net: Network, names: Sequence[str]) -> None:
    """Make these the names of the model's classes; ArgumentError if they are not as many, or it has others."""
    from loom.nn.spec import check

    found = tuple(names)
    if net.spec.classes not in ((), found):
        raise ArgumentError("--names", "the model's classes have other names", expected=", ".join(net.spec.classes),
                            got=", ".join(found), remedy="Leave --names out")  # fmt: skip
    wanted = max(_outputs(net), 2)
    if len(found) != wanted or len(set(found)) != wanted or not all(found):
        raise ArgumentError("--names", "not one name for each class of the output", expected=f"{wanted} names",
                            got=", ".join(found), remedy="Pass all in the outputs' order: --names a,b,...")  # fmt: skip
    net.spec = check(replace(net.spec, classes=found))


def _outputs(net: Network) -> int:
    """Return the size of the last axis of the network's first output."""
    return (net.spec.shapes()[net.spec.outputs[0]] or (1,))[-1]


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
    if path is None:
        return
    if path.suffix not in endings:
        raise ArgumentError(option, "not such a file", expected=" or ".join(endings), got=str(path),
                            remedy="Name it by its ending")  # fmt: skip
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ArgumentError(option, "cannot write there", expected="a file in a folder that can be written to",
                            got=str(path), remedy="Choose another place; nothing was run")  # fmt: skip
