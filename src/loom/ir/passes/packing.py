"""Tells which short vectors a target had better keep whole: those that go from memory to memory by their components.

Layer: ir. A machine of wide registers may hold short vectors apart, a register of all lanes' x and so on, or packed as
they lie in memory. Values that meet in an operation are held alike: a *web*. Held apart, every access of memory moves
components between registers; packed, every component that is asked for does. Invariant: every value of a web is kept,
or none.
"""

from __future__ import annotations

from collections.abc import Callable

from loom.ir.forward import Forward
from loom.ir.kernel import For, Instr, Kernel, Memory, Variable, While
from loom.ir.ops import Effect
from loom.ir.passes.uniformity import Uniformity, analyse_uniformity

__all__ = ["values_to_pack"]

_TURNS = 8
"""How often a loop is taken to turn."""

_Node = Instr | Variable


def values_to_pack(kernel: Kernel, keeps: Callable[[Memory], bool]) -> set[_Node]:
    """Return the vector values and variables to keep whole, given the memories of vectors that a target keeps."""
    webs = _Webs(keeps, analyse_uniformity(kernel))
    webs.block(kernel.body)
    return webs.pack()


class _Webs(Forward[int]):
    """The webs of a kernel; ``state`` is how often a statement is taken to be run."""

    def __init__(self, keeps: Callable[[Memory], bool], uniformity: Uniformity) -> None:
        super().__init__()
        self.state = 1
        self.keeps, self.uniformity = keeps, uniformity
        self.parent: dict[_Node, _Node] = {}
        self.gain: dict[_Node, int] = {}
        self.barred: set[_Node] = set()
        self.asked: set[tuple[Instr, int]] = set()

    def pack(self) -> set[_Node]:
        """Return all values of webs that gain by being packed, and of which no use needs them apart."""
        gains: dict[_Node, int] = {}
        barred = {self.find(node) for node in self.barred}
        for node, gain in self.gain.items():
            gains[self.find(node)] = gains.get(self.find(node), 0) + gain
        return {n for n in self.parent if gains.get(self.find(n), 0) > 0 and self.find(n) not in barred}

    def find(self, node: _Node) -> _Node:
        self.parent.setdefault(node, node)
        while self.parent[node] is not node:
            self.parent[node] = self.parent[self.parent[node]]
            node = self.parent[node]
        return node

    def tie(self, nodes: list[_Node]) -> None:
        for node in nodes[1:]:
            self.parent[self.find(node)] = self.find(nodes[0])

    def add(self, node: _Node, gain: int) -> None:
        self.find(node)
        self.gain[node] = self.gain.get(node, 0) + gain

    def begin(self, s: For | While) -> None:
        del s
        self.state *= _TURNS

    def instr(self, s: Instr) -> None:
        vectors: list[_Node] = [a for a in s.args if a.type.is_vector]
        if s.dtype is not None and s.dtype.is_vector:
            vectors.append(s)
        if isinstance(s.attr, Variable) and s.attr.dtype.is_vector:
            vectors.append(s.attr)
        if not vectors:
            return
        weight = self.state
        if s.op.name == "extract":
            self.extract(s, weight)
        elif s.op.name == "vector":
            varying = any(a in self.uniformity.varying for a in s.args)
            self.add(s, -s.type.lanes * weight if varying else 0)
        elif s.op.name in ("load", "store") and s.memory is not None:
            self.access(s, s.memory, vectors[0], weight)
        elif s.op.is_pure or s.op.name in ("get", "set"):
            self.tie(vectors)
            lanes = max(a.type.lanes for a in s.args) if s.args else 1
            repeated = [a for a in s.args if not a.type.is_vector and a in self.uniformity.varying]
            self.add(vectors[0], -lanes * weight * len(repeated))
        elif s.op.effect is not Effect.IDENTITY:
            self.barred.update(vectors)

    def extract(self, s: Instr, weight: int) -> None:
        source = s.args[0]
        self.find(source)
        if (source, s.attr) not in self.asked and source in self.uniformity.varying:
            self.asked.add((source, s.attr))
            self.add(source, -weight)

    def access(self, s: Instr, memory: Memory, vector: _Node, weight: int) -> None:
        self.find(vector)
        if not self.keeps(memory):
            self.barred.add(vector)
        elif s.op.name == "store" or s in self.uniformity.varying:
            self.add(vector, memory.dtype.lanes * weight)
