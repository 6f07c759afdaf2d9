"""The way in and out: a document of any format to a ``NetworkSpec``, a ``NetworkSpec`` to canonical JSON.

Layer: nn. Invariant: ``parse(to_json(network)) == network``, and ``to_json`` gives one text per network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loom.core.errors import ArgumentError, DTypeError, near_matches
from loom.core.given import is_int, items
from loom.core.numbers import whole
from loom.formats.json_text import JsonObject, JsonValue, brief, canonical
from loom.nn.spec.base.layer import Shape, Shared
from loom.nn.spec.base.limits import MOST_WIDTH
from loom.nn.spec.base.problems import Place, Reading
from loom.nn.spec.base.text import load
from loom.nn.spec.layers.scale import Scale
from loom.nn.spec.network import NetworkSpec
from loom.nn.spec.older.pieces import Conversion
from loom.nn.spec.reader import FORMAT, read_network, write_network

__all__ = [
    "Conversion",
    "check",
    "convert",
    "parse",
    "read_any",
    "sample_shape",
    "to_document",
    "to_json",
    "with_scaling",
]

Document = str | bytes | dict[str, Any] | Path
"""JSON text, its UTF-8 bytes, a dict as ``json.loads`` makes them, or the ``Path`` of a file."""


def parse(
    document: str | bytes | JsonObject | Path,
    input: int | Sequence[int] | None = None,  # noqa: A002
) -> NetworkSpec:
    """Return the network of a document: ``loom/1``, or one of the first or second generation.

    What a conversion from an older generation leaves out is told by ``convert``.

    Args:
        document: JSON text, its UTF-8 bytes, a dict as ``json.loads`` makes them, or the ``Path`` of a file.
        input: Shape of a sample, for a document of the older generations that does not tell it; None: that of the
            document.

    Raises:
        ArgumentError: ``input`` is no shape, or has no effect: the document tells it.
        DTypeError: Not a document.
        SpecError: The document has problems, all of them listed with their paths.
        FileError: The file cannot be read.

    >>> text = '{"format": "loom/1", "input": {"shape": [4]}, "layers": [{"type": "dense", "output_size": 2}]}'
    >>> parse(text).outputs
    ('layers.0',)
    """
    return _convert(document, "loom.nn.parse", input).network


def convert(
    document: str | bytes | JsonObject | Path,
    input: int | Sequence[int] | None = None,  # noqa: A002
) -> Conversion:
    """Return the network of a document of any generation, with warnings of all that changes its meaning.

    ``to_json(convert(old).network)`` is the old document in ``loom/1``.

    Args:
        document: JSON text, its UTF-8 bytes, a dict as ``json.loads`` makes them, or the ``Path`` of a file.
        input: Shape of a sample, for a document of the older generations that does not tell it; None: that of the
            document.

    Raises:
        ArgumentError: ``input`` is no shape, or has no effect: the document tells it.
        DTypeError: Not a document.
        SpecError: The document has problems, all of them listed.
        FileError: The file cannot be read.
    """
    return _convert(document, "loom.nn.convert", input)


def sample_shape(given: int | Sequence[int] | None, where: str) -> Shape | None:
    """Return the shape of a sample, one size or several; None if it is not told."""
    if given is None:
        return None
    sizes = [given] if is_int(given) else items(given, where, "sizes")
    return tuple(whole(n, where, least=1, most=MOST_WIDTH) for n in sizes)


def _convert(document: str | bytes | JsonObject | Path, where: str, told: int | Sequence[int] | None) -> Conversion:
    if not isinstance(document, (str, bytes, dict, Path)):
        raise DTypeError(
            where, "not a document", expected="JSON text, bytes, a dict or a pathlib.Path", got=type(document).__name__
        )
    reading = Reading(told_input=sample_shape(told, f"{where}, input"))
    value = load(document, Place(reading))
    reading.check(where)
    conversion = read_any(value, Place(reading))
    reading.check(where)
    reading.require_use(where)
    assert conversion is not None
    return conversion


def read_any(value: JsonValue, place: Place, *, saved: bool = False) -> Conversion | None:
    """Return the network of a document of any format, noting what is wrong at ``place``; ``saved``: of a bundle."""
    if not isinstance(value, dict):
        place.wrong("an object", value)
        return None
    if "format" not in value:
        from loom.nn.spec.older.reader import read_older

        return read_older(value, place, saved=saved)
    if value["format"] != FORMAT:
        near = near_matches(str(value["format"])[:100], [FORMAT])
        place.at("format").fault("unknown format", expected=f"'{FORMAT}'", got=brief(value["format"]), remedy=near)
        return None
    network = read_network(value, place)
    return None if network is None else Conversion(network=network)


def to_document(network: NetworkSpec) -> dict[str, Any]:
    """Return the ``loom/1`` object of a network, as ``json.dumps`` takes it.

    Args:
        network: Description of a network.
    """
    return dict[str, Any](write_network(network))


def to_json(network: NetworkSpec) -> str:
    """Return the canonical ``loom/1`` text of a network: two spaces of indent, fixed order of keys, no defaults.

    Args:
        network: Description of a network.

    >>> network = parse({"format": "loom/1", "input": {"shape": [1]}, "layers": [{"type": "flatten"}]})
    >>> parse(to_json(network)) == network
    True
    """
    return canonical(write_network(network))


def with_scaling(network: NetworkSpec) -> NetworkSpec:
    """Return a network of one input with a layer ``scale`` before its first layers; the same if it has one.

    Args:
        network: Description of a network.

    Raises:
        ArgumentError: Several inputs, or layers that are shared (``$ref``).
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
    """Return the network if it is sound; for those built in Python.

    Args:
        network: Description of a network.

    Raises:
        SpecError: The network has problems, all of them listed.
    """
    return parse(write_network(network))
