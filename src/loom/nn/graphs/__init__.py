"""Models that are imported as graphs (ONNX, PyTorch): run, trained and measured as networks are. Layer: nn."""

from loom.nn.graphs.model import GraphPass, TrainableGraph
from loom.nn.graphs.ports import ArrayInfo, check_shapes

__all__ = ["ArrayInfo", "GraphPass", "TrainableGraph", "check_shapes"]
