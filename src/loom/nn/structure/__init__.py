"""The structure of networks: built in Python, frozen, moved, grafted, mixed, generated, searched and inferred.

Each type of layer is a function of its name: ``structure.dense(8, activation="relu")``.

Layer: nn, over ``loom.Network``. Invariant: whatever makes a network makes its document, which ``loom.nn.spec`` reads.

Stability: new.
"""

from __future__ import annotations

from typing import Any

from loom.core.names import missing_name
from loom.nn.spec.base.layer import LAYERS
from loom.nn.structure.adapters import add_lora, load_adapters, merge_lora, save_adapters
from loom.nn.structure.build import document, network
from loom.nn.structure.ensembles import EnsembleMatch, correct_mask, cover, ensemble, match_ensembles
from loom.nn.structure.generating import generate
from loom.nn.structure.grafting import graft
from loom.nn.structure.graph import Graph, Port, concat, mean
from loom.nn.structure.grids import LayerGrid
from loom.nn.structure.heads import append, cut
from loom.nn.structure.inference import InferredLayer, StructureInference, infer
from loom.nn.structure.layers import OpenLayer, constructor, layer, shared
from loom.nn.structure.mixing import mixture, stitched
from loom.nn.structure.searching import ArchitectureRanking, Candidate, search, space_for
from loom.nn.structure.space import ArchitectureSpace

__all__ = [
    "ArchitectureRanking", "ArchitectureSpace", "Candidate", "EnsembleMatch", "Graph", "InferredLayer", "LayerGrid",
    "OpenLayer", "Port", "StructureInference", "add_lora", "append", "concat", "correct_mask", "cover", "cut",
    "document", "ensemble", "generate", "graft", "infer", "layer", "load_adapters", "match_ensembles", "mean",
    "merge_lora", "mixture", "network", "save_adapters", "search", "shared", "space_for", "stitched",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Return the function that makes layers of a type."""
    if name in LAYERS:
        return constructor(name)
    raise missing_name("loom.nn.structure", name, [*__all__, *LAYERS])


def __dir__() -> list[str]:
    return [*__all__, *LAYERS]
