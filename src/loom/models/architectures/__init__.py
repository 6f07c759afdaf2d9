"""Published models as Loom networks: which family a checkpoint is of, its document, and where each weight comes from.

Layer: models. Invariant: a model is a ``loom/1`` document of layers that any network may have; every tensor of a
checkpoint has its place in it, or the checkpoint is refused.
"""

from loom.models.architectures.adapting import module_names
from loom.models.architectures.building import build
from loom.models.architectures.description import ModelDescription
from loom.models.architectures.detection import FAMILIES, describe
from loom.models.architectures.sources import StoredRows, WeightSource

__all__ = ["FAMILIES", "ModelDescription", "StoredRows", "WeightSource", "build", "describe", "module_names"]
