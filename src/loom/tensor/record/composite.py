"""Operations made of many: one node for each result of a call, written out as what it is made of where that is asked.

Layer: tensor. Recording a factorisation takes dozens of nodes, which a call on known elements needs to find its kept
program alone. The nodes of a composite are enough for that: name, arguments, and the kinds of its operands. Who looks
at what they are made of (``graph.ancestors``: gradients, programs, a structure seen the first time) writes them out.
Invariant: what is written out depends on the operands' shapes and dtypes and on the arguments alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import ref

from loom.core.dtype import DType
from loom.tensor.record.graph import Node, NodeKind, TensorOp, ancestors, make, tensors_of, write_as
from loom.tensor.record.versions import record_lock

__all__ = ["Composite", "results_beside"]


class _Results:
    """The nodes of one call, by which they know of each other."""

    __slots__ = ("nodes", "serial")

    def __init__(self) -> None:
        self.nodes: list[ref[Node]] = []
        self.serial = 0


class Composite:
    """``written(*operands, *arguments)`` records the results, which are as many as ``kinds`` of a call."""

    def __init__(self, name: str, written: Callable[..., Sequence[Any]]) -> None:
        self._written = written
        self._op = TensorOp(name, NodeKind.KERNEL, unfold=self._unfold)

    def __call__(
        self, operands: Sequence[Any], kinds: Sequence[tuple[tuple[int, ...], DType]], *arguments: Any
    ) -> Sequence[Any]:
        """Return the results, of shapes and dtypes ``kinds``; ``arguments`` are hashable.

        Of what a program is fed they are written out at once: nothing else is done with them.
        """
        if any(x.is_fed for x in operands):
            return self._written(*operands, *arguments)
        operands = tuple(operands)  # the same of all results
        results = _Results()
        made = [make(self._op, operands, *kind, (n, arguments, results)) for n, kind in enumerate(kinds)]
        results.nodes, results.serial = [ref(node) for node in made], made[0].serial
        return made

    def _unfold(self, node: Node) -> None:
        with record_lock():
            if node.op is not self._op:  # another thread was first
                return
            found = self._written(*node.inputs, *node.attributes[1])
            _date_back(found, node)
            for each in results_beside(node):
                write_as(each, found[each.attributes[0]])


def _date_back(found: Sequence[Node], node: Node) -> None:
    """Let what a node is written out as be as old as the call: nobody assigned to that since."""
    operands = {id(x) for x in node.inputs}
    serial = node.attributes[2].serial
    waiting = list(found)
    while waiting:
        for each in ancestors([waiting.pop()], lambda n: () if id(n) in operands else n.inputs):
            if each.serial > serial and id(each) not in operands:
                each.serial = serial
                waiting += [x for value in each.attributes for x in tensors_of(value)]


def results_beside(node: Node) -> list[Any]:
    """Return a node of a composite, and the other results of its call that are still there and not written out."""
    at, _, results = node.attributes
    found: list[Any] = []
    for number, other in enumerate([r() for r in results.nodes]):
        if number == at:
            found.append(node)
        elif other is not None and other.op is node.op and other.attributes[2] is results:
            if other.inputs is node.inputs or list(map(id, other.inputs)) == list(map(id, node.inputs)):
                found.append(other)
    return found
