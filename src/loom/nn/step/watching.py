"""Ticks as observers see them: what each node that moved had read, and what it made of it.

Layer: nn. Invariant: what is shown are copies, of the buffers before and after one tick.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from loom.core.arrays import Array
from loom.nn.base.watch import Seen, Viewers, readable
from loom.nn.spec import NetworkSpec
from loom.tensor import Tensor

__all__ = ["copies", "show_tick"]


def copies(watch: Viewers, spec: NetworkSpec, tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Return copies of what the buffers of what is watched hold, and of what those nodes read."""
    wanted = {n.name: n.inputs for n in spec.nodes if watch.names is None or n.name in watch.names}
    names = {*wanted, *(name for inputs in wanted.values() for name in inputs)}
    return {name: readable(tensors[name].numpy()) for name in names}


def show_tick(
    watch: Viewers, spec: NetworkSpec, before: Mapping[str, Array], after: Mapping[str, Array], moved: Iterable[str],
    number: int,
) -> None:  # fmt: skip
    """Show what nodes made in tick ``number`` of what the buffers held before it."""
    names, seen = set(moved), dict[str, Seen]()
    for node in spec.nodes:
        if node.name in after and node.name in names and (watch.names is None or node.name in watch.names):
            taken = [before[name] for name in node.inputs]
            seen[node.name] = Seen(taken if node.layer.takes_many else taken[0], after[node.name])
    watch.show("step", "forward", seen, number)
