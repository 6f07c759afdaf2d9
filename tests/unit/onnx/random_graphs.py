"""Random graphs of ONNX: every graph is valid, all shapes are known, and numbers stay near 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

__all__ = ["random_graph"]

_UNARY = ("Relu", "Tanh", "Sigmoid", "Abs", "Neg", "Erf", "Softplus", "HardSwish", "Sin", "Cos", "Floor", "Round",
          "Elu", "LeakyRelu", "Softsign", "Selu", "Mish", "Identity", "Sign", "Gelu", "Atan")  # fmt: skip
_BINARY = ("Add", "Sub", "Mul", "Max", "Min", "Mean", "PRelu")
_REDUCE = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceLogSumExp", "ReduceSumSquare")


class _Builder:
    """A graph that grows: values by name with their shapes."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights = list[Any](), list[Any]()
        self.shapes: dict[str, tuple[int, ...]] = {}

    def of(self, n: int) -> int:
        return int(self.rng.integers(n))

    def weight(self, values: Any) -> str:
        self.weights.append(onnx.numpy_helper.from_array(np.asarray(values), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def normal(self, *shape: int) -> str:
        return self.weight((self.rng.normal(size=shape) / max(shape[-1], 1) ** 0.5).astype(np.float32))

    def node(self, kind: str, inputs: list[str], shape: tuple[int, ...], **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, inputs, [name], **attributes))
        self.shapes[name] = shape
        return name

    def bounded(self, x: str) -> str:
        """Return a value brought back near 1, so that differences stay roundings."""
        return self.node("Tanh", [x], self.shapes[x])

    def step(self) -> None:
        x = list(self.shapes)[-1 - self.of(min(4, len(self.shapes)))]
        makers = [self.unary, self.binary, self.reduce, self.soften, self.move, self.join, self.multiply, self.pick,
                  self.convolve, self.normalise, self.choose]  # fmt: skip
        makers[self.of(len(makers))](x, self.shapes[x])

    def unary(self, x: str, shape: tuple[int, ...]) -> None:
        self.node(_UNARY[self.of(len(_UNARY))], [x], shape)

    def binary(self, x: str, shape: tuple[int, ...]) -> None:
        others = [n for n, s in self.shapes.items() if s == shape]
        other = others[self.of(len(others))]
        kind = _BINARY[self.of(len(_BINARY))]
        if self.of(2):
            other = self.normal(*(n if self.of(2) else 1 for n in shape))
        self.bounded(self.node(kind, [x, other], shape))

    def reduce(self, x: str, shape: tuple[int, ...]) -> None:
        if shape:
            axis = self.of(len(shape))
            kept = tuple(1 if i == axis else n for i, n in enumerate(shape))
            kind = _REDUCE[self.of(len(_REDUCE))]
            found = self.node(kind, [x, self.weight(np.array([axis]))], kept, keepdims=1)
            self.bounded(self.node("Add", [found, x], shape))

    def soften(self, x: str, shape: tuple[int, ...]) -> None:
        if shape:
            kind = ("Softmax", "LogSoftmax", "CumSum")[self.of(3)]
            axis = self.of(len(shape))
            if kind == "CumSum":
                self.bounded(self.node(kind, [x, self.weight(np.array(axis))], shape, reverse=self.of(2)))
            else:
                self.node(kind, [x], shape, axis=axis)

    def move(self, x: str, shape: tuple[int, ...]) -> None:
        order = [int(i) for i in self.rng.permutation(len(shape))]
        moved = self.node("Transpose", [x], tuple(shape[i] for i in order), perm=order)
        size = int(np.prod(shape))
        rows = next((k for k in (4, 3, 2) if size % k == 0), 1)
        self.node("Reshape", [moved, self.weight(np.array([rows, -1]))], (rows, size // rows))

    def join(self, x: str, shape: tuple[int, ...]) -> None:
        if shape and shape[-1] < 12:
            self.node("Concat", [x, self.node("Neg", [x], shape)], (*shape[:-1], 2 * shape[-1]), axis=-1)

    def multiply(self, x: str, shape: tuple[int, ...]) -> None:
        if len(shape) >= 2:
            width = 1 + self.of(6)
            self.bounded(self.node("MatMul", [x, self.normal(shape[-1], width)], (*shape[:-1], width)))

    def pick(self, x: str, shape: tuple[int, ...]) -> None:
        if shape and shape[-1] > 1:
            at = self.rng.integers(-shape[-1], shape[-1], size=3)
            self.node("Gather", [x, self.weight(at)], (*shape[:-1], 3), axis=len(shape) - 1)
            ends = [self.weight(np.array([v])) for v in (1, shape[-1], len(shape) - 1)]
            self.node("Slice", [x, *ends], (*shape[:-1], shape[-1] - 1))

    def convolve(self, x: str, shape: tuple[int, ...]) -> None:
        size = int(np.prod(shape))
        if size % 8 or size > 512:
            return
        image = self.node("Reshape", [x, self.weight(np.array([1, 2, 4, size // 8]))], (1, 2, 4, size // 8))
        filters, group = 2 * (1 + self.of(2)), 1 + self.of(2)
        weight = self.normal(filters, 2 // group, 3, 3)
        made = self.node(
            "Conv", [image, weight, self.normal(filters)], (1, filters, 4, size // 8), pads=[1] * 4, group=group
        )
        kind = ("MaxPool", "AveragePool")[self.of(2)]
        self.bounded(self.node(kind, [made], (1, filters, 4, size // 8), kernel_shape=[3, 3], pads=[1] * 4))

    def normalise(self, x: str, shape: tuple[int, ...]) -> None:
        if len(shape) >= 2 and shape[-1] > 1:
            scale, bias = self.normal(shape[-1]), self.normal(shape[-1])
            self.node("LayerNormalization", [x, scale, bias], shape, axis=-1, epsilon=1e-2)

    def choose(self, x: str, shape: tuple[int, ...]) -> None:
        condition = self.node("Greater", [x, self.weight(np.float32(0.1))], shape)
        found = self.node("Where", [condition, x, self.weight(np.float32(-0.5))], shape)
        del self.shapes[condition]
        low, high = (self.weight(np.float32(v)) for v in (-0.75, 0.8))
        self.node("Clip", [found, low, high], shape)


def random_graph(seed: int, steps: int = 12) -> tuple[Any, dict[str, np.ndarray[Any, Any]]]:
    """Return a model and its inputs."""
    made = _Builder(seed)
    shape = tuple(int(n) for n in made.rng.integers(1, 6, size=2 + made.of(2)))
    made.shapes["x"] = shape
    for _ in range(steps):
        made.step()
    ends = list(made.shapes)[-3:]
    outputs = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, made.shapes[n]) for n in ends if n != "x"]
    given = [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)]
    graph = onnx.helper.make_graph(made.nodes, "random", given, outputs, made.weights)
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)
    return proto, {"x": made.rng.normal(size=shape).astype(np.float32)}
