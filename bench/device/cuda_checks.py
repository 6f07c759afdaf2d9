"""What the device scripts of CUDA note when an answer is another than it should be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

WRONG: list[str] = []
"""What was wrong so far."""


def same(what: str, found: Any, wanted: Any) -> None:
    """Take note of two things that are to be equal."""
    is_equal = np.array_equal(found, wanted) if isinstance(wanted, np.ndarray) else found == wanted
    if not is_equal:
        WRONG.append(what)
        print(f"WRONG {what}: {str(found)[:200]!r}, expected {str(wanted)[:200]!r}")


def refused(what: str, work: Callable[[], Any], error: type[Exception], text: str) -> None:
    """Take note of something that is to be refused with a text."""
    try:
        work()
    except error as caught:
        same(f"{what}, text {str(caught)[:300]!r}", text in str(caught), True)
        return
    except Exception as caught:
        same(what, f"{type(caught).__name__}: {caught}", text)
        return
    same(what, "no error", text)
