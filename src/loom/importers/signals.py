"""Windows of signals, as sums of cosines.

Layer: importers. Invariant: every cosine is Loom's, so that a window has the same bits on every machine.
"""

from __future__ import annotations

import math

import numpy as np

from loom import tensor as lt
from loom.core.dtype import DType
from loom.importers.operatorcalls import OperatorCall
from loom.tensor.arrays.tensor import Tensor

__all__ = ["BLACKMAN", "HANN", "cosine_window"]

Terms = tuple[float, float, float]
HANN: Terms = (0.5, 0.5, 0.0)
BLACKMAN: Terms = (0.42, 0.5, 0.08)


def cosine_window(call: OperatorCall, size: int, terms: Terms, dtype: DType | None, *, periodic: bool) -> Tensor:
    """Return ``a - b cos(t) + c cos(2 t)`` over a turn: in ``size`` steps if it is ``periodic``, else with its end."""
    at = call.array(np.arange(size, dtype=np.float64)) * (2 * math.pi / max(size if periodic else size - 1, 1))
    found = terms[0] - lt.cos(at) * terms[1]
    return lt.cast(found + lt.cos(at * 2) * terms[2] if terms[2] else found, dtype)
