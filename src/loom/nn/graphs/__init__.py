"""Models that are imported as graphs (ONNX, PyTorch): run, trained and measured as networks are. Layer: nn."""

from loom.nn.graphs.model import GraphModel, Pass
from loom.nn.graphs.ports import ValueInfo, check_shapes

__all__ = ["GraphModel", "Pass", "ValueInfo", "check_shapes"]
