"""Values of a recording by their names, within the scopes that graphs and functions open, and as tensors.

Layer: onnx. Invariant: an array is one tensor, whoever asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loom.core.errors import FileError
from loom.importers.recordings import GraphPass, NodeRecording
from loom.onnx.values import Held, Value
from loom.tensor.arrays.tensor import Tensor, array

__all__ = ["ScopedRecording"]


class ScopedRecording(NodeRecording):
    """A recording as operators see it. ``kept``: what earlier recordings made of weights."""

    def __init__(
        self, device: Any, run: GraphPass | None, kept: dict[Any, Any],
        read_tensor: Callable[[Any], np.ndarray[Any, Any]],
    ) -> None:  # fmt: skip
        super().__init__(device, run)
        self.read_tensor, self._kept = read_tensor, kept
        self._tensors: dict[int, tuple[Any, Tensor]] = {}
        self._scopes: list[dict[str, Held | None]] = []

    def tensor(self, value: Value) -> Tensor:
        """Return a value as a tensor; of one array always the same."""
        if isinstance(value, Tensor):
            return value
        kept = self._kept.get(id(value)) or self._tensors.get(id(value))
        if kept is None:
            kept = self._tensors[id(value)] = value, array(value, on=self.device)
        return kept[1]

    def value_of(self, name: str, what: str = "a named value") -> Any:
        """Return a value by its name; FileError for one that no node before has made."""
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        raise FileError("onnx.load", f"{what} is made by no node before it", expected="a name made before", got=name,
                        remedy="The graph has a cycle or lacks an input; check it with onnx.checker")  # fmt: skip

    def make_once(self, key: tuple[Any, ...], source: Value, make: Callable[[], Value]) -> Value:
        """Return what is made of an array, once for all recordings."""
        if not isinstance(source, np.ndarray) or id(source) not in self._kept:
            return make()
        whole = (*key, id(source))
        if whole not in self._kept:
            self._kept[whole] = make()
        return self._kept[whole]
