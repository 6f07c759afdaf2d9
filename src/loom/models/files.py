"""Published weights in their files: HuggingFace folders, safetensors, GGUF.

Layer: models, a door to ``loom.formats``. Invariant: nothing that a file says of itself is believed before it is
checked, and nothing outside the model's folder is read.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from loom.core.names import missing_name
from loom.formats.checkpoint import Checkpoint, StoredTensor
from loom.formats.opening import open_checkpoint

if TYPE_CHECKING:
    from loom.models.conversion import ConvertedCheckpoint, convert_checkpoint

__all__ = ["Checkpoint", "ConvertedCheckpoint", "StoredTensor", "convert_checkpoint", "open_checkpoint"]


def __getattr__(name: str) -> Any:
    """Load what writes only when it is used."""
    if name in ("ConvertedCheckpoint", "convert_checkpoint"):
        return getattr(import_module("loom.models.conversion"), name)
    raise missing_name("loom.models.files", name, __all__)
