"""The switch of schedules whose groups wait for what earlier groups tell: scans and sorts that read their input once.

Layer: schedules. Invariant: either way gives the same bits.
"""

from __future__ import annotations

from loom.core.caps import Caps

__all__ = ["one_pass"]

_ON = False
"""Off until a GPU has shown them right and quicker: ``bench/device/onepass_figures.py``."""


def one_pass(caps: Caps) -> bool:
    """Tell whether a device reads once what groups can read once by waiting for each other."""
    return _ON and caps.waits
