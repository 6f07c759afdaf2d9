"""A ResNet-18 of random weights: the numbers of onnxruntime, to 1e-4 of the largest."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import loom.onnx


class _Net:
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


def _resnet(width: int, classes: int) -> Any:
    net = _Net(0)
    x = net.node("Relu", net.convolution("image", 3, width, 7, 2))
    x, i = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), width
    for stage in range(4):
        for block in range(2):
            x, i = net.block(x, i, width << stage, 2 if stage and not block else 1), width << stage
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    last = net.node(
        "Gemm", x, net.weight(net.rng.normal(size=(classes, i)) / i**0.5), net.weight(np.ones(classes)), transB=1
    )
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "h", "w"])
    scores = helper.make_tensor_value_info(last, TensorProto.FLOAT, ["n", classes])
    graph = helper.make_graph(net.nodes, "resnet18", [image], [scores], net.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize(
    ("width", "size"), [(8, 48), pytest.param(64, 224, marks=pytest.mark.slow)], ids=["narrow", "whole"]
)
def test_a_resnet_gives_the_numbers_of_onnxruntime_for_any_batch(width: int, size: int) -> None:
    runtime = pytest.importorskip("onnxruntime")
    proto = _resnet(width, 10)
    onnx.checker.check_model(proto)
    session = runtime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    model = loom.onnx.load(proto)
    for n in (1, 3):
        image = np.random.default_rng(n).normal(size=(n, 3, size, size)).astype("float32")
        (expected,) = session.run(None, {"image": image})
        (found,) = model.run({"image": image}).values()
        assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    assert model.specialised == frozenset()
