"""Adapters of published models by the modules' own names: a PEFT folder beside the checkpoint that it was trained on.

Layer: models. Invariant: which module of a file is which matrix of a network is told by where the matrix's weights come
from, and nowhere else.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from loom.core.errors import ArgumentError
from loom.models.architectures.description import ModelDescription
from loom.nn.network import Network
from loom.nn.spec import Shared, parse
from loom.nn.spec.layers.lora import Adaptable, short_name
from loom.nn.structure import add_lora, load_adapters, merge_lora
from loom.nn.structure.adapters import adapters_in

__all__ = ["module_names", "with_adapters"]

_WHERE = "loom.models, adapters"
_Place = tuple[str, str]


def module_names(description: ModelDescription) -> dict[str, str]:
    """Return what ``names`` of ``structure.load_adapters`` is: our modules by their names in files of PEFT.

    A module that is several matrices here (the queries, keys and values of GPT-2) has no name.
    """
    return {ours: theirs for theirs, (ours, _, _) in _modules(description).items()}


def _modules(description: ModelDescription) -> dict[str, tuple[str, str, str]]:
    """Return by their name our module, its layer, and which matrix of it."""
    found: dict[str, tuple[str, str, str]] = {}
    for part in parse(description.document).walk():
        layer = part.layer
        if isinstance(layer, Shared) or not isinstance(layer, Adaptable):
            continue
        for matrix in layer.matrices:
            source = description.sources.get(f"{part.name}.{matrix}")
            if source is None or (source.rows is not None and source.rows.pick is not None):
                continue
            ours = part.name if len(layer.matrices) == 1 else f"{part.name}.{short_name(matrix)}_proj"
            found[source.tensor.removesuffix(".weight")] = ours, part.name, short_name(matrix)
    return found


def with_adapters(network: Network, description: ModelDescription, source: Any) -> Network:
    """Return a model's network with the adapters of ``source`` merged: a PEFT folder, a .safetensors, its bytes.

    ArgumentError for modules that the model has not, or that are several matrices here; else as
    ``structure.load_adapters``.
    """
    known, groups = _modules(description), defaultdict[str, dict[str, tuple[int, float | None]]](dict)
    for module, strength in adapters_in(source, _WHERE).items():
        if module not in known:
            raise ArgumentError(_WHERE, f"{module!r} is no matrix of the model", expected=", ".join(list(known)[:3]),
                                got=module, remedy="Merge the adapters with PEFT, and load that model")  # fmt: skip
        _, layer, matrix = known[module]
        groups[layer][matrix] = strength
    alike = defaultdict[tuple[frozenset[str], tuple[int, float | None]], list[str]](list)
    for layer, matrices in groups.items():
        strengths = set(matrices.values())
        if len(strengths) > 1:
            raise ArgumentError(_WHERE, f"the matrices of {layer!r} have adapters of several ranks or alphas",
                                expected="one for a layer", got=len(strengths),
                                remedy="Merge them with PEFT, and load that model")  # fmt: skip
        alike[frozenset(matrices), strengths.pop()].append(layer)
    tuned = network
    for (matrices, (rank, alpha)), layers in alike.items():
        tuned = add_lora(tuned, rank, alpha=alpha, layers=layers, targets=sorted(matrices))
    load_adapters(tuned, source, names={ours: theirs for theirs, (ours, _, _) in known.items()})
    return merge_lora(tuned)
