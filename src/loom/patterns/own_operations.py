"""Operations of tensors that patterns alone have, by kernels of their own.

Layer: patterns, over tensors. They have no derivatives. Invariant: what an operation records depends on the kinds of
its operands and results and on its attributes alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any
from weakref import ref

from loom.core.dtype import DType
from loom.patterns.kept_functions import Kind
from loom.tensor import Tensor
from loom.tensor.ops.joining import copy_into
from loom.tensor.record.draft import BufferView, Draft, DraftBuffer
from loom.tensor.record.graph import Node, NodeKind, TensorOp, make
from loom.tensor.record.layout import row_major

__all__ = ["Operation"]


class Operation:
    """``record(draft, node, *buffers)`` dispatches: the buffers are those of operands, then of results.

    ``node`` is one of the results; its ``attributes[0]`` are those of the operation.
    """

    def __init__(self, name: str, record: Callable[..., None]) -> None:
        self._record_all = record
        self._op = TensorOp(name, NodeKind.KERNEL, record=self._record)

    def __call__(self, operands: Sequence[Tensor], shape: tuple[int, ...], dtype: DType, *attributes: Any) -> Tensor:
        """Return the only result."""
        return self.several(operands, [(shape, dtype)], *attributes)[0]

    def several(self, operands: Sequence[Tensor], kinds: Sequence[Kind], *attributes: Any) -> list[Tensor]:
        """Return results of such shapes and dtypes, which share their dispatches."""
        every, beside = tuple(kinds), _Siblings()
        made = [make(self._op, operands, *kind, (attributes, n, every, beside)) for n, kind in enumerate(every)]
        beside.nodes = [ref(node) for node in made]
        return made

    def _record(self, node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
        attributes, own, kinds, beside = node.attributes
        given = [o.buffer for o in operands]
        key = (self, attributes, kinds, *map(id, given))
        found: list[Any] | None = draft.calls.get(key)
        if found is None:
            found = [out if n == own else self._place(draft, beside.nodes[n](), kind) for n, kind in enumerate(kinds)]
            draft.calls[key] = found
            self._record_all(draft, node, *given, *found)
        elif node.size and found[own] is not out:  # another result of the same call has recorded it, elsewhere
            flat = (node.size,)
            copy_into(draft, BufferView(found[own], row_major(flat)), out, flat, (0,), (1,), node.dtype)

    @staticmethod
    def _place(draft: Draft, node: Node | None, kind: Kind) -> DraftBuffer:
        """Return where a result that is recorded beside another is put: where it is to be, if that is known."""
        return draft.ends.get(id(node)) or DraftBuffer(math.prod(kind[0]) * kind[1].nbytes)


class _Siblings:
    """The results of one call, by which they know of each other; all such are alike in the keys of programs."""

    __slots__ = ("nodes",)

    def __init__(self) -> None:
        self.nodes: list[ref[Node]] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Siblings)

    def __hash__(self) -> int:
        return 0
