"""``OperatorCall``: a node that is recorded, as the function that records it sees it.

Layer: importers. Invariant: every argument of a node is read by the function that records it, or the node is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from loom import tensor as lt
from loom.core.dtype import DType
from loom.core.errors import ArgumentError
from loom.importers.operatorrows import Operator
from loom.importers.recordings import NodeRecording
from loom.nn.base.random import keep_mask
from loom.tensor.arrays.tensor import Tensor, array

__all__ = ["OperatorCall"]


class OperatorCall:
    """Base of calls. ``unread``: arguments of the node that nothing has read yet."""

    arguments: ClassVar[str] = "arguments"
    """The name of its arguments in errors."""
    remedy: ClassVar[str]
    """The remedy for a node that is refused."""

    def __init__(self, scope: NodeRecording, name: str, unread: set[str]) -> None:
        self.scope: Any = scope
        self.name, self.unread = name, unread

    @property
    def where(self) -> str:
        """How errors name the node; nodes are many, and few are named."""
        raise NotImplementedError

    def record(self, operator: Operator[Any]) -> Any:
        """Record the node; ArgumentError for arguments that are neither read nor without effect."""
        found = operator.record(self)
        if self.unread and (unread := self.unread - operator.ignores):
            raise self.refusal(f"{self.arguments} that are not done", got=", ".join(sorted(unread)))
        return found

    def input(self, i: int, optional: bool) -> Tensor | None:
        """Return an input by its place as a tensor; None if it may be left out, and is."""
        raise NotImplementedError

    def array(self, data: Any, dtype: Any = None) -> Tensor:
        """Return numbers as a tensor beside the others."""
        numbers: np.ndarray[Any, Any] = np.asarray(data)
        return array(numbers, dtype, on=self.scope.device)

    def full(self, shape: Sequence[int], value: Any, dtype: DType) -> Tensor:
        """Return a tensor of one number, which is converted to the dtype."""
        value = bool(value) if dtype.is_bool else int(value) if dtype.is_integer else value
        return lt.full(tuple(shape), value, dtype, on=self.scope.device)

    def limit(self, index: Tensor, lengths: int | Sequence[int], *, wraps: bool = False) -> Tensor:
        """Return indices, of which calls refuse those that an axis has not; ``wraps``: -1 is the last."""
        self.scope.limits.note(index, lengths, self.where, wraps=wraps)
        return index

    def drop(self, x: Tensor, p: float) -> tuple[Tensor, Tensor]:
        """Return a tensor with elements made 0 with a chance, the others over what is left; and which are left."""
        if p == 0:
            return x, self.full(x.shape, True, lt.bool)
        if p == 1:
            return x * 0, self.full(x.shape, False, lt.bool)
        keep = keep_mask(self.words(x.shape), p)
        return lt.where(keep, x / (1 - p), 0.0), keep

    def words(self, shape: Sequence[int]) -> Tensor:
        """Return random words (u32) of this step."""
        return self.scope.run.words(shape, self.where)

    def refusal(self, what: str, *, expected: object = None, got: object = None) -> ArgumentError:
        """Return the error that names this node."""
        return ArgumentError(self.where, what, expected=expected, got=got, remedy=self.remedy)
