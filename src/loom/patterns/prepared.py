"""Programs kept between calls: recorded and built once per kind and size, run with new arrays.

Layer: patterns. A pattern describes its chain over ``HostSlot``s; each call attaches arrays and runs.
Invariant: a prepared program is run by one call at a time; a second one waits for it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from loom.core import options
from loom.runtime.chain import Chain, Program
from loom.runtime.device import Device
from loom.runtime.storage import HostSlot

__all__ = ["Prepared", "prepare"]

_MOST_KEPT = 128


class Prepared:
    """A program with slots. ``run`` attaches one array to each and runs to the end."""

    def __init__(self, program: Program, slots: Sequence[HostSlot], keep: Any = None) -> None:
        self._program = program
        self._slots = tuple(slots)
        self._lock = threading.Lock()
        self.keep = keep

    def run(self, *arrays: np.ndarray[Any, Any]) -> None:
        """Run over ``arrays``, one contiguous array per slot."""
        with self._lock:
            for slot, array in zip(self._slots, arrays, strict=True):
                slot.attach(array)
            try:
                self._program.run()
            finally:
                for slot in self._slots:
                    slot.detach()


_kept: OrderedDict[Hashable, Prepared] = OrderedDict()
_lock = threading.Lock()


def prepare(key: Hashable, device: Device, record: Callable[[Chain], tuple[Sequence[HostSlot], Any]]) -> Prepared:
    """Return the program kept for ``key`` on ``device``, recording and building it if there is none.

    ``record`` writes the chain and returns its slots and whatever else must stay alive. The settings
    that programs are built under are part of the key.
    """
    whole = (device.name, options.thread_count(), options.simd_lanes(), options.check_bounds(), key)
    with _lock:
        found = _kept.get(whole)
        if found is not None:
            _kept.move_to_end(whole)
            return found
    chain = Chain(device, name=str(key[0]) if isinstance(key, tuple) else "pattern")
    slots, keep = record(chain)
    made = Prepared(chain.build(), slots, keep)
    with _lock:
        _kept[whole] = made
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    return made
