"""A ResNet-18 of random weights as a model of ONNX, for the bench and for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

__all__ = ["resnet18"]


class Net:
    """A graph that grows."""

    def __init__(self, seed: int) -> None:
        self.rng, self.nodes, self.weights = np.random.default_rng(seed), list[Any](), list[Any]()

    def weight(self, values: np.ndarray[Any, Any]) -> str:
        self.weights.append(numpy_helper.from_array(values.astype("float32"), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [f"t{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]

    def convolution(self, x: str, i: int, o: int, k: int, step: int) -> str:
        rng = self.rng
        weights = self.weight(rng.normal(size=(o, i, k, k)) * (2 / (i * k * k)) ** 0.5)
        found = self.node("Conv", x, weights, kernel_shape=[k, k], strides=[step, step], pads=[k // 2] * 4)
        facts = rng.normal(1, 0.1, o), rng.normal(0, 0.1, o), rng.normal(0, 0.1, o), rng.uniform(0.5, 1.5, o)
        return self.node("BatchNormalization", found, *(self.weight(f) for f in facts))

    def block(self, x: str, i: int, o: int, step: int) -> str:
        inner = self.node("Relu", self.convolution(x, i, o, 3, step))
        inner = self.convolution(inner, o, o, 3, 1)
        around = x if (i, step) == (o, 1) else self.convolution(x, i, o, 1, step)
        return self.node("Relu", self.node("Add", inner, around))


def resnet18(width: int = 64, classes: int = 1000) -> Any:
    """Return the network of K. He and others (2015), table 1, with random weights."""
    net = Net(0)
    x = net.node("Relu", net.convolution("image", 3, width, 7, 2))
    x, i = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), width
    for stage in range(4):
        for block in range(2):
            x, i = net.block(x, i, width << stage, 2 if stage and not block else 1), width << stage
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    last = net.weight(net.rng.normal(size=(classes, i)) / i**0.5), net.weight(np.ones(classes))
    scores = net.node("Gemm", x, *last, transB=1)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "h", "w"])
    made = helper.make_tensor_value_info(scores, TensorProto.FLOAT, ["n", classes])
    graph = helper.make_graph(net.nodes, "resnet18", [image], [made], net.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
