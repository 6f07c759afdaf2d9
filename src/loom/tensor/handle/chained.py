"""Tells of lines that are another thing to numpy: of assignments to what nobody holds, and of ``T`` of many axes.

Layer: tensor. ``x[0][1] = v`` writes a tensor that is gone at once. Views of numpy alias, so that such a line changes
``x`` there; tensors do not. Invariant: an assignment that is told of has no effect; where Python does not tell a
temporary from a variable, none is told of.
"""

from __future__ import annotations

import warnings
from sys import getrefcount

from loom.core.tracebacks import brief_class
from loom.tensor.record.graph import Node

__all__ = ["NOBODY", "is_temporary", "warn_of_axes", "warn_of_loss"]


@brief_class
class _Probe:
    """What counts who holds it while it is assigned to, called as ``Tensor`` is."""

    holders = 0

    def __setitem__(self, key: int, value: int) -> None:
        _Probe.holders = getrefcount(self)


def _of_temporary() -> int:
    """Return how many references ``__setitem__`` sees of what nobody holds; 0 if those of a variable are as many."""
    _Probe()[0] = 0
    found = _Probe.holders
    held = _Probe()
    held[0] = 0
    return found if found < _Probe.holders else 0


NOBODY = _of_temporary()
"""References to a tensor that is assigned to and that nobody holds."""


def is_temporary(x: Node, holders: int) -> bool:
    """Tell whether besides records of it nobody is among the ``holders`` of ``x``.

    Records may share the tuple of their inputs, which refers to ``x`` once for all of them.
    """
    users = [u for u in (r() for r in x.users or ()) if u is not None]
    inputs = {id(u.inputs): u.inputs for u in users}
    return holders - sum(i is x for each in inputs.values() for i in each) <= NOBODY


def warn_of_loss() -> None:
    """Warn that an assignment changed nothing."""
    warnings.warn(
        "elements of a tensor that nobody holds are assigned, which changes nothing: x[0] is a tensor of its own, "
        "not a view; write x[0, 1] = v, or y = x[0]; y[1] = v; x[0] = y", stacklevel=4,
    )  # fmt: skip


def warn_of_axes(name: str, ndim: int) -> None:
    """Warn that numpy would turn all axes round, where a tensor's last two are exchanged."""
    warnings.warn(
        f"{name} of {ndim} axes exchanges the last two, where numpy turns all of them round; "
        "write mT for the last two, or permute for any order", stacklevel=4,
    )  # fmt: skip
