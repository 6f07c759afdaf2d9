"""Models of ONNX: read, checked, run and trained with the same bits on every device. Layer: onnx.

    model = loom.onnx.load("resnet18.onnx")
    scores = model.run({"image": pixels})["scores"]
    model.train(images, classes, optimizer="adam", epochs=3)
    model.save("trained.onnx")

Invariant: an operator, dtype or attribute that cannot be computed right is refused by name when it is met.

Stability: new.
"""

from loom.onnx.backend import Backend
from loom.onnx.given import ValueInfo
from loom.onnx.model import OnnxModel, load
from loom.onnx.networks import load_network

__all__ = ["Backend", "OnnxModel", "ValueInfo", "load", "load_network"]
