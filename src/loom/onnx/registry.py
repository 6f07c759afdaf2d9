"""Operators by domain and name, and what a function that records one is given.

Layer: onnx. Invariant: every attribute of a node is read by the function that records it, or the node is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from loom.core.dtype import DType
from loom.core.errors import ArgumentError
from loom.importers.operatorcalls import OperatorCall
from loom.importers.operatorrows import Operator, operators
from loom.onnx.scopes import ScopedRecording
from loom.onnx.values import EMPTY, Held, Value, ValueSequence, ValuesNeeded, check_size, dtype_of_element, onnx
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.record.graph import INPUT, PARAMETER, ancestors

__all__ = ["OPERATORS", "Made", "NodeCall", "operator"]

Made = Held | Sequence[Held | None]


OPERATORS: dict[tuple[str, str], Operator[NodeCall]] = {}
"""By domain and name."""


def operator(
    *names: str, domain: str = "", since: int = 1, ignores: Sequence[str] = ()
) -> Callable[[Callable[..., Made]], Callable[..., Made]]:
    """Enter the function that records the operators of these names."""
    return operators(OPERATORS, [(domain, name) for name in names], since, ignores)


_KINDS = {"FLOAT": "f", "INT": "i", "STRING": "s", "TENSOR": "t", "GRAPH": "g", "FLOATS": "floats", "INTS": "ints",
          "STRINGS": "strings"}  # fmt: skip


class NodeCall(OperatorCall):
    """A node that is recorded: its attributes by type, its inputs as tensors or as arrays that the host knows."""

    arguments = "attributes"
    remedy = "Export the model without it, or convert it with onnx.version_converter"
    scope: ScopedRecording

    def __init__(self, node: Any, opset: int, inputs: Sequence[Held | None], scope: ScopedRecording) -> None:
        self.node, self.opset, self.inputs = node, opset, list(inputs)
        self._attributes: Mapping[str, Any] = {a.name: a for a in node.attribute}
        super().__init__(scope, node.op_type, set(self._attributes))

    @property
    def where(self) -> str:
        """How errors name the node."""
        domain = f"{self.node.domain}:" if self.node.domain not in ("", "ai.onnx") else ""
        return f"onnx, {domain}{self.name} (opset {self.opset})" + (f" {self.node.name!r}" if self.node.name else "")

    # attributes

    def _attribute(self, name: str, kind: str, default: Any) -> Any:
        self.unread.discard(name)
        found = self._attributes.get(name)
        if found is None:
            return default
        got = onnx.AttributeProto.AttributeType.Name(found.type)
        if got != kind:
            raise self.refusal(f"attribute {name!r} has another type", expected=kind, got=got)
        value = getattr(found, _KINDS[kind])
        return list(value) if kind in ("FLOATS", "INTS", "STRINGS") else value

    def has(self, name: str) -> bool:
        """Return whether the node has an attribute."""
        return name in self._attributes

    def integer(self, name: str, default: Any = None) -> Any:
        """Return an attribute that is a whole number."""
        return self._attribute(name, "INT", default)

    def flag(self, name: str, default: int = 0) -> bool:
        """Return an attribute that is 0 or 1."""
        return bool(self._attribute(name, "INT", default))

    def real(self, name: str, default: Any = None) -> Any:
        """Return an attribute that is a number of f32."""
        return self._attribute(name, "FLOAT", default)

    def integers(self, name: str, default: Any = None) -> Any:
        """Return an attribute that is several whole numbers."""
        return self._attribute(name, "INTS", default)

    def reals(self, name: str, default: Any = None) -> Any:
        """Return an attribute that is several numbers."""
        return self._attribute(name, "FLOATS", default)

    def strings(self, name: str, default: Any = None) -> list[str] | Any:
        """Return an attribute that is several words."""
        found = self._attribute(name, "STRINGS", None)
        return default if found is None else [word.decode("utf-8", "replace") for word in found]

    def text(self, name: str, default: str, choices: Sequence[str] = ()) -> str:
        """Return an attribute that is a word, one of ``choices``."""
        found = self._attribute(name, "STRING", default.encode()).decode("utf-8", "replace")
        if choices and found not in choices:
            raise self.refusal(f"attribute {name!r} has an unknown value", expected=" or ".join(choices), got=found)
        return found

    def proto(self, name: str) -> Any:
        """Return an attribute that is a tensor, None if there is none."""
        return self._attribute(name, "TENSOR", None)

    def body(self, name: str) -> Any:
        """Return an attribute that is a graph; ArgumentError if there is none."""
        found = self._attribute(name, "GRAPH", None)
        if found is None:
            raise self.refusal(f"attribute {name!r} is missing", expected="a graph", got="none")
        return found

    def element(self, name: str, default: Any = None) -> DType | None:
        """Return an attribute that is a dtype."""
        number = self.integer(name, default)
        return None if number is None else dtype_of_element(number, self.where)

    # inputs

    def has_input(self, i: int) -> bool:
        """Return whether an input is there."""
        return i < len(self.inputs) and self.inputs[i] is not None

    def operand(self, i: int) -> Held:
        """Return an input as it is, a sequence too; ArgumentError if it is missing."""
        found = self.inputs[i] if i < len(self.inputs) else None
        if found is None:
            raise self.refusal(f"input {i} is missing", expected="a value", got="none")
        return found

    def value(self, i: int) -> Value:
        """Return an input that is one value; ArgumentError for a sequence, or if it is missing."""
        found = self.operand(i)
        if isinstance(found, ValueSequence):
            raise self.refusal(f"input {i} is no tensor", expected="a tensor", got="a sequence or an optional value")
        return found

    def parts(self, i: int) -> list[Any]:
        """Return the values of an input that is a sequence."""
        found = self.operand(i)
        if not isinstance(found, ValueSequence) or found is EMPTY:
            raise self.refusal(f"input {i} is no sequence", expected="a sequence", got="another value")
        return found.values

    def tensor(self, i: int) -> Tensor:
        """Return an input as a tensor."""
        return self.scope.tensor(self.value(i))

    def input(self, i: int, optional: bool) -> Tensor | None:
        """Return an input as a tensor; None if it may be left out, and is."""
        return self.maybe(i) if optional else self.tensor(i)

    def tensors(self) -> list[Tensor]:
        """Return all inputs as tensors."""
        return [self.tensor(i) for i in range(len(self.inputs))]

    def maybe(self, i: int) -> Tensor | None:
        """Return an input as a tensor, None if it is left out."""
        return self.tensor(i) if self.has_input(i) else None

    def host(self, i: int) -> np.ndarray[Any, Any]:
        """Return the numbers of an input, which decide a shape or an order; ``ValuesNeeded`` if they are fed later."""
        return self.numbers_of(self.value(i))

    def numbers_of(self, value: Value) -> np.ndarray[Any, Any]:
        """Return the numbers of a value."""
        if isinstance(value, np.ndarray):
            return value
        behind = ancestors([value])
        fed = frozenset(n.name for n in behind if n.op is INPUT)
        if fed:
            raise ValuesNeeded(fed)
        if weights := sorted({n.name for n in behind if n.op is PARAMETER}):
            raise ArgumentError(self.where, "parameters decide a shape, an order or a constant", got=weights[0],
                                expected="a constant", remedy="Name those that are trained: load(.., trained=[..])",
                                )  # fmt: skip
        return value.numpy()

    def numbers(self, i: int) -> list[int]:
        """Return an input as whole numbers."""
        return [int(n) for n in self.host(i).reshape(-1)]

    def scalar(self, i: int) -> Any:
        """Return an input of one element as a Python number."""
        found = self.host(i)
        if found.size != 1:
            raise self.refusal(f"input {i} is not one number", expected="1 element", got=found.size)
        return found.reshape(-1)[0].item()

    def axis(self, axis: int, rank: int) -> int:
        """Return an axis counted from the first; ArgumentError for one that there is not."""
        if not -rank <= axis < max(rank, 1):
            raise self.refusal("an axis that there is not", expected=f"{-rank} to {rank - 1}", got=axis)
        return axis + rank if axis < 0 else axis

    def axes(self, axes: Sequence[int], rank: int) -> tuple[int, ...]:
        """Return axes counted from the first, each once."""
        found = tuple(self.axis(int(a), rank) for a in axes)
        if len(set(found)) != len(found):
            raise self.refusal("an axis is named twice", expected="each once", got=list(axes))
        return found

    def check_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return a shape that can be; ArgumentError for one that cannot."""
        return check_size(tuple(int(n) for n in shape), self.where)
