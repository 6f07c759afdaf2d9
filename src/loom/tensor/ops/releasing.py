"""Gives up elements that only the record still holds, so that a loop over arrays needs the memory of its last step.

Layer: tensor. In ``u = step(u)`` the record of the new tensor holds the old one, for gradients. Once the new elements
are known, the old ones are needed by nobody who cannot compute them again, which a gradient through all the steps then
does. Invariant: what anybody can name, or has recorded and not computed yet, keeps its elements; no bit changes.
"""

from __future__ import annotations

from sys import getrefcount
from typing import Any

from loom.tensor.record.graph import Node, NodeKind

__all__ = ["LEAST_NBYTES", "release"]

LEAST_NBYTES = 1 << 14
"""Elements that take less stay: their record is about as large."""
_MOST_STEPS = 32
"""Tensors on the way from elements to those who need them; where there are more, the elements stay."""
_COMPUTED = (NodeKind.MAP, NodeKind.KERNEL)


def release(read: list[Any]) -> None:
    """Give up the elements of what was read to compute others, where that can be; the list is emptied.

    To be called with ``versions.record_lock`` held, by somebody who has no other references to what is listed.
    """
    while read:
        node = read.pop()
        if node.op.kind not in _COMPUTED or node.data is None or node.nbytes < LEAST_NBYTES:
            continue
        if not (node.shared or node.lent is not None or node.is_fed) and _is_forgotten(node):
            node.data = None


def _is_forgotten(node: Node) -> bool:
    """Tell whether only the record holds a node, and nothing that was recorded of it waits to be computed."""
    done: set[int] = set()
    waiting = [node]
    del node
    while waiting:
        each = waiting.pop()
        users = _users_of(each)
        if _holders(each) > _OWN + sum(i is each for u in users for i in u.inputs) + (not done):
            return False
        done.add(id(each))
        if len(done) > _MOST_STEPS:
            return False
        waiting += [u for u in users if u.data is None and id(u) not in done and all(u is not w for w in waiting)]
    return True


def _users_of(node: Node) -> list[Node]:
    found: dict[int, Node] = {id(u): u for u in (r() for r in node.users or ()) if u is not None}
    return list(found.values())


def _holders(node: Any) -> int:
    return getrefcount(node)


def _own_holders() -> int:
    """Return how many references ``_is_forgotten`` itself has to what it looks at."""
    each = object()
    users: list[Any] = []
    return _holders(each) + len(users)


_OWN = _own_holders()
