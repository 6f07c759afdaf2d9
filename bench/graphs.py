"""Models of ONNX beside onnxruntime in one run: a ResNet-18 of random weights, batches of 1 and 8, the same threads."""

from __future__ import annotations

from typing import Any

from bench.machine import use_threads

use_threads()

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import loom.onnx  # noqa: E402
from bench.harness import THREADS, Side, alternate  # noqa: E402
from bench.report import Bar, Family, Row, main  # noqa: E402

LEAST = 0.5
"""Images a second asked for, to onnxruntime's."""


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


def _session(proto: onnx.ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def measure(family: Family) -> None:
    """Measure both in turns."""
    proto = resnet18()
    session, model = _session(proto), loom.onnx.load(proto, on="cpu")
    for n in (1, 8):
        given = {"image": np.random.default_rng(n).normal(size=(n, 3, 224, 224)).astype("float32")}
        sides = [Side("loom", lambda x=given: model.run(x)), Side("onnxruntime", lambda x=given: session.run(None, x))]
        found = alternate(sides, blocks=3, calls=2)
        share = found.least("onnxruntime") / found.least("loom")
        measured: dict[str, float | int | str] = {f"{s.name} ms": found.least(s.name) * 1e3 for s in sides}
        bars = (Bar("images a second, of onnxruntime's", LEAST, share, at_least=True),) if n == 8 else ()
        family.rows.append(Row(f"ResNet-18, batch {n}", measured | {"of onnxruntime's": share}, bars))


if __name__ == "__main__":
    main("graphs", measure)
