"""The order in which the nodes of a graph run.

Layer: nn. Invariant: a node runs after its inputs, and otherwise in the order of the document (Kahn 1962, the earliest
that is ready first).
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

__all__ = ["cycle", "run_order"]


def run_order(inputs: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the nodes in running order; those on or after a cycle are left out.

    ``inputs`` maps each node to the nodes that it reads.
    """
    names = list(inputs)
    place = {name: i for i, name in enumerate(names)}
    missing = {name: len(set(inputs[name])) for name in names}
    readers: dict[str, list[str]] = {name: [] for name in names}
    for name in names:
        for source in set(inputs[name]):
            readers[source].append(name)
    ready = [place[name] for name in names if not missing[name]]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for reader in readers[name]:
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, place[reader])
    return order


def cycle(inputs: Mapping[str, Sequence[str]]) -> list[str]:
    """Return nodes of one cycle, each reading the next and the last the first; [] if there is none."""
    left = {name: list(dict.fromkeys(sources)) for name, sources in inputs.items()}
    for name in run_order(inputs):
        del left[name]
    if not left:
        return []
    trail: list[str] = []
    name = next(iter(left))
    while name not in trail:  # each node left reads one that is left
        trail.append(name)
        name = next(s for s in left[name] if s in left)
    return trail[trail.index(name) :]
