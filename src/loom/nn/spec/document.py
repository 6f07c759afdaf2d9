"""The way in and out: a document of any format to a ``NetworkSpec``, a ``NetworkSpec`` to canonical JSON.

Layer: nn. Invariant: ``parse(to_json(network)) == network``, and ``to_json`` gives one text per network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loom.core.errors import ArgumentError, DTypeError
from loom.nn.spec.layer import Shared
from loom.nn.spec.layers.scale import Scale
from loom.nn.spec.network import NetworkSpec
from loom.nn.spec.older.detect import read_any
from loom.nn.spec.older.pieces import Conversion
from loom.nn.spec.problems import Place, Reading
from loom.nn.spec.reader import write_network
from loom.nn.spec.text import JsonValue, canonical, load

__all__ = ["Conversion", "check", "convert", "parse", "to_document", "to_json", "with_scaling"]


def parse(document: str | bytes | dict[str, Any] | Path) -> NetworkSpec:
    """Return the network of a document: ``loom/1``, or one of the first or second generation.

    ``document`` is JSON text, its UTF-8 bytes, a dict as ``json.loads`` makes them, or the ``Path`` of a file.
    SpecError lists every problem with its path; DTypeError for another kind of argument; a file that cannot be
    read raises OSError. What a conversion from an older generation leaves out is told by ``convert``.

    >>> text = '{"format": "loom/1", "input": {"shape": [4]}, "layers": [{"type": "dense", "output_size": 2}]}'
    >>> parse(text).outputs
    ('layers.0',)
    """
    return _converted(document, "loom.nn.parse").network


def convert(document: str | bytes | dict[str, Any] | Path) -> Conversion:
    """Return the network of a document of any generation, with warnings of all that changes its meaning.

    Arguments and errors are those of ``parse``. ``to_json(convert(old).network)`` is the old document in ``loom/1``.
    """
    return _converted(document, "loom.nn.convert")


def _converted(document: Any, where: str) -> Conversion:
    if not isinstance(document, (str, bytes, dict, Path)):
        raise DTypeError(
            where, "not a document", expected="JSON text, bytes, a dict or a pathlib.Path", got=type(document).__name__
        )
    reading = Reading()
    value = load(document, Place(reading))
    reading.check(where)
    conversion = read_any(value, Place(reading))
    reading.check(where)
    assert conversion is not None
    return conversion


def to_document(network: NetworkSpec) -> dict[str, JsonValue]:
    """Return the ``loom/1`` object of a network, as ``json.dumps`` takes it."""
    return write_network(network)


def to_json(network: NetworkSpec) -> str:
    """Return the canonical ``loom/1`` text of a network: two spaces of indent, fixed order of keys, no defaults.

    >>> network = parse({"format": "loom/1", "input": {"shape": [1]}, "layers": [{"type": "flatten"}]})
    >>> parse(to_json(network)) == network
    True
    """
    return canonical(write_network(network))


def with_scaling(network: NetworkSpec) -> NetworkSpec:
    """Return a network of one input with a layer ``scale`` before its first layers; the same if it has one.

    ArgumentError for several inputs, and for a list whose layers are shared by their numbers.
    """
    if any(isinstance(node.layer, Scale) for node in network.nodes):
        return network
    document, where = to_document(network), "loom.nn, scaling"
    if len(network.inputs) != 1 or any(isinstance(part.layer, Shared) for part in network.walk()):
        raise ArgumentError(where, "where the layer belongs is not clear", expected="one input and no $ref",
                            got=", ".join(i.name for i in network.inputs),
                            remedy='Write {"type": "scale"} into the document')  # fmt: skip
    if "layers" in document:
        document["layers"].insert(0, {"type": "scale"})
        return parse(document)
    given, name = network.inputs[0].name, "scale"
    while name in document["nodes"] or name == given:
        name += "_"
    for node in document["nodes"].values():
        node["inputs"] = [name if source == given else source for source in node["inputs"]]
    document["nodes"] = {name: {"type": "scale", "inputs": [given]}, **document["nodes"]}
    return parse(document)


def check(network: NetworkSpec) -> NetworkSpec:
    """Return the network if it is sound; for those built in Python. SpecError lists every problem otherwise."""
    return parse(write_network(network))
