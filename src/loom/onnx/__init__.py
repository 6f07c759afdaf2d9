"""Models of ONNX: read, checked, and run with the same bits on every device. Layer: onnx.

    model = loom.onnx.load("resnet18.onnx")
    scores = model.run({"image": pixels})["scores"]

Invariant: an operator, dtype or attribute that cannot be computed right is refused by name when it is met.
"""

from loom.onnx.backend import Backend
from loom.onnx.model import OnnxModel, ValueInfo, load

__all__ = ["Backend", "OnnxModel", "ValueInfo", "load"]
