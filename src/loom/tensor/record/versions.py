"""Writing parameters: what was recorded of one before it is written keeps the elements it had.

Layer: tensor. A parameter knows what was recorded of it since it was written last. Before it is written again, its
elements are copied for those that are still there, and a ``VALUE`` of them takes its place among their inputs:
gradients lead through that to the parameter, and compiled programs, which are functions of parameters, too. Invariant:
elements that a record stands for do not depend on when they are asked for.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from loom.runtime.memory.storage import copy_storage
from loom.tensor.record.graph import Node, NodeKind, TensorOp, make, take_users

__all__ = ["VALUE", "before_writing", "record_lock"]

VALUE = TensorOp("value", NodeKind.VIEW, view=lambda _node, access: access, takes_complex=True)
"""The elements that a parameter had."""
_lock = threading.RLock()


def record_lock() -> Any:
    """Return the lock that is held while records are evaluated, and while a parameter is about to be written."""
    return _lock


class before_writing:  # noqa: N801 - used as a function is
    """Keep the elements of parameters for what was recorded of them, and let nothing be evaluated in the block."""

    __slots__ = ("_parameters",)

    def __init__(self, parameters: Iterable[Node]) -> None:
        self._parameters = parameters

    def __enter__(self) -> None:
        _lock.acquire()
        try:
            for parameter in self._parameters:
                if parameter.users:
                    _keep(parameter)
        except BaseException:
            _lock.release()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 where: TracebackType | None) -> None:  # fmt: skip
        _lock.release()


def _keep(parameter: Node) -> None:
    """Give what was recorded of a parameter a copy of its elements; what programs are fed needs none."""
    users = [u for u in take_users(parameter) if not u.is_fed]
    if not users:
        return
    assert parameter.data is not None
    assert parameter.device is not None
    copy = parameter.device.allocate(parameter.nbytes, zeroed=False)
    copy_storage(parameter.data, 0, copy, 0, parameter.nbytes)
    value = make(VALUE, [parameter], parameter.shape, parameter.dtype)
    value.data = copy
    take_users(parameter)  # of this one there will be no other version
    for user in users:
        user.inputs = tuple(value if x is parameter else x for x in user.inputs)


def _after_fork() -> None:
    """A thread that stayed behind may have held it."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
