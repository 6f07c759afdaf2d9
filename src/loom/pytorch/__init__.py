"""Modules of PyTorch: imported as graphs of ATen operators, run and trained with the same bits on every device.
Layer: pytorch.

    model = loom.from_torch(module, example)
    y = model(x)
    model.train(x, y, loss="cross_entropy", optimizer="adam", learning_rate=1e-3, epochs=3)
    module.load_state_dict(...)  # or model.copy_into(module)

Invariant: what a module does that a graph does not keep is refused by name.

Stability: new.
"""

from loom.pytorch.files import read_state_dict
from loom.pytorch.importing import from_torch
from loom.pytorch.loading import load
from loom.pytorch.model import TorchModel

__all__ = ["TorchModel", "from_torch", "load", "read_state_dict"]
