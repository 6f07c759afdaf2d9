"""What a function asks of elements that are computed with its results: asked at once, or after the run that has them.

Layer: tensor. Invariant: what is asked later says the same of the same elements.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

__all__ = ["Check", "check_later", "collect_checks"]

Check = Callable[[np.ndarray[Any, Any]], None]
"""Raises what is to be said of elements."""
_later: ContextVar[list[tuple[Any, Check]] | None] = ContextVar("checks", default=None)


@contextmanager
def collect_checks() -> Generator[list[tuple[Any, Check]]]:
    """Collect what functions ask inside the ``with``: tensors, and what checks their elements."""
    found: list[tuple[Any, Check]] = []
    token = _later.set(found)
    try:
        yield found
    finally:
        _later.reset(token)


def check_later(x: Any, check: Check) -> bool:
    """Leave a check of a tensor's elements to who runs the record; False if nobody does."""
    found = _later.get()
    if found is not None:
        found.append((x, check))
    return found is not None
