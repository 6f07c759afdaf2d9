"""Published weights in their files: HuggingFace folders, safetensors, GGUF.

Layer: models. Invariant: nothing that a file says of itself is believed before it is checked, and nothing outside the
model's folder is read.
"""

from loom.models.files.checkpoint import Checkpoint, StoredTensor
from loom.models.files.opening import open_checkpoint

__all__ = ["Checkpoint", "StoredTensor", "open_checkpoint"]
