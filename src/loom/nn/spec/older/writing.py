"""One writing of a network in an older form: what is refused, what is lost, what is noted.

Layer: nn. Invariant: nothing is lost unless ``lossy``, and what is lost or changes is noted, by the layer's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from loom.core.arrays import Array
from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.layer import Part
from loom.nn.spec.base.problems import Place, Reading
from loom.nn.spec.layers.combine import Combine, Merge
from loom.nn.spec.network import NetworkSpec
from loom.nn.spec.older.compare import find_difference, match_weights
from loom.nn.spec.older.pieces import Conversion

__all__ = ["Older", "Writing", "within", "write_compared"]

Config = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Older:
    """A network in an older form: its config, how that is read, our names by the reader's, and what changed.

    A weight of the reader's without a name of ours is a bias of zeros.
    """

    config: Config
    conversion: Conversion
    names: dict[str, str]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Writing:
    """How a network is written: its ``generation``, with its ``weights`` or as a document; what is noted on the way."""

    where: str
    generation: str
    lossy: bool = False
    weights: Mapping[str, Array] | None = None
    notes: dict[str, None] = field(default_factory=dict[str, None])
    sums: set[str] = field(default_factory=set[str])
    """Names of the sums that are written as residual layers; others are what the first generation adds unsaid."""

    def refuse(self, here: str, what: str, got: str, remedy: str = "Save it as Loom's own bundle") -> ArgumentError:
        """Return the error for what cannot be expressed."""
        what = f"the {self.generation} generation cannot express it: {what}"
        return ArgumentError(here, what, got=got, remedy=remedy)

    def lose(self, here: str, what: str, got: str) -> None:
        """Note a loss, if losses are allowed; else raise ArgumentError."""
        if not self.lossy:
            raise self.refuse(here, what, got, "Save it as Loom's own bundle, or lose it: loom convert --lossy")
        self.note(here, f"lost: {what} (it was {got})")

    def note(self, here: str, what: str) -> None:
        """Note what changes and loses nothing."""
        self.notes[f"{here.removeprefix(self.where).lstrip(', ') or 'network'}: {what}"] = None


def within(outer: Part, inner: Part) -> Part:
    """Return a part of a part under its whole name."""
    return Part(f"{outer.name}.{inner.name}", inner.layer, inner.shape)


def write_compared(
    network: NetworkSpec,
    writing: Writing,
    write: Callable[[NetworkSpec, Writing], Config],
    read: Callable[[Config, Place], Conversion | None],
) -> Older:
    """Return what ``write`` makes of a network, read back and compared.

    A sum that is missed when it is read back is written as a residual layer, where there are such.
    """
    while True:
        writing.notes.clear()
        config = write(network, writing)
        reading = Reading()
        found = read(config, Place(reading))
        if found is None or reading.problems:
            what = f"it would be read with a problem ({reading.problems[0]})"
            raise writing.refuse(writing.where, what, "this network")
        differs = find_difference(network, found.network)
        if differs is None:
            break
        if _is_sum(network, differs.name) and differs.name not in writing.sums:
            writing.sums.add(differs.name)
            continue
        here = f"{writing.where}, layer {differs.name!r}"
        if not writing.lossy:
            raise writing.refuse(here, f"it would be read as {differs.theirs}", differs.ours)
        if not any(text.startswith(here.removeprefix(writing.where).lstrip(", ")) for text in writing.notes):
            writing.note(here, f"lost: it is read as {differs.theirs}")
        break
    names = match_weights(network, found.network)
    if names is None:
        raise writing.refuse(writing.where, "its weights would have other shapes", "this network")
    for text in found.warnings:
        if ".dtype: weights of type" not in text:  # what an element type changes is told by its weights
            writing.note(writing.where, f"read again: {text}")
    return Older(config, found, names, tuple(writing.notes))


def _is_sum(network: NetworkSpec, name: str) -> bool:
    layer = next((n.layer for n in network.nodes if n.name == name), None)
    return isinstance(layer, Merge) and layer.combine_mode is Combine.ADD
